//! Two memif devices in one process, a server and a client, through the public driver: what every user of the crate
//! sees, over real sockets and shared memory.

mod common;
#[path = "common/pair.rs"]
mod pair;

use pmd_core::details::Value;
use pmd_core::{Burst, Lport};

use common::{Port, until};
use pair::{pair, wait_for_links};

/// Sends the packets from one lport to the other, in bursts as they fit, and checks that each arrives, in order.
fn transfer(from: &mut Port, to: &mut Port, queue: usize, packets: &[Vec<u8>]) {
    let (mut out, mut arrived) = (Burst::new(), Burst::with_limit(32));
    let (mut sent, mut received) = (0, 0);
    until("all packets arrived", || {
        while sent < packets.len() && out.len() < 32 {
            out.push(from.packet(&packets[sent])).unwrap();
            sent += 1;
        }
        from.lports[queue].tx.tx_burst(&mut out);
        // A client posts its buffers when it is polled first.
        from.lports[queue].rx.rx_burst(&mut Burst::new());
        to.lports[queue].rx.rx_burst(&mut arrived);
        received = take_next(&mut arrived, packets, received);
        received == packets.len()
    });
}

/// Takes what has arrived behind the first `received` packets, checks that it is what comes next, and says how many there are now.
fn take_next(arrived: &mut Burst, sent: &[Vec<u8>], mut received: usize) -> usize {
    for mbuf in arrived.iter() {
        let mut data = vec![0; mbuf.packet_len()];
        mbuf.copy_to(&mut data);
        assert_eq!(data, sent[received], "packet {received}");
        received += 1;
    }
    arrived.clear();
    received
}

fn packets(count: usize, max: usize) -> Vec<Vec<u8>> {
    (0..count).map(|i| (0..1 + (i * 997) % max).map(|j| (i * 31 + j) as u8).collect()).collect()
}

#[test]
fn packets_of_all_sizes_cross_in_both_directions_unchanged() {
    for (rsize, bsize) in [("10", "2048"), ("6", "2048"), ("8", "300"), ("10", "65535"), ("4", "9216")] {
        for (server_shares, client_shares) in [("no", "no"), ("no", "yes"), ("yes", "no"), ("yes", "yes")] {
            let options = [("rsize", rsize), ("bsize", bsize), ("zero-copy", client_shares)];
            let (mut server, mut client, _dir) = pair([1, 1], &[("zero-copy", server_shares)], &options);
            let packets = packets(300, 9216);
            transfer(&mut client, &mut server, 0, &packets);
            transfer(&mut server, &mut client, 0, &packets);
            let (sent, got) = (client.lports[0].control.stats(), server.lports[0].control.stats());
            assert_eq!((sent.opackets, sent.obytes), (got.ipackets, got.ibytes));
            assert_eq!((sent.oerrors, got.ierrors, got.rx_nombuf), (0, 0, 0));
            client.assert_whole();
            server.assert_whole();
        }
    }
}

#[test]
fn ip_mode_joins_ends_that_both_chose_it_and_punt_inject_is_refused_by_its_name() {
    let mode = [("mode", "ip")];
    let (mut server, mut client, dir) = pair([1, 1], &mode, &mode);
    let packets = vec![[&[0x45, 0][..], &[7; 60]].concat(), [&[0x60, 0][..], &[9; 1200]].concat()];
    transfer(&mut client, &mut server, 0, &packets);
    transfer(&mut server, &mut client, 0, &packets);
    assert_eq!((text(&details(&server), "mode"), text(&details(&client), "mode")), ("ip".into(), "ip".into()));
    client.assert_whole();
    let socket = dir.path().join("memif.sock").display().to_string();
    let other = Port::open("ethernet", 1, &[("socket", &*socket), ("socket-abstract", "no")]).unwrap();
    until("the refusal", || format!("{:?}", other.lports[0].control.link()).contains("mode"));
    other.assert_whole();
    server.assert_whole();
    let refused = Port::open("punt", 1, &[("mode", "punt-inject")]).err().expect("no peer speaks it").to_string();
    assert!(refused.contains("punt-inject"), "{refused}");
}

