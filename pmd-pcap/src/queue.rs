//! The queues of `net_pcap`.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use pmd_core::device::bytes_of;
use pmd_core::pool::RxPool;
use pmd_core::worker::NAP_WITHOUT_FD;
use pmd_core::{Alarm, Burst, Link, LportId, Mbuf, Pool, RxQueue, TxQueue};

use crate::capture::PACKET_MAX;
use crate::control::Shared;
use crate::play::Player;
use crate::record::Track;

/// Receives what a file holds.
pub(crate) struct PlayRx {
    pub(crate) shared: Arc<Shared>,
    pub(crate) player: Player,
    pub(crate) pool: RxPool,
    pub(crate) alarm: Alarm,
    pub(crate) port: u16,
}

impl PlayRx {
    /// Appends the packets that are ready, as far as there are mbufs.
    fn play(&mut self, burst: &mut Burst) -> usize {
        let ready = self.player.ready(burst.room());
        if ready == 0 {
            return 0;
        }
        let first = burst.len();
        self.pool.alloc_bulk(burst, ready);
        let mut played = Played::default();
        for mbuf in &mut burst[first..] {
            if !fill(mbuf, self.player.packet().data, self.port, &self.pool) {
                break;
            }
            played.step(&mut self.player);
        }
        burst.truncate(first + played.packets);
        if played.packets < ready {
            self.play_in_need(burst, &mut played);
        }
        self.count(&played);
        played.packets
    }

    /// The next packet with the mbufs that are left now: those that had been taken for packets behind it are back. So a
    /// chain gets through that needs most of the pool.
    #[cold]
    fn play_in_need(&mut self, burst: &mut Burst, played: &mut Played) {
        self.shared.counters.rx.nombuf.add(1);
        if let Some(mut packet) = self.pool.alloc_packet(self.player.packet().data) {
            packet.set_port(self.port);
            if burst.push(packet).is_ok() {
                played.step(&mut self.player);
            }
        }
    }

    fn count(&self, played: &Played) {
        let Shared { counters, played: ours, .. } = &*self.shared;
        counters.rx.add(played.packets, played.bytes);
        if played.short > 0 {
            ours.short.add(played.short);
        }
        if played.passes > 0 {
            ours.passes.add(played.passes);
            ours.over.add(u64::from(self.player.is_over()));
        }
    }
}

/// What one burst has played.
#[derive(Default)]
struct Played {
    packets: usize,
    bytes: usize,
    short: u64,
    passes: u64,
}

impl Played {
    /// The player's packet has been played.
    #[inline(always)]
    fn step(&mut self, player: &mut Player) {
        let packet = player.packet();
        self.packets += 1;
        self.bytes += packet.data.len();
        self.short += u64::from(packet.original as usize > packet.data.len());
        self.passes += u64::from(player.advance());
    }
}

impl RxQueue for PlayRx {
    fn rx_burst(&mut self, burst: &mut Burst) -> usize {
        if !self.shared.state.is_up() {
            self.player.pause();
            return 0;
        }
        if self.player.is_over() { 0 } else { self.play(burst) }
    }

    fn renumber(&mut self, lport: LportId) {
        self.port = lport.0;
    }

    fn receive_into(&mut self, pool: Option<Pool>) {
        self.pool.set(pool);
    }

    fn arm(&mut self) -> bool {
        if !self.shared.state.is_up() {
            // Nothing tells when it is up again.
            self.alarm.set(NAP_WITHOUT_FD);
            return true;
        }
        match self.player.time_to_next() {
            Some(time) if time.is_zero() => return false,
            Some(time) => self.alarm.set(time),
            None => self.alarm.clear(),
        }
        true
    }

    fn wake_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.alarm.as_fd())
    }
}

/// Copies a packet into an empty mbuf, and into further ones chained to it; `false` when the pool has too few left.
fn fill(mbuf: &mut Mbuf, packet: &[u8], port: u16, pool: &Pool) -> bool {
    let room = mbuf.room_mut();
    let (first, rest) = packet.split_at(packet.len().min(room.len()));
    room[..first.len()].copy_from_slice(first);
    mbuf.set_received(first.len(), port);
    rest.is_empty() || pool.alloc_packet(rest).is_some_and(|tail| mbuf.chain(tail).is_ok())
}

/// Receives nothing: no file is played.
pub(crate) struct NoRx {
    /// Never set.
    pub(crate) alarm: Alarm,
}

impl RxQueue for NoRx {
    fn rx_burst(&mut self, _burst: &mut Burst) -> usize {
        0
    }

    fn renumber(&mut self, _lport: LportId) {}

    fn wake_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.alarm.as_fd())
    }
}

/// Records what is sent; without a track, swallows it.
pub(crate) struct RecordTx {
    pub(crate) shared: Arc<Shared>,
    pub(crate) track: Option<Track>,
}

impl RecordTx {
    fn record(&mut self, packets: &[Mbuf]) -> Sent {
        let mut sent = Sent::default();
        let mut lost = 0;
        // Whole runs, for one look at the clock; longer packets than a file may hold are rare.
        for run in packets.chunk_by(|a, b| is_too_long(a) == is_too_long(b)) {
            if is_too_long(&run[0]) {
                self.shared.recorded.too_long.add(run.len() as u64);
                self.shared.counters.tx.errors.add(run.len() as u64);
                continue;
            }
            sent.packets += run.len();
            sent.bytes += bytes_of(run);
            lost += self.track.as_mut().map_or(0, |track| track.add(run));
        }
        self.report_lost(lost);
        sent
    }

    /// What could not be written takes the link with it, until somebody sets the device up again.
    fn report_lost(&self, packets: u64) {
        if packets > 0 {
            self.shared.recorded.lost.add(packets);
            self.shared.counters.tx.errors.add(packets);
            let why = self.track.as_ref().and_then(|track| track.recording().failure());
            self.shared.state.set_link(Link::Down(why.unwrap_or_else(|| "cannot record".to_owned())));
        }
    }
}

#[derive(Default)]
struct Sent {
    packets: usize,
    bytes: usize,
}

fn is_too_long(packet: &Mbuf) -> bool {
    packet.packet_len() > PACKET_MAX as usize
}

impl TxQueue for RecordTx {
    fn tx_burst(&mut self, burst: &mut Burst) -> usize {
        if !self.shared.state.is_up() {
            return 0;
        }
        let sent = self.record(burst);
        burst.clear();
        self.shared.counters.tx.add(sent.packets, sent.bytes);
        sent.packets
    }

    fn flush(&mut self) {
        let lost = self.track.as_mut().map_or(0, Track::write);
        self.report_lost(lost);
    }
}

impl Drop for RecordTx {
    fn drop(&mut self) {
        self.flush();
    }
}
