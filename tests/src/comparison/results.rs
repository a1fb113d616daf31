//! Everything a comparison measured, and what it comes to.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Serialize;

use super::cases::{Case, Verdict, ZeroCopy};
use super::contest::{Contest, Question, Turn};
use super::ends::{Ends, Middle};
use super::idle::Idle;
use super::latency::Latency;
use super::limits::{self, COPY_GOAL, FLAT_GOAL, FLAT_SIZES};
use super::machine::Machine;
use super::measuring::{Conditions, Sample};
use super::statistics::{LEAST_PAIRS, Quartiles, median};

/// What was measured so far.
#[derive(Debug, Clone, Serialize)]
pub struct Results {
    /// Where.
    pub machine: Machine,
    /// How.
    pub conditions: Conditions,
    /// Rounds that were asked for, and rounds that were made.
    pub rounds: [u32; 2],
    /// In the order of the table, the limits at the end.
    pub contests: Vec<Contest>,
    /// Latencies, if they were asked for.
    pub latency: Option<Latency>,
    /// Idle mode, if it was asked for.
    pub idle: Option<Idle>,
}

/// One side of a row.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Side {
    /// Its ends with zero-copy; in most pairs, where it was the better of two.
    pub zero_copy: ZeroCopy,
    /// Packets per second, the median over the pairs; NaN without any that counts.
    pub rate: f64,
}

/// What a row comes to.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Outcome {
    /// Which row.
    pub case: Case,
    /// testpmd; in each pair the better one where it cannot do the same.
    pub testpmd: Side,
    /// Ours.
    pub lport: Side,
    /// Ours over testpmd's, of each pair.
    pub ratio: Quartiles,
    /// What the ends left, if it has some that are the same for both.
    pub ends: Option<Ends>,
    /// Nanoseconds that a cache line took to the other CPU and back, over the pairs; `None` of a single CPU.
    pub round_trip: Option<Quartiles>,
    /// Pairs that count, and all.
    pub pairs: [usize; 2],
    /// Whether that is what is wanted.
    pub verdict: Verdict,
}

/// A pair of a row: testpmd's better rate, that of which end is zero-copy, and ours.
#[derive(Debug, Clone, Copy)]
struct Pair {
    zero_copy: ZeroCopy,
    testpmd: f64,
    lport: f64,
    /// testpmd's and our rate with the ends' limits.
    ends: Option<[Middle; 2]>,
}

impl Pair {
    fn of(turn: &Turn, case: Case) -> Option<Self> {
        let (ours, theirs) = turn.samples.split_last()?;
        let theirs = theirs.iter().zip(case.of_testpmd());
        let (theirs, &zero_copy) = theirs.max_by(|(a, _), (b, _)| a.rate.total_cmp(&b.rate))?;
        let middle = |sample: &Sample| Some([sample.rate, sample.limit_of_ends?]);
        let ends = middle(theirs).zip(middle(ours)).map(|(theirs, ours)| [theirs, ours]);
        Some(Self { zero_copy, testpmd: theirs.rate, lport: ours.rate, ends })
    }
}

/// What the limits come to.
#[derive(Debug, Clone, Serialize)]
pub struct Limits {
    /// Copied packets per second: through a memif, and by memcpy alone.
    pub copies: [f64; 2],
    /// The first as a share of the second, of each pair.
    pub copy_share: Quartiles,
    /// Whether that is what is wanted.
    pub copy_verdict: Verdict,
    /// Nanoseconds a packet takes without copies, by size.
    pub flat: Vec<(usize, f64)>,
    /// The dearest over the cheapest of them.
    pub unevenness: f64,
    /// Whether that is what is wanted.
    pub flat_verdict: Verdict,
}

impl Results {
    /// None yet.
    pub fn new(machine: Machine, conditions: Conditions, cases: Vec<Case>, with_limits: bool, rounds: u32) -> Self {
        let limits = if with_limits { &[Question::Copies, Question::Flat][..] } else { &[] };
        let questions = cases.into_iter().map(Question::Row).chain(limits.iter().copied());
        let contests = questions.map(Contest::new).collect();
        Self { machine, conditions, rounds: [rounds, 0], contests, latency: None, idle: None }
    }

