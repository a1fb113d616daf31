//! What concerns the whole process: its descriptors, its threads, its limits.

use std::fs::{self, File};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Instant;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::*;
use crate::message::{AddRegion, Message};

/// Descriptors of this process.
fn open_files() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Threads of this process with the control thread's name.
fn control_threads() -> usize {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let names = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|name| name.trim() == "memif-control").count()
}

/// Leaves room for at most `more` further descriptors.
fn limit_files(more: u64) {
    let lowest_free = u64::try_from(File::open("/dev/null").unwrap().as_raw_fd()).unwrap();
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, lowest_free + more, hard).unwrap();
}

fn unlimit_files() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
}

#[test]
fn thread_and_descriptors_come_with_the_first_interface_and_go_with_the_last() {
    alone(module_path!(), "thread_and_descriptors_come_with_the_first_interface_and_go_with_the_last", || {
        let before = open_files();
        for _ in 0..3 {
            let address = fresh_address();
            let (server, recorder) = start(server_config(&address));
            let (client, _) = start(client_config(&address));
            recorder.wait_up();
            assert_eq!(control_threads(), 1);
            drop(server);
            assert_eq!(control_threads(), 1);
            drop((client, recorder));
            // The kernel lists a thread for a moment after it was joined.
            let deadline = Instant::now() + FakePeer::TIMEOUT;
            while control_threads() > 0 {
                assert!(Instant::now() < deadline, "the thread is still there");
                std::thread::yield_now();
            }
            assert_eq!(open_files(), before);
        }
    });
}

#[test]
fn s18_descriptors_of_the_process_are_unchanged_after_failed_handshakes() {
    alone(module_path!(), "s18_descriptors_of_the_process_are_unchanged_after_failed_handshakes", || {
        let (address, interface, _recorder) = start_server();
        let before = open_files();
        for step in [Step::Hello, Step::Init, Step::Regions, Step::Rings] {
            let client = client_at(&address, step);
            let surplus = vec![client.memory.regions[0].as_fd(); 20];
            client.peer.send(&Message::Ack, &surplus).unwrap();
            client.peer.expect_disconnect().unwrap();
            drop(surplus);
            drop(client);
            assert_eq!(open_files(), before, "{step:?}");
        }
        drop(interface);
    });
}

#[test]
fn s19_lost_descriptors_end_the_connection_and_none_leaks() {
    alone(module_path!(), "s19_lost_descriptors_end_the_connection_and_none_leaks", || {
        let (address, interface, _recorder) = start_server();
        let before = open_files();
        let client = client_at(&address, Step::Init);
        let region = &client.memory.regions[0];
        let message = Message::AddRegion(AddRegion { index: 0, size: region.size });
        limit_files(2);
        client.peer.send(&message, &[region.as_fd(); 200]).unwrap();
        let told = client.peer.expect_disconnect().unwrap();
        assert_eq!(told, "file descriptors were lost on the way: too many open files");
        unlimit_files();
        drop(client);
        assert_eq!(open_files(), before);
        drop(interface);
    });
}

#[test]
fn listener_survives_a_process_without_free_descriptors() {
    alone(module_path!(), "listener_survives_a_process_without_free_descriptors", || {
        let (address, interface, recorder) = start_server();
        limit_files(1);
        // The one that is left; the server has none to accept it with.
        let waiting = FakePeer::connect(&address).unwrap();
        unlimit_files();
        assert!(matches!(waiting.receive().unwrap().message, Message::Hello(_)));
        let _client = client_at(&address, Step::Connected);
        recorder.wait_up();
        drop(interface);
    });
}

#[test]
fn a_flood_of_connections_with_surplus_descriptors_leaves_none_behind() {
    alone(module_path!(), "a_flood_of_connections_with_surplus_descriptors_leaves_none_behind", || {
        const CROWD: usize = 400;
        let (address, interface, recorder) = start_server();
        // Whoever comes first has the control thread open what it keeps.
        drop(client_at(&address, Step::Connected));
        recorder.wait_down();
        let before = open_files();
        let surplus = File::open("/dev/null").unwrap();
        let flood: Vec<_> = (0..CROWD)
            .map(|i| {
                let peer = FakePeer::connect(&address).unwrap();
                // Half of them say something, with all the descriptors that a message can carry.
                if i % 2 == 0 {
                    let _ = peer.send(&Message::Ack, &[surplus.as_fd(); 100]);
                }
                peer
            })
            .collect();
        let most = open_files();
        assert!(most < before + CROWD + 200, "{most} open files: the server keeps a bounded number of connections");
        let client = client_at(&address, Step::Connected);
        recorder.wait_ups(2);
        drop((flood, client, surplus));
        let deadline = Instant::now() + FakePeer::TIMEOUT;
        while open_files() > before {
            assert!(Instant::now() < deadline, "{} open files, {before} before the flood", open_files());
            std::thread::yield_now();
        }
        drop(interface);
    });
}
