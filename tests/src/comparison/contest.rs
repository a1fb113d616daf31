//! What is compared with each other, measured in turns.
//!
//! 1. [`Question`] says what is asked: a row of the table, or one of the two about the limits. It names the subjects.
//! 2. [`Contest::hold`] gets all of them ready in a round, then lets each be measured once, one directly after the other: a
//!    [`Turn`]. Every second turn goes backwards, so that what grows or shrinks with time favours nobody.
//! 3. The rule ([`super::rule`]) judges each turn as a whole. Dropped ones stay, and are made again within limits.
//! 4. What fails is started again, because testpmd 22.11 crashes now and then. Turns made before count on.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::Serialize;

use super::cases::Case;
use super::limits;
use super::measuring::{Conditions, Contender, Sample, Subject};
use super::probe::Probe;
use super::processes::Program;
use super::rule::{Circumstances, Reason};
use super::statistics::median;
use crate::testbed::Testbed;

/// How often a contest that fails is tried in a round.
const ATTEMPTS: u32 = 3;

/// What a contest is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Question {
    /// How many times testpmd's rate is ours?
    Row(Case),
    /// How near is a copied packet to a bare memcpy?
    Copies,
    /// Does a packet that nobody copies cost the same at every size?
    Flat,
}

impl Question {
    /// What has to be measured for it. Of a row: whatever testpmd can do, and ours behind it.
    pub fn subjects(self) -> Vec<Subject> {
        match self {
            Self::Row(case) => {
                let Case { work, zero_copy, size } = case;
                let of = |program, zero_copy| Subject::of(program, work, zero_copy, size);
                let theirs = case.of_testpmd().iter().map(|&theirs| of(Program::Testpmd, theirs));
                theirs.chain([of(Program::Lport, zero_copy)]).collect()
            }
            Self::Copies => limits::COPIES.map(Subject::Loop).to_vec(),
            Self::Flat => limits::FLAT_SIZES.map(limits::without_copies).to_vec(),
        }
    }

    /// What progress calls it.
    pub fn title(self) -> String {
        match self {
            Self::Row(Case { work, zero_copy, size }) => {
                format!("{}, zero-copy {}, {size} bytes", work.title(), zero_copy.title())
            }
            Self::Copies => "copied packets and a bare memcpy".into(),
            Self::Flat => "packets of all sizes without copies".into(),
        }
    }
}

/// All subjects of a contest, measured one directly after the other. Of a row this is a pair, ours and testpmd's.
#[derive(Debug, Clone, Serialize)]
pub struct Turn {
    /// In which round, from 1.
    pub round: u32,
    /// Whether the last subject was measured first.
    pub backwards: bool,
    /// In the order of the subjects.
    pub samples: Vec<Sample>,
    /// Why the rule drops it.
    pub dropped: Option<Reason>,
}

impl Turn {
    /// Nanoseconds that a cache line took to the other CPU and back meanwhile.
    pub fn round_trip(&self) -> f64 {
        let probes = self.samples.iter().flat_map(|sample| sample.circumstances.probes);
        median(&probes.map(|probe| probe.round_trip).collect::<Vec<_>>())
    }
}

/// A question, and what was measured for it in all rounds.
#[derive(Debug, Clone, Serialize)]
pub struct Contest {
    /// What is asked.
    pub question: Question,
    /// What is measured in each turn.
    pub subjects: Vec<Subject>,
    /// All turns, the dropped ones too.
    pub turns: Vec<Turn>,
    /// What went wrong.
    pub failures: Vec<String>,
}

impl Contest {
    /// One that was not held yet.
    pub fn new(question: Question) -> Self {
        Self { question, subjects: question.subjects(), turns: Vec::new(), failures: Vec::new() }
    }

    /// The turns that count.
    pub fn counted(&self) -> impl Iterator<Item = &Turn> {
        self.turns.iter().filter(|turn| turn.dropped.is_none())
    }

