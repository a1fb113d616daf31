//! The runtime: a deployment made live, and stopped again.
//!
//! 1. [`Runtime::start`] checks everything that can be checked without touching anything, then makes the pools, opens the
//!    devices, asks the application for one [`Task`] per thread and starts the threads. Whatever was configured and fails
//!    is an error; all failures are found, not just the first.
//! 2. While it runs [`Runtime::snapshot`] tells any thread the state of everything.
//! 3. [`Runtime::prepare`] and [`Runtime::apply`] go over to another deployment; what does not change is not disturbed.
//! 4. [`Runtime::stop`], or dropping it, stops first the threads, then the links, then gives the memory back.
//!
//! The runtime owns the pools and the control handles; each worker owns the queues of its lports and returns them when
//! it stops, so no lport is closed under a burst.

mod check;
mod error;
mod open;
mod owners;
mod placement;
mod plan;
mod reload;
mod report;
mod threads;

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

pub use error::{RuntimeError, StartFailure, TaskError};
use open::Opened;
pub use placement::cpus_of_threads;
pub use plan::{Broken, Change, Plan, Renumbered, Step, TaskChange, plan};
pub use reload::Prepared;
use reload::sum;
pub use report::{LportReport, PoolReport, Report, ThreadReport};
use threads::Thread;

use crate::burst::BURST_MAX;
use crate::deployment::{Deployment, LportId, ThreadSpec};
use crate::driver::Registry;
use crate::lport::{Link, LportControl};
use crate::pool::Pool;
use crate::stats::LportStats;
use crate::worker::{Drops, OwnLport, Task};

/// How a deployment is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Packets a task receives at a time, 1 to [`BURST_MAX`].
    pub burst: usize,
    /// Packets a lane between two threads holds, at least 1.
    pub handover: usize,
    /// Whether to run without the lports that cannot be opened, instead of failing.
    pub allow_partial: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { burst: 32, handover: 1024, allow_partial: false }
    }
}

/// What the application knows when it makes the task of a thread.
pub struct TaskContext<'a> {
    /// The thread.
    pub thread: &'a ThreadSpec,
    /// All that is to be run.
    pub deployment: &'a Deployment,
    /// Packets to receive at a time.
    pub burst: usize,
    lports: &'a [Opened],
}

impl TaskContext<'_> {
    /// The pool that `lport` receives into; `None` when it names none.
    pub fn pool(&self, lport: LportId) -> Option<&Pool> {
        self.lports.get(usize::from(lport.0))?.pool.as_ref()
    }

    /// The control handle of `lport`; `None` when it could not be opened.
    pub fn control(&self, lport: LportId) -> Option<&dyn LportControl> {
        control(self.lports, lport)
    }
}

fn control(lports: &[Opened], lport: LportId) -> Option<&dyn LportControl> {
    lports.get(usize::from(lport.0))?.control.as_deref().ok()
}

/// A running deployment. Any thread may take snapshots of it, through a shared reference.
///
/// ```
/// use pmd_core::{Burst, Deployment, Ports, Registry, Runtime, Settings, Task};
///
/// /// Sends everything back where it came from.
/// struct Reflect(Burst);
///
/// impl Task for Reflect {
///     fn poll(&mut self, ports: &mut Ports) -> usize {
///         let mut moved = 0;
///         while let Some(position) = ports.rx_next(&mut self.0) {
///             moved += self.0.len();
///             ports.transmit(ports.id(position), &mut self.0);
///         }
///         moved
///     }
/// }
///
/// let mut deployment = Deployment::default();
/// let lport = deployment.add_lport("source", "net_null", vec![], None);
/// deployment.add_thread("fwd", &[lport]);
/// let registry = Registry::with_reference_drivers();
/// let runtime = Runtime::start(&deployment, &registry, Settings::default(), |context| {
///     Ok(Box::new(Reflect(Burst::with_limit(context.burst))))
/// })?;
/// while runtime.snapshot().lports[0].stats.ipackets == 0 {
///     std::thread::yield_now();
/// }
/// let stats = &runtime.stop().lports[0].stats;
/// assert_eq!(stats.ipackets, stats.opackets);
/// # Ok::<(), pmd_core::RuntimeError>(())
/// ```
pub struct Runtime {
    started: Instant,
    settings: Settings,
    deployment: Deployment,
    /// How many deployments there have been.
    generation: u64,
    /// By position in the deployment; `None` for a thread that could not be started.
    threads: Vec<Option<Thread>>,
    /// By id.
    lports: Vec<Opened>,
    /// Lports that no thread polls: open, so that their links come up, and idle. Never locked: a queue belongs to one
    /// thread at a time, and the mutex says so to those that share the runtime.
    unpolled: Mutex<Vec<OwnLport>>,
    /// By position in the deployment; `None` for a pool that could not be made.
    pools: Vec<Option<Pool>>,
}

const _: fn() = || {
    fn shared_between_threads<T: Sync>() {}
    shared_between_threads::<Runtime>();
};

