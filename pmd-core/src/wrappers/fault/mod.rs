//! The fault injector: a bad line in front of an lport that repeats itself.
//!
//! 1. [`Faults`] say how often packets are lost, doubled, damaged or delayed, each direction by itself, and how many may
//!    pass in a second. [`Faults::wrap`] puts them around an lport; [`FaultInjector`] does so for files.
//! 2. What happens to a packet is decided by the seed and the packet's number in its direction, and by nothing else
//!    (`dice`): the same packets meet the same faults in every run, whatever bursts they come in.
//! 3. `rx` and `tx` carry it out. A packet that is sent and lost counts as sent, as on a real line; counters of our own say
//!    what was done (`fault_tx_dropped`, ...). Delayed packets are overtaken by those that are not.
//!
//! Damage is done to a copy. A received packet may lie in memory that a peer lends to us, and a sent one in memory that the
//! sender still looks at. Copies come from a pool of our own; when it is empty the packet passes as it is, which is counted.

mod dice;
mod rx;
#[cfg(test)]
mod tests;
mod tx;

use std::sync::Arc;
use std::time::Duration;

use crossbeam_utils::CachePadded;

use super::rate::RATE_MAX;
use crate::driver::OpenError;
use crate::lport::{Lport, LportControl};
use crate::mbuf::Mbuf;
use crate::options::{OptionSpec, Options};
use crate::pool::{Pool, PoolConfig};
use crate::stats::{Counter, LportStats};
use crate::wrapper::{WithStats, Wrapper};
use dice::Dice;

/// Most packets that wait in one direction. Then no more are received, or accepted.
pub const DELAYED_MAX: usize = 1024;

/// A million: what chances are parts of.
pub const MILLION: u32 = 1_000_000;

const DELAY_MAX_US: u64 = 10_000_000;

/// What happens to packets of one direction. The default is nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Impairments {
    /// How many of a million are lost.
    pub drop: u32,
    /// How many of a million come twice.
    pub duplicate: u32,
    /// How many of a million get a wrong bit, somewhere in the first 2048 bytes.
    pub corrupt: u32,
    /// How many of a million are delayed.
    pub delay: u32,
    /// By how much.
    pub delay_by: Duration,
    /// How many pass in a second, 1 to 10^9; the others wait in the device, or stay with the sender. `None`: all.
    pub rate: Option<u64>,
}

impl Default for Impairments {
    fn default() -> Self {
        Self { drop: 0, duplicate: 0, corrupt: 0, delay: 0, delay_by: Duration::from_millis(1), rate: None }
    }
}

/// The faults of a line. The default has none.
///
/// ```
/// use pmd_core::drivers::NullDriver;
/// use pmd_core::wrappers::{Faults, Impairments};
/// use pmd_core::{Burst, DeviceRequest, Driver, Options};
///
/// let options = Options::check(NullDriver.options(), &[]).expect("defaults are good");
/// let lport = NullDriver.open(DeviceRequest::new("n", options, 1, None))?.remove(0);
/// let half = Impairments { drop: 500_000, ..Impairments::default() };
/// let mut lossy = Faults { rx: half, ..Faults::default() }.wrap(lport)?;
/// let mut burst = Burst::with_limit(100);
/// let received = lossy.rx.rx_burst(&mut burst);
/// assert!(received > 20 && received < 80);
/// assert_eq!(lossy.control.stats().ipackets, received as u64);
/// # Ok::<(), pmd_core::OpenError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Faults {
    /// What the line does to received packets.
    pub rx: Impairments,
    /// What it does to sent ones.
    pub tx: Impairments,
    /// Which sequence of faults. Lports with one seed meet the same faults.
    pub seed: u64,
}

impl Faults {
    /// Puts the line in front of an lport.
    ///
    /// # Errors
    /// When there is no memory for copies.
    pub fn wrap(&self, lport: Lport) -> Result<Lport, OpenError> {
        let copies = PoolConfig { name: format!("fault:{}", lport.name), size: DELAYED_MAX, ..PoolConfig::default() };
        let copies = Pool::new(&copies).map_err(|error| OpenError(error.to_string()))?;
        Ok(self.wrap_with(lport, &copies))
    }

    fn wrap_with(&self, lport: Lport, copies: &Pool) -> Lport {
        let tally = Arc::new(Tallies::default());
        let side = |impairments, stream| Side {
            impairments,
            dice: Dice::new(self.seed, stream),
            number: 0,
            copies: copies.clone(),
            tally: Arc::clone(&tally),
            device: Arc::clone(&lport.control),
        };
        let (rx_side, tx_side) = (side(self.rx, 0), side(self.tx, 1));
        let rx = Box::new(rx::FaultRx::new(lport.rx, rx_side));
        let tx = Box::new(tx::FaultTx::new(lport.tx, tx_side));
        let control = Arc::new(WithStats::new(lport.control, move |stats| tally.report_in(stats)));
        Lport { rx, tx, control, ..lport }
    }
}

/// What both directions have.
struct Side {
    impairments: Impairments,
    dice: Dice,
    /// Packets so far: the next one's number.
    number: u64,
    copies: Pool,
    tally: Arc<Tallies>,
    /// The lport's own handle.
    device: Arc<dyn LportControl>,
}

