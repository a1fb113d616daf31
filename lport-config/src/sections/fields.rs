//! An object read by its table of keys: what is unknown, missing, of a wrong type or out of range is reported here, once
//! and in the same words for every section.

use std::fmt::Display;

use crate::codes;
use crate::diagnostic::{Problem, Problems};
use crate::keys::{Key, Kind, UNITS};
use crate::nearest::{list, quoted, shown};
use crate::node::{Member, Node, Value};
use crate::source::{Span, Spanned};

/// The sound values of an object.
pub(crate) struct Fields<'n> {
    found: Vec<Field<'n>>,
    /// Whether there was no object to read: then every key counts as given, and none has a sound value.
    damaged: bool,
}

/// A key of the table that the object has.
struct Field<'n> {
    name: &'static str,
    key: Span,
    node: &'n Node,
    /// Whether the value is of the right type and in range.
    sound: bool,
}

/// What an entry says about a key. A key that is given but not sound has been reported, and must not be missed again.
#[derive(Debug, Clone, Default)]
pub(crate) enum Given<T> {
    /// Nothing.
    #[default]
    Absent,
    /// Something of a wrong type or out of range.
    Unsound,
    /// This.
    Sound(T),
}

impl<T> Given<T> {
    /// The sound value.
    pub(crate) fn sound(&self) -> Option<&T> {
        match self {
            Self::Sound(value) => Some(value),
            Self::Absent | Self::Unsound => None,
        }
    }
}

impl<'n> Fields<'n> {
    /// Reads `members` by `keys`. `owner` names the object in messages, and its place is `place`.
    pub(crate) fn read(
        keys: &'static [Key],
        owner: &str,
        place: Span,
        members: &'n [Member],
        problems: &mut Problems,
    ) -> Self {
        let (fields, unknown) = Self::sort(keys, owner, members, problems);
        for member in unknown {
            problems.push(unknown_key(keys, owner, member, problems));
        }
        fields.require(keys, owner, place, problems);
        fields
    }

    /// Like [`Fields::read`], for an object that may have members of its own; they are returned.
    pub(crate) fn read_open(
        keys: &'static [Key],
        owner: &str,
        members: &'n [Member],
        problems: &mut Problems,
    ) -> (Self, Vec<&'n Member>) {
        Self::sort(keys, owner, members, problems)
    }

    /// The fields of an entry that is not an object.
    pub(crate) fn damaged() -> Self {
        Self { found: Vec::new(), damaged: true }
    }

    fn sort(
        keys: &'static [Key],
        owner: &str,
        members: &'n [Member],
        problems: &mut Problems,
    ) -> (Self, Vec<&'n Member>) {
        let mut fields = Self { found: Vec::new(), damaged: false };
        let mut unknown = Vec::new();
        for member in members {
            match keys.iter().find(|key| key.names().any(|name| name == member.key.value)) {
                Some(key) => fields.add(key, owner, member, problems),
                None => unknown.push(member),
            }
        }
        (fields, unknown)
    }

    fn add(&mut self, key: &'static Key, owner: &str, member: &'n Member, problems: &mut Problems) {
        if let Some(first) = self.found.iter().find(|field| field.name == key.name) {
            problems.push(same_key(key, owner, member, first.key));
            return;
        }
        let before = problems.count();
        check(key, owner, member, problems);
        let sound = problems.count() == before;
        self.found.push(Field { name: key.name, key: member.key.span, node: &member.node, sound });
    }

    fn require(&self, keys: &'static [Key], owner: &str, place: Span, problems: &mut Problems) {
        for key in keys.iter().filter(|key| key.required && !self.given(key.name)) {
            let message = format!("{owner} has no {}", quoted(key.name));
            let problem =
                Problem::new(codes::MISSING_KEY, place, message).label(format!("{} is missing", quoted(key.name)));
            problems.push(problem.help(format!("add \"{}\". {}", key.name, key.help)));
        }
    }

    /// Whether the key is there, sound or not.
    pub(crate) fn given(&self, name: &str) -> bool {
        self.damaged || self.found.iter().any(|field| field.name == name)
    }

    /// What is said about a key whose sound value, if any, is `value`.
    pub(crate) fn says<T>(&self, name: &str, value: Option<T>) -> Given<T> {
        match value {
            Some(value) => Given::Sound(value),
            None if self.given(name) => Given::Unsound,
            None => Given::Absent,
        }
    }

