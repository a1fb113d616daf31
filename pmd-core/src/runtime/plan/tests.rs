//! Plans of small deployments, by example, and of arbitrary ones by the rules that hold for all.

use std::collections::HashSet;

use proptest::prelude::*;

use super::*;
use crate::deployment::{PoolIndex, PoolSpec};

/// Lports `a`, `b`, `c` with the pool `p`, and a thread for each.
fn three() -> Deployment {
    let mut deployment = Deployment::default();
    let pool = deployment.add_pool(PoolSpec::new("p", 64, 64));
    for name in ["a", "b", "c"] {
        let lport = deployment.add_lport(name, "net_null", vec![RawOption::text("size", "64")], Some(pool));
        deployment.add_thread(&format!("fwd:{name}"), &[lport]);
    }
    deployment
}

/// Tasks that send nowhere but to their own lports.
fn reflect(_: &ThreadSpec) -> TaskChange {
    TaskChange::Same { sends_to: vec![] }
}

/// Tasks that send to the next of three lports: `a` to `b`, `b` to `c`, `c` to `a`.
fn chain(thread: &ThreadSpec) -> TaskChange {
    TaskChange::Same { sends_to: thread.lports.iter().map(|id| LportId((id.0 + 1) % 3)).collect() }
}

fn plan_of(old: &Deployment, new: &Deployment, tasks: fn(&ThreadSpec) -> TaskChange) -> Vec<String> {
    plan(old, new, &Broken::default(), tasks).to_string().lines().map(str::to_owned).collect()
}

#[test]
fn nothing_changes_between_equals_and_order_means_nothing() {
    let old = three();
    assert!(plan(&old, &old, &Broken::default(), chain).is_empty());
    let mut new = three();
    new.threads.reverse();
    assert!(plan(&old, &new, &Broken::default(), chain).is_empty());
}

#[test]
fn what_is_added_disturbs_nobody() {
    let (old, mut new) = (three(), three());
    let pool = new.add_pool(PoolSpec::new("q", 64, 64));
    let lport = new.add_lport("d", "net_null", vec![], Some(pool));
    new.add_thread("fwd:d", &[lport]);
    assert_eq!(
        plan_of(&old, &new, chain),
        [
            "added: pool q, lport d, thread fwd:d",
            "unchanged: pool p, lport a, lport b, lport c, thread fwd:a, thread fwd:b, thread fwd:c",
        ]
    );
}

#[test]
fn an_lport_at_another_position_goes_on_with_another_number() {
    let (old, mut new) = (three(), three());
    new.devices.remove(0);
    new.threads.remove(0);
    for (device, id) in new.devices.iter_mut().zip(0..) {
        device.queues[0].lport = LportId(id);
        new.threads[usize::from(id)].lports = vec![LportId(id)];
    }
    assert_eq!(
        plan_of(&old, &new, reflect),
        [
            "removed: lport a, thread fwd:a",
            "changed: thread fwd:b (its lport b with another number), thread fwd:c (its lport c with another number)",
            "renumbered: lport b (1 to 0), lport c (2 to 1)",
            "unchanged: pool p, lport b, lport c",
        ]
    );
}

#[test]
fn options_in_another_order_are_the_same_options() {
    let (mut old, mut new) = (three(), three());
    old.devices[0].options = vec![RawOption::text("size", "64"), RawOption::text("no-rx", "yes")];
    new.devices[0].options = vec![RawOption::text("no-rx", "yes"), RawOption::text("size", "64")];
    assert!(plan(&old, &new, &Broken::default(), reflect).is_empty());
    new.devices[0].options[0] = RawOption::text("no-rx", "no");
    assert_eq!(
        plan_of(&old, &new, reflect)[0],
        "changed: lport a (its options), thread fwd:a (its lport a)",
        "the others send nowhere"
    );
}

#[test]
fn a_change_reaches_whoever_sends_to_it_and_whoever_sends_to_them() {
    let (old, mut new) = (three(), three());
    new.devices[2].options.clear();
    assert_eq!(
        plan_of(&old, &new, chain)[0],
        "changed: lport c (its options), thread fwd:a (it sends to lport b of thread fwd:b), thread fwd:b (it sends to \
         lport c), thread fwd:c (its lport c)"
    );
}

#[test]
fn a_pool_takes_the_lports_that_receive_into_it_along() {
    let (old, mut new) = (three(), three());
    new.pools[0].size = 65;
    let plan = plan_of(&old, &new, reflect);
    assert!(plan[0].starts_with("changed: pool p (its size, cache or pages), lport a (its pool), lport b"), "{plan:?}");
    assert_eq!(plan.len(), 1);
}

