//! Running a case.
//!
//! 1. The processes start, in the order of their files.
//! 2. When all links of the one that counts are up and it has received packets, it warms up for a while.
//! 3. Then its counters are read, and again when the time is over; the difference is the result.

use std::time::Duration;

use super::case::Case;
use crate::child::{Child, ChildSettings};
use crate::cli::DriverFiles;
use crate::failure::Failure;
use crate::signals::Signals;
use crate::summary::Observed;

/// Time between two readings.
const PERIOD: Duration = Duration::from_millis(100);

/// Readings with traffic that pass before it counts.
const WARM_UP: u32 = 3;

/// Longest time without traffic.
const START: Duration = Duration::from_secs(10);

/// What was counted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Measured {
    pub(super) seconds: f64,
    pub(super) packets: u64,
    pub(super) bytes: u64,
    pub(super) lost: u64,
}

/// Runs `case`, with what is loaded from `drivers`; `None` when a signal came before its end.
///
/// # Errors
/// When a process fails, or no packet comes.
pub(super) fn measure(case: &Case, drivers: &DriverFiles, signals: &Signals) -> Result<Option<Measured>, Failure> {
    let settings = ChildSettings { period: PERIOD, burst: case.burst, longest: 3 * START + case.seconds };
    let start = |file| Child::start("process under test", file, drivers, settings);
    let mut children = case.files.iter().map(start).collect::<Result<Vec<_>, _>>()?;
    let receiver = &mut children[case.counted];
    let from = warmed_up(receiver)?;
    let mut to = receiver.next()?;
    // A window without a single packet, as on a machine that is busy otherwise, says nothing: it goes on for a while.
    while !is_over(&from, &to, case.seconds) {
        if signals.came() {
            return Ok(None);
        }
        to = receiver.next()?;
    }
    for child in children {
        child.stop()?;
    }
    let packets = received(&to) - received(&from);
    if packets == 0 {
        return Err(no_packet());
    }
    Ok(Some(Measured {
        seconds: to.duration_s - from.duration_s,
        packets,
        bytes: to.total(|c| c.ibytes) - from.total(|c| c.ibytes),
        lost: to.lost() - from.lost(),
    }))
}

fn received(reading: &Observed) -> u64 {
    reading.total(|counters| counters.ipackets)
}

fn is_over(from: &Observed, to: &Observed, length: Duration) -> bool {
    let passed = to.duration_s - from.duration_s;
    passed >= length.as_secs_f64() && (received(to) > received(from) || passed > START.as_secs_f64())
}

fn no_packet() -> Failure {
    Failure::Running(format!("no packet came in {} seconds", START.as_secs()))
}

/// The first reading that counts.
fn warmed_up(receiver: &mut Child) -> Result<Observed, Failure> {
    let mut warm = 0;
    loop {
        let reading = receiver.next()?;
        if reading.is_up() && received(&reading) > 0 {
            warm += 1;
        }
        if warm > WARM_UP {
            return Ok(reading);
        }
        if warm == 0 && reading.duration_s > START.as_secs_f64() {
            return Err(no_packet());
        }
    }
}
