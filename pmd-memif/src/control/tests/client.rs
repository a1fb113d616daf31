//! A client interface and its servers.

use super::*;
use crate::fake::{FakeListener, FakeServer, dirty};
use crate::message::{Hello, Message, Name};

fn listen() -> (Address, FakeListener) {
    let address = fresh_address();
    let listener = FakeListener::bind(&address).unwrap();
    (address, listener)
}

/// Takes the next connection of the client and brings it up.
fn serve(listener: &FakeListener) -> FakeServer {
    let mut server = FakeServer::accept(listener).unwrap();
    server.run(Step::Connected).unwrap();
    server
}

fn wanting(address: &Address, s2m_rings: u16, m2s_rings: u16, log2_ring_size: u8) -> InterfaceConfig {
    config(address, Role::Client(ClientConfig { s2m_rings, m2s_rings, log2_ring_size }))
}

/// What the client offers to a server that greets like this.
fn offered(config: InterfaceConfig, change: impl FnOnce(&mut Hello)) -> FakeServer {
    let listener = FakeListener::bind(&config.address).unwrap();
    let (_interface, recorder) = start(config);
    let mut server = FakeServer::accept(&listener).unwrap().with_hello(change);
    server.run(Step::Connected).unwrap();
    recorder.wait_up();
    server
}

#[test]
fn s8_s9_handshake_offers_everything_in_order() {
    let address = fresh_address();
    let server = offered(InterfaceConfig { id: 9, ..wanting(&address, 2, 3, 4) }, |_| ());
    let init = server.init.unwrap();
    assert_eq!((init.version, init.id, init.mode, init.name.to_string().as_str()), (0x0200, 9, 0, "test"));
    assert!(init.secret.is_none());
    let rings: Vec<_> = server.rings.iter().map(|(ring, _)| (ring.direction, ring.index)).collect();
    let (s2m, m2s) = (Direction::S2m, Direction::M2s);
    assert_eq!(rings, [(s2m, 0), (s2m, 1), (m2s, 0), (m2s, 1), (m2s, 2)]);
    assert!(server.rings.iter().all(|(ring, _)| ring.log2_ring_size == 4 && ring.private_hdr_size == 0));
    assert_eq!(server.regions.len(), 1);
    assert_eq!(server.regions[0].1.metadata().unwrap().len(), server.regions[0].0.size);
}

#[test]
fn s6_server_that_advertises_highest_index_0_gets_one_ring() {
    let address = fresh_address();
    let server = offered(wanting(&address, 4, 4, 4), |hello| (hello.max_s2m_ring, hello.max_m2s_ring) = (0, 0));
    assert_eq!(server.rings.len(), 2);
}

#[test]
fn s7_ring_size_of_the_server_limits_ours() {
    let address = fresh_address();
    let server = offered(wanting(&address, 1, 1, 10), |hello| hello.max_log2_ring_size = 3);
    assert!(server.rings.iter().all(|(ring, _)| ring.log2_ring_size == 3));
}

#[test]
fn s5_incompatible_version_is_refused_with_the_window() {
    let (address, listener) = listen();
    let (_interface, recorder) = start(client_config(&address));
    let mut server = FakeServer::accept(&listener)
        .unwrap()
        .with_hello(|hello| (hello.min_version, hello.max_version) = (0x0300, 0x0301));
    server.run(Step::Hello).unwrap();
    assert_eq!(server.peer.expect_disconnect().unwrap(), "versions 3.0 to 3.1 do not include ours, 2.0");
    recorder.wait_refused();
}

#[test]
fn secret_is_sent() {
    let address = fresh_address();
    let secret = Secret::new("psst").unwrap();
    let server = offered(InterfaceConfig { secret: secret.clone(), ..client_config(&address) }, |_| ());
    assert_eq!(server.init.unwrap().secret, secret);
}

#[test]
fn s30_closing_tells_the_server() {
    let (address, listener) = listen();
    let (interface, recorder) = start(client_config(&address));
    let server = serve(&listener);
    recorder.wait_up();
    drop(interface);
    assert_eq!(server.peer.expect_disconnect().unwrap(), "interface closed");
    assert_eq!(recorder.events().last(), Some(&Event::Down(DownReason::Closed)));
}

#[test]
fn s32_retries_after_eof_disconnect_and_refusal() {
    let (address, listener) = listen();
    let (_interface, recorder) = start(client_config(&address));
    drop(serve(&listener));
    assert_eq!(recorder.wait_down(), DownReason::Eof);

    let server = serve(&listener);
    recorder.wait_ups(2);
    server.peer.send(&Message::disconnect("maintenance"), &[]).unwrap();
    server.peer.expect_closed().unwrap();
    recorder.wait("the server's reason", |event| {
        (*event == Event::Down(DownReason::Peer("maintenance".into()))).then_some(())
    });

    let mut refusing = FakeServer::accept(&listener).unwrap();
    refusing.run(Step::Hello).unwrap();
    refusing.peer.receive().unwrap();
    refusing.peer.send(&Message::disconnect("Incorrect secret"), &[]).unwrap();
    assert_eq!(recorder.wait_refused(), DownReason::Peer("Incorrect secret".into()));

    let _server = serve(&listener);
    recorder.wait_ups(3);
}

