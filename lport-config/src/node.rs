//! The tree of a file: JSON values, each with its place in the text.

use serde_json::{Map, Number};

use crate::nearest::shown;
use crate::source::{Span, Spanned};

/// A JSON value and its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Where it stands, quotes and brackets included.
    pub span: Span,
    /// The value.
    pub value: Value,
}

/// A JSON value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number, as it is written.
    Number(String),
    /// A string.
    Text(Text),
    /// An array.
    Array(Vec<Node>),
    /// An object; the keys are unique.
    Object(Vec<Member>),
}

/// A key of an object with its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// The key and its place, quotes included.
    pub key: Spanned<String>,
    /// The value.
    pub node: Node,
}

/// A string without its quotes and escapes, which remembers where its bytes stood in the text.
#[derive(Debug, Clone, PartialEq)]
pub struct Text {
    content: String,
    /// After which byte of the content how many bytes more the text has had so far, because of escapes.
    shifts: Vec<(usize, usize)>,
}

impl Text {
    /// `content` as decoded from `raw`, the text between the quotes.
    pub(crate) fn new(content: String, raw: &str) -> Self {
        let shifts = if content.len() == raw.len() { Vec::new() } else { shifts(raw) };
        Self { content, shifts }
    }

    /// The string itself.
    pub fn as_str(&self) -> &str {
        &self.content
    }

    /// How far byte `at` of the content is behind the opening quote in the text.
    fn offset(&self, at: usize) -> usize {
        let before = self.shifts.partition_point(|(from, _)| *from <= at);
        at + before.checked_sub(1).map_or(0, |last| self.shifts[last].1)
    }
}

/// For each escape of a string: where it ends in the content, and by how much the text is longer up to there.
fn shifts(raw: &str) -> Vec<(usize, usize)> {
    let (mut shifts, mut content, mut text) = (Vec::new(), 0, 0);
    while let Some(escape) = raw[text..].find('\\') {
        let (escaped, decoded) = escape_length(&raw[text + escape..]);
        text += escape + escaped;
        content += escape + decoded;
        shifts.push((content, text - content));
    }
    shifts
}

/// Bytes of the escape in front of `raw`, and bytes of the character it stands for.
fn escape_length(raw: &str) -> (usize, usize) {
    let unit = |raw: &str| raw.strip_prefix("\\u").and_then(|hex| u32::from_str_radix(hex.get(..4)?, 16).ok());
    match unit(raw) {
        Some(0xd800..=0xdbff) => (12.min(raw.len()), 4),
        Some(code) => (6, char::from_u32(code).map_or(3, char::len_utf8)),
        None => (2.min(raw.len()), 1),
    }
}

impl Node {
    /// The content of a string.
    pub fn as_str(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text.as_str()),
            _ => None,
        }
    }

    /// The elements of an array.
    pub fn as_array(&self) -> Option<&[Node]> {
        match &self.value {
            Value::Array(elements) => Some(elements),
            _ => None,
        }
    }

    /// The members of an object, in the order of the text.
    pub fn as_object(&self) -> Option<&[Member]> {
        match &self.value {
            Value::Object(members) => Some(members),
            _ => None,
        }
    }

    /// The value of `key` in an object.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.as_object()?.iter().find(|member| member.key.value == key).map(|member| &member.node)
    }

    /// A bool.
    pub fn as_bool(&self) -> Option<bool> {
        match self.value {
            Value::Bool(value) => Some(value),
            _ => None,
        }
    }

    /// A whole number without sign, fraction or exponent that fits 64 bits.
    pub fn as_int(&self) -> Option<u64> {
        match &self.value {
            Value::Number(digits) if digits.bytes().all(|c| c.is_ascii_digit()) => digits.parse().ok(),
            _ => None,
        }
    }

    /// The place of bytes `start..end` of a string's content; the whole place for other values.
    pub fn span_within(&self, start: usize, end: usize) -> Span {
        match &self.value {
            Value::Text(text) => {
                let inside = self.span.start + 1;
                Span::new(inside + text.offset(start), inside + text.offset(end))
            }
            _ => self.span,
        }
    }

    /// The value for a message: a scalar as it is written, `an array`, `an object`.
    pub fn describe(&self) -> String {
        match &self.value {
            Value::Null => "null".to_owned(),
            Value::Bool(value) => value.to_string(),
            Value::Number(digits) => shown(digits),
            Value::Text(text) => format!("the string \"{}\"", shown(text.as_str())),
            Value::Array(_) => "an array".to_owned(),
            Value::Object(_) => "an object".to_owned(),
        }
    }

    /// The value without places. A number that no JSON reader can hold becomes a string of its digits.
    pub fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(value) => (*value).into(),
            Value::Number(digits) => match digits.parse::<Number>() {
                Ok(number) => number.into(),
                Err(_) => digits.clone().into(),
            },
            Value::Text(text) => text.as_str().into(),
            Value::Array(elements) => elements.iter().map(Self::to_json).collect(),
            Value::Object(members) => {
                let members = members.iter().map(|member| (member.key.value.clone(), member.node.to_json()));
                serde_json::Value::Object(members.collect::<Map<_, _>>())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn within(raw: &str, content: &str, start: usize, end: usize) -> String {
        let text = format!("\"{raw}\"");
        let value = Value::Text(Text::new(content.to_owned(), raw));
        let span = Node { span: Span::new(0, text.len()), value }.span_within(start, end);
        text[span.start..span.end].to_owned()
    }

    #[test]
    fn parts_of_a_string_are_found_behind_escapes() {
        assert_eq!(within("drv:a=1", "drv:a=1", 4, 5), "a");
        assert_eq!(within(r"\/x:a=1", "/x:a=1", 3, 4), "a");
        assert_eq!(within(r"\u00e4\ud83d\ude00:a=1", "ä😀:a=1", 7, 8), "a");
        assert_eq!(within(r"\\\\a\n", "\\\\a\n", 2, 3), "a");
    }

    #[test]
    fn whole_numbers_have_no_sign_fraction_or_overflow() {
        let int = |digits: &str| Node { span: Span::default(), value: Value::Number(digits.to_owned()) }.as_int();
        assert_eq!(int("18446744073709551615"), Some(u64::MAX));
        for bad in ["18446744073709551616", "-1", "1.0", "1e3", "-0"] {
            assert_eq!(int(bad), None, "{bad}");
        }
    }
}
