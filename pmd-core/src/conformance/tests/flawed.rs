//! `net_flawed`: a device that loops, with an fd to sleep on, and a flaw if one is wanted: what the suite must catch.
//!
//! Without a flaw it is an honest driver: it copies what it receives into its queue's pool, drops what is longer than
//! [`MAX_PACKET`], refuses when its lane is full, and rings a bell when it is armed.

use std::collections::{HashSet, VecDeque};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::{Arc, Mutex, Weak};
use std::thread::{self, ThreadId};
use std::time::Duration;

use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::burst::Burst;
use crate::deployment::LportId;
use crate::device::{DeviceState, QueueCounters, bytes_of};
use crate::driver::{DeviceRequest, Driver, OpenError, QueueRequest};
use crate::lane::{LaneRx, LaneTx, lane};
use crate::lport::{Link, Lport, LportControl, LportInfo, RxQueue, TxQueue};
use crate::mbuf::Mbuf;
use crate::options::{OptionSpec, Options};
use crate::pool::{Pool, RxPool};
use crate::stats::LportStats;

/// Longest packet of an honest device.
const MAX_PACKET: usize = 3000;

/// What is wrong with a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flaw {
    None,
    /// Not a flaw, but honest differences: no fd, no chains, nothing empty, short packets padded, and a kernel's noise.
    Modest,
    // Receiving.
    Reorders,
    ClearsTheBurst,
    IgnoresTheLimit,
    Truncates,
    DoesNotMark,
    CountsPolls,
    HidesEmptyPools,
    WritesIntoPacketsGiven,
    WritesIntoPacketsOnClose,
    TruncatesWhatIsPassedOn,
    SpoilsOncePassedOn,
    BringsMoreThanThePacket,
    StaysWithAnotherPool,
    LeaksOnClose,
    LeaksWhenSetDown,
    StaysOnItsThread,
    WantsBothHalvesOnOneThread,
    // Sending.
    CountsEmptyBursts,
    LosesTheRest,
    SaysWhatWasOffered,
    SendsFirstSegments,
    SendsTooLong,
    HoldsUpBehindTooLong,
    DropsUncounted,
    NeedsHeadroom,
    CountsBytesWrong,
    CountsForTheFirstQueue,
    HoldsBackUntilTwo,
    GivesUsedMbufs,
    SendsOnlyWhatItGaveInOrder,
    // Sleeping.
    NeverRings,
    ArmsBlindly,
    LooksTooEarly,
    // State.
    IgnoresAdmin,
    SetsOneQueueDown,
    SaysUpAlways,
    ForgetsCounters,
    NamesCountersTwice,
    // Opening.
    MisnamesItself,
    HasNoHelp,
    HasABadDefault,
    PanicsAtAnExtreme,
    RefusesWithoutAWord,
    NeedsAPoolSilently,
    OpensAnything,
    OpensTwice,
    StaysTaken,
}

/// The driver, with the devices that are open.
pub(super) struct FlawedDriver {
    pub(super) flaw: Flaw,
    open: Arc<Mutex<HashSet<String>>>,
    /// The link of all its devices, for a fixture that cuts it.
    pub(super) state: Arc<DeviceState>,
}

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::int("size", 8, 4096, "64", "packets the device holds"),
    OptionSpec::choice("colour", &["red", "green"], "nothing at all"),
];
const OPTIONS_WITHOUT_HELP: &[OptionSpec] = &[OptionSpec::int("size", 8, 4096, "64", "")];
const OPTIONS_WITH_A_BAD_DEFAULT: &[OptionSpec] = &[OptionSpec::int("size", 8, 4096, "5000", "packets")];

impl FlawedDriver {
    pub(super) fn new(flaw: Flaw) -> Self {
        Self { flaw, open: Arc::default(), state: DeviceState::up() }
    }
}

impl Driver for FlawedDriver {
    fn name(&self) -> &str {
        "net_flawed"
    }

    fn summary(&self) -> &str {
        "a device that the suite has to see through"
    }

    fn options(&self) -> &[OptionSpec] {
        match self.flaw {
            Flaw::HasNoHelp => OPTIONS_WITHOUT_HELP,
            Flaw::HasABadDefault => OPTIONS_WITH_A_BAD_DEFAULT,
            _ => OPTIONS,
        }
    }

