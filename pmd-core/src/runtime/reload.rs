//! From one deployment to the next, while everything that does not change runs on.
//!
//! 1. [`Runtime::prepare`] checks the new deployment wholly, makes the [`Plan`], and touches nothing. Whatever is wrong
//!    refuses the whole of it.
//! 2. [`Runtime::apply`] stops the threads that do not go on, each at its next housekeeping, and takes their lports back.
//!    What lies in the lanes between them is sent first.
//! 3. It closes the devices and pools that go or change, makes and opens the new ones, and gives the lports that go on
//!    their new numbers. A pool's memory goes when its last mbuf has come home.
//! 4. It asks the application for the tasks of the threads to be started, and starts them with their lports, old and new.
//! 5. What fails on the way is reported, leaves nothing else behind, and is tried again by the next reload.
//!
//! A start is a reload of nothing: [`Runtime::start`] goes the same way.

use std::collections::{HashMap, HashSet};

use super::error::{RuntimeError, StartFailure, TaskError};
use super::open::{Devices, Opened, PoolWishes, make_pools, pool_wishes};
use super::plan::{Broken, Plan, Step, TaskChange, plan};
use super::threads::{Crew, Started, Thread};
use super::{Runtime, TaskContext, check, placement};
use crate::deployment::{Deployment, LportId, Placement, ThreadSpec};
use crate::driver::Registry;
use crate::options::Options;
use crate::pool::Pool;
use crate::worker::{OwnLport, Task};

/// A checked deployment with the way there. Good for the runtime that made it, as it was then.
#[derive(Debug)]
pub struct Prepared {
    plan: Plan,
    deployment: Deployment,
    registry: Registry,
    options: Vec<Options>,
    cpus: Vec<Vec<usize>>,
    generation: u64,
}

impl Prepared {
    /// What is going to happen.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }
}

/// A deployment whose devices are open and whose new threads are not started yet.
pub(super) struct Opening {
    cpus: Vec<Vec<usize>>,
    /// By thread number: those that go on.
    threads: Vec<Option<Thread>>,
    /// By lport id: the queues that no running thread has.
    queues: Vec<Option<OwnLport>>,
}

/// By thread number; `None` for a thread that runs, or has no task.
type Tasks = Vec<Option<Box<dyn Task>>>;

impl Runtime {
    /// Checks whether `new` can take the place of what runs, and says how. `task_change` is asked about each thread that is
    /// otherwise unchanged.
    ///
    /// # Errors
    /// Everything that is wrong with `new`, or cannot change while it runs: a pool that goes on stays in the kind of
    /// memory it is in, so a device that wants to share it with a peer needs another one.
    pub fn prepare(
        &self,
        new: &Deployment,
        registry: &Registry,
        task_change: impl Fn(&ThreadSpec) -> TaskChange,
    ) -> Result<Prepared, RuntimeError> {
        let all = |failures| RuntimeError { failures };
        let options = check::check(new, registry).map_err(all)?;
        let plan = plan(&self.deployment, new, &self.broken(), task_change);
        let cpus = placement::place(&self.placed(new, &plan)).map_err(all)?;
        let fixed = self.unshareable(new, &plan, &pool_wishes(new, &options, registry));
        if !fixed.is_empty() {
            return Err(all(fixed));
        }
        let (deployment, registry, generation) = (new.clone(), registry.clone(), self.generation);
        Ok(Prepared { plan, deployment, registry, options, cpus, generation })
    }

