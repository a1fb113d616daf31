//! What is logged, seen by a subscriber of our own.

use std::fmt;
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::span;

use super::*;
use crate::burst::Burst;
use crate::driver::{DeviceRequest, Driver};
use crate::drivers::RingDriver;
use crate::pool::{Pool, PoolConfig};

/// Keeps what is logged at INFO and above.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl tracing::Subscriber for Log {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() <= Level::INFO
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut message = Message(String::new());
        event.record(&mut message);
        self.0.lock().unwrap().push(format!("{} {}", event.metadata().level(), message.0));
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

/// What is logged while ten packets go round a ring of six places, and how many were sent.
fn traced(trace: &Trace) -> (Vec<String>, usize, Vec<(&'static str, u64)>) {
    let pool = Pool::new(&PoolConfig { size: 64, data_room: 64, ..PoolConfig::default() }).unwrap();
    let given = [crate::RawOption::text("size", "6")];
    let driver = RingDriver::default();
    let options = Options::check(driver.options(), &given).unwrap();
    let mut lport = trace.wrap(driver.open(DeviceRequest::new("r", options, 1, None)).unwrap().remove(0));
    let log = Log::default();
    let (sent, xstats) = tracing::subscriber::with_default(log.clone(), || {
        let mut burst = Burst::new();
        for i in 0..10 {
            burst.push(pool.alloc_packet(&[i; 20]).unwrap()).unwrap();
        }
        lport.rx.rx_burst(&mut burst);
        let sent = lport.tx.tx_burst(&mut burst);
        assert_eq!(burst.len(), 10 - sent);
        burst.clear();
        lport.rx.rx_burst(&mut burst);
        lport.rx.rx_burst(&mut burst);
        assert_eq!(burst.len(), sent);
        (sent, lport.control.stats().xstats)
    });
    drop(lport);
    assert_eq!(pool.available(), pool.size());
    let lines = log.0.lock().unwrap().clone();
    (lines, sent, xstats)
}

#[test]
fn packets_that_pass_are_shown_and_others_are_not() {
    let (lines, sent, xstats) = traced(&Trace { bytes: 3, ..Trace::default() });
    assert!((6..10).contains(&sent), "the ring is smaller than the burst: {sent}");
    assert_eq!(lines.len(), 2 * sent);
    let macs = "01:01:01:01:01:01 > 01:01:01:01:01:01";
    assert_eq!(lines[1], format!("INFO r tx #2: 20 bytes, {macs}, LLC: 01 01 01"));
    assert_eq!(lines[sent + 1], format!("INFO r rx #2: 20 bytes, {macs}, LLC: 01 01 01"));
    let sent = sent as u64;
    let expected =
        [("trace_rx_shown", sent), ("trace_rx_not_shown", 0), ("trace_tx_shown", sent), ("trace_tx_not_shown", 0)];
    assert_eq!(xstats, expected);
}

#[test]
fn lines_are_limited_and_what_is_left_out_is_told() {
    let (lines, sent, xstats) = traced(&Trace { count: Some(2), rx: false, level: Level::WARN, ..Trace::default() });
    assert_eq!(lines.len(), 2);
    assert!(lines[0].starts_with("WARN r tx #1: ") && lines[1].starts_with("WARN r tx #2: "), "{lines:?}");
    assert!(xstats.contains(&("trace_tx_not_shown", sent as u64 - 2)), "{xstats:?}");
    assert_eq!(traced(&Trace { level: Level::DEBUG, ..Trace::default() }).0, Vec::<String>::new());

    let mut lines = traced(&Trace { rate: 1, tx: false, ..Trace::default() }).0;
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines.pop().unwrap().starts_with("INFO r rx #1: "));
}

#[test]
fn the_next_line_tells_how_many_were_left_out() {
    let pool = Pool::new(&PoolConfig { size: 4, data_room: 64, ..PoolConfig::default() }).unwrap();
    let mut lines = Lines {
        trace: Trace::default(),
        lport: "a".into(),
        direction: "rx",
        number: 0,
        left: u64::MAX,
        rate: Rate::of_lines(1),
        unshown: 0,
    };
    let log = Log::default();
    tracing::subscriber::with_default(log.clone(), || {
        let tally = Tally::default();
        let packet = pool.alloc_packet(&[0; 14]).unwrap();
        lines.show(&[], 5, &tally);
        lines.show(&[lines.line(&packet, 0)], 1, &tally);
    });
    let lines = log.0.lock().unwrap().clone();
    assert!(
        lines[0].starts_with("INFO a rx #6: 14 bytes") && lines[0].ends_with("(5 before it not shown)"),
        "{lines:?}"
    );
}
