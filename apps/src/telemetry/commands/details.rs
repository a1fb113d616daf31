//! A driver's details as JSON.

use pmd_core::details::{Details, Value as Item};
use serde_json::{Value, json};

/// An object with the same names in the same order.
pub(super) fn tree(details: &Details) -> Value {
    Value::Object(details.iter().map(|(name, item)| (name.to_owned(), value(item))).collect())
}

fn value(item: &Item) -> Value {
    match item {
        Item::Absent => Value::Null,
        Item::Flag(flag) => json!(flag),
        Item::Number(number) => json!(number),
        Item::Text(text) => json!(text),
        Item::List(list) => list.iter().map(value).collect(),
        Item::Tree(details) => tree(details),
    }
}
