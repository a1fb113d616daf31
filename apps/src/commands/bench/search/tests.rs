//! The search on a simulated device whose capacity is known.

use proptest::prelude::*;

use super::*;

const NDR: Goal = Goal { name: "NDR", loss_ratio: 0.0, exceed_ratio: 0.5, trial_s: 1.0, sum_s: 4.0, width: 0.005 };
const PDR: Goal = Goal { name: "PDR", loss_ratio: 0.005, ..NDR };
const LIMITS: Limits = Limits { min: 1000, max: 100_000_000, first_trial_s: 0.1, phases: 2, budget_s: 3600.0 };

/// Forwards up to its capacity; what is beyond is lost. Now and then it stalls.
struct Device {
    /// Packets per second.
    capacity: f64,
    /// Its capacity varies by this share, from trial to trial.
    noise: f64,
    /// The share of trials in which it stalls, and what it loses then.
    stalls: (f64, f64),
    random: fastrand::Rng,
}

impl Device {
    fn quiet(capacity: f64) -> Self {
        Self { capacity, noise: 0.0, stalls: (0.0, 0.0), random: fastrand::Rng::with_seed(1) }
    }
}

impl Measurer for Device {
    type Error = std::convert::Infallible;

    fn measure(&mut self, load: Load, seconds: f64) -> Result<Trial, Self::Error> {
        let capacity = self.capacity * (1.0 + self.noise * (2.0 * self.random.f64() - 1.0));
        let overload = (1.0 - capacity / load as f64).max(0.0);
        let stall = if self.random.f64() < self.stalls.0 { self.stalls.1 } else { 0.0 };
        Ok(Trial { load, seconds, loss_ratio: (overload + stall).min(1.0) })
    }
}

fn run(device: &mut Device, goals: &[Goal]) -> Answer {
    let Ok(answer) = search(device, goals, &LIMITS);
    answer
}

/// Asserts that the interval is complete, as narrow as the goal says, and holds `load` up to a share of `tolerance`.
#[track_caller]
fn assert_around(found: &Found, goal: &Goal, load: f64, tolerance: f64) {
    let (lower, upper) = (found.lower.unwrap() as f64, found.upper.unwrap() as f64);
    assert!(found.complete && lower < upper, "{found:?}");
    assert!((upper - lower) / upper <= goal.width, "{found:?}");
    assert!(lower <= load * (1.0 + tolerance) && upper >= load * (1.0 - tolerance), "{load}: {found:?}");
}

/// The load at which a share of `loss_ratio` is lost.
fn load_with(loss_ratio: f64, capacity: f64) -> f64 {
    capacity / (1.0 - loss_ratio)
}

#[test]
fn a_quiet_device_is_found_exactly_and_quickly() {
    let answer = run(&mut Device::quiet(12_345_678.0), &[NDR, PDR]);
    assert_around(&answer.found[0], &NDR, 12_345_678.0, 1e-6);
    assert_around(&answer.found[1], &PDR, load_with(0.005, 12_345_678.0), 1e-6);
    // Two goals of two bounds, each of two long trials (half the sum), and short ones to find them.
    assert!(answer.trials <= 40 && answer.seconds <= 30.0, "{answer:?}");
    let Found { throughput, lower, .. } = answer.found[1];
    assert!(throughput <= lower.unwrap() as f64 && throughput >= 0.995 * lower.unwrap() as f64);
}

#[test]
fn a_device_beyond_the_limits_ends_at_them() {
    let answer = run(&mut Device::quiet(1e9), &[NDR]);
    assert_eq!(answer.found[0].lower, Some(LIMITS.max));
    assert!(answer.found[0].upper.is_none() && answer.found[0].complete);
    let answer = run(&mut Device::quiet(10.0), &[NDR, PDR]);
    assert!(answer.found.iter().all(|found| found.lower.is_none() && found.upper == Some(LIMITS.min)), "{answer:?}");
    assert!(answer.found.iter().all(|found| found.complete && found.throughput == 0.0));
}