#[test]
fn s32_waits_for_a_server_that_starts_later() {
    let directory = tempfile::tempdir().unwrap();
    // Nobody listens on the name (ECONNREFUSED), and the file does not exist (ENOENT).
    for address in [fresh_address(), Address::path(directory.path().join("later.sock")).unwrap()] {
        let (_interface, recorder) = start(client_config(&address));
        let reason = recorder.wait_refused();
        assert!(matches!(reason, DownReason::Unreachable { .. }), "{reason}");
        let listener = FakeListener::bind(&address).unwrap();
        let _server = serve(&listener);
        recorder.wait_up();
    }
}

#[test]
fn last_words_of_a_server_are_heard_although_it_is_gone() {
    let (address, listener) = listen();
    let (_interface, recorder) = start(client_config(&address));
    let mut server = FakeServer::accept(&listener).unwrap();
    server.run(Step::Init).unwrap();
    server.peer.send(&Message::disconnect("ID not found"), &[]).unwrap();
    drop(server);
    assert_eq!(recorder.wait_refused(), DownReason::Peer("ID not found".into()));
}

#[test]
fn unknown_id_at_a_server_of_libmemif_is_hinted_at() {
    let (address, listener) = listen();
    let (_interface, recorder) = start(InterfaceConfig { id: 5, ..client_config(&address) });
    FakeServer::accept(&listener).unwrap().libmemif_unknown_id().unwrap();
    assert_eq!(recorder.wait_refused(), DownReason::EofAfterInit(5));
}

#[test]
fn server_of_cndp_gets_at_most_two_rings_per_direction() {
    let address = fresh_address();
    let listener = FakeListener::bind(&address).unwrap();
    let (_interface, recorder) = start(wanting(&address, 4, 1, 4));
    let mut server = FakeServer::accept(&listener).unwrap().cndp();
    server.run(Step::Connected).unwrap();
    assert_eq!(server.rings.len(), 3);
    recorder.wait_up();
}

#[test]
fn garbage_behind_the_end_of_messages_is_ignored() {
    let (address, listener) = listen();
    let (_interface, recorder) = start(client_config(&address));
    let server = FakeServer::accept(&listener).unwrap();
    server.peer.send_bytes(&dirty(&server.hello), &[]).unwrap();
    while !matches!(server.peer.receive().unwrap().message, Message::Connect(_)) {
        server.peer.send_bytes(&dirty(&Message::Ack), &[]).unwrap();
    }
    server.peer.send_bytes(&dirty(&Message::Connected(Name::new("dirty"))), &[]).unwrap();
    assert_eq!(recorder.wait_up().interface, "dirty");
}

#[test]
fn s15_server_that_says_nothing_is_left_at_the_deadline_and_tried_again() {
    let (address, listener) = listen();
    let timeout = Duration::from_millis(200);
    let (_interface, recorder) = start(InterfaceConfig { handshake_timeout: timeout, ..client_config(&address) });
    let mute = listener.accept().unwrap();
    assert_eq!(mute.expect_disconnect().unwrap(), "handshake not finished within 200 ms, awaiting HELLO");
    let _server = serve(&listener);
    recorder.wait_up();
}

#[test]
fn s28_messages_out_of_state_are_refused() {
    let (address, listener) = listen();
    let (_interface, recorder) = start(client_config(&address));
    let impatient = listener.accept().unwrap();
    impatient.send(&Message::Ack, &[]).unwrap();
    assert_eq!(impatient.expect_disconnect().unwrap(), "unexpected ACK, awaiting HELLO");
    assert!(matches!(recorder.wait_refused(), DownReason::Refused(Refusal::OutOfState { .. })));
}

#[test]
fn memory_that_cannot_be_made_is_told_to_the_server() {
    let (address, listener) = listen();
    let recorder = Arc::new(Recorder { prepare_error: Some("no memory".into()), ..Recorder::default() });
    let _interface = open(client_config(&address), Arc::clone(&recorder) as Arc<dyn Endpoint>).unwrap();
    let mut server = FakeServer::accept(&listener).unwrap();
    server.run(Step::Hello).unwrap();
    assert_eq!(server.peer.expect_disconnect().unwrap(), "no memory");
    assert_eq!(recorder.wait_refused(), DownReason::Refused(Refusal::Endpoint("no memory".into())));
}

#[test]
fn loopback_pair_meets_in_either_order() {
    for client_first in [true, false] {
        let address = fresh_address();
        let (configs, server_at) = match client_first {
            true => ([client_config(&address), server_config(&address)], 1),
            false => ([server_config(&address), client_config(&address)], 0),
        };
        let pair = configs.map(start);
        for (_, recorder) in &pair {
            recorder.wait_up();
        }
        let [(_, first), (_, second)] = &pair;
        let (server, client) = if server_at == 0 { (first, second) } else { (second, first) };
        assert!(!server.events().iter().any(|event| matches!(event, Event::Prepared(_))));
        let agreed = Agreed { s2m_rings: 1, m2s_rings: 1, log2_ring_size: 4 };
        assert!(client.events().contains(&Event::Prepared(agreed)));
    }
}

#[test]
fn pair_finds_together_again_after_admin_down_on_either_side() {
    let address = fresh_address();
    let (server, server_recorder) = start(server_config(&address));
    let (client, client_recorder) = start(client_config(&address));
    for (round, side) in [(1, &server), (2, &client)] {
        server_recorder.wait_ups(round);
        client_recorder.wait_ups(round);
        side.set_admin_up(false);
        let is_down = |event: &Event| matches!(event, Event::Down(_)).then_some(());
        server_recorder.wait_nth("down", round, is_down);
        client_recorder.wait_nth("down", round, is_down);
        side.set_admin_up(true);
    }
    server_recorder.wait_ups(3);
    client_recorder.wait_ups(3);
}
