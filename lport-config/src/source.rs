//! The text of a file, and where things are in it.
//!
//! Everything inside the crate speaks in byte offsets ([`Span`]); only what leaves it for people has lines and columns.

use serde::Serialize;

/// A piece of the text: byte offsets, the end excluded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

impl Span {
    /// The span from `start` up to, without, `end`.
    pub fn new(start: usize, end: usize) -> Self {
        Self { start, end }
    }
}

/// A value and where it was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Its place in the text.
    pub span: Span,
}

impl<T> Spanned<T> {
    /// `value`, said at `span`.
    pub fn new(value: T, span: Span) -> Self {
        Self { value, span }
    }
}

/// A place for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Position {
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1, in characters (a tab is one).
    pub column: usize,
}

/// The text of a file and its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    name: String,
    text: String,
    line_starts: Vec<usize>,
    /// Characters in front of every [`STEP`]th byte, because a line can be as long as the file.
    chars: Vec<usize>,
}

/// Bytes between two entries of [`Source::chars`].
const STEP: usize = 4096;

impl Source {
    /// The text of a file called `name`. A byte order mark in front is dropped, and no offset counts it.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        let text: String = text.into();
        let text = match text.strip_prefix('\u{feff}') {
            Some(rest) => rest.to_owned(),
            None => text,
        };
        let line_starts = line_starts(&text);
        let chars = characters(text.as_bytes());
        Self { name: name.into(), text, line_starts, chars }
    }

    /// The name, as it was given.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The whole text, without a byte order mark.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The text of a span. A span that does not fit the text is shortened to what fits.
    pub fn slice(&self, span: Span) -> &str {
        let (start, end) = (self.boundary(span.start), self.boundary(span.end));
        self.text.get(start..end.max(start)).unwrap_or_default()
    }

    /// Line and column of a byte offset; one beyond the text counts as its end.
    pub fn position(&self, offset: usize) -> Position {
        let offset = self.boundary(offset);
        let line = self.line_starts.partition_point(|start| *start <= offset);
        Position { line, column: self.chars_before(offset) - self.chars_before(self.line_starts[line - 1]) + 1 }
    }

    /// Characters that begin in front of a byte.
    fn chars_before(&self, offset: usize) -> usize {
        let step = offset / STEP;
        self.chars[step] + self.text.as_bytes()[step * STEP..offset].iter().filter(|byte| begins(**byte)).count()
    }

    /// The text of a line counted from 1, without its end; empty for a line that does not exist.
    pub fn line(&self, line: usize) -> &str {
        let span = self.line_span(line);
        self.text[span.start..span.end].trim_end_matches(['\r', '\n'])
    }

    /// The bytes of a line counted from 1, with its end.
    pub(crate) fn line_span(&self, line: usize) -> Span {
        let start = line.checked_sub(1).and_then(|index| self.line_starts.get(index)).copied();
        let end = self.line_starts.get(line).copied().unwrap_or(self.text.len());
        start.map_or(Span::new(end, end), |start| Span::new(start, end))
    }

    /// The largest character boundary that is not beyond `offset`.
    fn boundary(&self, offset: usize) -> usize {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        offset
    }
}

/// Whether a character begins with this byte of UTF-8.
fn begins(byte: u8) -> bool {
    byte & 0xc0 != 0x80
}

/// Characters that begin in front of every [`STEP`]th byte.
fn characters(bytes: &[u8]) -> Vec<usize> {
    let steps = bytes.chunks(STEP).scan(0, |before, step| {
        *before += step.iter().filter(|byte| begins(**byte)).count();
        Some(*before)
    });
    std::iter::once(0).chain(steps).collect()
}

/// Offsets at which lines start. A line ends with LF, CR LF or a lone CR, as the parser sees it.
fn line_starts(text: &str) -> Vec<usize> {
    let bytes = text.as_bytes();
    let ends_line = |at: usize| bytes[at] == b'\n' || (bytes[at] == b'\r' && bytes.get(at + 1) != Some(&b'\n'));
    std::iter::once(0).chain((0..bytes.len()).filter(|at| ends_line(*at)).map(|at| at + 1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str, offset: usize) -> (usize, usize) {
        let position = Source::new("t", text).position(offset);
        (position.line, position.column)
    }

    #[test]
    fn columns_count_characters_and_lines_end_in_every_fashion() {
        assert_eq!(at("ab\ncd", 4), (2, 2));
        assert_eq!(at("ab\r\ncd", 5), (2, 2));
        assert_eq!(at("ab\rcd", 4), (2, 2));
        assert_eq!(at("äöü x", 7), (1, 5));
        assert_eq!(at("ä", 1), (1, 1), "inside a character counts as its start");
        assert_eq!(at("ab\n", 99), (2, 1), "beyond the end counts as the end");
    }

    #[test]
    fn columns_of_long_lines_count_every_character() {
        let text = format!("\n{}x", "ä€".repeat(5000));
        assert_eq!(at(&text, text.len() - 1), (2, 10_001));
        assert_eq!(at(&text, 1 + 5 * 2000), (2, 4001));
    }

    #[test]
    fn a_byte_order_mark_is_not_counted() {
        let source = Source::new("t", "\u{feff}{}");
        assert_eq!((source.text(), source.position(0)), ("{}", Position { line: 1, column: 1 }));
    }

    #[test]
    fn lines_come_without_their_ends() {
        let source = Source::new("t", "one\r\ntwo\n\nfour");
        assert_eq!((1..6).map(|line| source.line(line)).collect::<Vec<_>>(), ["one", "two", "", "four", ""]);
    }
}
