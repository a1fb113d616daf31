//! `l3fwd` at work.

use std::net::IpAddr;

use super::super::ip::tests::{set_checksum, v4_frame, v6_frame};
use super::super::{NextHop, Prefix};
use super::*;

const NEIGHBOUR: [u8; 6] = [2, 0, 0, 0, 0, 0x77];

fn routing(routes: &[(&str, u8, u16)]) -> Forwarding {
    let routes: Vec<_> = routes
        .iter()
        .map(|(address, len, lport)| {
            let prefix = Prefix::new(address.parse::<IpAddr>().unwrap(), *len).unwrap();
            (prefix, NextHop { lport: LportId(*lport), mac: NEIGHBOUR })
        })
        .collect();
    Forwarding { routes: Arc::new(Routes::new(&routes)), ..forwarding(Mode::L3Forward) }
}

/// `frame` one hop further, from lport `egress`: rings have no address of their own.
fn routed(mut frame: Vec<u8>, egress: u8) -> Vec<u8> {
    frame[..6].copy_from_slice(&NEIGHBOUR);
    frame[6..12].copy_from_slice(&[2, 0, 0, 0, 0, egress]);
    if frame[12..14] == [8, 0] {
        frame[22] -= 1;
        set_checksum(&mut frame);
    } else {
        frame[21] -= 1;
    }
    frame
}

#[test]
fn packets_leave_by_their_longest_prefix_one_hop_further() {
    let (wide, narrow, six) = (0x0a00_0001, 0x0a01_0001, 0xfd00 << 112 | 1);
    let sent = [(0, v4_frame(wide, 64, 0)), (0, v4_frame(narrow, 2, 8)), (1, v6_frame(six, 9))];
    let forwarding = routing(&[("10.0.0.0", 8, 0), ("10.1.0.0", 16, 1), ("fd00::", 8, 1)]);
    for threads in [ONE_THREAD, TWO_THREADS] {
        let (mut came, report) = exchange(&forwarding, threads, &sent, 3);
        came.sort();
        let mut expected =
            [(0, routed(sent[0].1.clone(), 0)), (1, routed(sent[1].1.clone(), 1)), (1, routed(sent[2].1.clone(), 1))];
        expected.sort();
        assert_eq!(came, expected);
        assert!(report.lports.iter().all(|lport| lport.stats.xstats.iter().all(|(_, n)| *n == 0)), "{report:?}");
    }
}

#[test]
fn what_cannot_be_routed_is_counted_by_reason_where_it_came_in() {
    let mut bad_checksum = v4_frame(0x0a00_0001, 64, 0);
    bad_checksum[25] ^= 1;
    let sent = [
        (1, v4_frame(0x0b00_0001, 64, 0)),
        (1, v4_frame(0x0a00_0001, 1, 0)),
        (1, v4_frame(0x0a00_0001, 0, 0)),
        (1, bad_checksum),
        (1, vec![9; 60]),
        (1, vec![1, 2, 3]),
        (1, v6_frame(1, 64)),
        // When this one has come all others have been seen.
        (1, v4_frame(0x0a00_0001, 64, 0)),
    ];
    let (came, report) = exchange(&routing(&[("10.0.0.0", 8, 0)]), ONE_THREAD, &sent, 1);
    assert_eq!(came.len(), 1);
    let counted = |lport: usize| -> Vec<_> {
        let xstats = report.lports[lport].stats.xstats.iter();
        xstats.filter(|(_, n)| *n > 0).copied().collect()
    };
    let expected =
        [("not_ip_dropped", 2), ("malformed_dropped", 1), ("ttl_expired_dropped", 2), ("no_route_dropped", 2)];
    assert_eq!((counted(0), counted(1)), (vec![], expected.to_vec()));
}

#[test]
fn every_packet_of_a_mixed_flood_is_sent_or_counted() {
    let sent: Vec<_> = (0..300_u32).map(|i| (0, v4_frame((i % 3) << 24 | 1, 64, 0))).collect();
    let (came, report) = exchange(&routing(&[("1.0.0.0", 8, 0), ("2.0.0.0", 8, 1)]), ONE_THREAD, &sent, 200);
    assert_eq!([0, 1].map(|ring| came.iter().filter(|(r, _)| *r == ring).count()), [100, 100]);
    let stats = &report.lports[0].stats;
    assert!(stats.xstats.contains(&("no_route_dropped", 100)), "{:?}", stats.xstats);
}
