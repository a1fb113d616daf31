//! Driver options: what a driver accepts, and the check of what it was given.
//!
//! 1. A driver publishes a table of [`OptionSpec`]s (name, kind with its range, default, help).
//! 2. Whoever configures a device collects [`RawOption`]s: words of a `driver:key=value` string or typed values of a
//!    JSON object.
//! 3. [`Options::check`] turns the second into typed values by the first, with every problem found, not just the first
//!    one; each names the value, the limit and the nearest known word.
//! 4. The driver reads its values with [`Options::bool`], [`Options::int`] and [`Options::text`].

use std::collections::BTreeMap;
use std::fmt;

/// One option of a driver: the row of its table.
#[derive(Debug, Clone, Copy)]
pub struct OptionSpec {
    /// The key, as written in files and on command lines.
    pub name: &'static str,
    /// Type and range.
    pub kind: OptionKind,
    /// The value taken when none is given, in the words of the option; empty for "none".
    pub default: &'static str,
    /// One line for people, with the unit.
    pub help: &'static str,
}

impl OptionSpec {
    /// A row for a [`OptionKind::Bool`].
    pub const fn flag(name: &'static str, default: &'static str, help: &'static str) -> Self {
        Self { name, kind: OptionKind::Bool, default, help }
    }

    /// A row for an [`OptionKind::Int`] from `min` to `max`.
    pub const fn int(name: &'static str, min: u64, max: u64, default: &'static str, help: &'static str) -> Self {
        Self { name, kind: OptionKind::Int { min, max }, default, help }
    }

    /// A row for an [`OptionKind::Text`] of at most `max_len` bytes.
    pub const fn text(name: &'static str, max_len: usize, default: &'static str, help: &'static str) -> Self {
        Self { name, kind: OptionKind::Text { max_len }, default, help }
    }

    /// A row for an [`OptionKind::Choice`]; the first word is the default.
    ///
    /// # Panics
    /// When there is no word.
    pub const fn choice(name: &'static str, words: &'static [&'static str], help: &'static str) -> Self {
        Self { name, kind: OptionKind::Choice(words), default: words[0], help }
    }

    /// A row for an [`OptionKind::Mac`] without a default.
    pub const fn mac(name: &'static str, help: &'static str) -> Self {
        Self { name, kind: OptionKind::Mac, default: "", help }
    }
}

/// Type and range of an option's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OptionKind {
    /// `yes`/`no`, `true`/`false`, `on`/`off`, `1`/`0`, or a JSON bool.
    Bool,
    /// A whole number, both ends included.
    Int {
        /// Smallest value accepted.
        min: u64,
        /// Largest value accepted.
        max: u64,
    },
    /// Free text.
    Text {
        /// Largest length in bytes.
        max_len: usize,
    },
    /// One of a few words, exactly spelt. The empty word alone makes an option that is given without a value.
    Choice(&'static [&'static str]),
    /// An Ethernet address, `02:00:00:00:00:01`, unicast.
    Mac,
}

impl OptionSpec {
    /// Checks that the default is a value of the option's own kind: for tables that nobody compiled with us.
    ///
    /// # Errors
    /// When it is not. [`Options::check`] would panic.
    pub fn check_default(&self) -> Result<(), OptionError> {
        match self.default {
            "" => Ok(()),
            word => parse(self, &RawValue::Text(word.to_owned())).map(drop),
        }
    }
}

impl fmt::Display for OptionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool => f.write_str("yes or no"),
            Self::Int { min, max } => write!(f, "a whole number from {min} to {max}"),
            Self::Text { max_len } => write!(f, "text of at most {max_len} bytes"),
            Self::Choice([""]) => f.write_str("no value"),
            Self::Choice(words) => write!(f, "one of {}", words.join(", ")),
            Self::Mac => f.write_str("a unicast Ethernet address such as 02:00:00:00:00:01"),
        }
    }
}

/// A value as it was given, before the driver's table has been asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RawValue {
    /// A JSON `true` or `false`.
    Bool(bool),
    /// A JSON number without sign or fraction.
    Int(u64),
    /// A JSON string, or a word from a `key=value` list.
    Text(String),
}

impl fmt::Display for RawValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => write!(f, "{value}"),
            Self::Int(value) => write!(f, "{value}"),
            Self::Text(value) => write!(f, "\"{value}\""),
        }
    }
}

/// One `key=value` as it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawOption {
    /// The key.
    pub key: String,
    /// The value.
    pub value: RawValue,
}

impl RawOption {
    /// A textual option, as in `key=value`.
    pub fn text(key: impl Into<String>, value: impl Into<String>) -> Self {
        Self { key: key.into(), value: RawValue::Text(value.into()) }
    }
}