#[test]
fn s62_the_smallest_rings_carry_what_fits_them() {
    for (server_shares, client_shares) in [("no", "no"), ("no", "yes"), ("yes", "yes")] {
        let options = [("rsize", "1"), ("zero-copy", client_shares)];
        let (mut server, mut client, _dir) = pair([1, 1], &[("zero-copy", server_shares)], &options);
        let packets = packets(5000, 4096);
        transfer(&mut client, &mut server, 0, &packets);
        transfer(&mut server, &mut client, 0, &packets);
        client.assert_whole();
        server.assert_whole();
    }
}

#[test]
fn a_zero_copy_client_sends_packets_of_foreign_pools_as_copies() {
    let (mut server, mut client, _dir) = pair([1, 1], &[], &[("zero-copy", "yes")]);
    let elsewhere = Port::open("elsewhere", 1, &[("socket", "nobody-listens-here")]).unwrap();
    let sent = packets(50, 9216);
    let mut burst = Burst::new();
    for data in &sent {
        burst.push(elsewhere.packet(data)).unwrap();
    }
    let (mut got, mut received) = (Burst::new(), Vec::new());
    until("all received", || {
        client.lports[0].tx.tx_burst(&mut burst);
        server.lports[0].rx.rx_burst(&mut got);
        for mbuf in got.iter() {
            let mut data = vec![0; mbuf.packet_len()];
            mbuf.copy_to(&mut data);
            received.push(data);
        }
        got.clear();
        received.len() == sent.len()
    });
    assert_eq!(received, sent);
    elsewhere.assert_whole();
    client.assert_whole();
    server.assert_whole();
}

#[test]
fn borrowed_packets_may_be_held_dropped_elsewhere_and_outlive_the_link() {
    let (mut server, mut client, _dir) = pair([1, 1], &[("zero-copy", "yes")], &[("rsize", "4")]);
    let sent = packets(12, 2000);
    let mut burst = Burst::new();
    for data in &sent {
        burst.push(client.packet(data)).unwrap();
    }
    client.lports[0].tx.tx_burst(&mut burst);
    let (mut got, mut held) = (Burst::with_limit(32), Vec::new());
    until("all received", || {
        server.lports[0].rx.rx_burst(&mut got);
        held.extend(got.drain_front(got.len()));
        held.len() == sent.len()
    });
    assert_eq!(server.pool.in_use(), 4, "half of the ring is lent, the other packets are copies");
    // The first packet is still held, so the client gets no slot back, however many others are dropped.
    let first = held.remove(0);
    std::thread::spawn(move || drop(held)).join().unwrap();
    server.lports[0].rx.rx_burst(&mut got);
    burst.clear();
    for data in packets(16, 60) {
        burst.push(client.packet(&data)).unwrap();
    }
    assert_eq!(client.lports[0].tx.tx_burst(&mut burst), 4);
    drop(burst);
    client.assert_whole();
    until("link down", || !server.lports[0].control.link().is_up());
    server.lports[0].rx.rx_burst(&mut got);
    assert_eq!(first.data(), sent[0], "its memory is still there");
    drop(got);
    server.assert_whole();
    drop(first);
}

#[test]
fn a_borrowing_server_forwards_to_a_third_memif_with_one_copy_and_loses_nothing() {
    let (mut server, mut client, _dir) = pair([1, 1], &[("zero-copy", "yes")], &[("rsize", "6")]);
    let (mut far, mut near, _far_dir) = pair([1, 1], &[], &[("rsize", "6")]);
    let sent = packets(500, 5000);
    let (mut out, mut between, mut arrived) = (Burst::new(), Burst::with_limit(32), Burst::new());
    let (mut next, mut received) = (0, 0);
    until("all arrived", || {
        while next < sent.len() && out.len() < 32 {
            out.push(client.packet(&sent[next])).unwrap();
            next += 1;
        }
        client.lports[0].tx.tx_burst(&mut out);
        server.lports[0].rx.rx_burst(&mut between);
        near.lports[0].tx.tx_burst(&mut between);
        far.lports[0].rx.rx_burst(&mut arrived);
        received = take_next(&mut arrived, &sent, received);
        received == sent.len()
    });
    for port in [server, client, far, near] {
        port.assert_whole();
    }
}

