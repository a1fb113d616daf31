//! Maps of sockets that somebody else has made: pinned, and from a device plugin.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::JoinHandle;

use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, accept, bind, listen, socket};
use pmd_core::deployment::XdpHints;

use super::world::{Wish, World, detail, packet, pool, receive, send, xstat};
use crate::plugin::Plugins;
use crate::steering::{Source, Steering};
use crate::sys::bpf::{Attach, Link, Program, XskMap};
use crate::sys::passing::Passing;
use crate::{program, provide};
use pmd_core::netdev::Netdev;

/// A program that somebody privileged has attached to an interface, with its map.
fn privileged(interface: &str) -> (XskMap, Link) {
    let map = XskMap::new(4).unwrap();
    let code = program::redirect(map.as_fd().as_raw_fd());
    let index = Netdev::new(interface.parse().unwrap(), None).unwrap().state().unwrap().unwrap().index;
    let link = Program::load(&code, program::LICENSE).unwrap().attach(index, Attach::Native).unwrap();
    (map, link)
}

/// A BPF file system that this thread alone sees.
fn bpf_file_system() -> tempfile::TempDir {
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    let dir = tempfile::tempdir().unwrap();
    for arguments in [&["--make-rprivate", "/"][..], &["-t", "bpf", "bpf", dir.path().to_str().unwrap()]] {
        assert!(Command::new("mount").args(arguments).status().unwrap().success(), "mount {arguments:?}");
    }
    dir
}

fn both_ways_through(hints: XdpHints) {
    let pool = pool();
    let (mut a, mut b) = (Wish::default().one("left", &pool), Wish::hints(hints).one("right", &pool));
    assert_eq!(detail(&b, "program"), "not ours");
    send(&mut a, &pool, &vec![packet(1, 100); 10]);
    assert_eq!(receive(&mut b, 10), vec![packet(1, 100); 10]);
    send(&mut b, &pool, &[packet(2, 100)]);
    assert_eq!(receive(&mut a, 1), [packet(2, 100)]);
    drop((a, b));
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn a_pinned_map_is_all_that_is_needed() {
    let Some(_) = World::with_pair() else { return };
    let bpf = bpf_file_system();
    let path = provide("right", bpf.path(), false).unwrap();
    let again = provide("right", bpf.path(), false).unwrap_err();
    assert!(again.starts_with("another XDP program is attached to interface right"), "{again}");
    both_ways_through(XdpHints { xsk_pin_path: Some(path.display().to_string()), ..XdpHints::default() });
    for name in ["link", "xsks_map"] {
        std::fs::remove_file(bpf.path().join(name)).unwrap();
    }
    // The interface is free again, once nothing is pinned.
    drop(Wish::default().one("right", &pool()));
}

#[test]
fn what_is_pinned_must_be_a_map_of_sockets() {
    let Some(_) = World::with_pair() else { return };
    let bpf = bpf_file_system();
    let refusal = |path: &Path| {
        let path = Some(path.display().to_string());
        Wish::hints(XdpHints { xsk_pin_path: path, ..XdpHints::default() })
            .open("left", &pool())
            .unwrap_err()
            .to_string()
    };
    let elsewhere = provide("left", Path::new("/tmp"), false).unwrap_err();
    assert!(elsewhere.contains("`mount -t bpf bpf DIR`"), "{elsewhere}");
    let nothing = refusal(&bpf.path().join("nothing"));
    assert!(nothing.contains("nothing is pinned there"), "{nothing}");
    let elsewhere = refusal(Path::new("/etc/hostname"));
    assert!(elsewhere.contains("it must be pinned in a BPF file system"), "{elsewhere}");
}

#[test]
fn a_map_without_room_for_the_queue_is_refused() {
    let Some(world) = World::new() else { return };
    world.pair(2);
    let steering = Steering::new(&Source::Own, "left", 1, &Plugins::default()).unwrap();
    let socket = crate::sys::xsk::Xsk::new().unwrap();
    let error = steering.set(1, socket.as_fd()).unwrap_err();
    assert_eq!(error, "the map of AF_XDP sockets has room for 1 queues, so queue 1 cannot be entered");
}

/// A device plugin that serves one connection, with what it was asked.
struct FakePlugin {
    path: PathBuf,
    thread: JoinHandle<Vec<String>>,
    _dir: tempfile::TempDir,
}

impl FakePlugin {
    /// `answer` says what to answer to a request, with what descriptor; it is also given the descriptor that came.
    fn start(answer: impl Fn(&str, Option<OwnedFd>) -> (String, Option<OwnedFd>) + Send + 'static) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("afxdp.sock");
        let listener = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None).unwrap();
        bind(listener.as_raw_fd(), &UnixAddr::new(&path).unwrap()).unwrap();
        listen(&listener, Backlog::new(1).unwrap()).unwrap();
        let thread = std::thread::spawn(move || {
            let connection = Passing::from_connected(accepted(&listener));
            let mut requests = Vec::new();
            loop {
                let (request, fd) = connection.receive().unwrap();
                if request.is_empty() {
                    return requests;
                }
                let (text, fd) = answer(&request, fd);
                requests.push(request);
                if !text.is_empty() {
                    connection.send(&text, fd.as_ref().map(AsFd::as_fd)).unwrap();
                }
            }
        });
        Self { path, thread, _dir: dir }
    }

    fn hints(&self) -> XdpHints {
        XdpHints { uds_path: Some(self.path.display().to_string()), ..XdpHints::default() }
    }

    /// What it was asked until the connection ended.
    fn requests(self) -> Vec<String> {
        self.thread.join().unwrap()
    }
}