    /// Goes the way that was `prepared`; `make_task` is asked once per thread to be started. Says what failed: everything
    /// else runs.
    ///
    /// An unchanged lport keeps its link and its counters, an unchanged thread never stops. A thread that is started anew
    /// counts from 0.
    pub fn apply(
        &mut self,
        prepared: Prepared,
        make_task: impl FnMut(&TaskContext<'_>) -> Result<Box<dyn Task>, TaskError>,
    ) -> Vec<StartFailure> {
        if prepared.generation != self.generation {
            let text = "another deployment has been applied since this one was prepared; prepare it again";
            return vec![StartFailure::Deployment(text.to_owned())];
        }
        let (opening, mut failures) = self.open(prepared);
        let (tasks, more) = self.make_tasks(&opening, make_task);
        failures.extend(more);
        failures.extend(self.launch(opening, tasks));
        failures
    }

    /// What does not run as it should.
    fn broken(&self) -> Broken {
        fn positions<T>(parts: impl Iterator<Item = T>, broken: impl Fn(T) -> bool) -> HashSet<usize> {
            parts.enumerate().filter_map(|(i, part)| broken(part).then_some(i)).collect()
        }
        let is_closed = |lport: LportId| self.control(lport).is_none();
        Broken {
            pools: positions(self.pools.iter(), Option::is_none),
            devices: positions(self.deployment.devices.iter(), |device| {
                device.queues.iter().any(|queue| is_closed(queue.lport))
            }),
            threads: positions(self.threads.iter(), |thread| thread.as_ref().is_none_or(|t| t.failure().is_some())),
        }
    }

    /// The threads of `new`, those that go on placed where they are.
    fn placed(&self, new: &Deployment, plan: &Plan) -> Vec<ThreadSpec> {
        let mut threads = new.threads.clone();
        for (spec, step) in threads.iter_mut().zip(&plan.threads) {
            if let (Placement::Auto, Some(thread)) = (&spec.lcores, kept(step, &self.threads)) {
                spec.lcores = Placement::Cpus(thread.lcores().to_vec());
            }
        }
        threads
    }

    /// The pools that go on in private memory although a device wants to share them.
    fn unshareable(&self, new: &Deployment, plan: &Plan, wishes: &[PoolWishes]) -> Vec<StartFailure> {
        let stays_private = |step: &Step| kept(step, &self.pools).is_some_and(|pool| pool.segment().file().is_none());
        let pools = new.pools.iter().zip(&plan.pools).zip(wishes);
        let wrong = pools.filter(|((_, step), wanted)| wanted.shareable && stays_private(step));
        wrong
            .map(|((spec, _), _)| {
                StartFailure::Deployment(format!(
                    "pool `{}` lies in private memory, which cannot change while it is used, but a device wants to share \
                     it with a peer; give the device another pool, or start again",
                    spec.name
                ))
            })
            .collect()
    }

    /// Stops, closes and opens; says what could not be opened. The new deployment is the runtime's from here on.
    pub(super) fn open(&mut self, prepared: Prepared) -> (Opening, Vec<StartFailure>) {
        let Prepared { plan, deployment, registry, options, cpus, .. } = prepared;
        self.generation += 1;
        let threads = self.end_threads(&plan);
        let carried = self.carry_lports(&deployment, &plan, &threads);
        let standing = self.carry_pools(&deployment, &plan);
        let (pools, mut failures) = make_pools(&deployment, &options, &registry, &cpus, standing);
        let mut devices = Devices::closed(&deployment, &pools);
        for (at, (lport, queues)) in carried {
            (devices.lports[at], devices.queues[at]) = (lport, queues);
        }
        devices.open(&deployment, options, &registry, &pools);
        let Devices { lports, queues, failures: more } = devices;
        failures.extend(more);
        (self.lports, self.pools, self.deployment) = (lports, pools, deployment);
        (Opening { cpus, threads, queues }, failures)
    }

    /// Ends the threads that do not go on; their lports are among the unpolled ones then. Gives the others by their new
    /// numbers.
    fn end_threads(&mut self, plan: &Plan) -> Vec<Option<Thread>> {
        let mut old = std::mem::take(&mut self.threads);
        let threads = plan.threads.iter().filter(|step| step.is_in_new());
        let threads = threads.map(|step| step.kept().and_then(|before| old[before].take())).collect();
        let mut ended: Vec<_> = old.into_iter().flatten().collect();
        ended.iter().for_each(Thread::ask_to_stop);
        ended.iter_mut().for_each(Thread::join);
        // Whoever sends to the lports of one of them is among them.
        ended.iter_mut().for_each(Thread::finish_lanes);
        for thread in ended {
            self.take_over(thread);
        }
        threads
    }

    /// Keeps the counters and the lports of a thread that has ended.
    fn take_over(&mut self, thread: Thread) {
        for (lport, id) in self.lports.iter_mut().zip(0..) {
            lport.dropped_before = sum(lport.dropped_before, thread.drops(LportId(id)));
        }
        let panicked = thread.failure().is_some();
        for lport in thread.into_lports() {
            if let (true, Ok(control)) = (panicked, &self.lports[usize::from(lport.id.0)].control) {
                control.set_admin_up(true);
            }
            self.unpolled().push(lport);
        }
    }

    /// The lports that go on, with their new positions, and with their queues where no running thread has them. All other
    /// lports are closed.
    fn carry_lports(&mut self, new: &Deployment, plan: &Plan, threads: &[Option<Thread>]) -> Vec<(usize, Carried)> {
        let mut queues: HashMap<_, _> = std::mem::take(self.unpolled()).into_iter().map(|own| (own.id, own)).collect();
        let mut lports: Vec<_> = std::mem::take(&mut self.lports).into_iter().map(Some).collect();
        let running = new.threads.iter().zip(threads).filter(|(_, thread)| thread.is_some());
        let polled: HashSet<_> = running.flat_map(|(spec, _)| &spec.lports).collect();
        let mut carried = Vec::new();
        for (_, queue) in new.lports() {
            let id = queue.lport;
            let Some(before) = plan.old_id(id) else { continue };
            let own = queues.remove(&before).map(|own| renumber(own, id));
            // A worker that broke down has lost the queues: the device is opened anew.
            if let Some(lport) = lports[usize::from(before.0)].take_if(|_| own.is_some() || polled.contains(&id)) {
                carried.push((usize::from(id.0), (lport, own)));
            }
        }
        // As at a stop: queues first, then their control handles.
        drop(queues);
        carried
    }

    /// The pools that go on, at their new positions. The others are given back.
    fn carry_pools(&mut self, new: &Deployment, plan: &Plan) -> Vec<Option<Pool>> {
        let mut old = std::mem::take(&mut self.pools);
        let steps = plan.pools.iter().take(new.pools.len());
        steps.map(|step| step.kept().and_then(|before| old[before].take())).collect()
    }

    /// A task for each thread to be started, and what failed.
    pub(super) fn make_tasks(
        &self,
        opening: &Opening,
        mut make_task: impl FnMut(&TaskContext<'_>) -> Result<Box<dyn Task>, TaskError>,
    ) -> (Tasks, Vec<StartFailure>) {
        let (deployment, burst, lports) = (&self.deployment, self.settings.burst, &self.lports[..]);
        let mut failures = Vec::new();
        let mut make = |thread: &ThreadSpec| match make_task(&TaskContext { thread, deployment, burst, lports }) {
            Ok(task) => Some(task),
            Err(source) => {
                failures.push(StartFailure::Task { thread: thread.name.clone(), source });
                None
            }
        };
        let threads = deployment.threads.iter().zip(&opening.threads);
        let tasks = threads.map(|(spec, running)| if running.is_none() { make(spec) } else { None }).collect();
        (tasks, failures)
    }

    /// Starts the threads that have tasks; says which could not be started.
    pub(super) fn launch(&mut self, opening: Opening, tasks: Tasks) -> Vec<StartFailure> {
        let Opening { cpus, threads, queues } = opening;
        let (deployment, settings, lports, late) =
            (&self.deployment, self.settings, &self.lports[..], self.started.elapsed());
        let crew = Crew { deployment, settings, cpus: &cpus, lports, late };
        let Started { threads, unpolled, lost, failures } = crew.start(threads, tasks, queues);
        self.threads = threads;
        *self.unpolled() = unpolled;
        for id in lost {
            self.lports[usize::from(id.0)].control = Err("its thread could not be started".to_owned());
        }
        failures
    }
}

/// An lport that goes on, and its queues where no running thread has them.
type Carried = (Opened, Option<OwnLport>);

/// What goes on of `parts` by `step`.
fn kept<'a, T>(step: &Step, parts: &'a [Option<T>]) -> Option<&'a T> {
    parts.get(step.kept()?)?.as_ref()
}

fn renumber(mut own: OwnLport, id: LportId) -> OwnLport {
    if own.id != id {
        own.id = id;
        own.rx.renumber(id);
    }
    own
}

/// Counters added up, one by one.
pub(super) fn sum<const N: usize>(a: [u64; N], b: [u64; N]) -> [u64; N] {
    std::array::from_fn(|i| a[i] + b[i])
}
