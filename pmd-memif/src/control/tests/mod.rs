//! The control thread over real sockets, with fake peers on one side and a recording endpoint on the other.
//!
//! Tests name the statements that they check. They share the thread with all others that run meanwhile, as the
//! interfaces of a process do; what concerns the whole process runs in a process of its own ([`alone`]).

mod client;
mod hostile;
mod process;
mod server;
mod sockets;
mod turns;

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use super::{
    ClientConfig, DownReason, Endpoint, Interface, InterfaceConfig, Link, Memory, Peer, Region, Ring, Role,
    ServerConfig, open,
};
use crate::address::Address;
use crate::fake::{FakeClient, FakeMemory, FakePeer, RingPlan, Step};
use crate::handshake::{Agreed, Mode, Placement, Refusal, SealPolicy};
use crate::listener::FileOptions;
use crate::message::Direction;
use crate::secret::Secret;
use crate::shm::CacheLine;

/// What an endpoint was told.
#[derive(Debug, Clone, PartialEq)]
enum Event {
    Prepared(Agreed),
    Up { peer: Peer, regions: Vec<u64>, s2m: Vec<(Placement, Option<u16>)>, m2s: Vec<(Placement, Option<u16>)> },
    Down(DownReason),
    Refused(DownReason),
}

/// An endpoint that writes down everything and keeps the link's descriptors while it is up.
#[derive(Default)]
struct Recorder {
    events: Mutex<Vec<Event>>,
    changed: Condvar,
    link: Mutex<Option<Link>>,
    /// What `prepare` fails with.
    prepare_error: Option<String>,
    /// What `up` fails with.
    up_error: Mutex<Option<String>>,
}

impl Recorder {
    fn note(&self, event: Event) {
        self.events.lock().unwrap().push(event);
        self.changed.notify_all();
    }

    fn events(&self) -> Vec<Event> {
        self.events.lock().unwrap().clone()
    }

    /// Waits for an event that `pick` takes; events before it stay.
    fn wait<T>(&self, what: &str, pick: impl Fn(&Event) -> Option<T>) -> T {
        self.wait_nth(what, 1, pick)
    }

    /// Waits until `pick` has taken `n` events; gives the last.
    fn wait_nth<T>(&self, what: &str, n: usize, pick: impl Fn(&Event) -> Option<T>) -> T {
        let events = self.events.lock().unwrap();
        let missing = |events: &mut Vec<Event>| events.iter().filter_map(&pick).count() < n;
        let (events, timeout) = self.changed.wait_timeout_while(events, FakePeer::TIMEOUT, missing).unwrap();
        assert!(!timeout.timed_out(), "waited for {what} ({n}), saw {events:?}");
        events.iter().filter_map(&pick).nth(n - 1).expect("as waited for")
    }

    fn wait_up(&self) -> Peer {
        self.wait("up", |event| match event {
            Event::Up { peer, .. } => Some(peer.clone()),
            _ => None,
        })
    }

    fn wait_ups(&self, n: usize) {
        self.wait_nth("up", n, |event| matches!(event, Event::Up { .. }).then_some(()));
    }

    fn wait_down(&self) -> DownReason {
        self.wait("down", |event| match event {
            Event::Down(reason) => Some(reason.clone()),
            _ => None,
        })
    }

    fn wait_refused(&self) -> DownReason {
        self.wait("refused", |event| match event {
            Event::Refused(reason) => Some(reason.clone()),
            _ => None,
        })
    }
}

impl Endpoint for Recorder {
    fn prepare(&self, agreed: Agreed, _peer: &Peer) -> Result<Memory, String> {
        self.note(Event::Prepared(agreed));
        if let Some(error) = &self.prepare_error {
            return Err(error.clone());
        }
        let plan =
            RingPlan { s2m: agreed.s2m_rings, m2s: agreed.m2s_rings, log2: agreed.log2_ring_size, buffer_size: 64 };
        Ok(memory(FakeMemory::plain(plan).unwrap()))
    }

