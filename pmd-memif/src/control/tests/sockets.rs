//! Sockets that are not simply bound: in another network namespace, inherited, in a directory yet to be made; and users
//! that may connect to them.

use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::mpsc::channel;

use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::{Backlog, bind, listen};
use pmd_core::netns::Netns;

use super::*;
use crate::control::OpenError;
use crate::message::Message;
use crate::socket::{new_socket, socket_address};

fn server_with(address: &Address, change: impl FnOnce(&mut ServerConfig)) -> InterfaceConfig {
    let mut config = server_config(address);
    if let Role::Server(server) = &mut config.role {
        change(server);
    }
    config
}

fn refusal(config: InterfaceConfig) -> String {
    let opened = open(config, Arc::new(Recorder::default()));
    opened.map(drop).map_err(|error: OpenError| error.to_string()).expect_err("an error")
}

#[test]
fn only_allowed_users_may_connect() {
    let address = fresh_address();
    let own = nix::unistd::geteuid().as_raw();
    let (forbidding, recorder) = start(server_with(&address, |server| server.allowed_uids = Some(vec![own + 1])));
    let client = client_at(&address, Step::Hello);
    client.peer.send(&Message::Init(client.init.clone()), &[]).unwrap();
    let text = format!("user {own} is not allowed to connect");
    assert_eq!(client.peer.expect_disconnect().unwrap(), text);
    assert_eq!(recorder.wait_refused(), DownReason::Refused(Refusal::UserNotAllowed(own)));
    drop(forbidding);
    let (_allowing, recorder) = start(server_with(&address, |server| server.allowed_uids = Some(vec![own + 1, own])));
    let _client = client_at(&address, Step::Connected);
    recorder.wait_up();
}

fn listening(address: &Address) -> OwnedFd {
    let socket = new_socket(address).unwrap();
    bind(socket.as_raw_fd(), &socket_address(address).unwrap()).unwrap();
    listen(&socket, Backlog::MAXCONN).unwrap();
    socket
}

#[test]
fn an_inherited_listener_is_served_and_its_file_left_to_its_owner() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("memif.sock");
    let address = Address::path(&path).unwrap();
    let socket = listening(&address);
    let fd = socket.as_raw_fd();
    let (interface, recorder) = start(server_with(&address, |server| server.inherited = Some(fd)));
    drop(socket);
    let client = client_at(&address, Step::Connected);
    assert_eq!(recorder.wait_up().credentials.pid, i32::try_from(std::process::id()).unwrap());
    drop((client, interface));
    assert!(path.exists());
}

#[test]
fn what_cannot_be_inherited_is_named() {
    let address = fresh_address();
    let inherit = |fd| refusal(server_with(&address, |server| server.inherited = Some(fd)));
    assert!(inherit(-1).contains("descriptor -1 is not open: pass a listening SOCK_SEQPACKET socket"));
    let file = fs::File::open(std::env::current_exe().unwrap()).unwrap();
    assert!(inherit(file.as_raw_fd()).contains("is no Unix socket"));
    let (stream, _other) = std::os::unix::net::UnixStream::pair().unwrap();
    assert!(inherit(stream.as_raw_fd()).contains("is a socket of another type"));
    let unbound = new_socket(&address).unwrap();
    assert!(inherit(unbound.as_raw_fd()).contains("does not listen"));
    let elsewhere = listening(&fresh_address());
    let text = inherit(elsewhere.as_raw_fd());
    assert!(text.contains("listens on @pmd-memif-control-") && text.contains(&address.to_string()), "{text}");
}

#[test]
fn the_directory_of_a_socket_is_made_when_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a").join("b").join("memif.sock");
    let address = Address::path(&path).unwrap();
    assert!(refusal(server_config(&address)).contains("mkdir=yes"));
    let make = |server: &mut ServerConfig| server.file.make_directory = true;
    let (_interface, recorder) = start(server_with(&address, make));
    let _client = client_at(&address, Step::Connected);
    recorder.wait_up();
    let below_a_file = directory.path().join("file");
    fs::write(&below_a_file, "").unwrap();
    let address = Address::path(below_a_file.join("memif.sock")).unwrap();
    assert!(refusal(server_with(&address, make)).contains(&below_a_file.display().to_string()));
}

/// Does `work` with a network namespace that a thread holds meanwhile. Without the privilege to make one, says so.
fn with_namespace(work: impl FnOnce(Netns)) {
    std::thread::scope(|scope| {
        let (made, namespace) = channel();
        let (done, finished) = channel::<()>();
        scope.spawn(move || {
            let thread = unshare(CloneFlags::CLONE_NEWNET).map(|()| nix::unistd::gettid().as_raw() as u32);
            made.send(thread).unwrap();
            // Ends with an error, when the other end is dropped.
            let _ = finished.recv();
        });
        match namespace.recv().unwrap() {
            Ok(thread) => work(Netns::Process(thread)),
            Err(errno) => eprintln!("SKIPPED: making a network namespace needs root (CAP_SYS_ADMIN): {errno}"),
        }
        drop(done);
    });
}

#[test]
fn abstract_names_of_another_namespace_are_other_names() {
    with_namespace(|netns| {
        let here = fresh_address();
        let there = here.clone().in_netns(netns.clone()).unwrap();
        let (_server_there, recorder_there) = start(server_config(&there));
        assert!(FakePeer::try_connect(&here).is_err(), "nobody listens here yet");
        let (_server_here, recorder_here) = start(server_config(&here));
        let _client = client_at(&there, Step::Connected);
        recorder_there.wait_up();
        assert_eq!(recorder_here.events(), []);
        // The control thread connects there as it does here, without moving.
        for address in [fresh_address().in_netns(netns).unwrap(), fresh_address()] {
            let listener = crate::fake::FakeListener::bind(&address).unwrap();
            let (_client, _) = start(client_config(&address));
            listener.accept().unwrap();
        }
    });
}

#[test]
fn a_namespace_that_is_missing_is_fatal_for_a_server_and_awaited_by_a_client() {
    let address = fresh_address().in_netns("no-such-namespace".parse().unwrap()).unwrap();
    let text = refusal(server_config(&address));
    assert!(text.contains("network namespace no-such-namespace: there is none"), "{text}");
    let (_client, recorder) = start(client_config(&address));
    let DownReason::Unreachable { cause, .. } = recorder.wait_refused() else { panic!("unreachable") };
    assert!(cause.contains("there is none (/run/netns/no-such-namespace is missing)"), "{cause}");
}