    /// How many pairs a verdict takes here; fewer are enough only where no more were asked for.
    pub fn least_pairs(&self) -> usize {
        let asked = self.rounds[0].saturating_mul(self.conditions.pairs);
        usize::try_from(asked).unwrap_or(LEAST_PAIRS).min(LEAST_PAIRS)
    }

    /// What all rows come to.
    pub fn outcomes(&self) -> Vec<Outcome> {
        let outcome = |contest: &Contest| match contest.question {
            Question::Row(case) => Some(outcome(case, contest, self.least_pairs())),
            Question::Copies | Question::Flat => None,
        };
        self.contests.iter().filter_map(outcome).collect()
    }

    /// What the limits come to, if they were asked for.
    pub fn limits(&self) -> Option<Limits> {
        let contest = |question| self.contests.iter().find(|contest| contest.question == question);
        let (copies, flat) = (contest(Question::Copies)?, contest(Question::Flat)?);
        let shares: Vec<_> = copies.counted().map(|turn| turn.samples[0].rate / turn.samples[1].rate).collect();
        let copy_share = Quartiles::of(&shares);
        let (least, flat_turns) = (self.least_pairs(), flat.counted().count());
        let time = |at: usize| 1e9 / median_rate(flat, at);
        let flat: Vec<_> = FLAT_SIZES.iter().enumerate().map(|(at, &size)| (size, time(at))).collect();
        let times: Vec<_> = flat.iter().map(|(_, time)| *time).filter(|time| !time.is_nan()).collect();
        let unevenness = limits::unevenness(&times);
        Some(Limits {
            copies: [0, 1].map(|at| median_rate(copies, at)),
            copy_share,
            copy_verdict: Verdict::of(copy_share.median, Some(COPY_GOAL)).resting_on(shares.len(), least),
            flat,
            unevenness,
            // The smaller, the better: a goal is reached from below.
            flat_verdict: Verdict::of(FLAT_GOAL / unevenness, Some(1.0)).resting_on(flat_turns, least),
        })
    }

    /// Turns of contests that were dropped, of how many.
    pub fn dropped(&self) -> [usize; 2] {
        let turns = || self.contests.iter().flat_map(|contest| &contest.turns);
        [turns().filter(|turn| turn.dropped.is_some()).count(), turns().count()]
    }

    /// Whether nothing at all was measured.
    pub fn is_empty(&self) -> bool {
        let rates = self.contests.iter().any(|contest| !contest.turns.is_empty());
        let latency = self.latency.as_ref().is_some_and(|latency| !latency.pairs.is_empty());
        let idle = self.idle.as_ref().is_some_and(|idle| !idle.runs.is_empty());
        !(rates || latency || idle)
    }

    /// Writes all of it as JSON, over what was written before.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let (outcomes, limits) = (self.outcomes(), self.limits());
        let latency = self.latency.as_ref().map(Latency::rows);
        let idle = self.idle.as_ref().map(Idle::rows);
        let all = serde_json::json!({
            "raw": self, "outcomes": outcomes, "limits": limits, "latency": latency, "idle": idle
        });
        // Beside it first, so that an interruption leaves a whole file.
        let new: PathBuf = path.with_extension("json.new");
        let written = fs::write(&new, format!("{all:#}\n")).and_then(|()| fs::rename(&new, path));
        written.with_context(|| format!("cannot write {}", path.display()))
    }
}

