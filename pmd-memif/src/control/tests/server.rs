//! A server interface and its clients.

use std::fs;
use std::os::fd::AsFd;

use super::*;
use crate::control::OpenError;
use crate::message::{AddRing, Message, Name};

fn listener_path(directory: &tempfile::TempDir) -> (std::path::PathBuf, Address) {
    let path = directory.path().join("memif.sock");
    let address = Address::path(&path).unwrap();
    (path, address)
}

fn sealing(address: &Address, seals: SealPolicy) -> InterfaceConfig {
    let mut config = server_config(address);
    if let Role::Server(server) = &mut config.role {
        server.seals = seals;
    }
    config
}

/// Connects, sends INIT, and gives the text of the refusal.
fn refused_text(address: &Address, change: impl FnOnce(&mut FakeClient)) -> String {
    let mut client = client_at(address, Step::Hello);
    change(&mut client);
    client.peer.send(&Message::Init(client.init.clone()), &[]).unwrap();
    client.peer.expect_disconnect().unwrap()
}

#[test]
fn s1_s2_s4_hello_comes_at_once_and_is_clean() {
    let (address, _interface, _) = start_server();
    let hello = FakePeer::connect(&address).unwrap().receive().unwrap();
    let mut expected = [0; 128];
    expected[..6].copy_from_slice(&[2, 0, b't', b'e', b's', b't']);
    expected[34..45].copy_from_slice(&[0, 2, 0, 2, 255, 0, 254, 0, 254, 0, 14]);
    assert_eq!(hello.bytes, expected);
}

#[test]
fn s29_whole_handshake_brings_the_link_up() {
    let (address, _interface, recorder) = start_server();
    let client = client_at(&address, Step::Connected);
    let peer = recorder.wait_up();
    assert_eq!((peer.app_name.as_str(), peer.interface.as_str()), ("fake client", "fake0"));
    assert_eq!(peer.credentials.pid, i32::try_from(std::process::id()).unwrap());
    let [Event::Up { regions, s2m, m2s, .. }] = &recorder.events()[..] else { panic!("one up") };
    assert_eq!(*regions, [client.memory.regions[0].size]);
    let place = |offset| (Placement { region: 0, offset, log2_size: 4 }, None);
    assert_eq!((&s2m[..], &m2s[..]), (&[place(0)][..], &[place(384)][..]));
}

#[test]
fn every_ring_of_255_pairs_arrives_in_order() {
    let (address, _interface, recorder) = start_server();
    let plan = RingPlan { s2m: 255, m2s: 255, log2: 1, buffer_size: 64 };
    let memory = FakeMemory::plain(plan).unwrap();
    let mut client = FakeClient::connect(&address).unwrap().with_memory(memory);
    client.run(Step::Connected).unwrap();
    recorder.wait_up();
    let [Event::Up { s2m, m2s, .. }] = &recorder.events()[..] else { panic!("one up") };
    assert_eq!((s2m.len(), m2s.len()), (255, 255));
}

#[test]
fn s3_datagrams_of_another_size_end_the_connection_with_a_reason() {
    let (address, _interface, recorder) = start_server();
    for size in [1, 127, 129, 4096] {
        let peer = client_at(&address, Step::Hello).peer;
        peer.send_bytes(&vec![3; size], &[]).unwrap();
        assert_eq!(peer.expect_disconnect().unwrap(), format!("message of {size} bytes, every message has 128"));
    }
    let peer = client_at(&address, Step::Hello).peer;
    peer.send_bytes(&[], &[]).unwrap();
    peer.expect_closed().unwrap();
    assert_eq!(recorder.events(), [], "no interface was named");
}

#[test]
fn s12_wrong_secret_is_refused_and_the_interface_stays_available() {
    let address = fresh_address();
    let secret = Secret::new("psst").unwrap();
    let (_interface, recorder) = start(InterfaceConfig { secret: secret.clone(), ..server_config(&address) });
    assert_eq!(refused_text(&address, |_| ()), "secret required");
    assert_eq!(recorder.wait_refused(), DownReason::Refused(Refusal::SecretMissing));
    assert_eq!(refused_text(&address, |client| client.init.secret = Secret::new("guess").unwrap()), "incorrect secret");
    let mut client = client_at(&address, Step::Hello);
    client.init.secret = secret;
    client.run(Step::Connected).unwrap();
    recorder.wait_up();
}

