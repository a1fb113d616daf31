//! The checks, by subject. Each opens a testbed of its own, closes it, and fails with the promise that was broken.

pub(super) mod bursts;
pub(super) mod counters;
pub(super) mod ends;
pub(super) mod link;
pub(super) mod opening;
pub(super) mod packets;
pub(super) mod sleep;
pub(super) mod threads;

/// Says why a check has nothing to check on this device.
fn not_applicable(why: &str) {
    println!("not applicable: {why}");
}