#[test]
fn stalls_in_a_fifth_of_the_trials_are_forgiven_by_the_exceed_ratio_and_not_without_it() {
    let stalling =
        |seed| Device { stalls: (0.2, 0.02), random: fastrand::Rng::with_seed(seed), ..Device::quiet(5_000_000.0) };
    let goal = Goal { sum_s: 20.0, ..PDR };
    let mut misled = 0;
    for seed in 0..20 {
        let found = run(&mut stalling(seed), &[goal]).found[0];
        assert_around(&found, &goal, load_with(0.005, 5_000_000.0), 0.02);
        let strict = Goal { exceed_ratio: 0.0, ..goal };
        let found = run(&mut stalling(seed), &[strict]).found[0];
        misled += u32::from(found.lower.is_none_or(|lower| lower < 4_900_000));
    }
    assert!(misled > 15, "one bad trial decides: {misled} of 20 searches end too low");
}

#[test]
fn a_search_out_of_time_says_so_and_keeps_what_it_has() {
    let limits = Limits { budget_s: 1.0, ..LIMITS };
    let Ok(answer) = search(&mut Device::quiet(3_000_000.0), &[NDR, PDR], &limits);
    assert!(answer.seconds < 3.0, "{answer:?}");
    assert!(answer.found.iter().all(|found| !found.complete), "{answer:?}");
    assert!(answer.found[1].lower.is_some_and(|lower| lower <= 3_000_000 * 201 / 200), "{answer:?}");
}

#[test]
fn a_measurer_whose_trials_take_no_time_does_not_keep_it_for_ever() {
    struct Instantly;
    impl Measurer for Instantly {
        type Error = std::convert::Infallible;

        fn measure(&mut self, load: Load, _seconds: f64) -> Result<Trial, Self::Error> {
            Ok(Trial { load, seconds: 0.0, loss_ratio: 0.0 })
        }
    }
    let Ok(answer) = search(&mut Instantly, &[NDR], &Limits { budget_s: 60.0, ..LIMITS });
    assert!(!answer.found[0].complete);
}

proptest! {
    #[test]
    fn the_interval_holds_the_capacity_whatever_it_is(capacity in 2_000.0..90_000_000.0_f64) {
        let answer = run(&mut Device::quiet(capacity), &[NDR, PDR]);
        assert_around(&answer.found[0], &NDR, capacity, 1e-3);
        assert_around(&answer.found[1], &PDR, load_with(0.005, capacity), 1e-3);
        prop_assert!(answer.found[0].lower <= answer.found[1].lower);
    }

    #[test]
    fn noise_moves_the_answer_by_no_more_than_itself(
        capacity in 10_000.0..90_000_000.0_f64, noise in 0.0..0.03_f64, stalls in 0.0..0.1_f64, seed: u64,
    ) {
        let random = fastrand::Rng::with_seed(seed);
        let mut device = Device { capacity, noise, stalls: (stalls, 0.3), random };
        let goal = Goal { sum_s: 20.0, ..PDR };
        let found = run(&mut device, &[goal]).found[0];
        // Ten stalls in twenty trials, where one in ten stalls, do not happen.
        assert_around(&found, &goal, load_with(0.005, capacity), noise + 0.001);
    }

    #[test]
    fn every_search_ends_and_its_bounds_are_in_order(
        capacity in 1.0..1e9_f64, noise in 0.0..2.0_f64, stalls in 0.0..1.0_f64, lost in 0.0..1.0_f64, seed: u64,
        exceed_ratio in 0.0..0.9_f64, sum_s in 0.5..20.0_f64, width in 0.001..0.3_f64, phases in 0..4_u32,
    ) {
        let random = fastrand::Rng::with_seed(seed);
        let mut device = Device { capacity, noise, stalls: (stalls, lost), random };
        let goals = [NDR, PDR].map(|goal| Goal { exceed_ratio, sum_s, width, ..goal });
        let Ok(answer) = search(&mut device, &goals, &Limits { phases, ..LIMITS });
        for found in &answer.found {
            if let (Some(lower), Some(upper)) = (found.lower, found.upper) {
                prop_assert!(LIMITS.min <= lower && lower < upper && upper <= LIMITS.max);
                prop_assert!(!found.complete || (upper - lower) as f64 / upper as f64 <= width);
            }
            prop_assert!(found.throughput <= found.lower.unwrap_or(0) as f64);
        }
    }
}