    /// The value of a key, if it is there and sound.
    pub(crate) fn node(&self, name: &str) -> Option<&'n Node> {
        self.found.iter().find(|field| field.name == name && field.sound).map(|field| field.node)
    }

    /// A bool; `false` if it is not given.
    pub(crate) fn bool(&self, name: &str) -> bool {
        self.node(name).and_then(Node::as_bool).unwrap_or(false)
    }

    /// A whole number.
    pub(crate) fn int(&self, name: &str) -> Option<Spanned<u64>> {
        let node = self.node(name)?;
        Some(Spanned::new(node.as_int()?, node.span))
    }

    /// A whole number that the table limits to 16 bits; 0 if it is not given.
    pub(crate) fn u16(&self, name: &str) -> u16 {
        self.int(name).and_then(|value| u16::try_from(value.value).ok()).unwrap_or(0)
    }

    /// The numbers of an array.
    pub(crate) fn ints(&self, name: &str) -> Option<Vec<Spanned<u64>>> {
        let number = |node: &Node| node.as_int().map(|value| Spanned::new(value, node.span));
        self.node(name)?.as_array()?.iter().map(number).collect()
    }

    /// A string.
    pub(crate) fn text(&self, name: &str) -> Option<Spanned<String>> {
        spanned_text(self.node(name)?)
    }

    /// The names of an array, or of one string: those that are sound, even if others are not.
    pub(crate) fn names(&self, name: &str) -> Vec<Spanned<String>> {
        let node = self.found.iter().find(|field| field.name == name).map(|field| field.node);
        let elements = node.map_or(&[][..], |node| node.as_array().unwrap_or(std::slice::from_ref(node)));
        elements.iter().filter_map(spanned_text).filter(|name| !name.value.is_empty()).collect()
    }
}

fn spanned_text(node: &Node) -> Option<Spanned<String>> {
    node.as_str().map(|text| Spanned::new(text.to_owned(), node.span))
}

/// Checks a value by the kind of its key.
fn check(key: &Key, owner: &str, member: &Member, problems: &mut Problems) {
    let node = &member.node;
    let what = format!("{} of {owner}", quoted(&member.key.value));
    match (key.kind, &node.value) {
        (Kind::Bool, Value::Bool(_))
        | (Kind::Text | Kind::Driver, Value::Text(_))
        | (Kind::Options, Value::Object(_)) => {}
        (Kind::Int { min, max, .. }, Value::Number(_)) => check_int(key.kind, &what, node, min, max, problems),
        (Kind::Descriptors, Value::Number(_)) => check_descriptors(&what, node, problems),
        (Kind::Name, Value::Text(text)) => check_name(text.as_str(), &what, node.span, problems),
        (Kind::Choice(words), Value::Text(text)) => check_choice(words, text.as_str(), &what, node.span, problems),
        (Kind::Ints { min, max, unit }, Value::Array(elements)) if !elements.is_empty() => {
            let kind = Kind::Int { min, max, unit };
            let what = format!("an element of {what}");
            elements.iter().for_each(|element| check_int(kind, &what, element, min, max, problems));
        }
        (Kind::Ints { .. }, Value::Array(_)) => problems.push(no_element(key.kind, &what, node)),
        (Kind::Names { .. }, Value::Array(elements)) => check_names(elements, &what, problems),
        (Kind::Wrappers, Value::Array(elements)) => check_wrappers(elements, &what, problems),
        (Kind::Names { or_one: true }, Value::Text(text)) => check_name(text.as_str(), &what, node.span, problems),
        // What queues look like inside is the lport-groups' own affair.
        (Kind::Queues, Value::Number(_) | Value::Text(_) | Value::Array(_)) => {}
        (Kind::Ignored, _) => problems.push(old_key(&what, member)),
        (Kind::Ints { .. }, Value::Number(digits)) => {
            problems.push(wrong_type(key.kind, &what, node).help(format!("write [{digits}]")));
        }
        (Kind::Names { .. }, Value::Text(text)) => {
            problems.push(wrong_type(key.kind, &what, node).help(format!("write [\"{}\"]", shown(text.as_str()))));
        }
        _ => problems.push(wrong_type(key.kind, &what, node)),
    }
}

pub(crate) fn check_int(kind: Kind, what: &str, node: &Node, min: u64, max: u64, problems: &mut Problems) {
    match node.as_int() {
        Some(value) if (min..=max).contains(&value) => {}
        Some(_) => problems.push(out_of_range(kind, what, node)),
        // Digits alone are a number that is too large even for 64 bits; a sign puts it below every range.
        None => problems.push(match &node.value {
            Value::Number(digits) if digits.trim_start_matches('-').bytes().all(|c| c.is_ascii_digit()) => {
                out_of_range(kind, what, node)
            }
            _ => wrong_type(kind, what, node),
        }),
    }
}

fn check_descriptors(what: &str, node: &Node, problems: &mut Problems) {
    let before = problems.count();
    check_int(Kind::Descriptors, what, node, 0, 32, problems);
    if let Some(value) =
        node.as_int().filter(|value| problems.count() == before && *value > 0 && !value.is_power_of_two())
    {
        let message = format!("{what} is {value}, but takes {}", Kind::Descriptors);
        let help = format!("{} and {} are the nearest", value.next_power_of_two() / 2, value.next_power_of_two());
        problems
            .push(Problem::new(codes::NOT_A_POWER_OF_TWO, node.span, message).label("not a power of two").help(help));
    }
}

