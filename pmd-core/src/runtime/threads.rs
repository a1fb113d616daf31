//! The threads of a runtime: each a worker with its queues, its counters and its way back.
//!
//! 1. [`Crew::start`] deals the queues out to their owners, lays the routes from every new thread to every lport, and
//!    starts the new threads beside those that run already. It returns when each is pinned and about to poll.
//! 2. A worker's task that panics takes the thread's lports down and leaves its message; nobody else is disturbed.
//! 3. [`Thread::ask_to_stop`] raises the thread's own flag. [`Thread::join`] waits for the worker and takes its [`Ports`]
//!    back; [`Thread::close`] drops them, [`Thread::into_lports`] gives them to whoever owns them next.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_utils::CachePadded;

use super::Settings;
use super::error::StartFailure;
use super::open::Opened;
use super::owners::OwnerMap;
use super::placement::shares_cpu;
use super::report::ThreadReport;
use crate::deployment::{Deployment, LportId, ThreadSpec};
use crate::lcore::{LcoreError, kernel_name, pin_current};
use crate::lport::LportControl;
use crate::worker::{Activity, Drops, Inbox, OwnLport, Ports, Route, Task, Worker, WorkerLinks, may_sleep};

/// A started thread, as the runtime sees it.
pub(super) struct Thread {
    name: String,
    lcores: Vec<usize>,
    /// How long the runtime had run when the thread was started.
    late: Duration,
    /// Read by the worker during housekeeping.
    stop: Arc<AtomicBool>,
    /// Whether it has no CPU to itself. Read by the worker when it has nothing to do.
    yields: Arc<AtomicBool>,
    inbox: Arc<Inbox>,
    activity: Arc<CachePadded<Activity>>,
    /// What the thread dropped, by lport id.
    drops: Arc<[Drops]>,
    /// Set by the worker when its task panicked.
    failure: Arc<OnceLock<String>>,
    handle: Option<JoinHandle<Ports>>,
    /// The queues, back from the worker. Never locked, as [`super::Runtime`] does it with its own.
    ports: Mutex<Option<Ports>>,
}

impl Thread {
    /// What its task panicked with.
    pub(super) fn failure(&self) -> Option<&str> {
        self.failure.get().map(String::as_str)
    }

    /// The CPUs it is pinned to.
    pub(super) fn lcores(&self) -> &[usize] {
        &self.lcores
    }

    /// What it dropped on the way to `lport`, in the order of [`Drops::NAMES`]. An lport that came after the thread is none
    /// that the thread sends to.
    pub(super) fn drops(&self, lport: LportId) -> [u64; 3] {
        self.drops.get(usize::from(lport.0)).map(Drops::counts).unwrap_or_default()
    }

    /// Asks it to end at its next housekeeping.
    pub(super) fn ask_to_stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
        self.inbox.waker.wake();
    }

    /// Waits until the thread has ended, and with it its caches of mbufs.
    pub(super) fn join(&mut self) {
        if let Some(handle) = self.handle.take() {
            // The worker catches its task's panics; one of its own leaves no ports behind.
            *self.ports() = handle.join().ok();
        }
    }

    /// Sends what other threads had handed over when they stopped.
    pub(super) fn finish_lanes(&mut self) {
        // After a panic its lports are down: they accept nothing, and the packets are counted as dropped.
        self.ports().iter_mut().for_each(Ports::finish_lanes);
    }

    /// Drops the queues.
    pub(super) fn close(&mut self) {
        *self.ports() = None;
    }

    /// The lports it had, when it has ended.
    pub(super) fn into_lports(mut self) -> Vec<OwnLport> {
        self.ports().take().map(Ports::into_own).unwrap_or_default()
    }

    fn ports(&mut self) -> &mut Option<Ports> {
        self.ports.get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its report when the runtime has run for `duration`.
    pub(super) fn report(&self, duration: Duration) -> ThreadReport {
        let own_duration = duration.saturating_sub(self.late);
        let busy = self.activity.busy_ns.get() as f64 / own_duration.as_nanos().max(1) as f64;
        ThreadReport {
            name: self.name.clone(),
            lcores: self.lcores.clone(),
            polls: self.activity.polls.get(),
            busy_percent: (100.0 * busy).min(100.0),
            sleeps: self.activity.sleeps.get(),
            wakeups: self.activity.wakeups.get(),
            failure: self.failure().map(str::to_owned),
        }
    }
}

/// What the threads of a deployment have in common.
pub(super) struct Crew<'a> {
    pub(super) deployment: &'a Deployment,
    pub(super) settings: Settings,
    /// By thread number: where it runs.
    pub(super) cpus: &'a [Vec<usize>],
    pub(super) lports: &'a [Opened],
    /// How long the runtime has run.
    pub(super) late: Duration,
}

/// What came of starting threads.
pub(super) struct Started {
    /// By thread number: those that run.
    pub(super) threads: Vec<Option<Thread>>,
    /// The queues that no thread polls.
    pub(super) unpolled: Vec<OwnLport>,
    /// Lports that went with a thread that the system did not give.
    pub(super) lost: Vec<LportId>,
    pub(super) failures: Vec<StartFailure>,
}

