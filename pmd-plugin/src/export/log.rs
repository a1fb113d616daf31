//! `tracing` events of this shared object, as lines of the program's log.

use std::fmt::{Debug, Write};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber, span};

use super::text::c_string;
use crate::abi;

/// Sends events to `host` from now on, unless somebody listens to them already.
pub(super) fn forward_to(host: &'static abi::Host) {
    // Another subscriber of the same shared object was there first: it was wanted.
    let _ = tracing::subscriber::set_global_default(Forward(host));
}

struct Forward(&'static abi::Host);

impl Subscriber for Forward {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && *metadata.level() <= Level::DEBUG
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line::default();
        event.record(&mut line);
        let level = match *event.metadata().level() {
            Level::ERROR => 1,
            Level::WARN => 2,
            Level::INFO => 3,
            _ => 4,
        };
        // SAFETY: the program's own function and table, valid for ever; the text lives until it returns.
        unsafe { (self.0.log)(self.0, level, c_string(&line.0).as_ptr()) };
    }

    // Spans are not shown.
    fn new_span(&self, _span: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _span: &span::Id, _values: &span::Record<'_>) {}

    fn record_follows_from(&self, _span: &span::Id, _follows: &span::Id) {}

    fn enter(&self, _span: &span::Id) {}

    fn exit(&self, _span: &span::Id) {}
}

/// The message, and behind it the other fields.
#[derive(Default)]
struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // Writing to a String does not fail.
        let _ = match field.name() {
            "message" => write!(self.0, "{value:?}"),
            name => write!(self.0, " {name}={value:?}"),
        };
    }
}
