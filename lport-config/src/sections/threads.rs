//! The section `threads`.

use std::time::Duration;

use super::Entry;
use crate::codes;
use crate::diagnostic::{Problem, Problems};
use crate::nearest::quoted;
use crate::source::Spanned;

/// A polling thread.
#[derive(Debug)]
pub(crate) struct Thread {
    pub(crate) name: Spanned<String>,
    /// The name before its first colon.
    pub(crate) kind: String,
    pub(crate) group: Option<Spanned<String>>,
    /// Whether a group is given, sound or not.
    pub(crate) group_given: bool,
    pub(crate) lports: Vec<Spanned<String>>,
    /// `None` for 0 and for none: never sleeps.
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) intr_timeout: Duration,
}

pub(super) fn read(entry: &Entry<'_>, problems: &mut Problems) -> Thread {
    let fields = &entry.fields;
    let name = &entry.name.value;
    let kind = name.split(':').next().unwrap_or_default();
    if kind.is_empty() && !name.is_empty() {
        let message = format!("the thread name {} has no type in front of its colon", quoted(name));
        let problem = Problem::new(codes::BAD_NAME, entry.name.span, message).label("no type");
        problems.push(problem.help("a thread is named `type` or `type:tag`, such as `fwd:0`"));
    }
    let milliseconds = |key| Duration::from_millis(fields.int(key).map_or(0, |value| value.value));
    Thread {
        name: entry.name.clone(),
        kind: kind.to_owned(),
        group: fields.text("group"),
        group_given: fields.given("group"),
        lports: fields.names("lports"),
        idle_timeout: Some(milliseconds("idle_timeout")).filter(|timeout| !timeout.is_zero()),
        intr_timeout: milliseconds("intr_timeout"),
    }
}