/// Forwards 3000 packets of up to `max` bytes from a borrowing server to a zero-copy client; says of the last 100 whether they
/// were lent. `one_pool`: both receive into the same pool.
fn forwarded_as_lent(one_pool: bool, max: usize) -> Vec<bool> {
    let (mut sink, mut near, _near_dir) = pair([1, 1], &[], &[("zero-copy", "yes")]);
    let dir = tempfile::tempdir().unwrap();
    let at = ("socket", dir.path().join("memif.sock").to_str().unwrap().to_owned());
    let common: &[_] = &[(at.0, at.1.as_str()), ("socket-abstract", "no")];
    let mut source = Port::open("source", 1, common).unwrap();
    let options = [common, &[("role", "server"), ("zero-copy", "yes")]].concat();
    let own = Port::open("own", 1, &[("socket", "nobody-listens-here")]).unwrap();
    let pool = if one_pool { &near.pool } else { &own.pool };
    let mut server = Port::open_on(pool, "server", 1, &options).unwrap();
    wait_for_links([&server, &source]);
    let sent = packets(3000, max);
    let (mut out, mut between, mut arrived) = (Burst::with_limit(32), Burst::with_limit(32), Burst::new());
    let (mut next, mut received, mut lent) = (0, 0, Vec::new());
    until("all arrived", || {
        while next < sent.len() && out.room() > 0 {
            out.push(source.packet(&sent[next])).unwrap();
            next += 1;
        }
        source.lports[0].tx.tx_burst(&mut out);
        let left = between.len();
        server.lports[0].rx.rx_burst(&mut between);
        // A lent packet has no room before it.
        lent.extend(between[left..].iter().map(|mbuf| mbuf.headroom() == 0));
        near.lports[0].tx.tx_burst(&mut between);
        sink.lports[0].rx.rx_burst(&mut arrived);
        received = take_next(&mut arrived, &sent, received);
        received == sent.len()
    });
    drop(server.lports);
    for port in [source, near, sink, own] {
        port.assert_whole();
    }
    lent.split_off(2900)
}

#[test]
fn what_would_be_copied_into_the_pool_that_is_received_into_is_copied_when_it_is_received() {
    for max in [200, 9216] {
        assert_eq!(forwarded_as_lent(true, max), [false; 100]);
        assert_eq!(forwarded_as_lent(false, max), [true; 100], "copied early, these would be copied twice");
    }
}

#[test]
fn flush_brings_back_what_a_zero_copy_peer_has_consumed() {
    let (mut server, mut client, _dir) = pair([1, 1], &[], &[("zero-copy", "yes")]);
    transfer(&mut server, &mut client, 0, &packets(1, 60));
    let posted = client.pool.in_use();
    let mut burst = Burst::new();
    for data in packets(100, 60) {
        burst.push(client.packet(&data)).unwrap();
    }
    until("sent", || client.lports[0].tx.tx_burst(&mut burst) > 0 || burst.is_empty());
    assert!(client.pool.in_use() > posted);
    until("consumed and back", || {
        server.lports[0].rx.rx_burst(&mut Burst::new());
        client.lports[0].tx.flush();
        client.pool.in_use() == posted
    });
    client.assert_whole();
    server.assert_whole();
}

#[test]
fn s39_both_cache_line_sizes_lay_out_rings_alike_on_both_sides() {
    let line = [("cache-line", "128")];
    let (mut server, mut client, _dir) = pair([2, 2], &line, &line);
    let packets = packets(100, 1500);
    for queue in 0..2 {
        transfer(&mut client, &mut server, queue, &packets);
        transfer(&mut server, &mut client, queue, &packets);
    }
    client.assert_whole();
    server.assert_whole();
}

