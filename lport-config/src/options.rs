//! Typed access to the section `options`, whose keys are the application's own.
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

/// A reader of the section `options`, and a collector of what is wrong in it.
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