    /// Holds it in a round, for about `time`; one turn is made in any case. What fails is kept, and ends no comparison.
    pub fn hold(&mut self, testbed: &Testbed, conditions: Conditions, round: u32, time: Duration) {
        let (end, cpus) = (Instant::now() + time, conditions.cpus);
        let mut left = self.turns_left(conditions, round);
        for _ in 0..ATTEMPTS {
            let start = || self.subjects.iter().map(|subject| Contender::start(testbed, *subject, conditions));
            let held = start().collect::<Result<Vec<_>>>().and_then(|mut contenders| {
                self.take_turns(conditions, round, &mut left, end, |order| {
                    in_turn(order, cpus, |at, before| contenders[at].measure(cpus, before))
                })
            });
            match held {
                Ok(()) => return,
                Err(error) => self.failures.push(format!("{error:#}")),
            }
        }
    }

    /// What earlier rounds owe is made up for.
    fn turns_left(&self, conditions: Conditions, round: u32) -> TurnsLeft {
        let counted = u32::try_from(self.counted().count()).unwrap_or(u32::MAX);
        let wanted = conditions.pairs.saturating_mul(round).saturating_sub(counted);
        TurnsLeft { wanted, spare: conditions.repeats }
    }

    /// Makes turns until there are enough, or the time is over.
    fn take_turns(
        &mut self,
        conditions: Conditions,
        round: u32,
        left: &mut TurnsLeft,
        end: Instant,
        mut make: impl FnMut(&[usize]) -> Result<Vec<Sample>>,
    ) -> Result<()> {
        while left.any() {
            let backwards = (self.turns.len() + round as usize).is_multiple_of(2);
            let mut order: Vec<_> = (0..self.subjects.len()).collect();
            if backwards {
                order.reverse();
            }
            let samples = make(&order)?;
            let dropped = conditions.rule.reason(&samples);
            left.made(dropped.is_none());
            self.turns.push(Turn { round, backwards, samples, dropped });
            if Instant::now() >= end {
                break;
            }
        }
        Ok(())
    }
}

/// How many turns a round may still have.
#[derive(Debug, Clone, Copy)]
struct TurnsLeft {
    /// Those that count.
    wanted: u32,
    /// Those that do not.
    spare: u32,
}

impl TurnsLeft {
    fn any(self) -> bool {
        self.wanted > 0
    }

    fn made(&mut self, counts: bool) {
        if counts {
            self.wanted -= 1;
        } else if self.spare > 0 {
            self.spare -= 1;
        } else {
            self.wanted = 0;
        }
    }
}

