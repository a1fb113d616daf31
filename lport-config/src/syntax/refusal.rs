//! The parser's errors in words that name the place and the way out.

use jsonc_parser::ParseStringErrorKind;
use jsonc_parser::errors::{ParseError, ParseErrorKind};

use crate::codes;
use crate::diagnostic::Problem;
use crate::nearest::{quoted, shown};
use crate::source::Span;

/// Where the parser gave up.
pub(super) fn position(text: &str, error: &ParseError) -> usize {
    match error.kind() {
        // It came to the end of the text, looking for the partner of something further up.
        ParseErrorKind::UnterminatedCommentBlock
        | ParseErrorKind::UnterminatedObject
        | ParseErrorKind::UnterminatedArray => text.len(),
        _ => error.range().start,
    }
}

/// What the parser objects to.
pub(super) fn explain(text: &str, error: &ParseError) -> Problem {
    let range = error.range();
    let span = Span::new(range.start, range.end.max(range.start));
    match error.kind() {
        ParseErrorKind::ExpectedComma => missing_comma(text, span),
        ParseErrorKind::MultipleRootJsonValues => second_root(text, span),
        ParseErrorKind::ExpectedStringObjectProperty => unquoted_key(text, span),
        ParseErrorKind::String(kind) => string(text, span, kind),
        ParseErrorKind::UnterminatedCommentBlock => opening(text, span, 2, "comment", "*/"),
        ParseErrorKind::UnterminatedObject => opening(text, span, 1, "object", "}"),
        ParseErrorKind::UnterminatedArray => opening(text, span, 1, "array", "]"),
        ParseErrorKind::HexadecimalNumbersNotAllowed
        | ParseErrorKind::UnaryPlusNumbersNotAllowed
        | ParseErrorKind::BareDecimalPointNumbersNotAllowed
        | ParseErrorKind::NonFiniteNumbersNotAllowed
        | ParseErrorKind::ExpectedDigit
        | ParseErrorKind::ExpectedDigitFollowingNegativeSign
        | ParseErrorKind::ExpectedPlusMinusOrDigitInNumberLiteral => number(text, span.start),
        ParseErrorKind::ExpectedColonAfterObjectKey => expected(text, span, "a colon behind the key"),
        ParseErrorKind::ExpectedObjectValue => expected(text, span, "a value behind the colon"),
        ParseErrorKind::UnexpectedTokenInObject => expected(text, span, "a key in quotes or `}`"),
        ParseErrorKind::UnexpectedCloseBrace if !text[..span.start].trim_end().ends_with([':', '{']) => {
            expected(text, span, "a comma or `]`")
        }
        ParseErrorKind::UnexpectedCloseBrace
        | ParseErrorKind::UnexpectedCloseBracket
        | ParseErrorKind::UnexpectedComma
        | ParseErrorKind::UnexpectedColon => expected(text, span, "a value"),
        _ => word(text, span),
    }
}

/// A string that begins at `at` and does not end on its line.
pub(super) fn unclosed_string(text: &str, at: usize) -> Problem {
    let quote = &text[at..=at];
    let end = text[at..].find(['\n', '\r']).map_or(text.len(), |length| at + length);
    Problem::new(codes::UNTERMINATED, Span::new(at, end), "this string is not closed on its line")
        .label(format!("no second {quote} on this line"))
        .help(format!("add the closing {quote}; a line break inside a string is written \\n"))
}

fn missing_comma(text: &str, span: Span) -> Problem {
    let start = token_start(text, span.start);
    if text[start..].trim_start_matches('-').starts_with('0')
        && text[span.start..].starts_with(|c: char| c.is_ascii_digit())
    {
        return number(text, start);
    }
    let next = found(text, span.start);
    Problem::new(codes::MISSING_COMMA, span, format!("a comma is missing in front of {next}"))
        .label("the comma belongs here")
        .help(format!("write `,` in front of {next}"))
}

fn second_root(text: &str, span: Span) -> Problem {
    let end = text[..span.start].trim_end().len();
    let message = format!("{} stands behind the end of the file's object", found(text, span.start));
    Problem::new(codes::SECOND_ROOT, span, message)
        .label("nothing but comments may follow")
        .also(Span::new(end.saturating_sub(1), end), "the object ends here")
        .help("a file holds one object; look for a `}` too many further up")
}

fn unquoted_key(text: &str, span: Span) -> Problem {
    let key = &text[span.start..span.end];
    Problem::new(codes::UNQUOTED_KEY, span, format!("the key {} has no quotes", quoted(key)))
        .label("not a string")
        .help(format!("write \"{}\"", shown(key)))
}

