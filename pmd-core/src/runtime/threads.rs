//! The threads of a runtime: each a worker with its queues, its counters and its way back.
//!
//! 1. [`start_threads`] deals the queues out to their owners, lays the routes from every thread to every lport, and
//!    starts the threads. It returns when each is pinned and about to poll.
//! 2. A worker's task that panics takes the thread's lports down and leaves its message; nobody else is disturbed.
//! 3. [`Thread::join`] waits for the worker and takes its [`Ports`] back; [`Thread::close`] drops them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_utils::CachePadded;

use super::Settings;
use super::error::StartFailure;
use super::owners::OwnerMap;
use super::placement::shares_cpu;
use super::report::ThreadReport;
use crate::deployment::{Deployment, LportId, ThreadSpec};
use crate::lcore::{LcoreError, kernel_name, pin_current};
use crate::lport::{Lport, LportControl};
use crate::worker::{Activity, Drops, Inbox, OwnLport, Ports, Route, Task, Worker, WorkerLinks, may_sleep};

/// A started thread, as the runtime sees it.
pub(super) struct Thread {
    name: String,
    lcores: Vec<usize>,
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

    /// What it dropped on the way to `lport`.
    pub(super) fn drops(&self, lport: LportId) -> &Drops {
        &self.drops[usize::from(lport.0)]
    }

    pub(super) fn wake(&self) {
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

    fn ports(&mut self) -> &mut Option<Ports> {
        self.ports.get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn report(&self, duration: Duration) -> ThreadReport {
        let busy = self.activity.busy_ns.get() as f64 / duration.as_nanos().max(1) as f64;
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

/// Starts one thread per task; returns them, and the lports that none of them polls.
pub(super) fn start_threads(
    deployment: &Deployment,
    settings: Settings,
    cpus: &[Vec<usize>],
    mut queues: Vec<Option<Lport>>,
    tasks: Vec<Box<dyn Task>>,
    stop: &Arc<AtomicBool>,
) -> Result<(Vec<Thread>, Vec<Lport>), StartFailure> {
    let inboxes = make_inboxes(&deployment.threads)?;
    let map = OwnerMap::new(deployment, &queues, &inboxes, settings.handover);
    let (ready, pinned) = channel();
    let mut threads = Vec::new();
    let mut result = Ok(());
    for ((i, spec), task) in deployment.threads.iter().enumerate().zip(tasks) {
        let own: Vec<_> = spec.lports.iter().filter_map(|id| queues[usize::from(id.0)].take()).collect();
        let plan = Plan { spec, own, routes: map.routes_from(i), cpus: &cpus[i], yields: shares_cpu(cpus, i) };
        match spawn(plan, task, Arc::clone(&inboxes[i]), Arc::clone(stop), ready.clone()) {
            Ok(thread) => threads.push(thread),
            Err(failure) => result = result.and(Err(failure)),
        }
    }
    drop(ready);
    // Each thread answers once; one that could not be started has dropped its sender.
    let refused =
        pinned.iter().filter_map(|(thread, pinned)| Some(StartFailure::Lcore { thread, source: pinned.err()? }));
    if let Err(failure) = refused.fold(result, |result, failure| result.and(Err(failure))) {
        stop.store(true, Ordering::Relaxed);
        threads.iter().for_each(Thread::wake);
        threads.iter_mut().for_each(Thread::join);
        return Err(failure);
    }
    Ok((threads, queues.into_iter().flatten().collect()))
}

fn make_inboxes(specs: &[ThreadSpec]) -> Result<Vec<Arc<Inbox>>, StartFailure> {
    let make = |spec: &ThreadSpec| {
        let inbox = Inbox::new(may_sleep(spec));
        inbox.map(Arc::new).map_err(|source| StartFailure::Thread { thread: spec.name.clone(), source })
    };
    specs.iter().map(make).collect()
}

/// Where each thread says whether it could be pinned.
type Ready = Sender<(String, Result<(), LcoreError>)>;

/// What a thread is to be.
struct Plan<'a> {
    spec: &'a ThreadSpec,
    own: Vec<Lport>,
    routes: Vec<Route>,
    cpus: &'a [usize],
    yields: bool,
}

fn spawn(
    plan: Plan<'_>,
    task: Box<dyn Task>,
    inbox: Arc<Inbox>,
    stop: Arc<AtomicBool>,
    ready: Ready,
) -> Result<Thread, StartFailure> {
    let Plan { spec, own, routes, cpus, yields } = plan;
    let (name, lcores) = (spec.name.clone(), cpus.to_vec());
    let drops: Arc<[Drops]> = routes.iter().map(|_| Drops::default()).collect();
    let activity = Arc::new(CachePadded::new(Activity::default()));
    let failure = Arc::new(OnceLock::new());
    let controls: Vec<_> = own.iter().map(|lport| Arc::clone(&lport.control)).collect();
    let own = own.into_iter().map(|lport| OwnLport { id: lport.id, rx: lport.rx, tx: lport.tx }).collect();
    let ports = Ports::new(own, routes, Arc::clone(&inbox), Arc::clone(&drops));
    let links = WorkerLinks { inbox: Arc::clone(&inbox), stop, activity: Arc::clone(&activity) };
    let worker = Worker::new(spec, ports, task, links, yields);
    let body = Body { worker, name: name.clone(), lcores: lcores.clone(), controls, failure: Arc::clone(&failure) };
    let thread = std::thread::Builder::new().name(kernel_name(&name));
    match thread.spawn(move || body.run(ready)) {
        Ok(handle) => {
            let (handle, ports) = (Some(handle), Mutex::new(None));
            Ok(Thread { name, lcores, inbox, activity, drops, failure, handle, ports })
        }
        Err(source) => Err(StartFailure::Thread { thread: name, source }),
    }
}

/// What runs in the thread.
struct Body {
    worker: Worker,
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
        let _ = ready.send((self.name.clone(), pinned));
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