/// Sends one packet from every queue of `from` and waits until `to` has received them all, on whatever queue.
fn one_from_every_queue(from: &mut Port, to: &mut Port) {
    let poll = |port: &mut Port| {
        for lport in &mut port.lports {
            lport.rx.rx_burst(&mut Burst::new());
        }
    };
    for queue in 0..from.lports.len() {
        let mut burst = Burst::new();
        burst.push(from.packet(&[queue as u8; 60])).unwrap();
        until("the packet sent", || {
            // A server can send only when the client has been polled and its buffers are posted.
            poll(to);
            from.lports[queue].tx.tx_burst(&mut burst) == 1
        });
    }
    until("every packet received by some queue", || {
        poll(to);
        let received = to.lports.iter().map(|lport| lport.control.stats().ipackets).sum::<u64>();
        received == from.lports.len() as u64
    });
}

#[test]
fn uneven_queue_counts_lose_no_packet() {
    for counts in [[1, 4], [4, 1], [2, 3], [1, 255]] {
        let zero_copy = if counts == [2, 3] { "yes" } else { "no" };
        let options = [("rsize", "6"), ("bsize", "256"), ("zero-copy", zero_copy)];
        let (mut server, mut client, _dir) = pair(counts, &[], &options);
        one_from_every_queue(&mut client, &mut server);
        one_from_every_queue(&mut server, &mut client);
        client.assert_whole();
        server.assert_whole();
    }
}

#[test]
fn s66_a_link_lost_at_any_moment_returns_every_mbuf_and_comes_back() {
    for zero_copy in ["no", "yes"] {
        let both = [("zero-copy", zero_copy)];
        let (mut server, client, dir) = pair([1, 1], &both, &both);
        let socket = dir.path().join("memif.sock");
        let options = [("socket", socket.to_str().unwrap()), ("socket-abstract", "no"), ("zero-copy", zero_copy)];
        let mut client = Some(client);
        for round in 0..20 {
            let mut peer = client.take().unwrap();
            let mut burst = Burst::new();
            for mark in 0..100 {
                burst.push(peer.packet(&[mark; 64])).unwrap();
            }
            until("some packets on their way", || peer.lports[0].tx.tx_burst(&mut burst) > 0);
            let mut got = Burst::with_limit(1 + round);
            server.lports[0].rx.rx_burst(&mut got);
            drop(burst);
            peer.assert_whole();
            until("link down", || !server.lports[0].control.link().is_up());
            let held = got.len();
            assert_eq!((server.lports[0].rx.rx_burst(&mut got), got.len()), (0, held), "a dead link yields nothing");
            drop(got);
            let next = Port::open("client", 1, &options).unwrap();
            wait_for_links([&server, &next]);
            client = Some(next);
        }
        let stats = server.lports[0].control.stats();
        assert_eq!(stats.xstats.iter().find(|(name, _)| *name == "connects").unwrap().1, 21);
        server.assert_whole();
    }
}

#[test]
fn s32_a_client_may_come_first_and_a_wrong_secret_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("memif.sock");
    let options = |role, secret| {
        [("role", role), ("socket", socket.to_str().unwrap()), ("socket-abstract", "no"), ("secret", secret)]
    };
    let client = Port::open("client", 1, &options("client", "right")).unwrap();
    let server = Port::open("server", 1, &options("server", "right")).unwrap();
    wait_for_links([&server, &client]);
    client.assert_whole();
    let stranger = Port::open("stranger", 1, &options("client", "wrong")).unwrap();
    until("the refusal is seen on both sides", || {
        let words = |port: &Port| format!("{:?}", port.lports[0].control.link()).to_lowercase();
        words(&stranger).contains("secret") && words(&server).contains("secret")
    });
    stranger.assert_whole();
    server.assert_whole();
}