/// A value after the check.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Value {
    Bool(bool),
    Int(u64),
    Text(String),
}

/// Checked options of one device: every key of the driver's table has a value, given or default.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Options {
    values: BTreeMap<&'static str, Value>,
    given: Vec<&'static str>,
}

/// What is wrong with one option.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct OptionError {
    /// The key the message is about.
    pub key: String,
    /// Whether the key itself is at fault (unknown, twice) rather than its value.
    pub key_at_fault: bool,
    /// Names the value, the limit and the way out.
    pub message: String,
}

impl OptionError {
    /// An error about the value of `key`.
    pub fn value(key: impl Into<String>, message: impl Into<String>) -> Self {
        Self { key: key.into(), key_at_fault: false, message: message.into() }
    }
}

impl Options {
    /// Checks `given` against the table `specs`.
    ///
    /// # Errors
    /// Every unknown key, repeated key and value out of range, in the order given.
    pub fn check(specs: &[OptionSpec], given: &[RawOption]) -> Result<Self, Vec<OptionError>> {
        let mut options = Self::defaults(specs);
        let mut errors = Vec::new();
        for raw in given {
            let Some(spec) = specs.iter().find(|spec| spec.name == raw.key) else {
                errors.push(unknown_key(specs, &raw.key));
                continue;
            };
            if options.given.contains(&spec.name) {
                let message = format!("option `{}` is given twice; keep one", spec.name);
                errors.push(OptionError { key: raw.key.clone(), key_at_fault: true, message });
                continue;
            }
            options.given.push(spec.name);
            match parse(spec, &raw.value) {
                Ok(value) => drop(options.values.insert(spec.name, value)),
                Err(error) => errors.push(error),
            }
        }
        if errors.is_empty() { Ok(options) } else { Err(errors) }
    }

    /// The defaults of a table.
    ///
    /// # Panics
    /// If a default contradicts its own kind: a mistake in the driver.
    fn defaults(specs: &[OptionSpec]) -> Self {
        let values =
            specs.iter().filter(|spec| !spec.default.is_empty() || matches!(spec.kind, OptionKind::Text { .. }));
        let values = values.map(|spec| match parse(spec, &RawValue::Text(spec.default.to_owned())) {
            Ok(value) => (spec.name, value),
            Err(error) => panic!("bad default in a driver's option table: {error}"),
        });
        Self { values: values.collect(), given: Vec::new() }
    }

    /// Whether the key was given, not defaulted.
    pub fn is_given(&self, key: &str) -> bool {
        self.given.contains(&key)
    }

    /// The value of a `Bool` option; `false` for a key that is not of this kind.
    pub fn bool(&self, key: &str) -> bool {
        matches!(self.values.get(key), Some(Value::Bool(true)))
    }

    /// The value of an `Int` option; `None` when it has no default and was not given.
    pub fn int(&self, key: &str) -> Option<u64> {
        match self.values.get(key) {
            Some(Value::Int(value)) => Some(*value),
            _ => None,
        }
    }

    /// The value of a `Text`, `Choice` or `Mac` option; empty when there is none.
    pub fn text(&self, key: &str) -> &str {
        match self.values.get(key) {
            Some(Value::Text(value)) => value,
            _ => "",
        }
    }

    /// The value of a `Mac` option.
    pub fn mac(&self, key: &str) -> Option<[u8; 6]> {
        parse_mac(self.text(key))
    }
}

/// Parses six colon-separated hexadecimal bytes.
pub fn parse_mac(text: &str) -> Option<[u8; 6]> {
    let mut mac = [0; 6];
    let mut parts = text.split(':');
    for byte in &mut mac {
        let part = parts.next().filter(|part| part.len() == 2 && part.bytes().all(|c| c.is_ascii_hexdigit()))?;
        *byte = u8::from_str_radix(part, 16).ok()?;
    }
    parts.next().is_none().then_some(mac)
}

fn unknown_key(specs: &[OptionSpec], key: &str) -> OptionError {
    let known: Vec<_> = specs.iter().map(|spec| spec.name).collect();
    let message = if known.is_empty() {
        format!("unknown option `{key}`: this driver has no options")
    } else {
        format!("unknown option `{key}`; known are: {}", known.join(", "))
    };
    OptionError { key: key.to_owned(), key_at_fault: true, message }
}

