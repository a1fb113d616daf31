//! The conformance suite: everything the traits promise, checked of any driver.
//!
//! ```text
//!   Fixture: how to open a device,          each check:  rig --open--> testbed --> bursts, threads, sleep, ...
//!   what is at its other end,    --------->                                |         compared with counters
//!   how it differs (Capabilities)                                          +--> closed: every mbuf is back
//! ```
//!
//! 1. A driver's author writes a [`Fixture`]. A device that loops needs no more than its options; one with two ends says
//!    what the other end is: another device, or two closures ([`far_end()`]).
//! 2. [`conformance_tests!`](crate::conformance_tests) makes every check a test of its own. [`run`] and [`CHECKS`] serve
//!    programs that check drivers otherwise.
//! 3. A check that fails names the promise, in the words of the documentation, and what was found instead.
//!
//! Where drivers honestly differ, [`Capabilities`] says so, and the check asks for the other behaviour instead: a device
//! without chains must drop them and count them. What cannot be asked of a device is printed as not applicable, with the
//! reason.
//!
//! ```
//! use pmd_core::conformance::{Capabilities, Device, Fixture, Rig, Shape};
//! use pmd_core::drivers::RingDriver;
//!
//! struct Loop;
//!
//! impl Fixture for Loop {
//!     fn capabilities(&self) -> Capabilities {
//!         Capabilities::in_memory(Shape::Loop)
//!     }
//!
//!     fn rig(&self, _queues: u16) -> Rig {
//!         Rig::alone(Device::new(RingDriver::default(), "r", &[]))
//!     }
//! }
//!
//! pmd_core::conformance_tests!(Loop);
//! # pmd_core::conformance::run("bursts_of_every_size_arrive_in_order", &Loop);
//! ```

mod checked;
mod checks;
mod far_end;
mod fixture;
mod frame;
mod halves;
mod loan;
mod promise;
mod testbed;
// They open real devices in memory that can be shared, which miri does not have.
#[cfg(all(test, not(miri)))]
mod tests;
mod wrapped;

pub use far_end::far_end;
pub use fixture::{Capabilities, Device, Far, Fixture, Refusal, Rig, Shape};
pub use frame::Frame;
pub use loan::Loan;
pub use wrapped::Wrapped;

use checks::{bursts, counters, ends, link, opening, packets, sleep, threads};

/// A check.
#[derive(Debug, Clone, Copy)]
pub struct Check {
    /// Its name, which says what must hold.
    pub name: &'static str,
    run: fn(&dyn Fixture),
}

crate::conformance_checks! { table () }

/// Runs the check called `name` on a driver.
///
/// # Panics
/// When the driver breaks the promise that it is about, or no check has this name.
pub fn run(name: &str, fixture: &dyn Fixture) {
    let check = CHECKS.iter().find(|check| check.name == name);
    let Check { run, .. } = check.unwrap_or_else(|| panic!("there is no check `{name}`"));
    match fixture.skipped() {
        Some(why) => eprintln!("SKIPPED: {name}: {why}"),
        None => run(fixture),
    }
}

/// Makes every check of the conformance suite a test, for the [`Fixture`] that the
/// expression yields: once in a module, one module for each kind of device.
#[macro_export]
macro_rules! conformance_tests {
    ($fixture:expr) => {
        $crate::conformance_checks! { tests ($fixture) }
    };
}

/// The list of checks, by subject, and what becomes of it: a table here, tests in drivers.
#[doc(hidden)]
#[macro_export]
macro_rules! conformance_checks {
    (@table () $($subject:ident: $($name:ident)*;)*) => {
        /// All checks.
        pub const CHECKS: &[Check] = &[$($(Check { name: stringify!($name), run: $subject::$name }),*),*];
    };
    (@tests ($fixture:expr) $($subject:ident: $($name:ident)*;)*) => {
        $($(
            #[test]
            fn $name() {
                $crate::conformance::run(stringify!($name), &$fixture);
            }
        )*)*
    };
    ($what:ident $with:tt) => {
        $crate::conformance_checks! { @$what $with
            bursts:
                bursts_of_every_size_arrive_in_order
                an_empty_and_a_full_burst_change_nothing
                received_packets_are_appended_within_the_limit
                what_a_full_device_refuses_stays_in_the_burst;
            packets:
                packets_of_every_length_arrive_unchanged
                chains_are_sent_whole_or_dropped
                packets_that_cannot_be_sent_are_dropped_and_counted
                packets_of_any_pool_are_sent
            packets_built_in_place_are_sent
                packets_passed_on_arrive_unchanged
                what_is_received_into_another_pool_is_the_packet_alone
                received_packets_belong_to_whoever_holds_them
                received_packets_carry_their_lports_number;
            counters:
                statistics_of_both_ends_add_up
                idle_changes_no_counter
                an_empty_pool_is_counted_and_passes;
            link:
                admin_down_stops_the_whole_device_and_up_starts_it
                a_lost_link_is_said_and_comes_back;
            threads:
                queues_move_between_threads
                both_halves_run_on_two_threads
                several_queues_work_side_by_side
                admin_changes_under_load_lose_no_mbuf;
            ends:
                closing_in_any_order_returns_every_mbuf
                control_handles_outlive_their_queues
                received_packets_outlive_their_device
                closing_under_load_loses_nothing_and_opens_again;
            sleep:
                a_packet_wakes_an_armed_queue
                arming_tells_of_packets_that_wait
                no_wake_up_is_lost;
            opening:
                the_driver_says_what_it_is
                wrong_options_are_named_with_their_limits
                options_at_their_extremes_open_or_are_refused
                a_missing_pool_is_refused_by_name
                bad_devices_are_refused_in_words_that_help
                opening_twice_does_what_the_device_allows;
        }
    };
}