#[test]
fn a_thread_is_known_by_its_name_and_changes_with_what_it_is() {
    let (old, mut new) = (three(), three());
    new.threads[0].name = "fwd:z".to_owned();
    new.threads[1].idle_timeout = Some(std::time::Duration::from_millis(5));
    new.threads[2].lports.clear();
    assert_eq!(
        plan_of(&old, &new, reflect),
        [
            "added: thread fwd:z",
            "removed: thread fwd:a",
            "changed: thread fwd:b (its lcores or timeouts), thread fwd:c (its lports)",
            "unchanged: pool p, lport a, lport b, lport c",
        ]
    );
}

#[test]
fn a_thread_does_not_go_on_towards_an_lport_that_nobody_polls_any_more() {
    let (old, mut new) = (three(), three());
    new.threads.remove(2);
    let plan = plan_of(&old, &new, chain);
    assert!(plan[1].contains("thread fwd:b (it sends to lport c, which no thread polls any more)"), "{plan:?}");
}

#[test]
fn another_task_is_a_change_of_its_thread_alone() {
    let new = three();
    let tasks = |thread: &ThreadSpec| if thread.name == "fwd:b" { TaskChange::Other } else { reflect(thread) };
    let plan = plan(&new, &new, &Broken::default(), tasks);
    assert_eq!(plan.to_string().lines().next(), Some("changed: thread fwd:b (its task)"));
}

#[test]
fn another_driver_is_another_device() {
    let (old, mut new) = (three(), three());
    new.devices[1].driver = "net_ring".to_owned();
    assert_eq!(plan_of(&old, &new, reflect)[0], "changed: lport b (its driver), thread fwd:b (its lport b)");
}

#[test]
fn another_list_of_wrappers_opens_the_device_anew() {
    let old = three();
    let mut new = old.clone();
    new.wrap_lport(LportId(1), "trace", vec![RawOption::text("count", "5")]);
    let changed = "changed: lport b (its wrappers), thread fwd:b (its lport b)";
    assert_eq!(plan_of(&old, &new, reflect)[0], changed);
    assert_eq!(plan_of(&new, &old, reflect)[0], changed);
    let mut more = new.clone();
    more.devices[1].queues[0].wrap[0].options[0] = RawOption::text("count", "6");
    assert_eq!(plan_of(&new, &more, reflect)[0], changed);
    assert!(plan(&new, &new, &Broken::default(), reflect).is_empty());
}

#[test]
fn what_is_broken_is_tried_again() {
    let old = three();
    let broken = |pools: &[usize], devices: &[usize], threads: &[usize]| {
        let set = |positions: &[usize]| positions.iter().copied().collect();
        let broken = Broken { pools: set(pools), devices: set(devices), threads: set(threads) };
        plan(&old, &old, &broken, reflect).to_string().lines().next().unwrap_or_default().to_owned()
    };
    assert!(broken(&[0], &[], &[]).starts_with("changed: pool p (it could not be made before), lport a (its pool)"));
    assert_eq!(broken(&[], &[1], &[]), "changed: lport b (it could not be opened before), thread fwd:b (its lport b)");
    assert_eq!(broken(&[], &[], &[2]), "changed: thread fwd:c (it had stopped)");
}

#[test]
fn parts_of_one_name_continue_each_other_in_order() {
    let mut old = Deployment::default();
    old.add_pool(PoolSpec::new("p", 64, 64));
    old.add_pool(PoolSpec::new("p", 128, 64));
    let mut new = old.clone();
    assert!(plan(&old, &new, &Broken::default(), reflect).is_empty());
    new.pools.pop();
    assert_eq!(plan_of(&old, &new, reflect), ["removed: pool p", "unchanged: pool p"]);
}

prop_compose! {
    /// A consistent deployment out of few names, so that two of them have much in common.
    fn deployments()(
        pools in prop::collection::vec((0..3_usize, 1..3_usize), 0..4),
        devices in prop::collection::vec((0..4_usize, 0..2_usize, 0..2_usize, 1..3_u16, any::<prop::sample::Index>()), 0..5),
        owners in prop::collection::vec(prop::option::of(0..3_usize), 10),
        pinned in prop::collection::vec(any::<bool>(), 3),
    ) -> Deployment {
        let mut deployment = Deployment::default();
        for (name, size) in first_of_each(pools, |pool| pool.0) {
            deployment.add_pool(PoolSpec::new(&format!("p{name}"), 64 * size, 64));
        }
        let mut next = 0;
        for (name, driver, option, queues, pool) in first_of_each(devices, |device| device.0) {
            let pools = deployment.pools.len();
            let pool = (pools > 0).then(|| PoolIndex(pool.index(pools)));
            let (device, driver) = (format!("d{name}"), ["net_null", "net_ring"][driver].to_owned());
            let queue = |qid| {
                let (lport, name) = (LportId(next + qid), format!("{device}:{qid}"));
                QueueSpec { lport, name, qid, pool, rx_desc: 1, tx_desc: 1, xdp: Default::default(), wrap: Vec::new() }
            };
            let queues: Vec<_> = (0..queues).map(queue).collect();
            next += queues.len() as u16;
            let options = vec![RawOption::text("o", option.to_string())];
            deployment.devices.push(DeviceSpec { name: device, driver, options, queues });
        }
        for (thread, pinned) in pinned.into_iter().enumerate() {
            let ids = (0..next).filter(|id| owners[usize::from(*id)] == Some(thread)).map(LportId).collect::<Vec<_>>();
            let spec = deployment.add_thread(&format!("t{thread}"), &ids);
            if pinned {
                spec.lcores = crate::deployment::Placement::Auto;
            }
        }
        deployment
    }
}

