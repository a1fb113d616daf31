//! Text to a tree of [`Node`]s, or the first place where the text is not JSONC.
//!
//! 1. `lexical` looks at brackets and quotes alone: nesting beyond 128 levels is refused before a recursive parser sees
//!    it, so no text can overflow the stack; a string that runs over its line is found where it begins.
//! 2. The parser reads comments, trailing commas and single-quoted strings, and nothing else beyond JSON; `refusal`
//!    puts its errors into words.
//! 3. `tree` copies the result into [`Node`]s and reports every key that is given twice.

mod lexical;
mod refusal;
mod tree;

use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};

use crate::codes;
use crate::diagnostic::{Problem, Problems};
use crate::node::{Node, Value};
use crate::source::{Source, Span};

/// What JSONC allows beyond JSON.
const DIALECT: ParseOptions = ParseOptions {
    allow_comments: true,
    allow_trailing_commas: true,
    allow_single_quoted_strings: true,
    allow_loose_object_property_names: false,
    allow_missing_commas: false,
    allow_hexadecimal_numbers: false,
    allow_unary_plus_numbers: false,
    allow_bare_decimal_point_numbers: false,
    allow_non_finite_numbers: false,
    allow_extended_string_escapes: false,
};

/// The file's object; `None` if the text is not JSONC or its value is not an object.
pub(crate) fn parse(source: &Source, problems: &mut Problems) -> Option<Node> {
    match parse_value(source.text(), problems) {
        Ok(root) if matches!(root.value, Value::Object(_)) => Some(root),
        Ok(other) => {
            let message = format!("the file is {}, but must be an object", other.describe());
            let problem = Problem::new(codes::NOT_AN_OBJECT, other.span, message);
            problems.push(problem.label("not an object").help("write the sections between `{` and `}`"));
            None
        }
        Err(problem) => {
            problems.push(problem);
            None
        }
    }
}

fn parse_value(text: &str, problems: &mut Problems) -> Result<Node, Problem> {
    let unclosed = lexical::check(text)?;
    let parsed = parse_to_ast(text, &CollectOptions::default(), &DIALECT);
    let complaint = parsed.as_ref().err().map_or(text.len(), |error| refusal::position(text, error));
    if let Some(at) = unclosed.filter(|at| *at <= complaint) {
        return Err(refusal::unclosed_string(text, at));
    }
    let parsed = parsed.map_err(|error| refusal::explain(text, &error))?;
    parsed.value.map(|value| tree::build(text, &value, problems)).ok_or_else(|| empty(text))
}

fn empty(text: &str) -> Problem {
    let message = if text.trim().is_empty() { "the file is empty" } else { "the file holds nothing but comments" };
    Problem::new(codes::NO_VALUE, Span::new(text.len(), text.len()), message)
        .help("an lport file is one object, at least `{ \"lports\": { ... }, \"threads\": { ... } }`")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<serde_json::Value, String> {
        let mut problems = Problems::default();
        let source = Source::new("t", text);
        let root = super::parse(&source, &mut problems);
        match problems.locate(&source).first() {
            None => Ok(root.unwrap().to_json()),
            Some(first) => Err(format!("{} {}:{}", first.code, first.primary.line, first.primary.column)),
        }
    }

    #[test]
    fn jsonc_is_read() {
        let text =
            "\u{feff}// head\n{ /* a */ 'k': \"v\", \"a\": [1, 2.5, -3, true, null,],\r\n\t\"o\": {},\n} // no newline";
        let expected = serde_json::json!({ "k": "v", "a": [1, 2.5, -3, true, null], "o": {} });
        assert_eq!(parse(text), Ok(expected));
    }

    #[test]
    fn what_is_not_jsonc_is_refused_at_its_place() {
        for (text, expected) in [
            ("", "E0003 1:1"),
            ("// only\n", "E0003 2:1"),
            ("[1]", "E0014 1:1"),
            ("{} {}", "E0010 1:4"),
            ("{} x", "E0010 1:4"),
            ("{ a: 1 }", "E0009 1:3"),
            ("{ \"a\": 0x10 }", "E0008 1:8"),
            ("{ \"a\": 010 }", "E0008 1:8"),
            ("{ \"a\": [ 007 ] }", "E0008 1:10"),
            ("{ \"a\": -01 }", "E0008 1:8"),
            ("{ \"a\": +1 }", "E0008 1:8"),
            ("{ \"a\": .5 }", "E0008 1:8"),
            ("{ \"a\": 5. }", "E0008 1:8"),
            ("{ \"a\": NaN }", "E0008 1:8"),
            ("{ \"a\": -Infinity }", "E0008 1:8"),
            ("{ \"a\": TRUE }", "E0005 1:8"),
            ("{ \"a\": nUll }", "E0005 1:8"),
            ("{ \"a\": 1,, \"b\": 2 }", "E0005 1:10"),
            ("{ \"a\": [1,,2] }", "E0005 1:11"),
            ("{ \"a\": 1 \"b\": 2 }", "E0006 1:9"),
            ("{ \"a\": [1 2] }", "E0006 1:10"),
            ("{ \"a\" 1 }", "E0005 1:7"),
            ("{ \"a\": }", "E0005 1:8"),
            ("{ \"a\": 1", "E0007 1:1"),
            ("{ \"a\": [1", "E0007 1:8"),
            ("{ \"a\": 1 ]", "E0005 1:10"),
            ("{ /* x", "E0007 1:3"),
            ("{ \"a\": \"x\n\", \"b\": 1 }", "E0007 1:8"),
            ("{ \"a\": \"x", "E0007 1:8"),
            ("{ \"a\": \"\\q\" }", "E0012 1:9"),
            ("{ \"a\": \"\\ud800\" }", "E0012 1:9"),
            ("{ # c\n }", "E0013 1:3"),
            ("{ \"a\": 1, \"a\": 2 }", "E0011 1:11"),
            ("{ b: 1, \"c: 2 }", "E0009 1:3"),
            ("{ \"a\": 1e999 }", "E0008 1:8"),
        ] {
            assert_eq!(parse(text), Err(expected.to_owned()), "{text}");
        }
    }

    #[test]
    fn nesting_is_limited_to_128_levels() {
        let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1));
        assert!(parse(&nested(128)).is_ok());
        assert_eq!(parse(&nested(129)), Err("E0004 1:133".to_owned()));
        assert_eq!(parse(&"[".repeat(4_000_000)), Err("E0004 1:129".to_owned()));
        assert!(parse(&format!("{{ \"a\": \"{}\" /* {} */ }}", "[".repeat(999), "{".repeat(999))).is_ok());
    }
}
