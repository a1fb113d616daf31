//! Which threads go on, and why the others do not.
//!
//! 1. Each thread is looked at by itself: what it is, its lports, its task.
//! 2. What it sends to must be unchanged lports.
//! 3. A thread that sends to another thread's lport goes on only if that one does; so a change spreads until it reaches
//!    nobody else.

use std::collections::{HashMap, HashSet};

use super::{Broken, Change, Key, Plan, Step, TaskChange};
use crate::deployment::{Deployment, LportId, ThreadSpec};

/// The threads' steps; `plan` has everything else.
pub(super) fn steps(
    old: &Deployment,
    new: &Deployment,
    broken: &Broken,
    plan: &Plan,
    task_change: impl Fn(&ThreadSpec) -> TaskChange,
) -> Vec<Step> {
    let comparison = Comparison::new(old, new, plan);
    let mut steps = super::steps(&keys(old), &keys(new), |before, now| {
        if broken.threads.contains(&before) {
            return Some("it had stopped".to_owned());
        }
        comparison.own_change(&old.threads[before], &new.threads[now])
    });
    let routes = comparison.routes(&mut steps, task_change);
    spread(&mut steps, &routes, new);
    steps
}

fn keys(deployment: &Deployment) -> Vec<Key<'_>> {
    deployment.threads.iter().map(|thread| (thread.name.as_str(), "")).collect()
}

/// What a thread relies on: another thread, by position, and the name of the lport for whose sake.
type Reliance = (usize, String);

/// Starts anew whoever relies on a thread that is.
fn spread(steps: &mut [Step], routes: &[(usize, Vec<Reliance>)], new: &Deployment) {
    let mut again = true;
    while again {
        again = false;
        for (thread, reliances) in routes {
            let goes_on = |position: usize| steps[position].change == Change::Unchanged;
            let broken = reliances.iter().find(|(owner, _)| !goes_on(*owner));
            if let Some((owner, lport)) = broken.filter(|_| goes_on(*thread)) {
                let owner = &new.threads[*owner].name;
                steps[*thread].change = Change::Changed(format!("it sends to lport {lport} of thread {owner}"));
                again = true;
            }
        }
    }
}

/// Both deployments, seen from their threads.
struct Comparison<'a> {
    plan: &'a Plan,
    old_names: Vec<&'a str>,
    new_names: Vec<&'a str>,
    /// The lports that a thread of the old deployment polls.
    once_owned: HashSet<LportId>,
    /// Which thread of the new one polls an lport.
    owners: HashMap<LportId, usize>,
    new_threads: &'a [ThreadSpec],
}

impl<'a> Comparison<'a> {
    fn new(old: &'a Deployment, new: &'a Deployment, plan: &'a Plan) -> Self {
        Self {
            plan,
            old_names: names(old),
            new_names: names(new),
            once_owned: owners(old).into_keys().collect(),
            owners: owners(new),
            new_threads: &new.threads,
        }
    }

    /// What has changed about a thread, regardless of its task.
    fn own_change(&self, old: &ThreadSpec, new: &ThreadSpec) -> Option<String> {
        let apart = |thread: &ThreadSpec| ThreadSpec { lports: Vec::new(), ..thread.clone() };
        if apart(old) != apart(new) {
            return Some("its lcores or timeouts".to_owned());
        }
        let old_lports = old.lports.iter().map(|id| name_in(&self.old_names, *id));
        if !old_lports.eq(new.lports.iter().map(|id| name_in(&self.new_names, *id))) {
            return Some("its lports".to_owned());
        }
        new.lports.iter().find_map(|id| self.lport_change(*id)).map(|change| format!("its {change}"))
    }

    /// What has changed about an lport, as far as whoever knows it by its number is concerned.
    fn lport_change(&self, id: LportId) -> Option<String> {
        let name = name_in(&self.new_names, id);
        match self.plan.old_id(id) {
            None => Some(format!("lport {name}")),
            Some(before) if before != id => Some(format!("lport {name} with another number")),
            Some(_) => None,
        }
    }

    /// Asks for the tasks of the threads that are otherwise unchanged, and says on what each relies that goes on by itself.
    fn routes(
        &self,
        steps: &mut [Step],
        task_change: impl Fn(&ThreadSpec) -> TaskChange,
    ) -> Vec<(usize, Vec<Reliance>)> {
        let mut routes = Vec::new();
        for (thread, (spec, step)) in self.new_threads.iter().zip(steps).enumerate() {
            if step.change != Change::Unchanged {
                continue;
            }
            match self.reliances(task_change(spec)) {
                Ok(reliances) => routes.push((thread, reliances)),
                Err(why) => step.change = Change::Changed(why),
            }
        }
        routes
    }

    /// On what a thread with a task like this relies.
    ///
    /// # Errors
    /// Why it cannot go on.
    fn reliances(&self, task: TaskChange) -> Result<Vec<Reliance>, String> {
        let TaskChange::Same { sends_to } = task else { return Err("its task".to_owned()) };
        let mut reliances = Vec::new();
        for id in sends_to {
            if let Some(change) = self.lport_change(id) {
                return Err(format!("it sends to {change}"));
            }
            let name = name_in(&self.new_names, id);
            match self.owners.get(&id) {
                // An owner that goes on has the lports that it had.
                Some(owner) => reliances.push((*owner, name.to_owned())),
                None if self.once_owned.contains(&id) => {
                    return Err(format!("it sends to lport {name}, which no thread polls any more"));
                }
                None => {}
            }
        }
        Ok(reliances)
    }
}

fn names(deployment: &Deployment) -> Vec<&str> {
    deployment.lports().into_iter().map(|(_, queue)| queue.name.as_str()).collect()
}

fn name_in<'a>(names: &[&'a str], id: LportId) -> &'a str {
    names.get(usize::from(id.0)).copied().unwrap_or("that does not exist")
}

fn owners(deployment: &Deployment) -> HashMap<LportId, usize> {
    let threads = deployment.threads.iter().enumerate();
    threads.flat_map(|(i, thread)| thread.lports.iter().map(move |id| (*id, i))).collect()
}
