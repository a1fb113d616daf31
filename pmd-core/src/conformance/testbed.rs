//! The testbed: a rig opened, and what checks do with it.
//!
//! 1. [`Testbed::open`] makes pools and opens both ends; it waits until the links are up.
//! 2. A check sends and receives through [`send`] and [`receive`], which compare every single burst with the counters, or
//!    through [`Testbed::carry`], which takes packets all the way.
//! 3. [`Testbed::close`] drops everything: every mbuf is back.

use std::any::Any;
use std::time::Instant;

use super::checked::{bytes, check_port, difference, receive, require_whole, send, wait};
use super::fixture::{Capabilities, Device, Far, Fixture, Rig, Shape};
use super::promise::{self, Promise};
use crate::burst::Burst;
use crate::driver::{DeviceRequest, OpenError};
use crate::lport::Lport;
use crate::mbuf::Mbuf;
use crate::options::Options;
use crate::pool::{Pool, PoolConfig};

/// Polls after which nothing more is expected to come.
const SETTLE_POLLS: usize = 64;

/// Polls without a packet after which nothing is on its way any more, however slow the way is.
const QUIET_POLLS: usize = 500;

/// An end of the rig.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Near,
    Far,
}

/// A way that packets take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Way {
    /// Who sends, if anyone can.
    pub(super) from: Option<End>,
    /// Who receives, if anyone can.
    pub(super) to: Option<End>,
    /// Whether what is received is what was sent.
    pub(super) tied: bool,
}

/// The lports of one end, and the pool they receive into and send from.
pub(super) struct Side {
    pub(super) lports: Vec<Lport>,
    pub(super) pool: Pool,
}

/// What [`Testbed::carry`] saw.
#[derive(Debug, Default)]
pub(super) struct Carried {
    /// What arrived, without a kernel's noise; empty on untied ways.
    pub(super) arrived: Vec<Vec<u8>>,
    /// Packets that the sending end says it sent.
    pub(super) sent: usize,
    /// Packets that it says it dropped.
    pub(super) dropped: usize,
}

/// A rig, opened.
pub(super) struct Testbed {
    pub(super) caps: Capabilities,
    pub(super) device: Device,
    pub(super) near: Side,
    pub(super) far: Option<Side>,
    pub(super) cut: Option<Box<dyn FnMut(bool) + Send>>,
    /// What is broken when packets do not arrive as they should.
    pub(super) about: Promise,
    pools: Vec<Pool>,
    next: u32,
    keep: Box<dyn Any + Send>,
}

impl Testbed {
    /// Opens a rig with so many queues and waits until its links are up.
    pub(super) fn open(fixture: &dyn Fixture, queues: u16) -> Self {
        let caps = fixture.capabilities();
        assert!(
            !caps.noise || caps.min_packet >= caps.frame.marked_len(),
            "a fixture with noise needs packets of {} bytes at least, to tell its own from others",
            caps.frame.marked_len()
        );
        let Rig { near: device, far, cut, keep } = fixture.rig(queues);
        let near = Side::open(&device, queues);
        let far = match far {
            Far::Nothing => None,
            Far::Device(device) => Some(Side::open(&device, queues)),
            Far::Made(make) => {
                let config = PoolConfig { name: "far".into(), cache: 64, ..PoolConfig::default() };
                let pool = Pool::new(&config).expect("there is memory for a pool");
                Some(Side { lports: make(&pool), pool })
            }
        };
        let pools = std::iter::once(&near).chain(&far).map(|side| side.pool.clone()).collect();
        let mut bed = Self { caps, device, near, far, cut, about: promise::RX_WHOLE, pools, next: 0, keep };
        bed.wait_for_links();
        bed
    }

    /// A pool beside those of the rig, which has to be whole in the end, too.
    pub(super) fn another_pool(&mut self, size: usize, data_room: usize) -> Pool {
        let config = PoolConfig { name: "another".into(), size, data_room, cache: 0, ..PoolConfig::default() };
        let pool = Pool::new(&config).expect("there is memory for a pool");
        self.pools.push(pool.clone());
        pool
    }

    /// The ways of packets, each to be checked.
    pub(super) fn ways(&self) -> Vec<Way> {
        let tied = |from, to| Way { from: Some(from), to: Some(to), tied: true };
        match self.caps.shape {
            Shape::Loop => vec![tied(End::Near, End::Near)],
            Shape::Pair => vec![tied(End::Near, End::Far), tied(End::Far, End::Near)],
            Shape::Outwards => vec![tied(End::Near, End::Far)],
            Shape::Inwards => vec![tied(End::Far, End::Near)],
            Shape::Ends { source, sink } => {
                let end = |there: bool| there.then_some(End::Near);
                vec![Way { from: end(sink), to: end(source), tied: false }]
            }
        }
    }

    /// The ways on which what is received is what was sent.
    pub(super) fn tied_ways(&self) -> Vec<Way> {
        self.ways().into_iter().filter(|way| way.tied).collect()
    }

