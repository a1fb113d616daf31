//! `lport bench search`: MRR, NDR and PDR.
//!
//! 1. A rig for each case; a trial without a schedule tells the maximum receive rate, which bounds the search.
//! 2. The search ([`super::search`]) asks for trials, the rig makes them, disturbed ones again.

use std::time::Duration;

use serde::Serialize;

use super::args::{Manner, SearchArgs, Setup};
use super::arrangement::{Arrangement, Work};
use super::driver::{AttachedWords, DriverWords};
use super::frames::FrameSize;
use super::machine::Fingerprint;
use super::progress::Progress;
use super::report::{mpps, print_results};
use super::rig::{Measuring, Rig, Stopped};
use super::search::{Found, Goal, Limits, search};
use super::tester::Order;
use crate::failure::Failure;
use crate::output::{Align, Table, print};
use crate::signals::Signals;

/// How far beyond the maximum receive rate is searched: a device may forward more when it is not overrun.
const BEYOND_MRR: f64 = 1.5;

/// A case with its answers.
#[derive(Debug, Serialize)]
struct Row {
    work: Work,
    driver: DriverWords,
    peer: Option<DriverWords>,
    /// Our ends of links to a process that is not ours.
    attached: Vec<AttachedWords>,
    size: FrameSize,
    burst: usize,
    cores: Vec<usize>,
    mrr_mpps: f64,
    goals: Vec<GoalRow>,
    trials: usize,
    trial_seconds: f64,
    /// Trials that were disturbed in every repetition.
    disturbed_trials: u32,
}

/// A goal with its answer.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct GoalRow {
    #[serde(flatten)]
    goal: Goal,
    #[serde(flatten)]
    pub(super) found: Found,
}

/// What a search came to.
pub(super) struct Searched {
    pub(super) mrr: f64,
    pub(super) goals: Vec<GoalRow>,
    pub(super) trials: usize,
    pub(super) seconds: f64,
    pub(super) disturbed: u32,
}

/// How a search is made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Exactness {
    pub(super) trial: Duration,
    pub(super) exceed_ratio: f64,
    pub(super) width: f64,
    /// How much measured time decides about a load, in trials.
    pub(super) trials_per_load: f64,
    pub(super) budget: Duration,
    /// Whether latencies are recorded in the trials.
    pub(super) records: bool,
}

impl Exactness {
    /// As `manner` says, with trials of length `trial`.
    pub(super) fn of(manner: &Manner, trial: Duration) -> Self {
        let (width, trials_per_load, budget) = if manner.quick { (0.05, 1.0, 20.0) } else { (0.01, 4.0, 120.0) };
        Self {
            trial,
            exceed_ratio: 0.5,
            width,
            trials_per_load,
            budget: Duration::from_secs_f64(budget),
            records: false,
        }
    }

    fn goal(&self, name: &'static str, loss_ratio: f64) -> Goal {
        let trial_s = self.trial.as_secs_f64();
        let (exceed_ratio, width) = (self.exceed_ratio, self.width);
        Goal { name, loss_ratio, exceed_ratio, trial_s, sum_s: trial_s * self.trials_per_load, width }
    }
}