#[test]
fn s13_unknown_id_gets_disconnect_instead_of_ack() {
    let (address, _interface, _) = start_server();
    let text = refused_text(&address, |client| client.init.id = 77);
    assert_eq!(text, "no server interface with id 77 on this socket");
}

#[test]
fn s14_second_client_is_refused_and_the_first_undisturbed() {
    let (address, _interface, recorder) = start_server();
    let first = client_at(&address, Step::Connected);
    recorder.wait_up();
    assert_eq!(refused_text(&address, |_| ()), "interface with id 0 is already connected");
    assert_eq!(recorder.wait_refused(), DownReason::Refused(Refusal::Busy(0)));
    first.peer.send(&Message::disconnect("still here"), &[]).unwrap();
    assert_eq!(recorder.wait_down(), DownReason::Peer("still here".into()));
}

#[test]
fn s14_unfinished_handshake_holds_the_interface() {
    let (address, _interface, recorder) = start_server();
    let mut first = client_at(&address, Step::Init);
    assert_eq!(refused_text(&address, |_| ()), "interface with id 0 is already connected");
    first.run(Step::Connected).unwrap();
    recorder.wait_up();
}

#[test]
fn s15_half_open_handshake_is_dropped_at_its_deadline_and_frees_the_id() {
    let address = fresh_address();
    let timeout = Duration::from_millis(200);
    let (_interface, recorder) = start(InterfaceConfig { handshake_timeout: timeout, ..server_config(&address) });
    for (step, awaited) in [
        (Step::Hello, "INIT"),
        (Step::Init, "ADD_REGION, ADD_RING or CONNECT"),
        (Step::Rings, "ADD_REGION, ADD_RING or CONNECT"),
    ] {
        let stuck = client_at(&address, step);
        let text = stuck.peer.expect_disconnect().unwrap();
        assert_eq!(text, format!("handshake not finished within 200 ms, awaiting {awaited}"));
    }
    let client = client_at(&address, Step::Connected);
    recorder.wait_up();
    assert!(!recorder.events().iter().any(|event| matches!(event, Event::Down(_))), "there was no link before");
    drop(client);
}

#[test]
fn s16_mode_mismatch_is_refused() {
    let (address, _interface, _) = start_server();
    let text = refused_text(&address, |client| client.init.mode = 2);
    assert_eq!(text, "mode punt/inject (not supported) does not match ours, ethernet");
}

#[test]
fn s22_s33_client_of_cndp_is_served_at_a_padded_name_with_its_duplicates_marked() {
    let name = format!("pmd-memif-control-{}-cndp", std::process::id());
    let address = Address::abstract_padded(&name).unwrap();
    let (_interface, recorder) = start(server_config(&address));
    assert!(FakePeer::try_connect(&Address::abstract_name(&name).unwrap()).is_err(), "the exact name is another");
    let mut client = FakeClient::connect(&address).unwrap().with_memory(FakeMemory::cndp().unwrap());
    client.run(Step::Connected).unwrap();
    recorder.wait_up();
    let [Event::Up { s2m, m2s, .. }] = &recorder.events()[..] else { panic!("one up") };
    for rings in [s2m, m2s] {
        let duplicates: Vec<_> = rings.iter().map(|(_, duplicate_of)| *duplicate_of).collect();
        assert_eq!(duplicates, [None, Some(0)]);
    }
}

#[test]
fn s10_client_of_libmemif_is_served_despite_the_garbage_that_it_sends() {
    let (address, _interface, recorder) = start_server();
    let mut client = FakeClient::connect(&address).unwrap().with_memory(FakeMemory::libmemif().unwrap());
    client.dirty_init().unwrap();
    client.run(Step::Connected).unwrap();
    recorder.wait_up();
    let [Event::Up { regions, .. }] = &recorder.events()[..] else { panic!("one up") };
    assert_eq!(regions.len(), 2);
}

