//! The suite can fail: for each check a driver that is wrong in just that way, and the promise that it is caught by.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use super::flawed::{Flaw, FlawedDriver};
use crate::conformance::{CHECKS, Capabilities, Device, Fixture, Refusal, Rig, Shape, run};
use crate::lport::Link;

/// A device with a flaw.
struct Flawed(Flaw);

impl Fixture for Flawed {
    fn capabilities(&self) -> Capabilities {
        // Nothing honest takes long here; what never comes need not be waited for.
        let patience = Duration::from_millis(if self.0 == Flaw::None { 30_000 } else { 400 });
        Capabilities {
            interrupts: true,
            uses_pool: true,
            opens_twice: Some(false),
            window: 64,
            patience,
            ..Capabilities::in_memory(Shape::Loop)
        }
    }

    fn rig(&self, _queues: u16) -> Rig {
        let driver = Arc::new(FlawedDriver::new(self.0));
        let state = Arc::clone(&driver.state);
        let set = move |cut| state.set_link(if cut { Link::Down("cable pulled".into()) } else { Link::Up });
        Rig { cut: Some(Box::new(set)), ..Rig::alone(Device::of(driver, "loop", &[])) }
    }

    fn refusals(&self) -> Vec<Refusal> {
        vec![Refusal::new(Device::new(FlawedDriver::new(self.0), "absent", &[]), &["no device", "absent"])]
    }
}

mod honest {
    use super::{Flaw, Flawed};

    crate::conformance_tests!(Flawed(Flaw::None));
}

/// Check, flaw, and a word of the complaint.
const CAUGHT: &[(&str, Flaw, &str)] = &[
    ("bursts_of_every_size_arrive_in_order", Flaw::Reorders, "arrived where packet"),
    ("an_empty_and_a_full_burst_change_nothing", Flaw::CountsEmptyBursts, "an empty burst"),
    ("received_packets_are_appended_within_the_limit", Flaw::ClearsTheBurst, "already stays as it is"),
    ("received_packets_are_appended_within_the_limit", Flaw::IgnoresTheLimit, "up to its limit"),
    ("what_a_full_device_refuses_stays_in_the_burst", Flaw::LosesTheRest, "those left"),
    ("what_a_full_device_refuses_stays_in_the_burst", Flaw::SaysWhatWasOffered, "tx_burst returned"),
    ("packets_of_every_length_arrive_unchanged", Flaw::Truncates, "1024 bytes, but was sent with"),
    ("chains_are_sent_whole_or_dropped", Flaw::SendsFirstSegments, "but was sent with"),
    ("packets_that_cannot_be_sent_are_dropped_and_counted", Flaw::SendsTooLong, "dropped, 10 sent"),
    ("packets_that_cannot_be_sent_are_dropped_and_counted", Flaw::HoldsUpBehindTooLong, "could not be sent"),
    ("packets_that_cannot_be_sent_are_dropped_and_counted", Flaw::DropsUncounted, "those dropped and those left"),
    ("packets_of_any_pool_are_sent", Flaw::NeedsHeadroom, "any pool"),
    ("received_packets_belong_to_whoever_holds_them", Flaw::WritesIntoPacketsGiven, "a packet held changed"),
    ("received_packets_carry_their_lports_number", Flaw::DoesNotMark, "renumbered to 7"),
    ("statistics_of_both_ends_add_up", Flaw::CountsBytesWrong, "`obytes` grew by"),
    ("idle_changes_no_counter", Flaw::CountsPolls, "`imissed` went from"),
    ("an_empty_pool_is_counted_and_passes", Flaw::HidesEmptyPools, "`rx_nombuf` counts"),
    ("admin_down_stops_the_whole_device_and_up_starts_it", Flaw::IgnoresAdmin, "Sets the whole device"),
    ("admin_down_stops_the_whole_device_and_up_starts_it", Flaw::SetsOneQueueDown, "Sets the whole device"),
    ("a_lost_link_is_said_and_comes_back", Flaw::SaysUpAlways, "why it is dead is in"),
    ("queues_move_between_threads", Flaw::StaysOnItsThread, "move to another thread"),
    ("both_halves_run_on_two_threads", Flaw::WantsBothHalvesOnOneThread, "go to two threads"),
    ("several_queues_work_side_by_side", Flaw::CountsForTheFirstQueue, "`opackets` grew by 0"),
    ("admin_changes_under_load_lose_no_mbuf", Flaw::LeaksWhenSetDown, "mbufs when everything is closed"),
    ("closing_in_any_order_returns_every_mbuf", Flaw::LeaksOnClose, "mbufs when everything is closed"),
    ("control_handles_outlive_their_queues", Flaw::ForgetsCounters, "counters have gone back"),
    ("received_packets_outlive_their_device", Flaw::WritesIntoPacketsOnClose, "changed when its device was closed"),
    ("closing_under_load_loses_nothing_and_opens_again", Flaw::StaysTaken, "cannot be opened again"),
    ("a_packet_wakes_an_armed_queue", Flaw::NeverRings, "no wake-up is lost"),
    ("a_packet_wakes_an_armed_queue", Flaw::HoldsBackUntilTwo, "no wake-up is lost"),
    ("arming_tells_of_packets_that_wait", Flaw::ArmsBlindly, "a packet waits, but"),
    ("no_wake_up_is_lost", Flaw::LooksTooEarly, "armed and asleep"),
    ("the_driver_says_what_it_is", Flaw::MisnamesItself, "net_other"),
    ("the_driver_says_what_it_is", Flaw::HasNoHelp, "help"),
    ("the_driver_says_what_it_is", Flaw::NamesCountersTwice, "rx_bells"),
    ("wrong_options_are_named_with_their_limits", Flaw::HasABadDefault, "bad default"),
    ("options_at_their_extremes_open_or_are_refused", Flaw::PanicsAtAnExtreme, "`size` = 4096: it panics"),
    ("options_at_their_extremes_open_or_are_refused", Flaw::RefusesWithoutAWord, "`size` = 8: refused without"),
    ("a_missing_pool_is_refused_by_name", Flaw::NeedsAPoolSilently, "a pool is needed: false"),
    ("bad_devices_are_refused_in_words_that_help", Flaw::OpensAnything, "was opened"),
    ("opening_twice_does_what_the_device_allows", Flaw::OpensTwice, "was opened twice"),
];

#[test]
fn each_flaw_is_caught_by_its_check_and_said() {
    let mut uncaught = Vec::new();
    for (check, flaw, word) in CAUGHT {
        let outcome = catch_unwind(AssertUnwindSafe(|| run(check, &Flawed(*flaw))));
        let complaint = outcome.err().map(|panic| panic.downcast_ref::<String>().cloned().unwrap_or_default());
        if complaint.as_ref().is_none_or(|complaint| !complaint.contains(word)) {
            uncaught.push(format!("{flaw:?} by {check}: {complaint:?}"));
        }
    }
    assert!(uncaught.is_empty(), "not caught, or not said:\n{}", uncaught.join("\n"));
}

#[test]
fn every_check_catches_something() {
    let without: Vec<_> = CHECKS.iter().filter(|check| CAUGHT.iter().all(|(name, ..)| *name != check.name)).collect();
    assert!(without.is_empty(), "checks that nothing shows to be able to fail: {without:?}");
}
