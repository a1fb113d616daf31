//! `lport run FILE`: runs the file's threads in the file's mode.
//!
//! 1. Signals are caught first, so that an early one still ends the run well.
//! 2. The file is checked as a whole; its warnings are shown, its errors end the run (3).
//! 3. The runtime starts; what cannot be opened ends the run (4).
//! 4. Until a signal, the end of `--duration`, or the last thread's failure: rates every `--stats-period`, and telemetry
//!    for whoever asks.
//! 5. The runtime stops, the summary is printed; a thread that failed makes the exit code 5.

use std::time::{Duration, Instant};

use pmd_core::runtime::ThreadReport;
use pmd_core::{Report, Runtime, Settings};

use crate::cli::RunArgs;
use crate::drivers::registry;
use crate::failure::Failure;
use crate::file::Checked;
use crate::logging::is_coloured;
use crate::modes::make_task;
use crate::output::{print, print_json};
use crate::signals::Signals;
use crate::summary::{Summary, for_people, rates};
use crate::telemetry::{Running, serve_during};

/// Longest time until the failure of all threads is noticed.
const FAILURE_CHECK: Duration = Duration::from_millis(200);

/// Runs the command.
///
/// # Errors
/// Each of the kinds of [`Failure`].
pub(crate) fn run(args: &RunArgs) -> Result<(), Failure> {
    let signals = Signals::catch()?;
    let registry = registry();
    let checked = Checked::load(&args.file, &registry, args.mode);
    eprint!("{}", checked.render(is_coloured(&std::io::stderr())));
    let file = checked.into_file()?;
    let settings = Settings { burst: args.burst, allow_partial: args.allow_partial, ..Settings::default() };
    let runtime =
        Runtime::start(&file.deployment, &registry, settings, |context| make_task(context, &file.forwarding))?;
    tracing::info!("running in mode {}; SIGINT ends it", file.forwarding.mode);

    let watch = || watch(&runtime, &signals, args);
    let watched = if args.no_telemetry || !file.metrics {
        watch()
    } else {
        serve_during(&args.prefix.file_prefix, &Running::new(&runtime, &file.deployment), watch)
    };
    let report = runtime.stop();
    watched?;
    if args.json {
        print_json(&Summary::from(&report))?;
    } else {
        print(&for_people(&report))?;
    }
    failed_threads(&report)
}

/// Waits for the end, printing rates on the way.
fn watch(runtime: &Runtime, signals: &Signals, args: &RunArgs) -> Result<(), Failure> {
    let start = Instant::now();
    let end = args.duration.map(|duration| start + duration);
    let mut last = runtime.snapshot();
    let mut next_print = args.stats_period.map(|period| start + period);
    while runtime.is_polling() {
        let now = Instant::now();
        if end.is_some_and(|end| now >= end) {
            return Ok(());
        }
        if let (Some(due), Some(period)) = (next_print, args.stats_period)
            && now >= due
        {
            last = print_rates(runtime, &last, args.json)?;
            // Periods that were missed, as by a stopped process, are not made up for.
            next_print = Some((due + period).max(now));
        }
        let until = [end, next_print].into_iter().flatten().map(|moment| moment.saturating_duration_since(now));
        if signals.wait(until.min().unwrap_or(FAILURE_CHECK).min(FAILURE_CHECK)) {
            return Ok(());
        }
    }
    Ok(())
}

fn print_rates(runtime: &Runtime, last: &Report, json: bool) -> Result<Report, Failure> {
    let report = runtime.snapshot();
    if json {
        print_json(&Summary::from(&report))?;
    } else {
        print(&rates(last, &report))?;
    }
    Ok(report)
}

fn failed_threads(report: &Report) -> Result<(), Failure> {
    let failure = |thread: &ThreadReport| {
        thread.failure.as_ref().map(|text| format!("thread `{}` failed while running: {text}", thread.name))
    };
    let failures: Vec<_> = report.threads.iter().filter_map(failure).collect();
    if failures.is_empty() { Ok(()) } else { Err(Failure::Running(failures.join("\n"))) }
}
