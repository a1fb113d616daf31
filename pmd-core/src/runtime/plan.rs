//! What changes from one deployment to the next: found without touching anything.
//!
//! 1. Names are identities: a pool, a device, an lport or a thread of the new deployment continues the one of the same
//!    name in the old one. (A device also needs the same driver.)
//! 2. [`plan`] compares: pools by their specification, devices by their options, queues and pools, threads by everything
//!    they are and by what the application says of their tasks ([`TaskChange`]).
//! 3. Positions are no identities. An lport that is only found at another position keeps its device, its link and its
//!    counters, and gets another number; the threads that know it by its number are started anew.
//! 4. What is not [`Change::Unchanged`] is closed or stopped and then opened or started as the new deployment says.
//!
//! The rule for a running thread: it goes on when it, its lports, its task, and every lport that its task sends to are
//! unchanged, and the threads that own those lports go on, too. So a thread that goes on holds no route that has become
//! wrong, and none has to be changed under it.

mod show;
#[cfg(test)]
mod tests;
mod threads;

use std::collections::{HashMap, HashSet, VecDeque};

use crate::deployment::{Deployment, DeviceSpec, LportId, QueueSpec, ThreadSpec};
use crate::options::RawOption;

/// What becomes of one part of a deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It is new.
    Added,
    /// It is closed or stopped, and then opened or started anew. The text says what about it changes: "its options".
    Changed(String),
    /// It goes on undisturbed.
    Unchanged,
    /// It goes.
    Removed,
}

/// One part of a deployment, and what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Its name.
    pub name: String,
    /// What becomes of it.
    pub change: Change,
    /// Its position in the old deployment, if it was there.
    old: Option<usize>,
}

impl Step {
    /// The position in the old deployment of what goes on.
    pub(super) fn kept(&self) -> Option<usize> {
        self.old.filter(|_| self.change == Change::Unchanged)
    }

    /// Whether the new deployment has it.
    pub(super) fn is_in_new(&self) -> bool {
        self.change != Change::Removed
    }
}

/// An lport that goes on with another number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renumbered {
    /// Name of the lport.
    pub name: String,
    /// Its number so far.
    pub from: LportId,
    /// Its number from now on.
    pub to: LportId,
}

/// The way from one deployment to another. Each list has the parts of the new deployment in its order, then those that
/// go; lports are in the order of their numbers. `Display` draws it for people, a line for each kind of change.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// Pools.
    pub pools: Vec<Step>,
    /// Devices, which change as a whole.
    pub devices: Vec<Step>,
    /// Lports: what becomes of their devices, each by its own name.
    pub lports: Vec<Step>,
    /// Threads.
    pub threads: Vec<Step>,
    /// Those of the unchanged lports that are found at another position.
    pub renumbered: Vec<Renumbered>,
    /// By the number of an unchanged lport: its number so far.
    old_ids: HashMap<LportId, LportId>,
}

impl Plan {
    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        let mut steps = self.pools.iter().chain(&self.devices).chain(&self.threads);
        steps.all(|step| step.change == Change::Unchanged) && self.renumbered.is_empty()
    }

    /// The number so far of an lport that goes on.
    pub(super) fn old_id(&self, lport: LportId) -> Option<LportId> {
        self.old_ids.get(&lport).copied()
    }
}

/// What an application says of the task of a thread that is otherwise the same as before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskChange {
    /// It is another one now.
    Other,
    /// It would be made in the same way again.
    Same {
        /// Every lport it may send to, by numbers of the new deployment. Its own lports need not be among them.
        sends_to: Vec<LportId>,
    },
}

/// Parts of the old deployment that do not run as they should, by position: they are tried again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Broken {
    /// Pools that could not be made.
    pub pools: HashSet<usize>,
    /// Devices that could not be opened.
    pub devices: HashSet<usize>,
    /// Threads that could not be started, or whose task panicked.
    pub threads: HashSet<usize>,
}

/// The way from `old`, of which some parts may be `broken`, to `new`. Both must be consistent, as [`super::Runtime::start`]
/// demands it. `task_change` is asked about each thread of `new` that is otherwise unchanged.
pub fn plan(
    old: &Deployment,
    new: &Deployment,
    broken: &Broken,
    task_change: impl Fn(&ThreadSpec) -> TaskChange,
) -> Plan {
    let pools = pool_steps(old, new, broken);
    let devices = device_steps(old, new, broken, &pools);
    let old_ids = old_ids(old, new, &devices);
    let lports = lport_steps(old, new, &devices);
    let renumbered = renumbered(new, &old_ids);
    let mut plan = Plan { pools, devices, lports, threads: Vec::new(), renumbered, old_ids };
    plan.threads = threads::steps(old, new, broken, &plan, task_change);
    plan
}

/// A part's name, and what else tells it from others of its kind.
type Key<'a> = (&'a str, &'a str);