    /// One end.
    pub(super) fn side(&mut self, end: End) -> &mut Side {
        match end {
            End::Near => &mut self.near,
            End::Far => self.far.as_mut().expect("the fixture's shape has a far end, but its rig has none"),
        }
    }

    /// The pool that one end sends from.
    pub(super) fn side_pool(&mut self, end: End) -> Pool {
        self.side(end).pool.clone()
    }

    /// All lports.
    pub(super) fn lports(&self) -> impl Iterator<Item = &Lport> {
        self.near.lports.iter().chain(self.far.iter().flat_map(|side| &side.lports))
    }

    /// Waits until packets can flow. Both ends are polled meanwhile: some links need that.
    pub(super) fn wait_for_links(&mut self) {
        let patience = self.caps.patience;
        let mut scratch = Burst::new();
        for end in [Some(End::Near), self.far.is_some().then_some(End::Far)].into_iter().flatten() {
            wait(patience, &promise::DEAD_LINK, "the link comes up", || {
                self.poll_all(&mut scratch);
                self.side(end).lports.iter().all(|lport| lport.control.link().is_up())
            });
        }
    }

    /// Receives and drops whatever is there, on every queue of a rig that is no source.
    pub(super) fn poll_all(&mut self, scratch: &mut Burst) {
        for lport in self.near.lports.iter_mut().chain(self.far.iter_mut().flat_map(|side| &mut side.lports)) {
            lport.rx.rx_burst(scratch);
            scratch.clear();
            lport.tx.flush();
        }
    }

    /// Receives and drops what is still on its way, until nothing of it has come for a while.
    pub(super) fn settle(&mut self, way: Way) {
        if way.tied && way.to.is_some() {
            let (mut quiet, mut burst, mut late, patience) = (0, Burst::new(), Vec::new(), self.caps.patience);
            wait(patience, &promise::RX_COUNT, "what was on its way has come", || {
                quiet = if self.receive_at(way, 0, &mut burst, &mut late) == 0 { quiet + 1 } else { 0 };
                quiet > QUIET_POLLS
            });
        }
    }

    /// The largest packet that a way carries, in bytes. Without chains it also fits an mbuf of the sender.
    pub(super) fn largest(&mut self, way: Way) -> usize {
        let chains = self.caps.chains;
        let mut largest = usize::from(u16::MAX);
        for end in [way.from, way.to].into_iter().flatten() {
            largest = largest.min(self.side(end).lports[0].control.info().max_packet as usize);
        }
        match way.from {
            Some(from) if !chains => largest.min(self.side(from).pool.data_room()),
            _ => largest,
        }
    }

    /// The next packets, of these lengths.
    pub(super) fn packets(&mut self, lens: &[usize]) -> Vec<Vec<u8>> {
        let first = self.next;
        self.next += lens.len() as u32;
        (first..).zip(lens).map(|(number, len)| self.caps.frame.packet(number, *len)).collect()
    }

    /// Sends packets out of the sender's pool along a way, in bursts of `size` at most, until all are accepted or dropped,
    /// and receives until as many have arrived as were sent. Every burst is compared with the counters. Fails when what
    /// arrives is not what was sent.
    pub(super) fn carry(&mut self, way: Way, queue: usize, size: usize, packets: &[Vec<u8>]) {
        let Some(from) = way.from else { return self.only_receive(way, queue, size, packets.len()) };
        let pool = self.side(from).pool.clone();
        let carried = self.carry_mbufs(way, queue, size, packets.len(), |i| {
            pool.alloc_packet(&packets[i]).expect("the fixture's pool holds more than its window")
        });
        promise::TX_DROPS.require(carried.dropped == 0, || {
            let (dropped, of) = (carried.dropped, packets.len());
            format!("{dropped} of {of} packets were dropped, all of which the lport carries")
        });
        if !way.tied {
            self.only_receive(way, queue, size, packets.len());
        } else if way.to.is_some() {
            self.compare(&self.about, packets, &carried.arrived);
        }
    }

    /// The same for packets that come from anywhere. What arrived is not compared with anything.
    pub(super) fn carry_mbufs(
        &mut self,
        way: Way,
        queue: usize,
        size: usize,
        count: usize,
        mut make: impl FnMut(usize) -> Mbuf,
    ) -> Carried {
        let (mut carried, mut made, mut settled) = (Carried::default(), 0, 0);
        let (mut out, mut arrived) = (Burst::new(), Burst::with_limit(size));
        let window = if way.tied && way.to.is_some() { self.caps.window } else { usize::MAX };
        let end = Instant::now() + self.caps.patience;
        let mut received = 0;
        while settled < SETTLE_POLLS {
            while made < count && out.len() < size && made - carried.dropped - received < window {
                out.push(make(made)).expect("a burst has room for its size");
                made += 1;
            }
            if let Some(from) = way.from {
                let lport = &mut self.side(from).lports[queue];
                let sent = send(&mut *lport.tx, &*lport.control, &mut out);
                lport.tx.flush();
                carried.sent += sent.sent;
                carried.dropped += sent.dropped;
            }
            let before = received;
            received += self.receive_at(way, queue, &mut arrived, &mut carried.arrived);
            let done = made == count && out.is_empty() && (!way.tied || way.to.is_none() || received >= carried.sent);
            settled = if done && received == before { settled + 1 } else { 0 };
            if done && !way.tied {
                break;
            }
            self.about.require(Instant::now() < end, || {
                let (sent, left) = (carried.sent, count - made + out.len());
                format!("of {sent} packets sent {received} have arrived in time, and {left} more could not be sent")
            });
            if !done {
                std::thread::yield_now();
            }
        }
        carried
    }