/// Measures each once, in this order, and knows before each what the CPUs are like; gives what was measured in the order of
/// their numbers.
///
/// # Errors
/// When the CPUs cannot be probed, or what `measure` says.
pub(super) fn in_turn<T: AsRef<Circumstances>>(
    order: &[usize],
    cpus: [usize; 2],
    mut measure: impl FnMut(usize, Probe) -> Result<T>,
) -> Result<Vec<T>> {
    let mut measured: Vec<_> = order.iter().map(|_| None).collect();
    let mut before = Probe::take(cpus)?;
    for &at in order {
        let one = measure(at, before)?;
        before = one.as_ref().probes[1];
        measured[at] = Some(one);
    }
    measured.into_iter().collect::<Option<_>>().context("somebody was not measured")
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::cases::{Work, ZeroCopy};
    use super::super::measuring::tests::sample;
    use super::super::rule::Rule;
    use super::*;

    use anyhow::bail;

    const CONDITIONS: Conditions = Conditions {
        cpus: [0, 1],
        burst: 32,
        rule: Rule { others: 0.02, farther: 1.4, slower: 1.2 },
        pairs: 3,
        repeats: 2,
    };

    fn contest(zero_copy: ZeroCopy) -> Contest {
        Contest::new(Question::Row(Case { work: Work::ClientToServer, zero_copy, size: 64 }))
    }

    /// Turns that take these round trips at the second member, while the first takes 100 ns. Gives how many were made.
    fn take(contest: &mut Contest, round: u32, end: Instant, round_trips: &[f64]) -> usize {
        let mut left = contest.turns_left(CONDITIONS, round);
        let mut given = round_trips.iter();
        let make = |_: &[usize]| Ok(vec![sample(1.0, 2, 100.0), sample(2.0, 2, *given.next().unwrap())]);
        contest.take_turns(CONDITIONS, round, &mut left, end, make).unwrap();
        round_trips.len() - given.len()
    }

    fn far() -> Instant {
        Instant::now() + Duration::from_secs(3600)
    }

    #[test]
    fn dropped_pairs_are_made_again_within_limits() {
        let mut contest = contest(ZeroCopy::None);
        assert_eq!(take(&mut contest, 1, far(), &[100.0, 300.0, 100.0, 300.0, 100.0, 100.0]), 5);
        assert_eq!((contest.counted().count(), contest.turns.len()), (3, 5));
        // Where none is in one state, a round ends without a pair, and the next one makes up for it.
        assert_eq!(take(&mut contest, 2, far(), &[300.0; 9]), 3);
        assert_eq!((contest.counted().count(), contest.turns.len()), (3, 8));
        assert_eq!(take(&mut contest, 3, far(), &[100.0; 9]), 6);
    }

    #[test]
    fn when_the_time_is_over_one_turn_is_made() {
        let mut contest = contest(ZeroCopy::None);
        assert_eq!(take(&mut contest, 1, Instant::now(), &[100.0; 3]), 1);
    }

    #[test]
    fn who_is_first_alternates_by_turn_and_by_round() {
        for (round, first) in [(1, false), (2, true)] {
            let mut contest = contest(ZeroCopy::None);
            take(&mut contest, round, far(), &[100.0; 6]);
            let backwards: Vec<_> = contest.turns.iter().map(|turn| turn.backwards).take(3).collect();
            assert_eq!(backwards, [first, !first, first]);
        }
    }

    #[test]
    fn a_failure_ends_the_turns_but_those_before_count() {
        let mut contest = contest(ZeroCopy::None);
        let mut left = TurnsLeft { wanted: 3, spare: 2 };
        let mut crash = false;
        let make = |_: &[usize]| {
            if crash {
                bail!("crashed");
            }
            crash = true;
            Ok(vec![sample(1.0, 2, 100.0); 2])
        };
        contest.take_turns(CONDITIONS, 1, &mut left, far(), make).unwrap_err();
        assert_eq!((contest.counted().count(), left.wanted), (1, 2));
    }

    #[test]
    fn in_whatever_order_members_are_measured_each_has_its_place_and_they_share_the_probe_between_them() {
        let cpus = crate::testbed::allowed_cpus().unwrap();
        let mut order = Vec::new();
        let measure = |at: usize, before| {
            order.push(at);
            let mut sample = sample(at as f64, 2, 100.0);
            sample.circumstances.probes[0] = before;
            Ok(sample)
        };
        let measured = in_turn(&[1, 0], [cpus[0], cpus[cpus.len() - 1]], measure).unwrap();
        assert_eq!((measured[0].rate, measured[1].rate, order), (0.0, 1.0, vec![1, 0]));
        assert_eq!(measured[0].circumstances.probes[0], measured[1].circumstances.probes[1]);
    }

    #[test]
    fn a_row_measures_all_that_testpmd_can_do_and_ours_behind_it() {
        let subject = |program, zero_copy| Subject::of(program, Work::ClientToServer, zero_copy, 64);
        let theirs = |zero_copy| subject(Program::Testpmd, zero_copy);
        let [none, client] = [theirs(ZeroCopy::None), theirs(ZeroCopy::Client)];
        assert_eq!(contest(ZeroCopy::Client).subjects, [client, subject(Program::Lport, ZeroCopy::Client)]);
        assert_eq!(contest(ZeroCopy::Both).subjects, [none, client, subject(Program::Lport, ZeroCopy::Both)]);
    }

    #[test]
    fn the_state_of_a_turn_is_the_median_of_its_probes() {
        let samples = vec![sample(1.0, 2, 100.0), sample(2.0, 2, 120.0)];
        let turn = Turn { round: 1, backwards: false, samples, dropped: None };
        assert_eq!(turn.round_trip(), 110.0);
    }
}