#[test]
fn s34_a_live_listener_is_not_stolen_and_the_file_goes_with_the_device() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("memif.sock");
    let options = [("role", "server"), ("socket", socket.to_str().unwrap()), ("socket-abstract", "no")];
    std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let server = Port::open("server", 1, &options).expect("a stale file is taken over");
    assert!(socket.exists());
    let same_id = Port::open("again", 1, &options).err().expect("the id is taken").to_string();
    assert!(same_id.contains("id 0") && same_id.contains("server"), "{same_id}");
    server.assert_whole();
    assert!(!socket.exists());
}

#[test]
fn admin_down_ends_the_link_and_up_brings_it_back() {
    let (mut server, mut client, _dir) = pair([1, 1], &[], &[]);
    client.lports[0].control.set_admin_up(false);
    until("both ends down", || !client.lports[0].control.link().is_up() && !server.lports[0].control.link().is_up());
    client.lports[0].control.set_admin_up(true);
    wait_for_links([&server, &client]);
    transfer(&mut client, &mut server, 0, &packets(10, 100));
    client.assert_whole();
    server.assert_whole();
}

#[test]
fn s65_an_armed_queue_wakes_for_a_packet_and_for_a_lost_link() {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    let sleep = |lport: &Lport| {
        let mut fds = [PollFd::new(lport.rx.wake_fd().expect("memif has one"), PollFlags::POLLIN)];
        assert_eq!(poll(&mut fds, PollTimeout::from(30_000_u16)), Ok(1), "woken");
    };
    let (mut server, mut client, _dir) = pair([1, 1], &[], &[]);
    transfer(&mut client, &mut server, 0, &packets(3, 100));
    until("armed", || server.lports[0].rx.arm());
    let mut burst = Burst::new();
    burst.push(client.packet(b"wake up")).unwrap();
    client.lports[0].tx.tx_burst(&mut burst);
    sleep(&server.lports[0]);
    server.lports[0].rx.disarm();
    assert_eq!(server.lports[0].rx.rx_burst(&mut burst), 1);
    let named = |port: &Port, name| port.lports[0].control.stats().xstats.iter().find(|(n, _)| *n == name).unwrap().1;
    assert_eq!((named(&client, "tx_interrupts"), named(&server, "rx_interrupts")), (1, 1));
    until("armed again", || server.lports[0].rx.arm());
    client.lports[0].control.set_admin_up(false);
    sleep(&server.lports[0]);
    server.lports[0].rx.disarm();
    drop(burst);
    client.assert_whole();
    server.assert_whole();
}

/// What the device of a port tells of itself.
fn details(port: &Port) -> Value {
    Value::from(port.lports[0].control.details())
}

fn text(value: &Value, path: &str) -> String {
    match value.at(path) {
        Some(Value::Text(text)) => text.clone(),
        other => panic!("{path} is {other:?} in {value:?}"),
    }
}

