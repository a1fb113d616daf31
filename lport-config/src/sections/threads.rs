//! The section `threads`.

use std::time::Duration;

use super::Entry;
use super::fields::Given;
use crate::codes;
use crate::diagnostic::{Problem, Problems};
use crate::nearest::quoted;
use crate::source::Spanned;

/// How long a sleep lasts at most if the file does not say, in ms.
const SLEEP_MS: u64 = 1000;

/// A polling thread.
#[derive(Debug)]
pub(crate) struct Thread {
    pub(crate) name: Spanned<String>,
    /// The name before its first colon.
    pub(crate) kind: String,
    pub(crate) group: Given<Spanned<String>>,
    pub(crate) lports: Vec<Spanned<String>>,
    /// `None`: never sleeps.
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
    let (idle_timeout, intr_timeout) = timeouts(entry, problems);
    Thread {
        name: entry.name.clone(),
        kind: kind.to_owned(),
        group: fields.says("group", fields.text("group")),
        lports: fields.names("lports"),
        idle_timeout,
        intr_timeout,
    }
}

/// When the thread sleeps and for how long. A thread that is to sleep for no time at all is one that never sleeps.
fn timeouts(entry: &Entry<'_>, problems: &mut Problems) -> (Option<Duration>, Duration) {
    let idle = entry.fields.int("idle_timeout").filter(|idle| idle.value > 0);
    let interrupt = entry.fields.int("intr_timeout");
    let sleep = Duration::from_millis(interrupt.as_ref().map_or(SLEEP_MS, |interrupt| interrupt.value));
    if let (Some(idle), Some(interrupt), true) = (&idle, &interrupt, sleep.is_zero()) {
        let message = format!("`idle_timeout` of {} has no effect, because `intr_timeout` is 0", entry.owner);
        let problem = Problem::new(codes::NEVER_SLEEPS, idle.span, message).label("no effect");
        problems.push(problem.also(interrupt.span, "sleeping is off").help("remove one of the two"));
    }
    (idle.filter(|_| !sleep.is_zero()).map(|idle| Duration::from_millis(idle.value)), sleep)
}