    fn needs_pool(&self) -> bool {
        self.flaw != Flaw::NeedsAPoolSilently
    }

    fn shares_pools(&self, _options: &Options) -> bool {
        matches!(self.flaw, Flaw::WritesIntoPacketsGiven | Flaw::WritesIntoPacketsOnClose | Flaw::SpoilsOncePassedOn)
    }

    fn open(&self, device: DeviceRequest) -> Result<Vec<Lport>, OpenError> {
        let size = device.options.int("size").unwrap_or(64) as usize;
        assert!(self.flaw != Flaw::PanicsAtAnExtreme || size < 4096, "too large a size");
        if self.flaw == Flaw::RefusesWithoutAWord && size == 8 {
            return Err(OpenError(String::new()));
        }
        if device.name == "absent" && self.flaw != Flaw::OpensAnything {
            return Err(OpenError(format!("there is no device `{}`", device.name)));
        }
        let is_new = self.open.lock().unwrap().insert(device.name.clone());
        if !is_new && self.flaw != Flaw::OpensTwice {
            return Err(OpenError(format!("device `{}` is in use", device.name)));
        }
        let taken = Arc::new(Taken { name: device.name, open: Arc::clone(&self.open), flaw: self.flaw });
        let first = Arc::new(QueueCounters::default());
        device.queues.into_iter().map(|queue| self.open_queue(queue, size, &taken, &first)).collect()
    }
}

/// The name of an open device.
struct Taken {
    name: String,
    open: Arc<Mutex<HashSet<String>>>,
    flaw: Flaw,
}

impl Drop for Taken {
    fn drop(&mut self) {
        if self.flaw != Flaw::StaysTaken {
            self.open.lock().unwrap().remove(&self.name);
        }
    }
}

impl FlawedDriver {
    fn open_queue(
        &self,
        queue: QueueRequest,
        size: usize,
        taken: &Arc<Taken>,
        first: &Arc<QueueCounters>,
    ) -> Result<Lport, OpenError> {
        let pool = queue.need_pool()?;
        let counters = if queue.qid == 0 { Arc::clone(first) } else { Arc::default() };
        let counters_of_tx =
            if self.flaw == Flaw::CountsForTheFirstQueue { Arc::clone(first) } else { Arc::clone(&counters) };
        let wire = Arc::new(Wire {
            flaw: self.flaw,
            state: if self.flaw == Flaw::SetsOneQueueDown { DeviceState::up() } else { Arc::clone(&self.state) },
            counters,
            bell: EventFd::from_flags(EfdFlags::EFD_NONBLOCK).unwrap(),
            armed: AtomicBool::new(false),
            sender: Mutex::new(None),
            _taken: Arc::clone(taken),
        });
        let ((lane_tx, lane_rx), own_pool) = (lane(size), pool.clone());
        let rx = FlawedRx {
            wire: Arc::clone(&wire),
            lane: lane_rx,
            port: queue.lport.0,
            pool: RxPool::new(pool),
            polls: 0,
            waiting: VecDeque::new(),
            scratch: Burst::new(),
            given: Vec::new(),
            passed_on: false,
            taken_back: 0,
            kept: None,
            thread: None,
        };
        let control = FlawedControl { wire: Arc::clone(&wire), queue: Arc::downgrade(&wire.counters) };
        let tx = FlawedTx {
            wire,
            counters: counters_of_tx,
            lane: lane_tx,
            held: Burst::new(),
            pool: own_pool,
            given: VecDeque::new(),
        };
        Ok(Lport { id: queue.lport, name: queue.name, rx: Box::new(rx), tx: Box::new(tx), control: Arc::new(control) })
    }
}

/// What the halves and the handle of a queue share.
struct Wire {
    flaw: Flaw,
    state: Arc<DeviceState>,
    counters: Arc<QueueCounters>,
    bell: EventFd,
    armed: AtomicBool,
    /// The thread that sent last.
    sender: Mutex<Option<ThreadId>>,
    _taken: Arc<Taken>,
}