fn string(text: &str, span: Span, kind: &ParseStringErrorKind) -> Problem {
    if *kind == ParseStringErrorKind::UnterminatedStringLiteral {
        return unclosed_string(text, span.start);
    }
    let escape: String =
        text[span.start..].chars().take(if text[span.start..].starts_with("\\u") { 6 } else { 2 }).collect();
    let end = span.start + escape.len();
    let help =
        if escape.starts_with("\\u") { "write the character itself" } else { "write a backslash itself as \\\\" };
    Problem::new(codes::ESCAPE, Span::new(span.start, end), format!("{} is not an escape of JSON", quoted(&escape)))
        .label("not an escape")
        .help(help)
}

/// A bracket or comment without partner: its own place, not all that follows.
fn opening(text: &str, span: Span, length: usize, what: &str, closing: &str) -> Problem {
    let end = (span.start + length).min(text.len());
    Problem::new(codes::UNTERMINATED, Span::new(span.start, end), format!("this {what} is never closed"))
        .label(format!("no {closing} for this"))
        .help(format!("add `{closing}` where the {what} ends"))
}

/// The whole word around a malformed number.
fn number(text: &str, start: usize) -> Problem {
    let start = token_start(text, start);
    let length = text[start..].find(|c: char| !is_number_char(c)).unwrap_or(text.len() - start);
    let span = Span::new(start, start + length);
    let word = &text[start..start + length];
    Problem::new(codes::NUMBER, span, format!("{} is not a JSON number", quoted(word)))
        .label("not a number of JSON")
        .help(number_help(word).unwrap_or_else(|| match word.contains('.') {
            true => "write digits on both sides of the point, such as 0.5".to_owned(),
            false => "write digits, or a string in quotes".to_owned(),
        }))
}

fn number_help(word: &str) -> Option<String> {
    let (sign, digits) = word.strip_prefix('-').map_or(("", word), |rest| ("-", rest));
    let hex = digits.strip_prefix("0x").or(digits.strip_prefix("0X"));
    if let Some(value) = hex.and_then(|hex| u64::from_str_radix(hex, 16).ok()) {
        return Some(format!("write it in decimal: {sign}{value}"));
    }
    let plain = digits.trim_start_matches(['+', '0']);
    let plain = if plain.is_empty() { "0" } else { plain };
    plain.bytes().all(|c| c.is_ascii_digit()).then(|| format!("write {sign}{plain}"))
}

fn is_number_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '+' | '-')
}

/// Start of the word that `at` is in or behind.
fn token_start(text: &str, at: usize) -> usize {
    text[..at].char_indices().rev().take_while(|(_, c)| is_number_char(*c)).last().map_or(at, |(start, _)| start)
}

fn expected(text: &str, span: Span, wanted: &str) -> Problem {
    let message = format!("expected {wanted}, but found {}", found(text, span.start));
    let help = match text[span.start..].starts_with(',') {
        true => "remove this comma, or write what is missing in front of it".to_owned(),
        false => format!("write it in front of {}", found(text, span.start)),
    };
    Problem::new(codes::SYNTAX, span, message).label(format!("expected {wanted}")).help(help)
}

/// A word or a character that JSON does not have.
fn word(text: &str, span: Span) -> Problem {
    let rest = &text[span.start..];
    if rest.starts_with('#') {
        return Problem::new(codes::HASH_COMMENT, span, "a comment begins with #")
            .label("not a comment")
            .help("write `//`");
    }
    let length = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
    let word = &rest[..length];
    if matches!(word, "NaN" | "Infinity") {
        return number(text, span.start);
    }
    if word.is_empty() {
        let end = span.start + rest.chars().next().map_or(0, char::len_utf8);
        return Problem::new(
            codes::SYNTAX,
            Span::new(span.start, end),
            format!("unexpected {}", found(text, span.start)),
        )
        .label("not JSONC")
        .help("remove it");
    }
    let help = match word.to_ascii_lowercase() {
        _ if text[..span.start].ends_with(['"', '\'']) => "a quote is missing further to the left".to_owned(),
        lower if matches!(lower.as_str(), "true" | "false" | "null") => format!("write {lower} in lower case"),
        _ => format!("a string stands in quotes: \"{}\"", shown(word)),
    };
    let span = Span::new(span.start, span.start + length);
    Problem::new(codes::SYNTAX, span, format!("{} is not a JSON value", quoted(word))).label("not a value").help(help)
}

/// The first word, string or character at or behind `at`, for a message.
fn found(text: &str, at: usize) -> String {
    let rest = text[at..].trim_start();
    let Some(first) = rest.chars().next() else { return "the end of the file".to_owned() };
    let length = match first {
        '"' | '\'' => rest[1..].find([first, '\n']).map_or(1, |end| end + 2),
        _ => rest.find(|c: char| !is_number_char(c)).unwrap_or(rest.len()).max(first.len_utf8()),
    };
    quoted(&rest[..length])
}
