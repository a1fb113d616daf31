//! `pmd`, `pmd_opts` and `wrap`: the driver of an lport, the wrappers around it, and their options, each with its place.

use pmd_core::options::{RawOption, RawValue};

use super::Entry;
use crate::codes;
use crate::diagnostic::{Problem, Problems};
use crate::nearest::quoted;
use crate::node::{Member, Node, Value};
use crate::source::{Span, Spanned};

/// Most options of one lport: many more than any driver has.
const MAX_OPTIONS: usize = 256;

/// A driver, or a wrapper, and the options given to it.
#[derive(Debug, Clone)]
pub(crate) struct Pmd {
    /// Its name.
    pub(crate) driver: Spanned<String>,
    /// Whether the file does not name it, but means it.
    pub(crate) implied: bool,
    /// Its options, in the order given; the keys are unique.
    pub(crate) options: Vec<GivenOption>,
}

/// An option and where it was given.
#[derive(Debug, Clone)]
pub(crate) struct GivenOption {
    pub(crate) key: Spanned<String>,
    pub(crate) value: Spanned<RawValue>,
    /// Whether it stands in `pmd_opts`.
    in_object: bool,
}

impl Pmd {
    /// The options without their places.
    pub(crate) fn raw(&self) -> Vec<RawOption> {
        let raw = |option: &GivenOption| RawOption { key: option.key.value.clone(), value: option.value.value.clone() };
        self.options.iter().map(raw).collect()
    }

    /// The option called `key`.
    pub(crate) fn option(&self, key: &str) -> Option<&GivenOption> {
        self.options.iter().find(|option| option.key.value == key)
    }
}

/// The driver and the options of an lport or lport-group; `None` if no driver can be made out.
pub(super) fn read(entry: &Entry<'_>, problems: &mut Problems) -> Option<Pmd> {
    let node = entry.fields.node("pmd")?;
    let mut pmd = named(node, &format!("`pmd` of {} names no driver", entry.owner), ("driver", "net_null"), problems)?;
    add_object(entry, &mut pmd, problems);
    Some(pmd)
}

/// The wrappers of an lport or lport-group, as far as they can be made out.
pub(super) fn read_wrappers(entry: &Entry<'_>, problems: &mut Problems) -> Vec<Pmd> {
    let elements = entry.fields.node("wrap").and_then(Node::as_array).unwrap_or_default();
    let nameless = format!("an element of `wrap` of {} names no wrapper", entry.owner);
    elements.iter().filter_map(|element| read_wrapper(element, &nameless, problems)).collect()
}

/// What a string without a name lacks, and an example.
const WRAPPER: (&str, &str) = ("wrapper", "fault");

fn read_wrapper(element: &Node, nameless: &str, problems: &mut Problems) -> Option<Pmd> {
    let Some([member]) = element.as_object() else { return named(element, nameless, WRAPPER, problems) };
    if member.key.value.is_empty() {
        let problem = Problem::new(codes::BAD_NAME, member.key.span, nameless).label("no wrapper");
        problems.push(problem.help("write its name there, such as \"fault\""));
        return None;
    }
    let mut wrapper = Pmd { driver: member.key.clone(), implied: false, options: Vec::new() };
    add_members(member.node.as_object().unwrap_or_default(), &mut wrapper, problems);
    Some(wrapper)
}

/// What the string `name:key=value,key=value` says.
fn named(node: &Node, nameless: &str, (noun, example): (&str, &str), problems: &mut Problems) -> Option<Pmd> {
    let text = node.as_str()?;
    let name = text.split(':').next().unwrap_or_default();
    if name.is_empty() {
        let help = format!("write the {noun} in front of the colon, such as \"{example}\"");
        problems.push(Problem::new(codes::BAD_NAME, node.span, nameless).label(format!("no {noun}")).help(help));
        return None;
    }
    let driver = Spanned::new(name.to_owned(), node.span_within(0, name.len()));
    let mut pmd = Pmd { driver, implied: false, options: Vec::new() };
    if let Some(list) = text.get(name.len() + 1..) {
        words(node, name.len() + 1, list, &mut pmd, problems);
    }
    Some(pmd)
}