struct FlawedRx {
    wire: Arc<Wire>,
    lane: LaneRx,
    port: u16,
    pool: RxPool,
    polls: u32,
    /// Packets that came, not yet copied into mbufs of the pool.
    waiting: VecDeque<Mbuf>,
    scratch: Burst,
    /// Where packets given to the application lie in the pool's memory.
    given: Vec<usize>,
    /// Whether its packets are passed on, and how often that was taken back.
    passed_on: bool,
    taken_back: u32,
    /// An mbuf of another pool, not given back.
    kept: Option<Mbuf>,
    thread: Option<ThreadId>,
}

impl FlawedRx {
    fn is(&self, flaw: Flaw) -> bool {
        self.wire.flaw == flaw
    }

    /// Whether an honest device has something to say on its own.
    fn is_noisy(&mut self) -> bool {
        self.polls += 1;
        self.is(Flaw::Modest) && self.polls.is_multiple_of(7)
    }

    fn fetch(&mut self) {
        self.lane.receive(&mut self.scratch);
        let n = self.scratch.len();
        self.waiting.extend(self.scratch.drain_front(n));
    }

    /// A copy of the next packet.
    fn next(&mut self) -> Option<Mbuf> {
        let packet = self.waiting.front()?;
        let mut data = vec![0; packet.packet_len()];
        packet.copy_to(&mut data);
        if self.is(Flaw::Modest) {
            data.resize(data.len().max(60), 0);
        }
        if self.is(Flaw::Truncates) || self.is(Flaw::TruncatesWhatIsPassedOn) && self.passed_on {
            data.truncate(1024);
        }
        let Some(mut copy) = self.pool.alloc_packet(&data) else {
            if !self.is(Flaw::HidesEmptyPools) {
                self.wire.counters.rx.nombuf.add(1);
            }
            return None;
        };
        self.waiting.pop_front();
        if self.is(Flaw::BringsMoreThanThePacket)
            && let Some(behind) = copy.append(1)
        {
            behind.fill(0xee);
            assert!(copy.trim(1));
        }
        if !self.is(Flaw::DoesNotMark) {
            copy.set_port(self.port);
        }
        Some(copy)
    }

    /// Loses its packets to a place where a leak checker finds them: to it, they are none of the leaks it looks for.
    fn leak(&mut self) {
        static LOST: Mutex<Vec<(Pool, VecDeque<Mbuf>)>> = Mutex::new(Vec::new());
        self.fetch();
        LOST.lock().unwrap().push((Pool::clone(&self.pool), std::mem::take(&mut self.waiting)));
    }

    /// Spoils packets that belong to somebody else by now.
    fn spoil(&self, given: &[usize]) {
        if let Some(file) = self.pool.segment().file() {
            for place in given {
                nix::sys::uio::pwrite(file, b"spoilt", *place as i64 + 40).unwrap();
            }
        }
    }
}

impl RxQueue for FlawedRx {
    fn rx_burst(&mut self, burst: &mut Burst) -> usize {
        if !self.wire.state.is_up() {
            if self.is(Flaw::LeaksWhenSetDown) {
                self.leak();
            }
            return 0;
        }
        let here = thread::current().id();
        if self.is(Flaw::StaysOnItsThread) && *self.thread.get_or_insert(here) != here {
            return 0;
        }
        if self.is(Flaw::WritesIntoPacketsGiven) {
            self.spoil(&self.given[..self.given.len().min(1)]);
        }
        if self.is(Flaw::SpoilsOncePassedOn) && self.taken_back == 2 {
            self.spoil(&self.given[..self.given.len().min(1)]);
        }
        if self.is(Flaw::ClearsTheBurst) {
            burst.clear();
        }
        self.fetch();
        let sender = *self.wire.sender.lock().unwrap();
        if self.is(Flaw::WantsBothHalvesOnOneThread) && sender.is_some_and(|sender| sender != here) {
            self.waiting.clear();
        }
        let first = burst.len();
        if burst.room() > 0
            && self.is_noisy()
            && let Some(mut noise) = self.pool.alloc_packet(&[0x33; 70])
        {
            noise.set_port(self.port);
            burst.push(noise).unwrap();
        }
        let room = if self.is(Flaw::IgnoresTheLimit) { burst.room() + 1 } else { burst.room() };
        while burst.len() < first + room
            && let Some(mbuf) = self.next()
        {
            if burst.push(mbuf).is_err() {
                break;
            }
        }
        let n = burst.len() - first;
        if self.is(Flaw::Reorders) {
            burst[first..].reverse();
        }
        if self.is(Flaw::CountsPolls) && n == 0 {
            self.wire.counters.rx.missed.add(1);
        }
        let segment = self.pool.segment();
        self.given.extend(burst[first..].iter().filter_map(|mbuf| segment.offset_of(mbuf.data())));
        self.wire.counters.rx.add(n, bytes_of(&burst[first..]));
        n
    }