    /// Receives `count` packets of whatever content.
    fn only_receive(&mut self, way: Way, queue: usize, size: usize, count: usize) {
        let Some(to) = way.to else { return };
        let mut burst = Burst::with_limit(size);
        let mut received = 0;
        let patience = self.caps.patience;
        wait(patience, &promise::RX_COUNT, "a source yields packets", || {
            let lport = &mut self.side(to).lports[queue];
            received += receive(&mut *lport.rx, &*lport.control, &mut burst);
            burst.clear();
            received >= count
        });
    }

    /// Receives one burst at the end of a way, copies what is ours to `arrived` and says how many packets that were.
    pub(super) fn receive_at(
        &mut self,
        way: Way,
        queue: usize,
        burst: &mut Burst,
        arrived: &mut Vec<Vec<u8>>,
    ) -> usize {
        let Some(to) = way.to else { return 0 };
        let (noise, frame, spreads) = (self.caps.noise, self.caps.frame, self.caps.spreads);
        let side = self.side(to);
        let queues = if spreads { 0..side.lports.len() } else { queue..queue + 1 };
        let mut ours = 0;
        for lport in &mut side.lports[queues] {
            receive(&mut *lport.rx, &*lport.control, burst);
            for mbuf in burst.iter() {
                check_port(mbuf, lport.id);
                let data = bytes(mbuf);
                if way.tied && !(noise && frame.number(&data).is_none()) {
                    ours += 1;
                    arrived.push(data);
                } else if !way.tied {
                    ours += 1;
                }
            }
            burst.clear();
        }
        ours
    }

    /// Fails unless the packets that arrived are those that were sent, in order, padded as the device says.
    pub(super) fn compare(&self, promise: &Promise, sent: &[Vec<u8>], arrived: &[Vec<u8>]) {
        let padded = |packet: &Vec<u8>| {
            let mut packet = packet.clone();
            packet.resize(packet.len().max(self.caps.pads_to), 0);
            packet
        };
        let sent: Vec<_> = sent.iter().map(padded).collect();
        if let Some(found) = difference(&sent, arrived) {
            promise.broken(&found);
        }
    }

    /// Closes the lports of both ends; what is around them stays.
    pub(super) fn close_lports(&mut self) {
        self.near.lports.clear();
        self.far = None;
    }

    /// Closes everything. Every mbuf is back.
    pub(super) fn close(self) {
        let Self { near, far, pools, keep, .. } = self;
        drop((near.lports, far.map(|side| side.lports)));
        require_whole(&pools);
        drop(keep);
    }

    /// Handles on the pools of the rig, and those made with [`Self::another_pool`].
    pub(super) fn pools(&self) -> Vec<Pool> {
        self.pools.clone()
    }
}

impl Side {
    fn open(device: &Device, queues: u16) -> Self {
        let pool = pool_of(device);
        let lports = open(device, queues, Some(&pool)).unwrap_or_else(|error| {
            panic!("the fixture's device `{}` cannot be opened: {error}", device.name);
        });
        Self { lports, pool }
    }
}

/// The pool of a device, shareable if its driver wants that.
pub(super) fn pool_of(device: &Device) -> Pool {
    let shareable = checked_options(device).is_ok_and(|options| device.driver.shares_pools(&options));
    Pool::new(&PoolConfig { shareable, ..device.pool.clone() }).expect("there is memory for the fixture's pool")
}

/// Opens a device as the runtime does: options against the table, then the driver's own checks, then the device.
///
/// # Errors
/// What any of them says.
pub(super) fn open(device: &Device, queues: u16, pool: Option<&Pool>) -> Result<Vec<Lport>, OpenError> {
    let options = checked_options(device)?;
    device.driver.check(&options, usize::from(queues)).map_err(|errors| OpenError(errors[0].to_string()))?;
    let request = DeviceRequest::new(&device.name, options, queues, pool);
    let asked: Vec<_> = request.queues.iter().map(|queue| (queue.lport, queue.name.clone())).collect();
    let lports = device.driver.open(request)?;
    let opened: Vec<_> = lports.iter().map(|lport| (lport.id, lport.name.clone())).collect();
    promise::OPEN_QUEUES.require(opened == asked, || format!("asked for {asked:?}, got {opened:?}"));
    Ok(lports)
}

fn checked_options(device: &Device) -> Result<Options, OpenError> {
    Options::check(device.driver.options(), &device.options).map_err(|errors| OpenError(errors[0].to_string()))
}
