//! The parser's tree as our own: places kept, keys unique, numbers that can be held.

use std::collections::HashMap;

use jsonc_parser::ast;
use jsonc_parser::common::{Range, Ranged};

use crate::codes;
use crate::diagnostic::{Problem, Problems};
use crate::nearest::quoted;
use crate::node::{Member, Node, Text, Value};
use crate::source::{Span, Spanned};

/// Copies `value`. Of members with one key the first is kept.
pub(super) fn build(text: &str, value: &ast::Value<'_>, problems: &mut Problems) -> Node {
    let span = span(value.range());
    let value = match value {
        ast::Value::NullKeyword(_) => Value::Null,
        ast::Value::BooleanLit(literal) => Value::Bool(literal.value),
        ast::Value::NumberLit(literal) => number(literal.value, span, problems),
        ast::Value::StringLit(literal) => {
            Value::Text(Text::new(literal.value.to_string(), &text[span.start + 1..span.end - 1]))
        }
        ast::Value::Array(array) => {
            Value::Array(array.elements.iter().map(|element| build(text, element, problems)).collect())
        }
        ast::Value::Object(object) => Value::Object(members(text, object, problems)),
    };
    Node { span, value }
}

fn span(range: Range) -> Span {
    Span::new(range.start, range.end)
}

fn number(digits: &str, span: Span, problems: &mut Problems) -> Value {
    if digits.parse::<f64>().is_ok_and(f64::is_infinite) {
        let message = format!("{} is too large for a number", quoted(digits));
        let problem = Problem::new(codes::NUMBER, span, message).label("too large");
        problems.push(problem.help("no key takes more than 20 digits"));
    }
    Value::Number(digits.to_owned())
}

fn members(text: &str, object: &ast::Object<'_>, problems: &mut Problems) -> Vec<Member> {
    let mut members = Vec::with_capacity(object.properties.len());
    let mut seen: HashMap<&str, Span> = HashMap::new();
    for property in &object.properties {
        let key = property.name.as_str();
        let place = span(property.name.range());
        let node = build(text, &property.value, problems);
        if let Some(first) = seen.get(key) {
            problems.push(duplicate(key, place, *first));
            continue;
        }
        seen.insert(key, place);
        members.push(Member { key: Spanned::new(key.to_owned(), place), node });
    }
    members
}

fn duplicate(key: &str, place: Span, first: Span) -> Problem {
    Problem::new(codes::DUPLICATE_KEY, place, format!("the key {} is given twice", quoted(key)))
        .label("again here")
        .also(first, "first given here")
        .help("remove or rename one of the two")
}