/// What a row comes to, where a verdict takes so many pairs at `least`.
fn outcome(case: Case, contest: &Contest, least: usize) -> Outcome {
    let pairs: Vec<_> = contest.counted().filter_map(|turn| Pair::of(turn, case)).collect();
    let medians = |of: fn(&Pair) -> f64| median(&pairs.iter().map(of).collect::<Vec<_>>());
    let won = |zero_copy: &ZeroCopy| pairs.iter().filter(|pair| pair.zero_copy == *zero_copy).count();
    let theirs = case.of_testpmd().iter().copied().max_by_key(won).unwrap_or(ZeroCopy::None);
    let ratio = Quartiles::of(&pairs.iter().map(|pair| pair.lport / pair.testpmd).collect::<Vec<_>>());
    let round_trips: Vec<_> = contest.counted().map(Turn::round_trip).collect();
    Outcome {
        case,
        testpmd: Side { zero_copy: theirs, rate: medians(|pair| pair.testpmd) },
        lport: Side { zero_copy: case.zero_copy, rate: medians(|pair| pair.lport) },
        ratio,
        ends: Ends::of(&pairs.iter().filter_map(|pair| pair.ends).collect::<Vec<_>>()),
        round_trip: (case.work.cpus() > 1).then(|| Quartiles::of(&round_trips)),
        pairs: [pairs.len(), contest.turns.len()],
        verdict: Verdict::of(ratio.median, case.goal()).resting_on(pairs.len(), least),
    }
}

