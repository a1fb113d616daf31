//! Lists of numbers in strings, as for CPUs and queues: `3`, `0-3`, `0-3,8`, blanks allowed around numbers.

use std::ops::RangeInclusive;

use crate::nearest::quoted;
use crate::node::Node;
use crate::source::{Span, Spanned};

/// A part of a list that is no range of numbers.
pub(crate) struct Malformed {
    /// The part.
    pub(crate) span: Span,
    /// The part in words.
    pub(crate) what: String,
    /// What is wrong with it: the rest of a sentence about it.
    pub(crate) wrong: String,
    /// What to write instead.
    pub(crate) help: String,
}

/// The ranges of the string `node`, each with the place of its part; numbers are at most `max`.
///
/// # Errors
/// The first part that is empty, reversed, too large, or anything else but digits and a dash.
pub(crate) fn parse(node: &Node, text: &str, max: u64) -> Result<Vec<Spanned<RangeInclusive<u64>>>, Malformed> {
    let mut ranges = Vec::new();
    let mut start = 0;
    for part in text.split(',') {
        let word = part.trim();
        let from = start + (part.len() - part.trim_start().len());
        let span = if word.is_empty() { node.span } else { node.span_within(from, from + word.len()) };
        match range(word, max) {
            Ok(range) => ranges.push(Spanned::new(range, span)),
            Err(wrong) => return Err(Malformed { span, ..wrong }),
        }
        start += part.len() + 1;
    }
    Ok(ranges)
}

fn range(word: &str, max: u64) -> Result<RangeInclusive<u64>, Malformed> {
    let (low, high) = word.split_once('-').unwrap_or((word, word));
    let (low, high) = (number(low.trim(), word, max)?, number(high.trim(), word, max)?);
    if low > high {
        let what = format!("the range {}", quoted(word));
        return Err(malformed(what, "is reversed", format!("write \"{high}-{low}\"")));
    }
    Ok(low..=high)
}

fn number(digits: &str, word: &str, max: u64) -> Result<u64, Malformed> {
    if digits.is_empty() || !digits.bytes().all(|c| c.is_ascii_digit()) {
        let what = if word.is_empty() { "an empty part".to_owned() } else { quoted(word) };
        let help = "write numbers and ranges, such as \"0-3,8\"".to_owned();
        return Err(malformed(what, "is neither a number nor a range", help));
    }
    let number = digits.parse().ok().filter(|number| *number <= max);
    number.ok_or_else(|| malformed(quoted(digits), "is too large", format!("numbers are 0 to {max}")))
}

fn malformed(what: String, wrong: &str, help: String) -> Malformed {
    Malformed { span: Span::default(), what, wrong: wrong.to_owned(), help }
}
