//! A problem of a file, as data.
//!
//! 1. Whoever finds something builds a [`Problem`]: a rule, a message, byte spans with a word about each, and help.
//! 2. [`Problem::locate`] turns it into a [`Diagnostic`], which carries the source's name, lines and columns and so can
//!    be printed as JSON without the text at hand.

use serde::Serialize;

use crate::codes::{Rule, Severity};
use crate::nearest::visible;
use crate::source::{Source, Span};

/// A problem as it is found: spans only.
#[derive(Debug, Clone)]
pub struct Problem {
    rule: &'static Rule,
    message: String,
    primary: (Span, String),
    secondary: Vec<(Span, String)>,
    help: Option<String>,
}

impl Problem {
    /// A breach of `rule` at `span`. The message names the value and the limit.
    pub fn new(rule: &'static Rule, span: Span, message: impl Into<String>) -> Self {
        Self { rule, message: message.into(), primary: (span, String::new()), secondary: Vec::new(), help: None }
    }

    /// A few words to stand beside the caret.
    #[must_use]
    pub fn label(mut self, text: impl Into<String>) -> Self {
        self.primary.1 = text.into();
        self
    }

    /// A second place that has to do with it: the earlier duplicate, the near match.
    #[must_use]
    pub fn also(mut self, span: Span, text: impl Into<String>) -> Self {
        self.secondary.push((span, text.into()));
        self
    }

    /// What to write instead.
    #[must_use]
    pub fn help(mut self, text: impl Into<String>) -> Self {
        self.help = Some(text.into());
        self
    }

    /// Whether a file with this problem cannot be used.
    pub(crate) fn is_error(&self) -> bool {
        self.rule.severity == Severity::Error
    }

    /// The same with line and column numbers.
    pub fn locate(self, source: &Source) -> Diagnostic {
        let label = |(span, text): (Span, String)| Label::new(source, span, one_line(&text));
        Diagnostic {
            code: self.rule.code,
            severity: self.rule.severity,
            message: one_line(&self.message),
            source: source.name().to_owned(),
            primary: label(self.primary),
            secondary: self.secondary.into_iter().map(label).collect(),
            help: self.help.as_deref().map(one_line),
        }
    }
}

/// Words that may quote the file, fit for one line of a terminal.
fn one_line(text: &str) -> String {
    const LONGEST: usize = 500;
    let mut line: String = text.chars().take(LONGEST).map(visible).collect();
    if text.chars().nth(LONGEST).is_some() {
        line.push('…');
    }
    line
}

/// A problem of a file, complete: what it is, where, and the way out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// Stable code; [`crate::explain`] tells more about it.
    pub code: &'static str,
    /// Whether the file can still be used.
    pub severity: Severity,
    /// One line that names the value and the limit.
    pub message: String,
    /// Name of the file.
    pub source: String,
    /// The place that is wrong.
    pub primary: Label,
    /// Other places that have to do with it.
    pub secondary: Vec<Label>,
    /// What to write instead.
    pub help: Option<String>,
}

impl Diagnostic {
    /// Whether the file cannot be used because of it.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

/// A place in the text with a few words about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Label {
    /// The bytes meant.
    #[serde(flatten)]
    pub span: Span,
    /// Line of the first byte, from 1.
    pub line: usize,
    /// Column of the first byte, from 1, in characters.
    pub column: usize,
    /// Line of the end, from 1.
    pub end_line: usize,
    /// Column just behind the last character.
    pub end_column: usize,
    /// The words; may be empty.
    #[serde(rename = "label")]
    pub text: String,
}

impl Label {
    fn new(source: &Source, span: Span, text: String) -> Self {
        let (from, to) = (source.position(span.start), source.position(span.end));
        Self { span, line: from.line, column: from.column, end_line: to.line, end_column: to.column, text }
    }
}

/// The problems found so far.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    found: Vec<Problem>,
}

impl Problems {
    /// More near matches than these nobody reads, and looking for them costs time.
    const SUGGESTIONS: usize = 200;

    pub(crate) fn push(&mut self, problem: Problem) {
        self.found.push(problem);
    }

    /// How many there are, to see whether a step has found any.
    pub(crate) fn count(&self) -> usize {
        self.found.len()
    }

    pub(crate) fn any_error(&self) -> bool {
        self.found.iter().any(Problem::is_error)
    }

    /// Whether it is still worth looking for what was meant.
    pub(crate) fn suggests(&self) -> bool {
        self.found.len() < Self::SUGGESTIONS
    }

    /// The candidate that `word` was probably meant to be.
    pub(crate) fn nearest<'c>(&self, word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
        if self.suggests() { crate::nearest::nearest(word, candidates) } else { None }
    }

    /// All problems with their lines, in the order of the text.
    pub(crate) fn locate(mut self, source: &Source) -> Vec<Diagnostic> {
        self.found.sort_by_key(|problem| problem.primary.0.start);
        // The lports of an lport-group have everything from one place, and each has asked for it.
        self.found.dedup_by(|later, first| {
            (later.rule.code, later.primary.0, &later.message) == (first.rule.code, first.primary.0, &first.message)
        });
        self.found.into_iter().map(|problem| problem.locate(source)).collect()
    }
}