/// Packets per second of a contest's subject, the median over the turns that count.
fn median_rate(contest: &Contest, subject: usize) -> f64 {
    median(&contest.counted().map(|turn| turn.samples[subject].rate).collect::<Vec<_>>())
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::cases::Work;
    use super::super::measuring::tests::sample;
    use super::super::rule::{Reason, Rule};
    use super::*;

    /// Results of a work with 64 and 128 bytes. Each turn of the row with 64 bytes and this zero-copy has these rates, in the
    /// order of its subjects, while a cache line takes so many nanoseconds. One pair was asked for, so one is enough.
    pub(in super::super) fn results(work: Work, turns: &[(ZeroCopy, &[f64], f64)]) -> Results {
        let machine =
            Machine { model: "A <fast> & \"odd\" CPU".into(), date: "2026-01-02".into(), ..Machine::default() };
        let conditions = Conditions { cpus: [0, 1], burst: 32, rule: Rule::new(0.02), pairs: 1, repeats: 2 };
        let mut results = Results::new(machine, conditions, Case::all(&[work], &[64, 128]), true, 1);
        for (zero_copy, rates, round_trip) in turns {
            let row = Question::Row(Case { work, zero_copy: *zero_copy, size: 64 });
            let contest = results.contests.iter_mut().find(|contest| contest.question == row).unwrap();
            contest.turns.push(turn(rates, work.cpus(), *round_trip));
        }
        results
    }

    fn turn(rates: &[f64], cpus: usize, round_trip: f64) -> Turn {
        let samples: Vec<_> = rates.iter().map(|rate| sample(*rate, cpus, round_trip)).collect();
        Turn { round: 1, backwards: false, samples, dropped: None }
    }

    /// Drops a turn of some row.
    pub(in super::super) fn drop_turn(results: &mut Results, row: usize, turn: usize) {
        results.contests[row].turns[turn].dropped = Some(Reason::Moved { round_trip: [100.0, 300.0] });
    }

    #[test]
    fn the_ratio_is_the_median_of_the_pairs_ratios_whatever_state_each_was_in() {
        let pairs: [(_, &[f64], _); 4] = [
            (ZeroCopy::None, &[10e6, 30e6], 70.0),
            (ZeroCopy::None, &[2e6, 7e6], 500.0),
            (ZeroCopy::None, &[4e6, 10e6], 200.0),
            (ZeroCopy::None, &[1e6, 100e6], 70.0),
        ];
        let mut results = results(Work::ServerToClient, &pairs);
        drop_turn(&mut results, 0, 3);
        let outcome = results.outcomes()[0];
        // That of the medians would be 2.5.
        assert_eq!((outcome.testpmd.rate, outcome.lport.rate, outcome.ratio.median), (4e6, 10e6, 3.0));
        assert_eq!((outcome.ratio.low, outcome.ratio.high), (2.75, 3.25));
        assert_eq!(outcome.round_trip.map(|times| times.median), Some(200.0));
        assert_eq!((outcome.pairs, outcome.verdict), ([3, 4], Verdict::Reached));
        assert_eq!(results.dropped(), [1, 4]);
    }

    #[test]
    fn where_testpmd_cannot_do_the_same_its_better_counts_in_each_pair() {
        let pairs: [(_, &[f64], _); 3] = [
            (ZeroCopy::Both, &[10.0, 20.0, 40.0], 100.0),
            (ZeroCopy::Both, &[5.0, 10.0, 30.0], 100.0),
            (ZeroCopy::Both, &[20.0, 10.0, 20.0], 100.0),
        ];
        let results = results(Work::Loopback, &pairs);
        let outcome = results.outcomes().into_iter().find(|outcome| outcome.case.zero_copy == ZeroCopy::Both).unwrap();
        assert_eq!((outcome.ratio.median, outcome.testpmd.zero_copy), (2.0, ZeroCopy::Client));
        assert_eq!((outcome.testpmd.rate, outcome.round_trip), (20.0, None));
    }

    #[test]
    fn what_failed_or_was_always_dropped_is_not_judged() {
        let mut results = results(Work::Loopback, &[(ZeroCopy::None, &[10e6, 30e6], 100.0)]);
        drop_turn(&mut results, 0, 0);
        assert!(results.outcomes().iter().all(|outcome| outcome.verdict == Verdict::NotMeasured));
        let limits = results.limits().unwrap();
        assert_eq!((limits.copy_verdict, limits.flat_verdict), (Verdict::NotMeasured, Verdict::NotMeasured));
    }

    #[test]
    fn a_verdict_takes_five_pairs_or_all_that_were_asked_for() {
        let verdicts = |counted: usize, rounds, pairs| {
            let mut results = results(Work::Loopback, &vec![(ZeroCopy::None, &[10e6, 30e6][..], 100.0); counted + 1]);
            drop_turn(&mut results, 0, counted);
            let [.., copies, flat] = &mut results.contests[..] else { panic!("no limits") };
            copies.turns = vec![turn(&[9e6, 10e6], 1, 100.0); counted];
            flat.turns = vec![turn(&[100e6; FLAT_SIZES.len()], 2, 100.0); counted];
            (results.rounds[0], results.conditions.pairs) = (rounds, pairs);
            let limits = results.limits().unwrap();
            [results.outcomes()[0].verdict, limits.copy_verdict, limits.flat_verdict]
        };
        assert_eq!(verdicts(4, 10, 8), [Verdict::NotMeasured; 3]);
        assert_eq!(verdicts(5, 10, 8), [Verdict::Reached; 3]);
        assert_eq!((verdicts(2, 3, 1), verdicts(3, 3, 1)), ([Verdict::NotMeasured; 3], [Verdict::Reached; 3]));
    }

    #[test]
    fn limits_are_judged_by_share_and_by_unevenness() {
        let mut results = results(Work::Loopback, &[]);
        let [.., copies, flat] = &mut results.contests[..] else { panic!("no limits") };
        copies.turns.push(turn(&[8e6, 10e6], 1, 100.0));
        flat.turns.push(turn(&[100e6, 100e6, 100e6, 100e6, 80e6], 2, 100.0));
        let limits = results.limits().unwrap();
        assert_eq!(
            (limits.copies, limits.copy_share.median, limits.copy_verdict),
            ([8e6, 10e6], 0.8, Verdict::Reached)
        );
        assert_eq!((limits.unevenness, limits.flat_verdict), (1.25, Verdict::Missed));
    }

    #[test]
    fn raw_results_are_whole_json_that_says_who_was_paired_with_whom_and_what_was_dropped_why() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("raw.json");
        let mut results = results(Work::ServerToClient, &[(ZeroCopy::None, &[1.0, 2.0], 100.0)]);
        drop_turn(&mut results, 0, 0);
        results.write(&path).unwrap();
        let read: serde_json::Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        assert!(read["outcomes"][0]["ratio"]["median"].is_null(), "NaN is no number of JSON");
        assert_eq!(read["raw"]["conditions"]["burst"], 32);
        let contest = &read["raw"]["contests"][0];
        assert_eq!(contest["subjects"][1]["program"]["program"], "lport");
        let turn = &contest["turns"][0];
        assert_eq!(
            (&turn["samples"][1]["rate"], &turn["dropped"]["moved"]["round_trip"][1]),
            (&2.0.into(), &300.0.into())
        );
        assert_eq!(turn["samples"][0]["probes"][1]["round_trip"], 100.0);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing else is left");
    }
}