impl Side {
    /// The packet as it arrives over a bad line: a copy with a wrong bit. `None` when there is no mbuf for it.
    fn corrupted(&self, packet: &Mbuf, number: u64) -> Option<Mbuf> {
        let mut copy = self.copies.alloc_copy(packet)?;
        let data = copy.data_mut();
        if !data.is_empty() {
            let bit = self.dice.choose(number, data.len() * 8);
            data[bit / 8] ^= 1 << (bit % 8);
        }
        Some(copy)
    }

    /// Whether the device takes part: a packet must not vanish on the way to a dead link.
    fn is_up(&self) -> bool {
        self.device.link().is_up()
    }
}

/// What was done, each direction written by its queue.
#[derive(Debug, Default)]
struct Tallies {
    rx: CachePadded<Tally>,
    tx: CachePadded<Tally>,
}

#[derive(Debug, Default)]
struct Tally {
    dropped: Counter,
    duplicated: Counter,
    corrupted: Counter,
    delayed: Counter,
    no_copy: Counter,
    /// What passed between the lport and its owner, instead of what the device counts.
    packets: Counter,
    bytes: Counter,
}

impl Tally {
    /// A packet was damaged, or there was no mbuf to do it in.
    fn count_damage(&self, done: bool) {
        let counter = if done { &self.corrupted } else { &self.no_copy };
        counter.add(1);
    }

    /// A burst of so many packets and bytes has passed.
    fn add(&self, packets: usize, bytes: usize) {
        self.packets.add(packets as u64);
        self.bytes.add(bytes as u64);
    }
}

impl Tallies {
    fn report_in(&self, stats: &mut LportStats) {
        let Self { rx, tx } = self;
        (stats.ipackets, stats.ibytes) = (rx.packets.get(), rx.bytes.get());
        (stats.opackets, stats.obytes) = (tx.packets.get(), tx.bytes.get());
        for (name, counter) in [
            ("fault_rx_dropped", &rx.dropped),
            ("fault_rx_duplicated", &rx.duplicated),
            ("fault_rx_corrupted", &rx.corrupted),
            ("fault_rx_delayed", &rx.delayed),
            ("fault_rx_no_copy", &rx.no_copy),
            ("fault_tx_dropped", &tx.dropped),
            ("fault_tx_duplicated", &tx.duplicated),
            ("fault_tx_corrupted", &tx.corrupted),
            ("fault_tx_delayed", &tx.delayed),
            ("fault_tx_no_copy", &tx.no_copy),
        ] {
            stats.add_xstat(name, counter.get());
        }
    }
}

const fn chance(name: &'static str, help: &'static str) -> OptionSpec {
    OptionSpec::int(name, 0, MILLION as u64, "0", help)
}

const fn delay(name: &'static str) -> OptionSpec {
    OptionSpec::int(name, 1, DELAY_MAX_US, "1000", "how long a delayed packet is delayed, in microseconds")
}

/// Without a default: all pass.
const fn rate(name: &'static str, help: &'static str) -> OptionSpec {
    OptionSpec::int(name, 1, RATE_MAX, "", help)
}

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::int(
        "seed",
        0,
        u64::MAX,
        "0",
        "which sequence of faults; with the same seed it is the same in every run",
    ),
    chance("rx-drop", "received packets of a million that are lost"),
    chance("rx-duplicate", "received packets of a million that come twice"),
    chance("rx-corrupt", "received packets of a million that get a wrong bit"),
    chance("rx-delay", "received packets of a million that are delayed, and overtaken"),
    delay("rx-delay-us"),
    rate("rx-rate", "packets received per second at most (default: no limit)"),
    chance("tx-drop", "sent packets of a million that are lost"),
    chance("tx-duplicate", "sent packets of a million that go twice"),
    chance("tx-corrupt", "sent packets of a million that get a wrong bit"),
    chance("tx-delay", "sent packets of a million that are delayed, and overtaken"),
    delay("tx-delay-us"),
    rate("tx-rate", "packets sent per second at most (default: no limit)"),
];

/// The wrapper `fault`.
#[derive(Debug, Clone, Copy, Default)]
pub struct FaultInjector;

impl Wrapper for FaultInjector {
    fn name(&self) -> &str {
        "fault"
    }

    fn summary(&self) -> &str {
        "a bad line: loses, doubles, damages, delays and slows down packets, the same ones in every run"
    }

    fn options(&self) -> &[OptionSpec] {
        OPTIONS
    }

    fn wrap(&self, lport: Lport, options: &Options) -> Result<Lport, OpenError> {
        let int = |key: &str| options.int(key).unwrap_or(0);
        let impairments = |names: [&str; 6]| {
            let [drop, duplicate, corrupt, delay, delay_by, rate] = names;
            Impairments {
                drop: int(drop) as u32,
                duplicate: int(duplicate) as u32,
                corrupt: int(corrupt) as u32,
                delay: int(delay) as u32,
                delay_by: Duration::from_micros(int(delay_by)),
                rate: options.int(rate),
            }
        };
        let faults = Faults {
            rx: impairments(["rx-drop", "rx-duplicate", "rx-corrupt", "rx-delay", "rx-delay-us", "rx-rate"]),
            tx: impairments(["tx-drop", "tx-duplicate", "tx-corrupt", "tx-delay", "tx-delay-us", "tx-rate"]),
            seed: int("seed"),
        };
        faults.wrap(lport)
    }
}