fn first_of_each<T>(parts: Vec<T>, name: impl Fn(&T) -> usize) -> Vec<T> {
    let mut seen = HashSet::new();
    parts.into_iter().filter(|part| seen.insert(name(part))).collect()
}

/// The lports whose number is set in `bits`.
fn chosen(deployment: &Deployment, bits: u16) -> Vec<LportId> {
    let lports = deployment.lports();
    lports.iter().map(|(_, queue)| queue.lport).filter(|id| bits >> id.0 & 1 == 1).collect()
}

/// `old`, changed as `plan` describes it; what is added or changed is taken from `new`.
fn applied(old: &Deployment, new: &Deployment, plan: &Plan) -> Deployment {
    fn parts<T: Clone>(steps: &[Step], old: &[T], new: &[T]) -> Vec<T> {
        let present = steps.iter().filter(|step| step.change != Change::Removed).enumerate();
        present.map(|(i, step)| step.kept().map_or(&new[i], |before| &old[before]).clone()).collect()
    }
    let mut devices = parts(&plan.devices, &old.devices, &new.devices);
    for (device, step) in devices.iter_mut().zip(&plan.devices).filter(|(_, step)| step.kept().is_some()) {
        for queue in &mut device.queues {
            // Names are identities: numbers and positions follow from where the names are now.
            queue.lport = new.lport_named(&queue.name).unwrap_or_else(|| panic!("{} of {}", queue.name, step.name));
            queue.pool = queue.pool.map(|pool| {
                PoolIndex(plan.pools.iter().position(|step| step.kept() == Some(pool.0)).expect("its pool goes on"))
            });
        }
    }
    let pools = parts(&plan.pools, &old.pools, &new.pools);
    Deployment { pools, devices, threads: parts(&plan.threads, &old.threads, &new.threads) }
}

// Safe code through and through: miri would learn nothing from hundreds of cases.
proptest! {
    #[test]
    #[cfg_attr(miri, ignore)]
    fn a_deployment_leads_to_itself_by_an_empty_plan(deployment in deployments(), targets in any::<u16>()) {
        let sends_to = chosen(&deployment, targets);
        let same = |_: &ThreadSpec| TaskChange::Same { sends_to: sends_to.clone() };
        prop_assert!(plan(&deployment, &deployment, &Broken::default(), same).is_empty());
    }

    #[test]
    #[cfg_attr(miri, ignore)]
    fn the_old_deployment_changed_as_the_plan_says_is_the_new_one(old in deployments(), new in deployments()) {
        let plan = plan(&old, &new, &Broken::default(), reflect);
        prop_assert_eq!(applied(&old, &new, &plan), new);
        for (steps, before) in
            [(&plan.pools, old.pools.len()), (&plan.devices, old.devices.len()), (&plan.threads, old.threads.len())]
        {
            let mut positions: Vec<_> = steps.iter().filter_map(|step| step.old).collect();
            positions.sort_unstable();
            prop_assert!(positions.into_iter().eq(0..before), "every old part is accounted for once");
        }
    }

    #[test]
    #[cfg_attr(miri, ignore)]
    fn a_thread_that_goes_on_finds_everything_as_it_was(
        old in deployments(),
        new in deployments(),
        targets in prop::collection::vec(any::<u16>(), 3),
    ) {
        let sends_to = |thread: &ThreadSpec| chosen(&new, targets[usize::from(thread.name.as_bytes()[1] - b'0')]);
        let plan = plan(&old, &new, &Broken::default(), |thread| TaskChange::Same { sends_to: sends_to(thread) });
        let (old_lports, new_lports) = (old.lports(), new.lports());
        let goes_on = |thread: usize| plan.threads[thread].kept().is_some();
        for (_, thread) in new.threads.iter().enumerate().filter(|(i, _)| goes_on(*i)) {
            for id in thread.lports.iter().chain(&sends_to(thread)) {
                let at = usize::from(id.0);
                prop_assert_eq!(&plan.lports[at].change, &Change::Unchanged);
                prop_assert_eq!(&old_lports[at].1.name, &new_lports[at].1.name, "under the same number");
                let owner = |deployment: &Deployment| {
                    deployment.threads.iter().position(|thread| thread.lports.contains(id))
                };
                match owner(&new) {
                    Some(owner) => prop_assert!(goes_on(owner)),
                    None => prop_assert_eq!(owner(&old), None),
                }
            }
        }
    }
}