/// A driver that is not named, with the options of `pmd_opts`.
pub(super) fn implied(driver: &str, entry: &Entry<'_>, problems: &mut Problems) -> Pmd {
    let driver = Spanned::new(driver.to_owned(), entry.name.span);
    let mut pmd = Pmd { driver, implied: true, options: Vec::new() };
    add_object(entry, &mut pmd, problems);
    pmd
}

/// Adds the words of `driver:key=value,key=value`; `list` begins at byte `start` of the string.
fn words(node: &Node, start: usize, list: &str, pmd: &mut Pmd, problems: &mut Problems) {
    if list.is_empty() {
        return;
    }
    let mut at = start;
    for word in list.split(',') {
        let end = at + word.len();
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        if key.is_empty() {
            problems.push(malformed(word, node.span_within(at.saturating_sub(1), (at + 1).min(start + list.len()))));
        } else {
            let value_at = if word.len() > key.len() { at + key.len() + 1 } else { at };
            let option = GivenOption {
                key: Spanned::new(key.to_owned(), node.span_within(at, at + key.len())),
                value: Spanned::new(RawValue::Text(value.to_owned()), node.span_within(value_at, end)),
                in_object: false,
            };
            add(option, pmd, problems);
        }
        at = end + 1;
    }
}

fn add_object(entry: &Entry<'_>, pmd: &mut Pmd, problems: &mut Problems) {
    add_members(entry.fields.node("pmd_opts").and_then(Node::as_object).unwrap_or_default(), pmd, problems);
}

fn add_members(members: &[Member], pmd: &mut Pmd, problems: &mut Problems) {
    for member in members {
        if let Some(value) = raw_value(member, problems) {
            let value = Spanned::new(value, member.node.span);
            add(GivenOption { key: member.key.clone(), value, in_object: true }, pmd, problems);
        }
    }
}

fn add(option: GivenOption, pmd: &mut Pmd, problems: &mut Problems) {
    match pmd.option(&option.key.value) {
        Some(first) => problems.push(given_twice(&option, first)),
        None if pmd.options.len() < MAX_OPTIONS => pmd.options.push(option),
        None => problems.push(too_many(&option)),
    }
}

fn raw_value(member: &Member, problems: &mut Problems) -> Option<RawValue> {
    let value = match &member.node.value {
        Value::Bool(value) => Some(RawValue::Bool(*value)),
        Value::Text(text) => Some(RawValue::Text(text.as_str().to_owned())),
        Value::Number(_) => member.node.as_int().map(RawValue::Int),
        _ => None,
    };
    if value.is_none() {
        let message = format!(
            "option {} is {}, but options are true, false, a string, or a whole number without sign",
            quoted(&member.key.value),
            member.node.describe()
        );
        let problem = Problem::new(codes::OPTION_TYPE, member.node.span, message).label("wrong type");
        problems.push(problem.help("write one of these, or remove the option for its default"));
    }
    value
}

fn malformed(word: &str, span: Span) -> Problem {
    let message = if word.is_empty() {
        "an option is missing in front of or behind this comma".to_owned()
    } else {
        format!("{} has no key in front of its `=`", quoted(word))
    };
    Problem::new(codes::OPTION_FORM, span, message)
        .label("no option")
        .help("options are written `name:key=value,key=value`")
}

fn too_many(option: &GivenOption) -> Problem {
    let message = format!("option {} is one more than the {MAX_OPTIONS} possible", quoted(&option.key.value));
    Problem::new(codes::OPTION_FORM, option.key.span, message).label("one too many").help("no driver has so many")
}

fn given_twice(option: &GivenOption, first: &GivenOption) -> Problem {
    let key = quoted(&option.key.value);
    let (rule, message) = if option.in_object == first.in_object {
        (codes::OPTION_TWICE, format!("option {key} is given twice"))
    } else {
        (codes::OPTION_IN_BOTH, format!("option {key} is given in both `pmd` and `pmd_opts`"))
    };
    Problem::new(rule, option.key.span, message)
        .label("again here")
        .also(first.key.span, "first given here")
        .help("keep one")
}