/// Runs the command.
///
/// # Errors
/// When a case cannot be run.
pub(super) fn find(args: &SearchArgs, signals: &Signals) -> Result<(), Failure> {
    let machine = Fingerprint::take();
    let progress = Progress::new();
    let exactness = Exactness {
        exceed_ratio: args.exceed / 100.0,
        ..Exactness::of(&args.manner, args.manner.duration(args.duration, 1.0, 0.2))
    };
    let exactness = Exactness { width: args.width.map_or(exactness.width, |width| width / 100.0), ..exactness };
    let losses = [("NDR", 0.0), ("PDR", args.loss / 100.0)];
    let mut rows = Vec::new();
    'cases: for (work, cores) in args.cases.works(&args.setup, || usual(&args.setup, &args.cases.work))? {
        for size in &args.cases.sizes {
            let directory = tempfile::tempdir()?;
            let arrangement = args.cases.arrange(&args.setup, work, *size, &cores, directory.path());
            args.cases.announce(&progress);
            let Some(mut rig) = Rig::start(&args.setup, &arrangement, directory.path(), signals)? else { break 'cases };
            let label = format!("{}, {size} bytes", work.word());
            let searched = goals(&mut rig, &losses, exactness, &progress, &label);
            rig.stop()?;
            let Some(searched) = searched? else { break 'cases };
            rows.push(row(args, &arrangement, &searched));
        }
    }
    drop(progress);
    if args.manner.json { print_results(&machine, &args.setup, &rows) } else { print(&table(&rows).to_string()) }
}

/// The work to search, if none is chosen: one whose packets can be counted.
///
/// # Errors
/// When nothing can be counted with the driver.
pub(super) fn usual(setup: &Setup, asked: &[Work]) -> Result<Vec<Work>, Failure> {
    if setup.driver.is_null() {
        let message = "net_null swallows what it is sent and nothing comes back to be counted; see `lport bench rate`";
        return Err(Failure::Configuration(message.into()));
    }
    Ok(match asked {
        [] if setup.driver.is_memif() => vec![Work::Chain],
        [] => vec![Work::Loopback],
        asked => asked.to_vec(),
    })
}

/// Searches on a rig; `losses` are names and loss ratios. `None` when a signal came.
///
/// # Errors
/// When a process has failed.
pub(super) fn goals(
    rig: &mut Rig<'_>,
    losses: &[(&'static str, f64)],
    exactness: Exactness,
    progress: &Progress,
    label: &str,
) -> Result<Option<Searched>, Failure> {
    progress.show(&format!("{label}: maximum receive rate"));
    let mrr = rig.undisturbed(Order { rate: None, duration: exactness.trial, record_every: 0 })?.rate();
    let max = (mrr * BEYOND_MRR).max(1000.0) as u64;
    let limits = Limits {
        min: (max / 1000).max(100),
        max,
        first_trial_s: (exactness.trial / 5).as_secs_f64(),
        phases: 2,
        budget_s: exactness.budget.as_secs_f64(),
    };
    let mut count = 0;
    let mut show = |trial: &super::search::Trial| {
        count += 1;
        let (load, loss) = (mpps(trial.load as f64), trial.loss_ratio * 100.0);
        progress.show(&format!("{label}: trial {count}, {load} Mpps, {loss:.3} % lost"));
    };
    let goals: Vec<_> = losses.iter().map(|(name, loss)| exactness.goal(name, *loss)).collect();
    let mut measuring = Measuring { rig, records: exactness.records, progress: &mut show, disturbed: 0 };
    let answer = match search(&mut measuring, &goals, &limits) {
        Ok(answer) => answer,
        Err(Stopped::Signal) => return Ok(None),
        Err(Stopped::Failed(failure)) => return Err(failure),
    };
    let disturbed = measuring.disturbed;
    let goals = goals.into_iter().zip(answer.found).map(|(goal, found)| GoalRow { goal, found }).collect();
    Ok(Some(Searched { mrr, goals, trials: answer.trials, seconds: answer.seconds, disturbed }))
}

fn row(args: &SearchArgs, arrangement: &Arrangement, searched: &Searched) -> Row {
    let (setup, attached) = (&args.setup, &args.cases.attach);
    Row {
        work: arrangement.work,
        driver: attached.first().map_or(&setup.driver, AttachedWords::driver).clone(),
        peer: setup.peer.clone(),
        attached: attached.clone(),
        size: arrangement.size,
        burst: setup.burst,
        cores: arrangement.cores.clone(),
        mrr_mpps: searched.mrr / 1e6,
        goals: searched.goals.clone(),
        trials: searched.trials,
        trial_seconds: searched.seconds,
        disturbed_trials: searched.disturbed,
    }
}

fn table(rows: &[Row]) -> Table {
    use Align::{Left, Right};
    let mut table = Table::new(&[
        ("work", Left),
        ("driver", Left),
        ("bytes", Right),
        ("goal", Left),
        ("loss", Right),
        ("Mpps", Right),
        ("Gbit/s", Right),
        ("interval, Mpps", Right),
        ("trials", Right),
        ("disturbed", Right),
        ("", Left),
    ]);
    for row in rows {
        let common = |goal: &str, loss: String, rate: f64, interval: String, note: &str| {
            let gbit_s = rate * row.size.mean() * 8.0 / 1e9;
            [
                row.work.word(),
                row.driver.to_string(),
                row.size.to_string(),
                goal.to_owned(),
                loss,
                mpps(rate),
                format!("{gbit_s:.2}"),
                interval,
                row.trials.to_string(),
                row.disturbed_trials.to_string(),
                note.to_owned(),
            ]
        };
        table.row(common("MRR", "any".into(), row.mrr_mpps * 1e6, String::new(), ""));
        for GoalRow { goal, found } in &row.goals {
            let bound = |load: Option<u64>| load.map_or_else(|| "?".into(), |load| mpps(load as f64));
            let interval = format!("{} .. {}", bound(found.lower), bound(found.upper));
            let note = if found.complete { "" } else { "out of time: the interval is wider than asked" };
            table.row(common(goal.name, format!("{} %", goal.loss_ratio * 100.0), found.throughput, interval, note));
        }
    }
    table
}
