//! The suite can fail: for each check a driver that is wrong in just that way, and the promise that it is caught by.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::flawed::{Flaw, FlawedDriver};
use crate::conformance::{CHECKS, Capabilities, Device, Fixture, Refusal, Rig, Shape, run};
use crate::lport::Link;

/// How long a flawed device is given for what it never does.
const IN_VAIN: Duration = Duration::from_secs(2);

/// A device with a flaw.
struct Flawed(Flaw);

impl Fixture for Flawed {
    fn capabilities(&self) -> Capabilities {
        let patience = if self.0 == Flaw::None { Duration::from_secs(30) } else { IN_VAIN };
        if self.0 == Flaw::Modest {
            return modest();
        }
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

/// What is true of a device that is no worse, but less able.
fn modest() -> Capabilities {
    Capabilities {
        min_packet: 40,
        pads_to: 60,
        chains: false,
        noise: true,
        uses_pool: true,
        opens_twice: Some(false),
        ..Capabilities::in_memory(Shape::Loop)
    }
}

mod modest {
    use super::{Flaw, Flawed};

    crate::conformance_tests!(Flawed(Flaw::Modest));
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
    ("packets_built_in_place_are_sent", Flaw::GivesUsedMbufs, "holds data already"),
    ("packets_built_in_place_are_sent", Flaw::SendsOnlyWhatItGaveInOrder, "is no loss"),
    ("packets_passed_on_arrive_unchanged", Flaw::TruncatesWhatIsPassedOn, "1024 bytes, but was sent with"),
    ("packets_passed_on_arrive_unchanged", Flaw::SpoilsOncePassedOn, "a packet held afterwards changed"),
    ("what_is_received_into_another_pool_is_the_packet_alone", Flaw::BringsMoreThanThePacket, "behind a packet"),
    ("what_is_received_into_another_pool_is_the_packet_alone", Flaw::StaysWithAnotherPool, "are still out"),
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

/// What the suite says of a device that does not pass a check; `None` when it passes.
fn complaint(check: &str, fixture: &dyn Fixture) -> Option<String> {
    let outcome = catch_unwind(AssertUnwindSafe(|| run(check, fixture)));
    outcome.err().map(|panic| panic.downcast_ref::<String>().cloned().unwrap_or_default())
}

#[test]
fn each_flaw_is_caught_by_its_check_and_said() {
    // Side by side: many wait for what never comes.
    let uncaught: Vec<_> = thread::scope(|scope| {
        let judge = |(check, flaw, word): &'static (&str, Flaw, &str)| {
            let complaint = complaint(check, &Flawed(*flaw));
            let caught = complaint.as_ref().is_some_and(|complaint| complaint.contains(word));
            (!caught).then(|| format!("{flaw:?} by {check}: {complaint:?}"))
        };
        let judges: Vec<_> = CAUGHT.iter().map(|case| scope.spawn(move || judge(case))).collect();
        judges.into_iter().filter_map(|judge| judge.join().expect("the complaint was caught")).collect()
    });
    assert!(uncaught.is_empty(), "not caught, or not said:\n{}", uncaught.join("\n"));
}

/// An honest device under a description that is not its own.
struct Misdescribed(Flaw, Capabilities);

impl Fixture for Misdescribed {
    fn capabilities(&self) -> Capabilities {
        Capabilities { patience: IN_VAIN, ..self.1.clone() }
    }

    fn rig(&self, queues: u16) -> Rig {
        Flawed(self.0).rig(queues)
    }
}

#[test]
fn a_device_that_is_not_as_described_is_caught() {
    let able = || Flawed(Flaw::None).capabilities();
    let cases = [
        ("chains_are_sent_whole_or_dropped", Flaw::None, Capabilities { chains: false, ..able() }, "carry none"),
        (
            "chains_are_sent_whole_or_dropped",
            Flaw::Modest,
            Capabilities { chains: true, ..modest() },
            "chains were dropped",
        ),
        (
            "packets_of_every_length_arrive_unchanged",
            Flaw::Modest,
            Capabilities { pads_to: 0, ..modest() },
            "60 bytes, but",
        ),
        ("a_packet_wakes_an_armed_queue", Flaw::Modest, Capabilities { interrupts: true, ..modest() }, "`wake_fd`"),
        ("bursts_of_every_size_arrive_in_order", Flaw::Modest, Capabilities { noise: false, ..modest() }, "arrived"),
        (
            "opening_twice_does_what_the_device_allows",
            Flaw::None,
            Capabilities { opens_twice: Some(true), ..able() },
            "refused",
        ),
    ];
    for (check, flaw, capabilities, word) in cases {
        let complaint = complaint(check, &Misdescribed(flaw, capabilities));
        assert!(complaint.as_ref().is_some_and(|it| it.contains(word)), "{check} says no {word:?}: {complaint:?}");
    }
}

#[test]
fn every_check_catches_something() {
    let without: Vec<_> = CHECKS.iter().filter(|check| CAUGHT.iter().all(|(name, ..)| *name != check.name)).collect();
    assert!(without.is_empty(), "checks that nothing shows to be able to fail: {without:?}");
}