#[test]
fn zero_copy_client_of_dpdk_needs_seals_waived() {
    for (seals, accepted) in [(SealPolicy::Require, false), (SealPolicy::Waive, true)] {
        let address = fresh_address();
        let (_interface, recorder) = start(sealing(&address, seals));
        let memory = FakeMemory::dpdk_zero_copy().unwrap();
        let mut client = FakeClient::connect(&address).unwrap().with_memory(memory);
        assert_eq!(client.run(Step::Connected).is_ok(), accepted);
        if !accepted {
            assert_eq!(recorder.wait_refused(), DownReason::Refused(Refusal::NotSealed(1)));
        }
    }
}

#[test]
fn s26_ring_that_vpp_announces_larger_than_agreed_is_refused() {
    let (address, _interface, recorder) = start_server();
    let memory = FakeMemory::vpp_ring_size_32768().unwrap();
    let mut client = FakeClient::connect(&address).unwrap().with_memory(memory);
    assert!(client.run(Step::Connected).is_err());
    let refusal = Refusal::RingSize { direction: Direction::S2m, index: 0, log2: 15 };
    assert_eq!(recorder.wait_refused(), DownReason::Refused(refusal));
}

#[test]
fn s27_what_the_endpoint_refuses_is_told_and_frees_the_id() {
    let (address, _interface, recorder) = start_server();
    *recorder.up_error.lock().unwrap() = Some("wrong cookie on S2M ring 0".into());
    let client = client_at(&address, Step::Rings);
    client.peer.send(&Message::Connect(Name::new("")), &[]).unwrap();
    assert_eq!(client.peer.expect_disconnect().unwrap(), "wrong cookie on S2M ring 0");
    let reason = Refusal::Endpoint("wrong cookie on S2M ring 0".into());
    assert_eq!(recorder.wait_refused(), DownReason::Refused(reason));
    client_at(&address, Step::Connected);
    recorder.wait_up();
}

#[test]
fn s28_messages_after_the_link_is_up_take_it_down() {
    let (address, _interface, recorder) = start_server();
    let client = client_at(&address, Step::Connected);
    let ring = Message::AddRing(AddRing { index: 1, ..client.memory.rings[0].message });
    client.peer.send(&ring, &[client.memory.rings[0].eventfd.as_fd()]).unwrap();
    assert_eq!(client.peer.expect_disconnect().unwrap(), "unexpected ADD_RING, awaiting DISCONNECT");
    let refusal = Refusal::OutOfState { got: "ADD_RING", awaited: "DISCONNECT" };
    assert_eq!(recorder.wait_down(), DownReason::Refused(refusal));
}

#[test]
fn s30_closing_tells_the_peer_and_a_disconnect_is_not_answered() {
    let (address, interface, recorder) = start_server();
    let first = client_at(&address, Step::Connected);
    first.peer.send(&Message::disconnect("bye"), &[]).unwrap();
    first.peer.expect_closed().unwrap();
    assert_eq!(recorder.wait_down(), DownReason::Peer("bye".into()));

    let second = client_at(&address, Step::Connected);
    recorder.wait_ups(2);
    drop(interface);
    assert_eq!(second.peer.expect_disconnect().unwrap(), "interface closed");
    assert_eq!(recorder.events().last(), Some(&Event::Down(DownReason::Closed)), "before the drop has returned");
}

#[test]
fn s31_eof_is_handled_like_disconnect_and_the_next_client_is_taken() {
    let (address, _interface, recorder) = start_server();
    drop(client_at(&address, Step::Connected));
    assert_eq!(recorder.wait_down(), DownReason::Eof);
    let _next = client_at(&address, Step::Connected);
    recorder.wait_ups(2);
}

#[test]
fn unfinished_handshake_that_is_broken_off_frees_the_id() {
    let (address, _interface, recorder) = start_server();
    for step in [Step::Hello, Step::Init, Step::Regions, Step::Rings] {
        drop(client_at(&address, step));
    }
    // Each may be seen only after the next client has come, hence the retries.
    let connected = (0..1000).any(|_| {
        let mut client = FakeClient::connect(&address).unwrap();
        client.run(Step::Connected).is_ok()
    });
    assert!(connected);
    recorder.wait_up();
}

