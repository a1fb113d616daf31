//! `lport run FILE`: runs the file's threads in the file's mode.
//!
//! 1. Signals are caught first, so that an early one still ends the run well.
//! 2. The file is checked as a whole; its warnings are shown, its errors end the run (3).
//! 3. The runtime starts; what cannot be opened ends the run (4).
//! 4. Until a signal, the end of `--duration`, `--until-idle` without packets, or the last thread's failure: rates every
//!    `--stats-period`, and telemetry for whoever asks.
//! 5. SIGHUP reads the file again ([`crate::reload`]); what does not change in it runs on.
//! 6. The runtime stops, the summary is printed; a thread that failed makes the exit code 5.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pmd_core::runtime::ThreadReport;
use pmd_core::{Registry, Report, Runtime, Settings};

use crate::cli::RunArgs;
use crate::drivers::registry_with;
use crate::failure::Failure;
use crate::file::{Checked, LportFile};
use crate::logging::is_coloured;
use crate::modes::{ModeDrops, make_task};
use crate::output::{print, print_json};
use crate::reload::{Reload, read_again};
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
    let signals = Signals::catch_with_hangup()?;
    let registry = registry_with(&args.drivers)?;
    let checked = Checked::load(&args.file, &registry, args.mode);
    eprint!("{}", checked.render(is_coloured(&std::io::stderr())));
    let refused = |why| Failure::Configuration(format!("{why}; nothing was started"));
    let mut file = checked.into_runnable().map_err(refused)?;
    let settings = Settings { burst: args.burst, allow_partial: args.allow_partial, ..Settings::default() };
    let mut drops = Arc::new(ModeDrops::new(file.forwarding.mode, file.deployment.lports().len()));
    let mut runtime =
        Runtime::start(&file.deployment, &registry, settings, |context| make_task(context, &file.forwarding, &drops))?;
    tracing::info!("running in mode {}; SIGINT ends it, SIGHUP reads the file again", file.forwarding.mode);

    let mut watch = Watch::new(args, &signals, &registry, &runtime);
    let watched = loop {
        match watch.with_telemetry(&runtime, &file, &drops).transpose() {
            None => break Ok(()),
            Some(Ok(reload)) => {
                if let Err(failure) = reload.apply(&mut runtime, &mut file, &mut drops) {
                    break Err(failure);
                }
            }
            Some(Err(failure)) => break Err(failure),
        }
    };
    let mut report = runtime.stop();
    drops.report_in(&mut report.lports);
    watched?;
    if args.json {
        print_json(&Summary::from(&report))?;
    } else {
        print(&for_people(&report))?;
    }
    failed_threads(&report)
}

/// Waiting for the end of a run, or for a reload.
struct Watch<'a> {
    args: &'a RunArgs,
    signals: &'a Signals,
    registry: &'a Registry,
    end: Option<Instant>,
    next_print: Option<Instant>,
    /// What the next rates are the difference to.
    last: Report,
    idle: Option<Idle>,
}

/// How long nothing has moved.
struct Idle {
    limit: Duration,
    since: Instant,
    /// Packets of all lports, in both directions, at that time.
    moved: u64,
}

impl Idle {
    fn new(limit: Duration, now: Instant) -> Self {
        Self { limit, since: now, moved: 0 }
    }

    /// Whether the time is up; looks at the counters.
    fn is_over(&mut self, runtime: &Runtime, now: Instant) -> bool {
        let lports = runtime.snapshot().lports;
        let moved = lports.iter().map(|lport| lport.stats.ipackets + lport.stats.opackets).sum();
        if moved != self.moved {
            (self.moved, self.since) = (moved, now);
        }
        now >= self.since + self.limit
    }
}

impl<'a> Watch<'a> {
    fn new(args: &'a RunArgs, signals: &'a Signals, registry: &'a Registry, runtime: &Runtime) -> Self {
        let start = Instant::now();
        let end = args.duration.map(|duration| start + duration);
        let next_print = args.stats_period.map(|period| start + period);
        let idle = args.until_idle.map(|limit| Idle::new(limit, start));
        Self { args, signals, registry, end, next_print, last: runtime.snapshot(), idle }
    }

    /// As [`Self::watch`], while telemetry is served. It is about one state of the runtime: a reload begins it anew.
    fn with_telemetry(
        &mut self,
        runtime: &Runtime,
        file: &LportFile,
        drops: &ModeDrops,
    ) -> Result<Option<Reload>, Failure> {
        let args = self.args;
        if args.no_telemetry || !file.metrics {
            return self.watch(runtime, file, drops);
        }
        let running = Running::new(runtime, &file.deployment, drops);
        serve_during(&args.prefix.file_prefix, &running, || self.watch(runtime, file, drops))
    }

    /// Waits for the end (`None`) or a file that is to be applied, printing rates on the way.
    fn watch(&mut self, runtime: &Runtime, file: &LportFile, drops: &ModeDrops) -> Result<Option<Reload>, Failure> {
        while runtime.is_polling() {
            let now = Instant::now();
            if self.end.is_some_and(|end| now >= end) {
                return Ok(None);
            }
            if self.idle.as_mut().is_some_and(|idle| idle.is_over(runtime, now)) {
                return Ok(None);
            }
            self.print_if_due(runtime, drops, now)?;
            let idle_end = self.idle.as_ref().map(|idle| idle.since + idle.limit);
            let due = [self.end, self.next_print, idle_end].into_iter().flatten();
            let until = due.map(|moment| moment.saturating_duration_since(now)).min();
            if self.signals.wait(until.unwrap_or(FAILURE_CHECK).min(FAILURE_CHECK)) {
                return Ok(None);
            }
            if self.signals.take_hangup()
                && let Some(reload) = read_again(self.args, file, runtime, self.registry)?
            {
                return Ok(Some(reload));
            }
        }
        Ok(None)
    }

    fn print_if_due(&mut self, runtime: &Runtime, drops: &ModeDrops, now: Instant) -> Result<(), Failure> {
        if let (Some(due), Some(period)) = (self.next_print, self.args.stats_period)
            && now >= due
        {
            self.last = print_rates(runtime, drops, &self.last, self.args.json)?;
            // Periods that were missed, as by a stopped process, are not made up for.
            self.next_print = Some((due + period).max(now));
        }
        Ok(())
    }
}

fn print_rates(runtime: &Runtime, drops: &ModeDrops, last: &Report, json: bool) -> Result<Report, Failure> {
    let mut report = runtime.snapshot();
    drops.report_in(&mut report.lports);
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