#[test]
fn details_name_the_peer_the_memory_and_every_ring() {
    for (zero_copy, regions, buffer_size) in [("no", 1, 300), ("yes", 2, 2048)] {
        let options = [("rsize", "6"), ("bsize", "300"), ("zero-copy", zero_copy)];
        let (mut server, mut client, dir) = pair([2, 2], &[("secret", "")], &options);
        transfer(&mut client, &mut server, 1, &packets(7, 200));
        let (ours, theirs) = (details(&client), details(&server));
        assert_eq!((text(&ours, "role"), text(&theirs, "role")), ("client".into(), "server".into()));
        assert_eq!(text(&theirs, "socket"), dir.path().join("memif.sock").display().to_string());
        assert_eq!(
            (text(&ours, "peer.interface"), text(&theirs, "peer.interface")),
            ("server".into(), "client".into())
        );
        for value in [&ours, &theirs] {
            assert_eq!(value.at("peer.pid"), Some(&Value::from(std::process::id())));
            assert_eq!(value.at("peer.uid"), Some(&Value::from(nix::unistd::getuid().as_raw())));
            assert_eq!((value.at("link.up"), value.at("counts.connects")), (Some(&true.into()), Some(&1_u32.into())));
            assert_eq!(
                (value.at("last_end.by_us"), value.at("last_end.by_peer")),
                (Some(&Value::Absent), Some(&Value::Absent))
            );
            let Some(Value::List(list)) = value.at("regions") else { panic!("{value:?}") };
            assert_eq!(list.len(), regions);
            assert!(list.iter().all(|region| text(region, "kind") == "memfd" && text(region, "seals.1") == "shrink"));
            let Some(Value::List(rings)) = value.at("rings") else { panic!("{value:?}") };
            assert_eq!(rings.len(), 4);
            assert!(rings.iter().all(|ring| ring.at("size") == Some(&64_u16.into())));
        }
        // The ring that carried the packets: seven from our head to the server's tail.
        let carried = |value: &Value, direction: &str| {
            let Some(Value::List(rings)) = value.at("rings") else { panic!("{value:?}") };
            let is_it = |ring: &&Value| text(ring, "direction") == direction && ring.at("index") == Some(&1_u16.into());
            rings.iter().find(is_it).cloned().unwrap_or_else(|| panic!("no {direction} ring 1 in {value:?}"))
        };
        let (sent, received) = (carried(&ours, "tx"), carried(&theirs, "rx"));
        for ring in [&sent, &received] {
            assert_eq!((text(ring, "ring"), ring.at("head")), ("s2m".into(), Some(&7_u16.into())));
            assert_eq!(ring.at("offset"), sent.at("offset"));
        }
        assert_eq!(received.at("tail"), Some(&7_u16.into()));
        assert_eq!(
            (sent.at("buffer_size"), received.at("buffer_size")),
            (Some(&Value::from(buffer_size as u32)), Some(&Value::Absent))
        );
        client.assert_whole();
        server.assert_whole();
    }
}

#[test]
fn details_keep_both_sides_last_words_and_drop_the_memory_with_the_link() {
    let (server, client, _dir) = pair([1, 1], &[], &[]);
    client.lports[0].control.set_admin_up(false);
    until("down", || [&server, &client].iter().all(|port| !port.lports[0].control.link().is_up()));
    let (ours, theirs) = (details(&client), details(&server));
    assert_eq!(text(&ours, "last_end.by_us.reason"), "interface is administratively down");
    assert_eq!(ours.at("last_end.by_peer"), Some(&Value::Absent));
    assert_eq!(text(&theirs, "last_end.by_peer.reason"), "peer disconnected: interface is administratively down");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    for (value, end) in [(&ours, "last_end.by_us.unix_time"), (&theirs, "last_end.by_peer.unix_time")] {
        let Some(Value::Number(at)) = value.at(end) else { panic!("{value:?}") };
        assert!((now - 600..=now).contains(at), "{at} is not about {now}");
        assert_eq!((value.at("peer"), value.at("link.up")), (Some(&Value::Absent), Some(&false.into())));
        assert_eq!((value.at("regions"), value.at("rings")), (Some(&Value::List(vec![])), Some(&Value::List(vec![]))));
    }
    client.assert_whole();
    server.assert_whole();
}

#[test]
fn s70_every_queue_counts_for_itself() {
    let (mut server, mut client, _dir) = pair([2, 2], &[], &[]);
    let sent = packets(9, 500);
    transfer(&mut client, &mut server, 1, &sent);
    let bytes = sent.iter().map(Vec::len).sum::<usize>() as u64;
    let value = details(&server);
    for (queue, packets, bytes) in [(0, 0, 0), (1, 9, bytes)] {
        let of = |name| value.at(&format!("queues.{queue}.{name}")).cloned();
        assert_eq!((of("rx_packets"), of("rx_bytes")), (Some(Value::Number(packets)), Some(Value::Number(bytes))));
        let causes = ["rx_nombuf", "rx_bad_range_dropped", "rx_overruns", "rx_interrupts"];
        let more = ["tx_packets", "tx_ring_full", "tx_faults", "tx_no_link", "tx_interrupts"];
        assert!(causes.into_iter().chain(more).all(|name| of(name) == Some(Value::Number(0))), "{value:?}");
    }
    client.assert_whole();
    server.assert_whole();
}