#[allow(unsafe_code)]
fn accepted(listener: &OwnedFd) -> OwnedFd {
    // SAFETY: a new descriptor, ours alone.
    unsafe { OwnedFd::from_raw_fd(accept(listener.as_raw_fd()).unwrap()) }
}

fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim().to_owned()
}

#[test]
fn a_device_plugin_hands_the_map_out_and_sets_busy_polling_up() {
    let Some(_) = World::with_pair() else { return };
    let (map, _link) = privileged("right");
    let plugin = FakePlugin::start(move |request, fd| match request.split(',').next().unwrap() {
        "/connect" => ("/host_ok".into(), None),
        "/xsk_map_fd" => ("/fd_ack".into(), Some(clone(map.as_fd()))),
        "/config_busy_poll" => (if fd.is_some() { "/config_busy_poll_ack" } else { "/nak" }.into(), None),
        "/fin" => ("/fin_ack".into(), None),
        _ => ("/nak".into(), None),
    });
    both_ways_through(XdpHints { busy_poll: true, busy_timeout: 30, busy_budget: 32, ..plugin.hints() });
    let greeting = format!("/connect,{}", host_name());
    assert_eq!(plugin.requests(), [&greeting, "/xsk_map_fd,right", "/config_busy_poll,30,32", "/fin"]);
}

#[test]
fn devices_with_one_plugin_share_its_connection() {
    let Some(_) = World::with_pair() else { return };
    let maps = [privileged("left"), privileged("right")];
    let fds = maps.each_ref().map(|(map, _)| clone(map.as_fd()));
    let plugin = FakePlugin::start(move |request, _| match request {
        "/xsk_map_fd,left" => ("/fd_ack".into(), Some(clone(fds[0].as_fd()))),
        "/xsk_map_fd,right" => ("/fd_ack".into(), Some(clone(fds[1].as_fd()))),
        "/fin" => ("/fin_ack".into(), None),
        _ => ("/host_ok".into(), None),
    });
    let (driver, pool) = (crate::AfXdpDriver::default(), pool());
    let wish = Wish::hints(plugin.hints());
    let mut a = wish.open_with(&driver, "left", &pool).unwrap().remove(0);
    let mut b = wish.open_with(&driver, "right", &pool).unwrap().remove(0);
    send(&mut a, &pool, &[packet(1, 60)]);
    assert_eq!((receive(&mut b, 1), xstat(&b, "rx_wakeups")), (vec![packet(1, 60)], 0));
    drop((a, b));
    assert_eq!(plugin.requests()[1..], ["/xsk_map_fd,left", "/xsk_map_fd,right", "/fin"]);
}

#[test]
fn a_plugin_that_refuses_or_leaves_is_quoted() {
    let Some(_) = World::with_pair() else { return };
    let refusal = |answers: [&'static str; 2]| {
        let plugin = FakePlugin::start(move |request, _| {
            (answers[usize::from(!request.starts_with("/connect"))].to_owned(), None)
        });
        let error = Wish::hints(plugin.hints()).open("left", &pool()).unwrap_err().to_string();
        plugin.requests();
        error
    };
    let stranger = refusal(["/host_nak", "/fin_ack"]);
    assert!(stranger.contains("it answered `/connect,") && stranger.contains("with `/host_nak`"), "{stranger}");
    let unknown = refusal(["/host_ok", "/fd_nak"]);
    assert!(unknown.contains("it answered `/xsk_map_fd,left` with `/fd_nak`, not `/fd_ack`"), "{unknown}");
    let empty = refusal(["/host_ok", "/fd_ack"]);
    assert!(empty.contains("it sent `/fd_ack` without a descriptor"), "{empty}");
    let hints = XdpHints { uds_path: Some("/no/such.sock".into()), ..XdpHints::default() };
    let absent = Wish::hints(hints).open("left", &pool()).unwrap_err().to_string();
    assert!(absent.starts_with("cannot connect to the device plugin at `uds_path` /no/such.sock"), "{absent}");
}

#[test]
fn a_descriptor_that_is_no_map_is_refused() {
    let Some(_) = World::with_pair() else { return };
    let plugin = FakePlugin::start(|request, _| match request.split(',').next().unwrap() {
        "/xsk_map_fd" => ("/fd_ack".into(), Some(clone(std::io::stdin().as_fd()))),
        "/fin" => ("/fin_ack".into(), None),
        _ => ("/host_ok".into(), None),
    });
    let error = Wish::hints(plugin.hints()).open("left", &pool()).unwrap_err().to_string();
    assert!(error.contains("is no BPF map"), "{error}");
    plugin.requests();
}

fn clone(fd: BorrowedFd<'_>) -> OwnedFd {
    fd.try_clone_to_owned().unwrap()
}