    fn up(&self, link: Link) -> Result<(), String> {
        if let Some(error) = self.up_error.lock().unwrap().take() {
            return Err(error);
        }
        let places = |rings: &[Ring]| rings.iter().map(|ring| (ring.placement, ring.duplicate_of)).collect();
        let event = Event::Up {
            peer: link.peer.clone(),
            regions: link.memory.regions.iter().map(|region| region.size).collect(),
            s2m: places(&link.memory.s2m),
            m2s: places(&link.memory.m2s),
        };
        *self.link.lock().unwrap() = Some(link);
        self.note(event);
        Ok(())
    }

    fn down(&self, reason: &DownReason) {
        *self.link.lock().unwrap() = None;
        self.note(Event::Down(reason.clone()));
    }

    fn refused(&self, reason: &DownReason) {
        self.note(Event::Refused(reason.clone()));
    }
}

/// A fake client's memory as an endpoint would offer it.
fn memory(fake: FakeMemory) -> Memory {
    let regions = fake.regions.into_iter().map(|it| Region { fd: it.file.into(), size: it.size }).collect();
    let mut memory = Memory { regions, ..Memory::default() };
    for ring in fake.rings {
        let message = ring.message;
        let placement = Placement { region: message.region, offset: message.offset, log2_size: message.log2_ring_size };
        memory.rings_mut(message.direction).push(Ring { placement, fd: ring.eventfd.into(), duplicate_of: None });
    }
    memory
}

/// An address that no other test has.
fn fresh_address() -> Address {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    Address::abstract_name(format!("pmd-memif-control-{}-{number}", std::process::id())).unwrap()
}

fn config(address: &Address, role: Role) -> InterfaceConfig {
    InterfaceConfig {
        name: "memif0".into(),
        app_name: "test".into(),
        address: address.clone(),
        id: 0,
        role,
        mode: Mode::Ethernet,
        secret: Secret::NONE,
        // Far beyond any test's time: a test of deadlines sets its own.
        handshake_timeout: Duration::from_secs(60),
    }
}

fn server_config(address: &Address) -> InterfaceConfig {
    let server = ServerConfig {
        seals: SealPolicy::Require,
        max_memory: ServerConfig::MAX_MEMORY,
        cache_line: CacheLine::B64,
        file: FileOptions::default(),
        inherited: None,
        allowed_uids: None,
    };
    config(address, Role::Server(server))
}

fn client_config(address: &Address) -> InterfaceConfig {
    config(address, Role::Client(ClientConfig { s2m_rings: 1, m2s_rings: 1, log2_ring_size: 4 }))
}

/// Opens an interface with a recorder.
fn start(config: InterfaceConfig) -> (Interface, Arc<Recorder>) {
    let recorder = Arc::new(Recorder::default());
    let interface = open(config, Arc::clone(&recorder) as Arc<dyn Endpoint>).unwrap();
    (interface, recorder)
}

/// A server of id 0 with nothing special, for a fake client.
fn start_server() -> (Address, Interface, Arc<Recorder>) {
    let address = fresh_address();
    let (interface, recorder) = start(server_config(&address));
    (address, interface, recorder)
}

/// A client with small memory, its handshake run so far.
fn client_at(address: &Address, step: Step) -> FakeClient {
    let plan = RingPlan { log2: 4, buffer_size: 64, ..RingPlan::default() };
    let memory = FakeMemory::plain(plan).unwrap();
    let mut client = FakeClient::connect(address).unwrap().with_memory(memory);
    client.run(step).unwrap();
    client
}

/// Runs a test in a process of its own. `module` is `module_path!()`, `test` the test's name.
fn alone(module: &str, test: &str, body: impl FnOnce()) {
    const CHILD: &str = "PMD_MEMIF_TEST_ALONE";
    let (_, module) = module.split_once("::").expect("a module inside of the crate");
    let name = format!("{module}::{test}");
    if std::env::var(CHILD).is_ok_and(|child| child == name) {
        return body();
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args([&name, "--exact", "--test-threads=1", "--nocapture"])
        .env(CHILD, &name)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}\n{errors}");
}
