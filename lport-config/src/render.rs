//! A diagnostic as a picture for people: the source lines with a caret under the exact place.
//!
//! ```text
//! error[E0204]: thread `fwd:0` polls lport `eth0:1`, which does not exist
//!   --> fwd.jsonc:12:23
//!    |
//! 12 |         "lports": ["eth0:1"]
//!    |                    ^^^^^^^^ no such lport
//!    |
//!    = help: did you mean `eth0:0`?
//! ```
//!
//! Tabs are drawn as four columns, control characters as a replacement character, and of a line that is too long for a
//! terminal only the part around the place.

use std::fmt::Write;

use crate::codes::Severity;
use crate::diagnostic::{Diagnostic, Label};
use crate::nearest::visible;
use crate::source::Source;

/// Columns of a source line that are shown.
const WIDTH: usize = 120;

/// Columns shown in front of the place when a long line must be cut.
const BEFORE: usize = 40;

/// Columns of a tab.
const TAB: usize = 4;

/// Draws `diagnostic` over the text it is about, with ANSI colours if `color`. Ends with a newline.
pub fn render(source: &Source, diagnostic: &Diagnostic, color: bool) -> String {
    let paint = Paint { color, severity: diagnostic.severity };
    let labels = labels_by_line(diagnostic);
    let last_line = labels.last().map_or(1, |(label, _)| label.line);
    let gutter = last_line.to_string().len();

    let mut out = headline(diagnostic, &paint);
    out += &place(source, diagnostic, gutter, &paint);
    if !source.text().is_empty() {
        out += &snippets(source, &labels, gutter, &paint);
    }
    if let Some(help) = &diagnostic.help {
        let bar = paint.gutter(&format!("{:gutter$} =", ""));
        let _ = writeln!(out, "{bar} {}: {help}", paint.strong("help"));
    }
    out
}

/// Every label with whether it is the primary one, from top to bottom.
fn labels_by_line(diagnostic: &Diagnostic) -> Vec<(&Label, bool)> {
    let secondary = diagnostic.secondary.iter().map(|label| (label, false));
    let mut labels: Vec<_> = std::iter::once((&diagnostic.primary, true)).chain(secondary).collect();
    labels.sort_by_key(|(label, _)| label.span.start);
    labels
}

fn headline(diagnostic: &Diagnostic, paint: &Paint) -> String {
    let word = match diagnostic.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let head = paint.severity(&format!("{word}[{}]", diagnostic.code));
    format!("{head}{}\n", paint.strong(&format!(": {}", diagnostic.message)))
}

fn place(source: &Source, diagnostic: &Diagnostic, gutter: usize, paint: &Paint) -> String {
    let arrow = paint.gutter(&format!("{:gutter$}-->", ""));
    let Label { line, column, .. } = diagnostic.primary;
    if source.text().is_empty() {
        format!("{arrow} {}\n", diagnostic.source)
    } else {
        format!("{arrow} {}:{line}:{column}\n", diagnostic.source)
    }
}

fn snippets(source: &Source, labels: &[(&Label, bool)], gutter: usize, paint: &Paint) -> String {
    let bar = paint.gutter(&format!("{:gutter$} |", ""));
    let mut out = format!("{bar}\n");
    let mut drawn: Option<(usize, usize)> = None;
    for (label, primary) in labels {
        let window = Window::around(source, label);
        // A second label on a line that is already drawn, cut in the same way, only adds its mark.
        if drawn != Some((label.line, window.from)) {
            if drawn.is_some_and(|(line, _)| line + 1 < label.line) {
                let _ = writeln!(out, "{}", paint.gutter("..."));
            }
            let _ = writeln!(out, "{} {}", paint.gutter(&format!("{:>gutter$} |", label.line)), window.text);
            drawn = Some((label.line, window.from));
        }
        let mark = if *primary { "^" } else { "-" }.repeat(window.marked);
        let mark = format!(
            "{:pad$}{}",
            "",
            paint.mark(format!("{mark} {}", label.text).trim_end(), *primary),
            pad = window.pad
        );
        let _ = writeln!(out, "{bar} {mark}");
    }
    let _ = writeln!(out, "{bar}");
    out
}

/// The part of a source line that is drawn for a label.
struct Window {
    /// The text, ready to print.
    text: String,
    /// Columns in front of the mark.
    pad: usize,
    /// Columns of the mark.
    marked: usize,
    /// First byte of the line that is shown; 0 unless the line is cut there.
    from: usize,
}

impl Window {
    /// Looks no further than it draws: a file may be one line of a million bytes.
    fn around(source: &Source, label: &Label) -> Self {
        let line = source.line(label.line);
        let start = source.line_span(label.line).start;
        let at = label.span.start.saturating_sub(start).min(line.len());
        let (before, after) = line.split_at(at);

        let after = draw(after, WIDTH);
        let room = if after.rest == 0 { WIDTH.saturating_sub(after.columns()).max(BEFORE) } else { BEFORE };
        let before = draw_back(before, room);
        let after = draw(&line[at..], WIDTH - before.columns().min(WIDTH));

        let (left, right) = (if before.rest > 0 { "…" } else { "" }, if after.rest > 0 { "…" } else { "" });
        let marked =
            draw(&line[at..label.span.end.saturating_sub(start).clamp(at, line.len())], after.columns()).columns();
        Self {
            text: format!("{left}{}{}{right}", before.text, after.text),
            pad: before.columns() + left.chars().count(),
            marked: marked.max(1),
            from: before.rest,
        }
    }
}