#[test]
fn interfaces_share_a_socket_by_id() {
    let address = fresh_address();
    let (first, first_recorder) = start(server_config(&address));
    let (_second, second_recorder) = start(InterfaceConfig { id: 1, name: "memif1".into(), ..server_config(&address) });
    let mut client = client_at(&address, Step::Hello).with_id(1);
    client.run(Step::Connected).unwrap();
    second_recorder.wait_up();
    assert_eq!(first_recorder.events(), []);
    drop(first);
    assert_eq!(refused_text(&address, |_| ()), "no server interface with id 0 on this socket");
    client.peer.send(&Message::disconnect(""), &[]).unwrap();
    assert_eq!(second_recorder.wait_down().to_string(), "peer disconnected: no reason given");
}

#[test]
fn an_id_is_taken_once_per_socket() {
    let (address, _interface, _) = start_server();
    let error = open(server_config(&address), Arc::new(Recorder::default())).unwrap_err();
    assert!(matches!(error, OpenError::IdTaken { id: 0, .. }));
    assert_eq!(
        error.to_string(),
        format!("id 0 on {address} belongs to interface \"memif0\" already: choose another id or another socket")
    );
}

#[test]
fn socket_file_is_gone_when_its_last_interface_is_closed() {
    let directory = tempfile::tempdir().unwrap();
    let (path, address) = listener_path(&directory);
    let (first, _) = start(server_config(&address));
    let (second, _) = start(InterfaceConfig { id: 1, ..server_config(&address) });
    drop(first);
    assert!(path.exists());
    drop(second);
    assert!(!path.exists());
}

#[test]
fn s34_stale_socket_is_taken_over_and_a_live_one_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let (path, address) = listener_path(&directory);
    let live = crate::fake::FakeListener::bind(&address).unwrap();
    let error = open(server_config(&address), Arc::new(Recorder::default())).unwrap_err();
    assert!(error.to_string().contains("another process listens there already"), "{error}");
    fs::rename(&path, path.with_extension("old")).unwrap();
    drop(live);
    fs::rename(path.with_extension("old"), &path).unwrap();
    let (_interface, recorder) = start(server_config(&address));
    client_at(&address, Step::Connected);
    recorder.wait_up();
}

#[test]
fn missing_directory_is_an_error_that_names_it() {
    let address = Address::path("/nonexistent/memif.sock").unwrap();
    let error = open(server_config(&address), Arc::new(Recorder::default())).unwrap_err();
    assert_eq!(
        error.to_string(),
        "/nonexistent/memif.sock: its directory does not exist; create it, set `mkdir=yes`, or choose another path"
    );
}

#[test]
fn administratively_down_disconnects_and_refuses_until_up() {
    let (address, interface, recorder) = start_server();
    let client = client_at(&address, Step::Connected);
    interface.set_admin_up(false);
    assert_eq!(client.peer.expect_disconnect().unwrap(), "interface is administratively down");
    assert_eq!(recorder.wait_down(), DownReason::AdminDown);
    assert_eq!(refused_text(&address, |_| ()), "interface with id 0 is administratively down");
    interface.set_admin_up(true);
    // The command and a new client travel by different ways.
    let connected = (0..1000).any(|_| {
        let mut client = FakeClient::connect(&address).unwrap();
        client.run(Step::Connected).is_ok()
    });
    assert!(connected);
    recorder.wait_ups(2);
}

#[test]
fn a_fault_ends_the_link_that_it_was_found_on_and_no_later_one() {
    let (address, interface, recorder) = start_server();
    let id = |recorder: &Recorder| recorder.link.lock().unwrap().as_ref().map(|link| link.id).expect("the link is up");
    let first = client_at(&address, Step::Connected);
    recorder.wait_ups(1);
    let stale = id(&recorder);
    drop(first);
    recorder.wait_down();
    let second = client_at(&address, Step::Connected);
    recorder.wait_ups(2);
    // The control thread obeys in order: had the stale report done anything, the second text would not be the one told.
    interface.disconnect(stale, "did something long ago");
    interface.disconnect(id(&recorder), "posted a buffer of length 0");
    let told = second.peer.expect_disconnect().unwrap();
    assert_eq!(told, "refused the peer's rings: it posted a buffer of length 0");
}