/// The steps of a list of named parts; `why` says what has changed about a part that is in both. Parts of one name, which
/// only code can make, continue each other in order.
fn steps(old: &[Key<'_>], new: &[Key<'_>], why: impl Fn(usize, usize) -> Option<String>) -> Vec<Step> {
    let mut left: HashMap<_, VecDeque<usize>> = HashMap::new();
    for (i, key) in old.iter().enumerate() {
        left.entry(key).or_default().push_back(i);
    }
    let mut steps = Vec::new();
    for (i, key) in new.iter().enumerate() {
        let before = left.get_mut(key).and_then(VecDeque::pop_front);
        let change = match before {
            Some(before) => why(before, i).map_or(Change::Unchanged, Change::Changed),
            None => Change::Added,
        };
        steps.push(Step { name: key.0.to_owned(), change, old: before });
    }
    let mut gone: Vec<_> = left.into_values().flatten().collect();
    gone.sort_unstable();
    let removed = |i: usize| Step { name: old[i].0.to_owned(), change: Change::Removed, old: Some(i) };
    steps.extend(gone.into_iter().map(removed));
    steps
}

fn pool_steps(old: &Deployment, new: &Deployment, broken: &Broken) -> Vec<Step> {
    fn keys(deployment: &Deployment) -> Vec<Key<'_>> {
        deployment.pools.iter().map(|pool| (pool.name.as_str(), "")).collect()
    }
    steps(&keys(old), &keys(new), |before, now| {
        if broken.pools.contains(&before) {
            return Some("it could not be made before".to_owned());
        }
        (old.pools[before] != new.pools[now]).then(|| "its size, cache or pages".to_owned())
    })
}

fn device_steps(old: &Deployment, new: &Deployment, broken: &Broken, pools: &[Step]) -> Vec<Step> {
    fn keys(deployment: &Deployment) -> Vec<Key<'_>> {
        deployment.devices.iter().map(|device| (device.name.as_str(), device.driver.as_str())).collect()
    }
    steps(&keys(old), &keys(new), |before, now| {
        if broken.devices.contains(&before) {
            return Some("it could not be opened before".to_owned());
        }
        device_change(&old.devices[before], &new.devices[now], pools)
    })
}

/// What has changed about a device. `pools` are the new pools' steps.
fn device_change(old: &DeviceSpec, new: &DeviceSpec, pools: &[Step]) -> Option<String> {
    if sorted_options(old) != sorted_options(new) {
        return Some("its options".to_owned());
    }
    let (old, new) = (sorted_queues(old), sorted_queues(new));
    if old.iter().zip(&new).any(|(old, new)| old.qid == new.qid && old.wrap != new.wrap) {
        return Some("its wrappers".to_owned());
    }
    // Its number is no property of a queue, and its pool is compared below.
    let apart = |queue: &QueueSpec| QueueSpec { lport: LportId(0), pool: None, ..queue.clone() };
    if !old.iter().map(|queue| apart(queue)).eq(new.iter().map(|queue| apart(queue))) {
        return Some("its queues".to_owned());
    }
    let same_pool = |(old, new): &(&QueueSpec, &QueueSpec)| match (old.pool, new.pool) {
        (Some(old), Some(new)) => pools.get(new.0).and_then(Step::kept) == Some(old.0),
        (old, new) => old == new,
    };
    let all_same = old.into_iter().zip(new).all(|pair| same_pool(&pair));
    (!all_same).then(|| "its pool".to_owned())
}

/// The order of options means nothing.
fn sorted_options(device: &DeviceSpec) -> Vec<&RawOption> {
    let mut options: Vec<_> = device.options.iter().collect();
    options.sort_by(|a, b| a.key.cmp(&b.key));
    options
}

/// Nor does that of queues.
fn sorted_queues(device: &DeviceSpec) -> Vec<&QueueSpec> {
    let mut queues: Vec<_> = device.queues.iter().collect();
    queues.sort_by_key(|queue| queue.qid);
    queues
}

/// The number so far of each lport whose device goes on, by its number from now on.
fn old_ids(old: &Deployment, new: &Deployment, devices: &[Step]) -> HashMap<LportId, LportId> {
    let kept = new.devices.iter().zip(devices).filter_map(|(device, step)| Some((&old.devices[step.kept()?], device)));
    kept.flat_map(|(old, new)| sorted_queues(new).into_iter().zip(sorted_queues(old)))
        .map(|(new, old)| (new.lport, old.lport))
        .collect()
}

fn lport_steps(old: &Deployment, new: &Deployment, devices: &[Step]) -> Vec<Step> {
    let change_of: HashMap<_, _> = new
        .devices
        .iter()
        .zip(devices)
        .flat_map(|(device, step)| device.queues.iter().map(move |q| (q.lport, step)))
        .collect();
    let (old, new) = (old.lports(), new.lports());
    fn keys<'a>(lports: &[(&'a DeviceSpec, &'a QueueSpec)]) -> Vec<Key<'a>> {
        lports.iter().map(|(_, queue)| (queue.name.as_str(), "")).collect()
    }
    steps(&keys(&old), &keys(&new), |before, now| match &change_of[&new[now].1.lport].change {
        Change::Unchanged => None,
        Change::Changed(why) => Some(why.clone()),
        // Its device is another one, by name or by driver.
        Change::Added | Change::Removed if old[before].0.driver != new[now].0.driver => Some("its driver".to_owned()),
        Change::Added | Change::Removed => Some("its device".to_owned()),
    })
}

fn renumbered(new: &Deployment, old_ids: &HashMap<LportId, LportId>) -> Vec<Renumbered> {
    let moved = |(_, queue): (&DeviceSpec, &QueueSpec)| {
        let (from, to) = (*old_ids.get(&queue.lport)?, queue.lport);
        (from != to).then(|| Renumbered { name: queue.name.clone(), from, to })
    };
    new.lports().into_iter().filter_map(moved).collect()
}
