//! What a user is told when a device cannot be had.

use pmd_core::deployment::{Deployment, XdpHints};
use pmd_core::{Driver, Options, Pool, PoolConfig, QueueCount, RawOption};

use super::world::{Wish, World, generic, pool, pool_of};
use crate::AfXdpDriver;

fn refusal(wish: &Wish, interface: &str, pool: &Pool) -> String {
    wish.open(interface, pool).unwrap_err().to_string()
}

#[test]
fn an_interface_or_queue_that_is_not_there_is_named_with_those_that_are() {
    let Some(_) = World::with_pair() else { return };
    let error = refusal(&Wish::default(), "eth9", &pool());
    assert_eq!(error, "there is no interface `eth9`; there are: lo, right, left");
    let error = refusal(&Wish { queues: 2, ..Wish::default() }, "left", &pool());
    assert!(error.starts_with("`qid` is 1, but interface left has 1 receive queue, numbered from 0"), "{error}");
    let error = refusal(&Wish::default(), "a-name-too-long-for-it", &pool());
    assert!(error.contains("15 at most") && error.contains("option `iface`"), "{error}");
}

#[test]
fn a_queue_or_interface_in_use_is_said_to_be_and_by_what() {
    let Some(_) = World::with_pair() else { return };
    let pool = pool_of(4096, true);
    let lport = Wish::default().one("left", &pool);
    let error = refusal(&Wish::default(), "left", &pool);
    assert!(error.starts_with("queue 0 of left belongs to another AF_XDP socket already"), "{error}");
    drop(lport);
    assert_eq!(pool.in_use(), 0, "nothing is left of the one refused");
}

#[test]
fn another_xdp_program_on_the_interface_is_told_of() {
    let Some(world) = World::new() else { return };
    world.pair(2);
    let pool = pool_of(4096, true);
    let _first = Wish::default().one("left", &pool);
    let options = Options::check(AfXdpDriver::default().options(), &[]).unwrap();
    let mut request = pmd_core::DeviceRequest::new("left", options, 1, Some(&pool));
    request.queues[0].qid = 1;
    let error = AfXdpDriver::default().open(request).unwrap_err().to_string();
    assert!(error.starts_with("another XDP program is attached to interface left (`ip link show dev left`"), "{error}");
    assert!(error.contains("`xsk_pin_path`"), "{error}");
}

#[test]
fn a_pool_with_small_buffers_is_refused() {
    let Some(_) = World::with_pair() else { return };
    let small = Pool::new(&PoolConfig { size: 64, data_room: 1024, ..PoolConfig::default() }).unwrap();
    let error = refusal(&Wish::default(), "left", &small);
    assert!(error.contains("1152 bytes, but AF_XDP needs 2048"), "{error}");
}

#[test]
fn wishes_that_exclude_one_another_are_refused() {
    let zero_copy = Wish { options: vec![RawOption::text("mode", "zero-copy")], ..Wish::hints(generic()) };
    let error = refusal(&zero_copy, "left", &pool());
    assert!(error.contains("`skb_mode` always copies"), "{error}");
    let both = XdpHints { xsk_pin_path: Some("/a".into()), uds_path: Some("/b".into()), ..XdpHints::default() };
    assert!(refusal(&Wish::hints(both), "left", &pool()).contains("keep one"));
    let options = Options::check(AfXdpDriver::default().options(), &[]).unwrap();
    let mut request = pmd_core::DeviceRequest::new("left", options, 2, Some(&pool()));
    request.queues[1].xdp.skb_mode = true;
    let error = AfXdpDriver::default().open(request).unwrap_err().to_string();
    assert!(error.contains("must agree on `skb_mode`"), "{error}");
}

#[test]
fn a_machine_is_checked_without_opening_anything() {
    let Some(world) = World::new() else { return };
    world.pair(2);
    let driver = AfXdpDriver::default();
    let problems_with = |hints: XdpHints, interface: &str, qids: &[u16]| {
        let mut deployment = Deployment::default();
        deployment.add_lport(interface, "net_af_xdp", Vec::new(), None);
        let mut device = deployment.devices.remove(0);
        let queue = device.queues[0].clone();
        device.queues = qids
            .iter()
            .map(|qid| pmd_core::deployment::QueueSpec { qid: *qid, xdp: hints.clone(), ..queue.clone() })
            .collect();
        let options = Options::check(driver.options(), &[]).unwrap();
        let found = driver.check_machine(&device, &options);
        assert!(found.iter().all(|problem| problem.fatal));
        found.into_iter().map(|problem| problem.message).collect::<Vec<_>>()
    };
    let problems = |interface: &str, qids: &[u16]| problems_with(XdpHints::default(), interface, qids);
    assert_eq!(problems("left", &[0, 1]), [""; 0]);
    let pinned = XdpHints { xsk_pin_path: Some("/sys/fs/bpf/no/map".into()), ..XdpHints::default() };
    assert_eq!(
        problems_with(pinned, "left", &[0]),
        ["`xsk_pin_path` /sys/fs/bpf/no/map is not there; who loads the XDP program pins its map"]
    );
    assert!(problems("left", &[0, 2])[0].contains("`qid` is 2, but interface left has 2 receive queues"));
    assert!(problems("absent", &[0])[0].contains("there is no interface `absent`"));
    let options = Options::check(driver.options(), &[]).unwrap();
    assert_eq!(driver.queue_count("left", &options), QueueCount::Has(2));
    let QueueCount::Unknown(why) = driver.queue_count("absent", &options) else { panic!("nobody can know") };
    assert!(why.contains("there is no interface `absent`"), "{why}");
}