impl Crew<'_> {
    /// Starts a thread for each of `tasks`, beside `threads`, which run already; `queues` are those of all other lports.
    pub(super) fn start(
        &self,
        mut threads: Vec<Option<Thread>>,
        tasks: Vec<Option<Box<dyn Task>>>,
        mut queues: Vec<Option<OwnLport>>,
    ) -> Started {
        let mut failures = Vec::new();
        let inboxes = self.inboxes(&threads, &tasks, &mut failures);
        let map = OwnerMap::new(self.deployment, self.lports, &inboxes, self.settings.handover);
        let (ready, pinned) = channel();
        let mut lost = Vec::new();
        for (i, (task, inbox)) in tasks.into_iter().zip(&inboxes).enumerate() {
            let (Some(task), Some(inbox)) = (task, inbox) else { continue };
            let spec = &self.deployment.threads[i];
            let own: Vec<_> = spec.lports.iter().filter_map(|id| queues[usize::from(id.0)].take()).collect();
            let ids: Vec<_> = own.iter().map(|lport| lport.id).collect();
            match self.spawn(i, task, own, map.routes_from(i), Arc::clone(inbox), ready.clone()) {
                Ok(thread) => threads[i] = Some(thread),
                Err(source) => {
                    failures.push(StartFailure::Thread { thread: spec.name.clone(), source });
                    lost.extend(ids);
                }
            }
        }
        drop(ready);
        let mut unpolled: Vec<_> = queues.into_iter().flatten().collect();
        // Each thread answers once; one that could not be started has dropped its sender.
        for (i, refused) in pinned.iter().filter_map(|(i, pinned)| Some((i, pinned.err()?))) {
            let thread = self.deployment.threads[i].name.clone();
            failures.push(StartFailure::Lcore { thread, source: refused });
            if let Some(mut thread) = threads[i].take() {
                thread.join();
                unpolled.extend(thread.into_lports());
            }
        }
        self.share_cpus(&threads);
        Started { threads, unpolled, lost, failures }
    }

    /// The inbox of each thread that runs or is to be started.
    fn inboxes(
        &self,
        threads: &[Option<Thread>],
        tasks: &[Option<Box<dyn Task>>],
        failures: &mut Vec<StartFailure>,
    ) -> Vec<Option<Arc<Inbox>>> {
        let mut new = |spec: &ThreadSpec| {
            let failure = |source| failures.push(StartFailure::Thread { thread: spec.name.clone(), source });
            Inbox::new(may_sleep(spec)).map(Arc::new).map_err(failure).ok()
        };
        let mut inbox = |((spec, thread), task): ((&ThreadSpec, &Option<Thread>), &Option<Box<dyn Task>>)| match thread
        {
            Some(thread) => Some(Arc::clone(&thread.inbox)),
            None => task.as_ref().and_then(|_| new(spec)),
        };
        self.deployment.threads.iter().zip(threads).zip(tasks).map(&mut inbox).collect()
    }

    /// Tells every thread whether it has a CPU to itself.
    fn share_cpus(&self, threads: &[Option<Thread>]) {
        for (i, thread) in threads.iter().enumerate() {
            let Some(thread) = thread else { continue };
            thread.yields.store(shares_cpu(self.cpus, i), Ordering::Relaxed);
        }
    }

    fn spawn(
        &self,
        number: usize,
        task: Box<dyn Task>,
        own: Vec<OwnLport>,
        routes: Vec<Route>,
        inbox: Arc<Inbox>,
        ready: Ready,
    ) -> std::io::Result<Thread> {
        let spec = &self.deployment.threads[number];
        let (name, lcores) = (spec.name.clone(), self.cpus[number].clone());
        let drops: Arc<[Drops]> = routes.iter().map(|_| Drops::default()).collect();
        let activity = Arc::new(CachePadded::new(Activity::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let yields = Arc::new(AtomicBool::new(shares_cpu(self.cpus, number)));
        let failure = Arc::new(OnceLock::new());
        let control = |lport: &OwnLport| self.lports[usize::from(lport.id.0)].control.as_ref().ok().cloned();
        let controls = own.iter().filter_map(control).collect();
        let ports = Ports::new(own, routes, Arc::clone(&inbox), Arc::clone(&drops));
        let links = WorkerLinks {
            inbox: Arc::clone(&inbox),
            stop: Arc::clone(&stop),
            activity: Arc::clone(&activity),
            yields: Arc::clone(&yields),
        };
        let body = Body {
            worker: Worker::new(spec, ports, task, links),
            number,
            name: name.clone(),
            lcores: lcores.clone(),
            controls,
            failure: Arc::clone(&failure),
        };
        let handle = std::thread::Builder::new().name(kernel_name(&name)).spawn(move || body.run(ready))?;
        let (handle, ports) = (Some(handle), Mutex::new(None));
        Ok(Thread { name, lcores, late: self.late, stop, yields, inbox, activity, drops, failure, handle, ports })
    }
}

/// Where each thread says, with its number, whether it could be pinned.
type Ready = Sender<(usize, Result<(), LcoreError>)>;

/// What runs in the thread.
struct Body {
    worker: Worker,
    number: usize,
    name: String,
    lcores: Vec<usize>,
    /// Of the thread's own lports.
    controls: Vec<Arc<dyn LportControl>>,
    failure: Arc<OnceLock<String>>,
}

impl Body {
    /// Pins the thread, says so, and polls until the stop; gives the queues back.
    fn run(mut self, ready: Ready) -> Ports {
        let pinned = pin_current(&self.lcores);
        let is_pinned = pinned.is_ok();
        // Nobody listens any more only when the start has failed already.
        let _ = ready.send((self.number, pinned));
        drop(ready);
        if is_pinned {
            self.poll_isolated();
        }
        self.worker.ports
    }

    /// Polls; when the task panics, takes the lports down and keeps the message.
    fn poll_isolated(&mut self) {
        // Unwind safety: of the worker only its ports are used afterwards, and bursts keep them whole at every step.
        let Err(panic) = catch_unwind(AssertUnwindSafe(|| self.worker.run())) else { return };
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic".into());
        tracing::error!("thread `{}`: its task failed, its lports go down: {text}", self.name);
        self.controls.iter().for_each(|control| control.set_admin_up(false));
        // Set once, here.
        let _ = self.failure.set(text);
    }
}
