//! Typed access to what is the application's own: the section `options`, and any object of a section that it registered.
//!
//! The application asks for each key it knows; a value of another type becomes a problem at its place and reads as if
//! the key were not given. At the end [`OptionsReader::finish`] adds a warning for every key that nobody asked for.

use std::ops::RangeInclusive;

use crate::codes;
use crate::diagnostic::{Diagnostic, Problem, Problems};
use crate::nearest::quoted;
use crate::node::{Member, Node, Value};
use crate::sections::fields::instead;
use crate::source::{Source, Spanned};

/// A reader of the section `options` ([`crate::Config::options`]) or of another object of the file, and a collector of what
/// is wrong in it.
///
/// An application with a section of its own:
///
/// ```
/// use lport_config::{Config, Node, OptionsReader, Settings, render};
///
/// let text = r#"{
///     "lports": { "null:0": { "pmd": "net_null" } },
///     "lcore-groups": { "default": [0] },
///     "threads": { "police:0": { "lports": ["null:0"] } },
///     "policers": { "gold": { "rate": 1000, "brust": 64 } },
/// }"#;
/// let outcome = Config::parse("police.jsonc", text, &Settings::default().section("policers"));
/// let mut diagnostics = outcome.diagnostics.clone();
///
/// // A file with errors is read as far as it goes, so that one run reports everything.
/// let policers = outcome.readable().and_then(|config| config.section("policers"));
/// for policer in policers.and_then(Node::as_object).unwrap_or_default() {
///     let mut keys = OptionsReader::of(&policer.node);
///     assert_eq!(keys.int("rate", 1..=1_000_000).map(|rate| rate.value), Some(1000));
///     assert!(keys.int("burst", 1..=4096).is_none());
///     diagnostics.extend(keys.finish(&outcome.source));
/// }
///
/// assert_eq!(
///     render(&outcome.source, &diagnostics[0], false),
///     r#"warning[W0401]: unknown option `brust`
///  --> police.jsonc:5:43
///   |
/// 5 |     "policers": { "gold": { "rate": 1000, "brust": 64 } },
///   |                                           ^^^^^^^ has no effect
///   |
///   = help: did you mean "burst"?
/// "#
/// );
/// ```
#[derive(Debug)]
pub struct OptionsReader<'c> {
    members: &'c [Member],
    asked: Vec<String>,
    problems: Problems,
}

impl<'c> OptionsReader<'c> {
    pub(crate) fn new(section: Option<&'c Node>) -> Self {
        let members = section.and_then(Node::as_object).unwrap_or_default();
        Self { members, asked: Vec::new(), problems: Problems::default() }
    }

    /// A reader of any object. Something else is reported, and reads as an object without keys.
    pub fn of(node: &'c Node) -> Self {
        let mut reader = Self::new(Some(node));
        if node.as_object().is_none() {
            let message = format!("{} stands where an object belongs", node.describe());
            let problem = Problem::new(codes::OPTIONS_TYPE, node.span, message).label("not an object");
            reader.report(problem.help("write { \"key\": value, ... }"));
        }
        reader
    }

    /// A value of any type.
    pub fn node(&mut self, key: &str) -> Option<&'c Node> {
        self.asked.push(key.to_owned());
        self.members.iter().find(|member| member.key.value == key).map(|member| &member.node)
    }

    /// `true` or `false`.
    pub fn bool(&mut self, key: &str) -> Option<Spanned<bool>> {
        let node = self.node(key)?;
        self.typed(key, node, node.as_bool(), "true or false")
    }

    /// A whole number within `range`.
    pub fn int(&mut self, key: &str, range: RangeInclusive<u64>) -> Option<Spanned<u64>> {
        let node = self.node(key)?;
        let limits = format!("a whole number from {} to {}", range.start(), range.end());
        let value = self.typed(key, node, node.as_int(), &limits)?;
        if range.contains(&value.value) {
            return Some(value);
        }
        let message = format!("option {} is {}, but takes {limits}", quoted(key), value.value);
        let help = format!("write {limits}");
        self.problems.push(Problem::new(codes::OPTIONS_RANGE, node.span, message).label("out of range").help(help));
        None
    }

    /// A string.
    pub fn text(&mut self, key: &str) -> Option<Spanned<&'c str>> {
        let node = self.node(key)?;
        self.typed(key, node, node.as_str(), "a string")
    }

    /// An array of strings. Elements of another type are reported and left out.
    pub fn texts(&mut self, key: &str) -> Option<Vec<Spanned<&'c str>>> {
        let node = self.node(key)?;
        let elements = self.typed(key, node, node.as_array(), "an array of strings")?.value;
        Some(elements.iter().filter_map(|element| self.element(key, element)).collect())
    }

    /// An object whose values are strings, in the order of the file. Values of another type are reported and left out.
    pub fn text_map(&mut self, key: &str) -> Option<Vec<(Spanned<&'c str>, Spanned<&'c str>)>> {
        let node = self.node(key)?;
        let members = self.typed(key, node, node.as_object(), "an object of strings")?.value;
        let pair = |member: &'c Member| {
            let value = self.element(key, &member.node)?;
            Some((Spanned::new(member.key.value.as_str(), member.key.span), value))
        };
        Some(members.iter().filter_map(pair).collect())
    }

    /// Adds a problem that the application found in a value.
    pub fn report(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// The keys nobody has asked for yet.
    pub fn unasked(&self) -> Vec<Spanned<&'c str>> {
        let unasked = self.members.iter().filter(|member| !self.asked.contains(&member.key.value));
        unasked.map(|member| Spanned::new(member.key.value.as_str(), member.key.span)).collect()
    }

    /// Every problem found, with a warning for every key nobody asked for, in the order of the file.
    pub fn finish(mut self, source: &Source) -> Vec<Diagnostic> {
        for key in self.unasked() {
            let near = self.problems.nearest(key.value, self.asked.iter().map(String::as_str));
            let problem = Problem::new(codes::NOT_ASKED, key.span, format!("unknown option {}", quoted(key.value)))
                .label("has no effect")
                .help(near.map_or("remove it".to_owned(), |near| format!("did you mean \"{near}\"?")));
            self.problems.push(problem);
        }
        self.problems.locate(source)
    }

    fn element(&mut self, key: &str, node: &'c Node) -> Option<Spanned<&'c str>> {
        let value = node.as_str().map(|value| Spanned::new(value, node.span));
        if value.is_none() {
            let message = format!("option {} takes strings, but one of them is {}", quoted(key), node.describe());
            let problem = Problem::new(codes::OPTIONS_TYPE, node.span, message).label("not a string");
            self.problems.push(problem.help("write a string in quotes"));
        }
        value
    }

    fn typed<T>(&mut self, key: &str, node: &Node, value: Option<T>, wanted: &str) -> Option<Spanned<T>> {
        if value.is_none() {
            let large = matches!(&node.value, Value::Number(digits) if digits.bytes().all(|c| c.is_ascii_digit()));
            let rule = if large && wanted.contains("number") { codes::OPTIONS_RANGE } else { codes::OPTIONS_TYPE };
            let message = format!("option {} is {}, but takes {wanted}", quoted(key), node.describe());
            self.problems.push(Problem::new(rule, node.span, message).label("wrong type").help(instead(node, wanted)));
        }
        value.map(|value| Spanned::new(value, node.span))
    }
}
