//! Whose turn it is: a reactor of the test's own, moved by hand.

use std::os::fd::AsFd;
use std::sync::mpsc::channel;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};

use super::*;
use crate::control::reactor::Reactor;
use crate::message::{AddRegion, Message};

/// Whether something lies there to be read.
fn has_answer(client: &FakeClient) -> bool {
    let mut polled = [PollFd::new(client.peer.as_fd(), PollFlags::POLLIN)];
    poll(&mut polled, PollTimeout::ZERO).unwrap() == 1
}

#[test]
fn a_turn_answers_one_message_however_many_there_are() {
    let (_commands, inbox) = channel();
    let mut reactor = Reactor::new(Arc::new(EventFd::from_flags(EfdFlags::empty()).unwrap()), inbox).unwrap();
    let address = fresh_address();
    reactor.open(server_config(&address), Arc::new(Recorder::default())).unwrap();
    let mut client = FakeClient::connect(&address).unwrap();
    let listener = *reactor.listeners.keys().next().unwrap();
    reactor.accept_from(listener);
    client.run(Step::Hello).unwrap();

    let region = &client.memory.regions[0];
    client.peer.send(&Message::Init(client.init.clone()), &[]).unwrap();
    let message = Message::AddRegion(AddRegion { index: 0, size: region.size });
    client.peer.send(&message, &[region.file.as_fd()]).unwrap();
    let connection = *reactor.connections.keys().next().unwrap();
    for _ in 0..2 {
        reactor.read_from(connection);
        assert!(has_answer(&client));
        client.peer.expect_ack().unwrap();
        assert!(!has_answer(&client));
    }
    reactor.read_from(connection);
    assert!(!has_answer(&client), "a turn without a message");
}
