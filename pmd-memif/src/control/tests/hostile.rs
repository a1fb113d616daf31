//! Clients that mean harm, or behave as if they did.

use std::os::fd::{AsFd, OwnedFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::pipe;
use proptest::prelude::*;

use super::*;
use crate::control::arrival::MAX_NAMELESS;
use crate::fake::{FakeError, FakeRegion};
use crate::message::{AddRegion, AddRing, Init, Message, Name, VERSION};

/// Waits until every write end of a pipe is closed.
fn wait_closed(reader: &OwnedFd) {
    let timeout = PollTimeout::try_from(FakePeer::TIMEOUT).unwrap();
    let mut polled = [PollFd::new(reader.as_fd(), PollFlags::empty())];
    assert_eq!(poll(&mut polled, timeout), Ok(1), "a descriptor is still open");
}

/// Sends a message with three descriptors too many; their only copies are then the server's.
fn send_with_surplus(client: &FakeClient, message: &Message, first: Option<&dyn AsFd>) -> OwnedFd {
    let (reader, writer) = pipe().unwrap();
    let mut fds: Vec<_> = first.into_iter().map(AsFd::as_fd).collect();
    fds.extend([writer.as_fd(); 3]);
    client.peer.send(message, &fds).unwrap();
    reader
}

#[test]
fn s18_surplus_descriptors_are_closed_while_the_handshake_goes_on() {
    let (address, _interface, recorder) = start_server();
    let client = client_at(&address, Step::Hello);
    let mut pipes = vec![send_with_surplus(&client, &Message::Init(client.init.clone()), None)];
    client.peer.expect_ack().unwrap();
    let region = &client.memory.regions[0];
    let add_region = Message::AddRegion(AddRegion { index: 0, size: region.size });
    pipes.push(send_with_surplus(&client, &add_region, Some(&region.file)));
    client.peer.expect_ack().unwrap();
    for ring in &client.memory.rings {
        pipes.push(send_with_surplus(&client, &Message::AddRing(ring.message), Some(&ring.eventfd)));
        client.peer.expect_ack().unwrap();
    }
    pipes.iter().for_each(wait_closed);
    client.peer.send(&Message::Connect(Name::new("")), &[]).unwrap();
    recorder.wait_up();
}

#[test]
fn s17_s18_every_refusal_closes_what_was_attached() {
    let (address, _interface, _) = start_server();
    let ring =
        AddRing { direction: Direction::S2m, index: 0, region: 0, offset: 0, log2_ring_size: 4, private_hdr_size: 0 };
    let region = |index, size| Message::AddRegion(AddRegion { index, size });
    let refused = [
        (Step::Hello, Message::Ack, "unexpected ACK"),
        (Step::Hello, region(0, 64), "unexpected ADD_REGION"),
        (Step::Init, region(0, 64), "region 0 is no memory file"),
        (Step::Init, region(1, 64), "region index 1 out of order"),
        (Step::Regions, Message::AddRing(ring), "S2M ring 0: its file descriptor is no eventfd"),
        (Step::Rings, Message::Connected(Name::new("")), "unexpected CONNECTED"),
    ];
    for (step, message, text) in refused {
        let client = client_at(&address, step);
        let (reader, writer) = pipe().unwrap();
        client.peer.send(&message, &[writer.as_fd(), writer.as_fd()]).unwrap();
        drop(writer);
        let told = client.peer.expect_disconnect().unwrap();
        assert!(told.starts_with(text), "{told}");
        wait_closed(&reader);
    }
    for (step, message, text) in [
        (Step::Init, region(0, 64), "region 0 came without a file descriptor"),
        (Step::Regions, Message::AddRing(ring), "S2M ring 0 came without a file descriptor"),
    ] {
        let client = client_at(&address, step);
        client.peer.send(&message, &[]).unwrap();
        assert_eq!(client.peer.expect_disconnect().unwrap(), text);
    }
}

#[test]
fn s24_region_larger_than_its_file_is_refused() {
    let (address, _interface, _) = start_server();
    let client = client_at(&address, Step::Init);
    let region = FakeRegion::sealed(4096).unwrap();
    let message = Message::AddRegion(AddRegion { index: 0, size: 4097 });
    client.peer.send(&message, &[region.as_fd()]).unwrap();
    assert_eq!(client.peer.expect_disconnect().unwrap(), "region 0: 4097 bytes declared, its file has 4096");
}

#[test]
fn unknown_message_types_are_refused() {
    let (address, _interface, _) = start_server();
    let client = client_at(&address, Step::Init);
    client.peer.send_bytes(&[0xff; 128], &[]).unwrap();
    assert_eq!(client.peer.expect_disconnect().unwrap(), "unknown message type 65535, known are 1 to 8");
}

#[test]
fn reason_is_heard_by_a_client_that_sends_without_listening() {
    let (address, _interface, _) = start_server();
    let client = client_at(&address, Step::Hello);
    for _ in 0..50 {
        // The server may have closed the connection already.
        let _ = client.peer.send(&Message::Ack, &[]);
    }
    assert_eq!(client.peer.expect_disconnect().unwrap(), "unexpected ACK, awaiting INIT");
}

#[test]
fn nameless_connections_beyond_the_bound_push_out_the_oldest() {
    let (address, _interface, recorder) = start_server();
    let mut crowd: Vec<_> = (0..MAX_NAMELESS).map(|_| client_at(&address, Step::Hello)).collect();
    let mut named = crowd.pop().unwrap();
    named.run(Step::Init).unwrap();
    let _two_more = [client_at(&address, Step::Hello), client_at(&address, Step::Hello)];
    let told = crowd[0].peer.expect_disconnect().unwrap();
    assert_eq!(told, "too many unfinished handshakes on this socket");
    named.run(Step::Connected).unwrap();
    recorder.wait_up();
}

#[test]
fn client_whose_init_is_on_its_way_is_not_pushed_out() {
    let (address, _interface, recorder) = start_server();
    let mut client = FakeClient::connect(&address).unwrap();
    client.peer.send(&Message::Init(client.init.clone()), &[]).unwrap();
    let _crowd: Vec<_> = (0..3 * MAX_NAMELESS).map(|_| FakePeer::connect(&address).unwrap()).collect();
    client.run(Step::Hello).unwrap();
    client.peer.expect_ack().unwrap();
    client.peer.send(&Message::disconnect("enough"), &[]).unwrap();
    assert_eq!(recorder.wait_refused(), DownReason::Peer("enough".into()));
}

#[test]
fn s15_thousand_half_open_connections_do_not_keep_a_client_out() {
    let (address, _interface, recorder) = start_server();
    let flood: Vec<_> = (0..1000).map(|_| FakePeer::connect(&address).unwrap()).collect();
    let _client = client_at(&address, Step::Connected);
    recorder.wait_up();
    drop(flood);
}

/// One thing that a client may do.
#[derive(Debug, Clone)]
enum Act {
    Correctly(Step),
    Message(Message, u8),
    Bytes(Vec<u8>, u8),
    Leave,
}

fn act() -> impl Strategy<Value = Act> {
    let step =
        prop_oneof![Just(Step::Hello), Just(Step::Init), Just(Step::Regions), Just(Step::Rings), Just(Step::Connected)];
    let message = prop_oneof![
        Just(Message::Ack),
        Just(crate::handshake::server::hello("walk")),
        Just(Message::Connect(Name::new("walk"))),
        Just(Message::Connected(Name::new("walk"))),
        Just(Message::disconnect("walk")),
        (any::<u32>(), 0..3_u8).prop_map(|(id, mode)| {
            Message::Init(Init { version: VERSION, id: id % 3, mode, secret: Secret::NONE, name: Name::new("walk") })
        }),
        (0..3_u16, any::<u64>()).prop_map(|(index, size)| Message::AddRegion(AddRegion { index, size })),
    ];
    prop_oneof![
        step.prop_map(Act::Correctly),
        (message, 0..4_u8).prop_map(|(message, fds)| Act::Message(message, fds)),
        (proptest::collection::vec(any::<u8>(), 1..200), 0..4_u8).prop_map(|(bytes, fds)| Act::Bytes(bytes, fds)),
        Just(Act::Leave),
    ]
}

/// Any failure means that the server has ended the connection, which it may.
fn perform(client: &mut FakeClient, act: &Act, fd: &OwnedFd) -> Result<(), FakeError> {
    let fds = |count: &u8| vec![fd.as_fd(); usize::from(*count)];
    match act {
        Act::Correctly(step) => client.run(*step),
        Act::Message(message, count) => client.peer.send(message, &fds(count)),
        Act::Bytes(bytes, count) => client.peer.send_bytes(bytes, &fds(count)),
        Act::Leave => Err(FakeError::Listen("left".into())),
    }
}

proptest! {
    // Each case has a server of its own and real sockets; PROPTEST_CASES still scales it.
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 4, ..ProptestConfig::default() })]

    #[test]
    fn after_any_walk_the_server_takes_a_correct_client(acts in proptest::collection::vec(act(), 0..8)) {
        let (address, _interface, recorder) = start_server();
        let (reader, writer) = pipe().unwrap();
        let mut client = client_at(&address, Step::Hello);
        for act in &acts {
            if perform(&mut client, act, &writer).is_err() {
                break;
            }
        }
        drop((client, writer));
        wait_closed(&reader);
        let connected = (0..1000).any(|_| {
            let mut client = FakeClient::connect(&address).unwrap();
            client.run(Step::Connected).is_ok()
        });
        prop_assert!(connected);
        recorder.wait_up();
    }
}