    fn renumber(&mut self, lport: LportId) {
        self.port = lport.0;
    }

    fn set_passed_on(&mut self, passed_on: bool) {
        self.passed_on = passed_on;
        self.taken_back += u32::from(!passed_on);
        self.given.clear();
    }

    fn receive_into(&mut self, pool: Option<Pool>) {
        if self.is(Flaw::StaysWithAnotherPool) {
            self.kept = self.kept.take().or_else(|| pool.as_ref()?.alloc());
        }
        self.pool.set(pool);
    }

    fn arm(&mut self) -> bool {
        let is_empty = |rx: &mut Self| {
            rx.fetch();
            rx.waiting.is_empty()
        };
        let early = self.is(Flaw::LooksTooEarly).then(|| {
            let empty = is_empty(self);
            thread::sleep(Duration::from_millis(2));
            empty
        });
        self.wire.armed.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        if self.is(Flaw::ArmsBlindly) {
            return true;
        }
        early.unwrap_or_else(|| is_empty(self))
    }

    fn disarm(&mut self) {
        self.wire.armed.store(false, Ordering::SeqCst);
        let _ = self.wire.bell.read();
    }

    fn wake_fd(&self) -> Option<BorrowedFd<'_>> {
        (!self.is(Flaw::Modest)).then(|| self.wire.bell.as_fd())
    }
}

impl Drop for FlawedRx {
    fn drop(&mut self) {
        if self.is(Flaw::LeaksOnClose) {
            self.leak();
        }
        if self.is(Flaw::WritesIntoPacketsOnClose) {
            self.spoil(&self.given);
        }
    }
}

struct FlawedTx {
    wire: Arc<Wire>,
    counters: Arc<QueueCounters>,
    lane: LaneTx,
    /// Packets accepted and not yet on their way.
    held: Burst,
    /// Where packets are built.
    pool: Pool,
    /// The data of mbufs given to build packets in, and not sent yet.
    given: VecDeque<usize>,
}

/// What is to be done with a packet.
enum Verdict {
    Send(Mbuf),
    Drop,
    Refuse(Mbuf),
}

impl FlawedTx {
    fn is(&self, flaw: Flaw) -> bool {
        self.wire.flaw == flaw
    }

    fn judge(&mut self, mut mbuf: Mbuf) -> Verdict {
        if mbuf.packet_len() > MAX_PACKET && !self.is(Flaw::SendsTooLong) {
            return if self.is(Flaw::HoldsUpBehindTooLong) { Verdict::Refuse(mbuf) } else { Verdict::Drop };
        }
        let place = self.pool.segment().offset_of(mbuf.data());
        let expected = place.filter(|place| self.given.contains(place)).is_none_or(|place| self.given[0] == place);
        if self.is(Flaw::SendsOnlyWhatItGaveInOrder) && !expected {
            return Verdict::Drop;
        }
        self.given.retain(|given| Some(*given) != place);
        if self.is(Flaw::Modest) && (mbuf.segment_count() > 1 || mbuf.packet_len() == 0) {
            return Verdict::Drop;
        }
        if self.is(Flaw::NeedsHeadroom) && mbuf.headroom() < 4 {
            return Verdict::Drop;
        }
        if self.is(Flaw::SendsFirstSegments) && mbuf.segment_count() > 1 {
            let data = mbuf.data().to_vec();
            mbuf.reset();
            mbuf.append(data.len()).unwrap().copy_from_slice(&data);
        }
        Verdict::Send(mbuf)
    }