impl Runtime {
    /// Starts `deployment` with the drivers of `registry`; `make_task` is asked once per thread.
    ///
    /// # Errors
    /// Everything that failed. Nothing is left running or open then.
    pub fn start(
        deployment: &Deployment,
        registry: &Registry,
        settings: Settings,
        make_task: impl FnMut(&TaskContext<'_>) -> Result<Box<dyn Task>, TaskError>,
    ) -> Result<Self, RuntimeError> {
        check_settings(settings).map_err(|failure| RuntimeError { failures: vec![failure] })?;
        let mut runtime = Self::empty(settings);
        let prepared = runtime.prepare(deployment, registry, |_| TaskChange::Other)?;
        let (opening, mut failures) = runtime.open(prepared);
        tolerate(&mut failures, settings.allow_partial);
        none_of(failures)?;
        let (tasks, failures) = runtime.make_tasks(&opening, make_task);
        none_of(failures)?;
        runtime.started = Instant::now();
        none_of(runtime.launch(opening, tasks))?;
        Ok(runtime)
    }

    fn empty(settings: Settings) -> Self {
        Self {
            started: Instant::now(),
            settings,
            deployment: Deployment::default(),
            generation: 0,
            threads: Vec::new(),
            lports: Vec::new(),
            unpolled: Mutex::default(),
            pools: Vec::new(),
        }
    }

    /// What is run: the deployment started with, or the last one applied.
    pub fn deployment(&self) -> &Deployment {
        &self.deployment
    }

    /// The state of everything, now.
    pub fn snapshot(&self) -> Report {
        self.report(self.started.elapsed())
    }

    /// Every lport, now: what [`Self::snapshot`] says of them.
    pub fn lports(&self) -> Vec<LportReport> {
        self.lports.iter().zip(0..).map(|(lport, id)| self.lport_report(lport, LportId(id))).collect()
    }

    /// Every polling thread, now.
    pub fn threads(&self) -> Vec<ThreadReport> {
        self.thread_reports(self.started.elapsed())
    }

    /// Every pool, now. Counting mbufs holds each pool's common list for a moment: not for every few microseconds.
    pub fn pools(&self) -> Vec<PoolReport> {
        let report = |pool: &Pool| PoolReport {
            name: pool.name().to_owned(),
            size: pool.size(),
            available: pool.available(),
            cached: pool.cached(),
            cache_size: pool.cache_size(),
            data_room: pool.data_room(),
            memory: pool.segment().len(),
            page: pool.segment().page(),
        };
        self.pools.iter().flatten().map(report).collect()
    }

    /// The control handle of `lport`; `None` when there is no such lport, or it could not be opened.
    pub fn control(&self, lport: LportId) -> Option<&dyn LportControl> {
        control(&self.lports, lport)
    }

    /// Whether at least one thread still polls: not all tasks have panicked.
    pub fn is_polling(&self) -> bool {
        self.threads.iter().flatten().any(|thread| thread.failure().is_none())
    }

    /// Stops the threads, closes the links, and reports. A pool that is not whole then has lost mbufs.
    pub fn stop(mut self) -> Report {
        self.halt()
    }

    fn halt(&mut self) -> Report {
        self.threads.iter().flatten().for_each(Thread::ask_to_stop);
        self.threads_mut().for_each(Thread::join);
        let duration = self.started.elapsed();
        // Packets on their way between threads still leave, so that every one is accounted for.
        self.threads_mut().for_each(Thread::finish_lanes);
        // Links are reported as they were, pools as they are when the links are gone.
        let mut report = self.report(duration);
        self.threads_mut().for_each(Thread::close);
        self.unpolled().clear();
        self.lports.clear();
        report.pools = self.pools();
        report
    }

    fn threads_mut(&mut self) -> impl Iterator<Item = &mut Thread> {
        self.threads.iter_mut().flatten()
    }

    fn unpolled(&mut self) -> &mut Vec<OwnLport> {
        self.unpolled.get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    fn report(&self, duration: Duration) -> Report {
        let threads = self.thread_reports(duration);
        Report { duration, lports: self.lports(), threads, pools: self.pools() }
    }

    fn thread_reports(&self, duration: Duration) -> Vec<ThreadReport> {
        self.threads.iter().flatten().map(|thread| thread.report(duration)).collect()
    }

    fn lport_report(&self, lport: &Opened, id: LportId) -> LportReport {
        let (link, mut stats) = match &lport.control {
            Ok(control) => (control.link(), control.stats()),
            Err(why) => (Link::Down(format!("could not be opened: {why}")), LportStats::default()),
        };
        let threads = self.threads.iter().flatten();
        let counts = threads.fold(lport.dropped_before, |before, thread| sum(before, thread.drops(id)));
        let dropped = Drops::NAMES.into_iter().zip(counts);
        stats.oerrors += counts.iter().sum::<u64>();
        stats.xstats.extend(dropped);
        LportReport { id, name: lport.name.clone(), driver: lport.driver.clone(), link, stats }
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        self.halt();
    }
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let lports: Vec<_> = self.lports.iter().map(|lport| &lport.name).collect();
        f.debug_struct("Runtime").field("lports", &lports).field("pools", &self.pools).finish_non_exhaustive()
    }
}

fn check_settings(settings: Settings) -> Result<(), StartFailure> {
    let Settings { burst, handover, .. } = settings;
    if !(1..=BURST_MAX).contains(&burst) {
        return Err(StartFailure::Deployment(format!("the burst is {burst}, but must be 1 to {BURST_MAX} packets")));
    }
    if handover == 0 {
        return Err(StartFailure::Deployment("lanes between threads must hold at least 1 packet, not 0".into()));
    }
    Ok(())
}

/// With `allow_partial`, turns the failures of single pools and devices into warnings.
fn tolerate(failures: &mut Vec<StartFailure>, allow_partial: bool) {
    if allow_partial {
        failures.retain(|failure| {
            let fatal = failure.is_configuration();
            if !fatal {
                tracing::warn!("{failure}; running without it");
            }
            fatal
        });
    }
}

fn none_of(failures: Vec<StartFailure>) -> Result<(), RuntimeError> {
    if failures.is_empty() { Ok(()) } else { Err(RuntimeError { failures }) }
}