/// Text as it is printed, and the bytes of it that were left out.
struct Drawn {
    text: String,
    rest: usize,
}

impl Drawn {
    fn columns(&self) -> usize {
        self.text.chars().count()
    }
}

/// What is printed for a character.
fn drawn(c: char) -> (char, usize) {
    if c == '\t' { (' ', TAB) } else { (visible(c), 1) }
}

/// The first `limit` columns of `text`.
fn draw(text: &str, limit: usize) -> Drawn {
    let (mut shown, mut columns) = (String::new(), 0);
    for (at, c) in text.char_indices() {
        let (c, width) = drawn(c);
        if columns + width > limit {
            return Drawn { text: shown, rest: text.len() - at };
        }
        shown.extend(std::iter::repeat_n(c, width));
        columns += width;
    }
    Drawn { text: shown, rest: 0 }
}

/// The last `limit` columns of `text`.
fn draw_back(text: &str, limit: usize) -> Drawn {
    let mut columns = 0;
    let fits = |(_, c): &(usize, char)| {
        columns += drawn(*c).1;
        columns <= limit
    };
    let start = text.char_indices().rev().take_while(fits).last().map_or(text.len(), |(at, _)| at);
    Drawn { text: draw(&text[start..], limit).text, rest: start }
}

/// The colours of rustc.
struct Paint {
    color: bool,
    severity: Severity,
}

impl Paint {
    fn paint(&self, code: &str, text: &str) -> String {
        if self.color && !text.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn severity(&self, text: &str) -> String {
        self.paint(if self.severity == Severity::Error { "1;31" } else { "1;33" }, text)
    }

    fn mark(&self, text: &str, primary: bool) -> String {
        if primary { self.severity(text) } else { self.gutter(text) }
    }

    fn gutter(&self, text: &str) -> String {
        self.paint("1;34", text)
    }

    fn strong(&self, text: &str) -> String {
        self.paint("1", text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codes;
    use crate::diagnostic::Problem;
    use crate::source::Span;

    fn drawn(text: &str, problem: Problem) -> String {
        let source = Source::new("f.jsonc", text);
        render(&source, &problem.locate(&source), false)
    }

    fn at(text: &str, word: &str) -> Span {
        let start = text.find(word).unwrap();
        Span::new(start, start + word.len())
    }

    #[test]
    fn the_caret_stands_under_the_value_behind_tabs() {
        let text = "{\n\t\"a\":\t42\n}";
        let picture =
            drawn(text, Problem::new(codes::OUT_OF_RANGE, at(text, "42"), "too much").label("here").help("less"));
        let expected = "\
error[E0104]: too much
 --> f.jsonc:2:7
  |
2 |     \"a\":    42
  |             ^^ here
  |
  = help: less
";
        assert_eq!(picture, expected);
    }

    #[test]
    fn places_are_drawn_from_top_to_bottom_with_a_gap() {
        let text = "one\ntwo\nthree\nfour\nfive\n\n\n\n\nten";
        let problem = Problem::new(codes::DUPLICATE_KEY, at(text, "ten"), "m").label("p").also(at(text, "two"), "s");
        let expected = "\
error[E0011]: m
  --> f.jsonc:10:1
   |
 2 | two
   | --- s
...
10 | ten
   | ^^^ p
   |
";
        assert_eq!(drawn(text, problem), expected);
    }

    #[test]
    fn long_lines_are_cut_around_the_place() {
        let text = format!("{}HERE{}", "x".repeat(1000), "y".repeat(1000));
        let picture = drawn(&text, Problem::new(codes::SYNTAX, at(&text, "HERE"), "m"));
        let lines: Vec<_> = picture.lines().collect();
        assert!(lines.iter().all(|line| line.chars().count() < 140), "{picture}");
        assert_eq!(lines[3].chars().position(|c| c == 'H'), lines[4].chars().position(|c| c == '^'));
    }

    #[test]
    fn a_place_over_several_lines_is_marked_to_the_end_of_the_first() {
        let text = "{ \"a\": [1,\n 2] }";
        let picture = drawn(text, Problem::new(codes::WRONG_TYPE, at(text, "[1,\n 2]"), "m"));
        assert!(picture.contains("  |        ^^^\n"), "{picture}");
    }

    #[test]
    fn nothing_in_a_file_reaches_the_terminal_as_a_command() {
        let text = "\"\u{1b}[2J\u{202e}x\"";
        let picture = drawn(text, Problem::new(codes::SYNTAX, Span::new(0, 3), "m"));
        assert!(!picture.contains('\u{1b}') && !picture.contains('\u{202e}'));
    }

    #[test]
    fn color_only_adds_to_the_text() {
        let text = "{}";
        let source = Source::new("f", text);
        let problem = Problem::new(codes::NOT_POLLED, Span::new(0, 2), "m").label("l").help("h").locate(&source);
        let colored = render(&source, &problem, true);
        let mut plain = String::new();
        let mut rest = colored.as_str();
        while let Some((before, after)) = rest.split_once('\u{1b}') {
            plain += before;
            rest = after.split_once('m').unwrap().1;
        }
        assert_eq!(plain + rest, render(&source, &problem, false));
    }
}