fn parse(spec: &OptionSpec, raw: &RawValue) -> Result<Value, OptionError> {
    let value = match (spec.kind, raw) {
        (OptionKind::Bool, RawValue::Bool(value)) => Some(Value::Bool(*value)),
        (OptionKind::Bool, RawValue::Text(word)) => parse_bool(word).map(Value::Bool),
        (OptionKind::Int { min, max }, RawValue::Int(value)) => in_range(*value, min, max),
        (OptionKind::Int { min, max }, RawValue::Text(word)) => {
            let digits = !word.is_empty() && word.bytes().all(|c| c.is_ascii_digit());
            digits.then(|| word.parse().ok()).flatten().and_then(|value| in_range(value, min, max))
        }
        (OptionKind::Text { max_len }, RawValue::Text(word)) => {
            (word.len() <= max_len && !word.contains('\0')).then(|| Value::Text(word.clone()))
        }
        (OptionKind::Choice(words), RawValue::Text(word)) => {
            words.contains(&word.as_str()).then(|| Value::Text(word.clone()))
        }
        (OptionKind::Mac, RawValue::Text(word)) => {
            parse_mac(word).filter(|mac| mac[0] & 1 == 0 && *mac != [0; 6]).map(|_| Value::Text(word.clone()))
        }
        _ => None,
    };
    value.ok_or_else(|| {
        let length = match (spec.kind, raw) {
            (OptionKind::Text { .. }, RawValue::Text(word)) => format!(" ({} bytes)", word.len()),
            _ => String::new(),
        };
        OptionError::value(spec.name, format!("option `{}` is {raw}{length}, but takes {}", spec.name, spec.kind))
    })
}

fn in_range(value: u64, min: u64, max: u64) -> Option<Value> {
    (min..=max).contains(&value).then_some(Value::Int(value))
}

fn parse_bool(word: &str) -> Option<bool> {
    match word {
        "yes" | "true" | "on" | "1" => Some(true),
        "no" | "false" | "off" | "0" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[OptionSpec] = &[
        OptionSpec::int("id", 0, 9, "3", ""),
        OptionSpec::flag("fast", "no", ""),
        OptionSpec::text("secret", 4, "", ""),
        OptionSpec::choice("role", &["client", "server"], ""),
        OptionSpec::mac("mac", ""),
    ];

    fn check(given: &[(&str, RawValue)]) -> Result<Options, Vec<String>> {
        let given: Vec<_> =
            given.iter().map(|(key, value)| RawOption { key: (*key).to_owned(), value: value.clone() }).collect();
        Options::check(TABLE, &given).map_err(|errors| errors.iter().map(ToString::to_string).collect())
    }

    fn text(word: &str) -> RawValue {
        RawValue::Text(word.to_owned())
    }

    #[test]
    fn defaults_hold_for_what_was_not_given() {
        let options = check(&[("fast", text("yes"))]).unwrap();
        assert_eq!((options.int("id"), options.bool("fast"), options.text("role")), (Some(3), true, "client"));
        assert_eq!((options.text("secret"), options.mac("mac")), ("", None));
        assert!(options.is_given("fast") && !options.is_given("id"));
    }

    #[test]
    fn json_types_and_words_are_both_read() {
        let options = check(&[("id", RawValue::Int(9)), ("fast", RawValue::Bool(true))]).unwrap();
        assert_eq!((options.int("id"), options.bool("fast")), (Some(9), true));
        let options = check(&[("id", text("0")), ("mac", text("02:00:00:00:00:0a"))]).unwrap();
        assert_eq!((options.int("id"), options.mac("mac")), (Some(0), Some([2, 0, 0, 0, 0, 10])));
    }

    #[test]
    fn every_problem_is_reported_with_value_and_limit() {
        let errors = check(&[
            ("id", text("10")),
            ("fast", text("maybe")),
            ("secret", text("12345")),
            ("role", text("master")),
            ("mac", text("01:00:00:00:00:00")),
            ("nope", RawValue::Bool(true)),
            ("id", text("1")),
        ])
        .unwrap_err();
        assert_eq!(
            errors,
            [
                "option `id` is \"10\", but takes a whole number from 0 to 9",
                "option `fast` is \"maybe\", but takes yes or no",
                "option `secret` is \"12345\" (5 bytes), but takes text of at most 4 bytes",
                "option `role` is \"master\", but takes one of client, server",
                "option `mac` is \"01:00:00:00:00:00\", but takes a unicast Ethernet address such as 02:00:00:00:00:01",
                "unknown option `nope`; known are: id, fast, secret, role, mac",
                "option `id` is given twice; keep one",
            ]
        );
    }

    #[test]
    fn numbers_are_strict() {
        for bad in ["", "+1", "-1", "1.0", "0x1", " 1", "1k", "99999999999999999999999"] {
            assert!(check(&[("id", text(bad))]).is_err(), "{bad:?} must not be a number");
        }
    }
}