    fn push_out(&mut self) {
        if self.lane.send(&mut self.held) > 0 {
            fence(Ordering::SeqCst);
            if self.wire.armed.load(Ordering::SeqCst) && !self.is(Flaw::NeverRings) {
                self.wire.bell.write(1).unwrap();
            }
        }
    }
}

impl TxQueue for FlawedTx {
    fn tx_burst(&mut self, burst: &mut Burst) -> usize {
        if !self.wire.state.is_up() {
            return 0;
        }
        *self.wire.sender.lock().unwrap() = Some(thread::current().id());
        let (offered, counters) = (burst.len(), Arc::clone(&self.counters));
        let (mut sent, mut bytes) = (0, 0);
        let mut left: VecDeque<_> = burst.drain_front(offered).collect();
        while let Some(mbuf) = left.pop_front() {
            let len = mbuf.packet_len();
            match self.judge(mbuf) {
                Verdict::Send(mbuf) => {
                    self.held.push(mbuf).unwrap();
                    if !self.is(Flaw::HoldsBackUntilTwo) || self.held.len() > 1 {
                        self.push_out();
                    }
                    if !self.held.is_empty() && !self.is(Flaw::HoldsBackUntilTwo) {
                        left.extend(self.held.pop());
                        left.rotate_right(1);
                        break;
                    }
                    (sent, bytes) = (sent + 1, bytes + len);
                }
                Verdict::Drop => counters.tx.errors.add(u64::from(!self.is(Flaw::DropsUncounted))),
                Verdict::Refuse(mbuf) => {
                    left.push_front(mbuf);
                    break;
                }
            }
        }
        if !self.is(Flaw::LosesTheRest) {
            left.into_iter().for_each(|mbuf| burst.push(mbuf).unwrap());
        }
        if self.is(Flaw::CountsEmptyBursts) && offered == 0 {
            counters.tx.packets.add(1);
        }
        counters.tx.add(sent, bytes + usize::from(self.is(Flaw::CountsBytesWrong)));
        if self.is(Flaw::SaysWhatWasOffered) { offered } else { sent }
    }

    fn alloc_burst(&mut self, burst: &mut Burst, n: usize) -> Option<usize> {
        let first = burst.len();
        let n = self.pool.alloc_bulk(burst, n);
        self.given.clear();
        self.given.extend(burst[first..].iter().filter_map(|mbuf| self.pool.segment().offset_of(mbuf.data())));
        if self.is(Flaw::GivesUsedMbufs) {
            burst[first..].iter_mut().for_each(|mbuf| assert!(mbuf.append(4).is_some()));
        }
        Some(n)
    }

    fn flush(&mut self) {
        if !self.is(Flaw::HoldsBackUntilTwo) {
            self.push_out();
        }
    }
}

struct FlawedControl {
    wire: Arc<Wire>,
    queue: Weak<QueueCounters>,
}

impl LportControl for FlawedControl {
    fn link(&self) -> Link {
        if self.wire.flaw == Flaw::SaysUpAlways { Link::Up } else { self.wire.state.link() }
    }

    fn info(&self) -> LportInfo {
        let driver = if self.wire.flaw == Flaw::MisnamesItself { "net_other" } else { "net_flawed" };
        LportInfo { driver: driver.into(), mac: None, max_packet: MAX_PACKET as u32, speed_mbps: 10 }
    }

    fn stats(&self) -> LportStats {
        // Both halves hold the wire, and so does this handle.
        if self.wire.flaw == Flaw::ForgetsCounters && Arc::strong_count(&self.wire) == 1 {
            return LportStats::default();
        }
        let mut stats = self.queue.upgrade().map(|counters| counters.stats()).unwrap_or_default();
        stats.xstats.push(("rx_bells", 0));
        if self.wire.flaw == Flaw::NamesCountersTwice {
            stats.xstats.push(("rx_bells", 0));
        }
        stats
    }

    fn set_admin_up(&self, up: bool) {
        if self.wire.flaw != Flaw::IgnoresAdmin {
            self.wire.state.set_admin_up(up);
        }
    }
}