fn check_name(name: &str, what: &str, span: Span, problems: &mut Problems) {
    if name.is_empty() {
        let problem = Problem::new(codes::BAD_NAME, span, format!("{what} is empty, but takes a name")).label("empty");
        problems.push(problem.help("write a name, or remove the key"));
    }
}

fn check_choice(words: &'static [&'static str], word: &str, what: &str, span: Span, problems: &mut Problems) {
    if word.is_empty() || words.iter().any(|known| known.eq_ignore_ascii_case(word)) {
        return;
    }
    let message = format!("{what} is {}, but takes {}", quoted(word), Kind::Choice(words));
    let help = match problems.nearest(word, words.iter().copied()) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => format!("write one of these, such as \"{}\"", words[0]),
    };
    problems.push(Problem::new(codes::UNKNOWN_WORD, span, message).label("unknown").help(help));
}

fn check_names(elements: &[Node], what: &str, problems: &mut Problems) {
    for element in elements {
        let what = format!("an element of {what}");
        match element.as_str() {
            Some(name) => check_name(name, &what, element.span, problems),
            None => problems.push(wrong_type(Kind::Name, &what, element)),
        }
    }
}

fn check_wrappers(elements: &[Node], what: &str, problems: &mut Problems) {
    for element in elements {
        let takes = r#""name", "name:key=value,key=value" or {"name": {"key": value}}"#;
        match &element.value {
            Value::Text(_) => {}
            Value::Object(members) if matches!(&members[..], [only] if only.node.as_object().is_some()) => {}
            _ => problems.push(wrong_type(takes, &format!("an element of {what}"), element)),
        }
    }
}

/// An array of sizes needs at least one.
fn no_element(kind: Kind, what: &str, node: &Node) -> Problem {
    Problem::new(codes::OUT_OF_RANGE, node.span, format!("{what} is empty, but takes {kind}"))
        .label("no element")
        .help("leave the key out for one region of all buffers")
}

/// A value of the wrong type, with the right way to write it where that is plain.
pub(crate) fn wrong_type(takes: impl Display + Copy, what: &str, node: &Node) -> Problem {
    let message = format!("{what} is {}, but takes {takes}", node.describe());
    Problem::new(codes::WRONG_TYPE, node.span, message).label("wrong type").help(instead(node, takes))
}

/// What to write instead of a value of the wrong type.
pub(crate) fn instead(node: &Node, takes: impl Display) -> String {
    unquote(node).unwrap_or_else(|| format!("write {takes}"))
}

/// What to write for a number or bool in quotes.
fn unquote(node: &Node) -> Option<String> {
    let text = node.as_str()?;
    let number = !text.is_empty() && text.len() < 20 && text.bytes().all(|c| c.is_ascii_digit());
    (number || matches!(text, "true" | "false")).then(|| format!("write {text} without quotes"))
}

fn out_of_range(kind: Kind, what: &str, node: &Node) -> Problem {
    let message = format!("{what} is {}, but takes {kind}", node.describe());
    Problem::new(codes::OUT_OF_RANGE, node.span, message).label("out of range").help(in_range(kind, node))
}

/// The number that is in range and probably meant, or the nearest one.
fn in_range(kind: Kind, node: &Node) -> String {
    let (min, max, unit) = match kind {
        Kind::Int { min, max, unit } => (min, max, unit),
        _ => (0, 32, UNITS),
    };
    let Some(value) = node.as_int() else {
        let negative = matches!(&node.value, Value::Number(digits) if digits.starts_with('-'));
        return if negative { smallest(min) } else { largest(max) };
    };
    let units = value / 1024;
    match value {
        _ if value < min => smallest(min),
        _ if unit.starts_with(UNITS) && value % 1024 == 0 && (min..=max).contains(&units) => {
            format!("write {units} for {value}: the unit is 1024")
        }
        _ => largest(max),
    }
}

fn smallest(min: u64) -> String {
    format!("the smallest is {min}")
}

fn largest(max: u64) -> String {
    format!("the largest is {max}")
}

fn unknown_key(keys: &'static [Key], owner: &str, member: &Member, problems: &Problems) -> Problem {
    let key = &member.key;
    let near = problems.nearest(&key.value, keys.iter().flat_map(Key::names));
    let help = match near {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => format!("its keys are {}", list(keys.iter().map(|key| key.name))),
    };
    Problem::new(codes::UNKNOWN_KEY, key.span, format!("{owner} has no key {}", quoted(&key.value)))
        .label("unknown key")
        .help(help)
}

fn same_key(key: &Key, owner: &str, member: &Member, first: Span) -> Problem {
    let names: Vec<_> = key.names().collect();
    let message = format!("{} of {owner} is given twice", quoted(key.name));
    Problem::new(codes::SAME_KEY, member.key.span, message)
        .label("again here")
        .also(first, "first given here")
        .help(format!("{} are the same; keep one", list(names)))
}

fn old_key(what: &str, member: &Member) -> Problem {
    Problem::new(codes::OLD_KEY, member.key.span, format!("{what} has no effect"))
        .label("ignored")
        .help("remove it; newer versions of CNDP do not have it either")
}
