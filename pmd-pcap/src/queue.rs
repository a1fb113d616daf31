//! The queues of `net_pcap`.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use pmd_core::worker::NAP_WITHOUT_FD;
use pmd_core::{Alarm, Burst, LportId, Mbuf, Pool, RxQueue, TxQueue};

use crate::control::Shared;
use crate::play::Player;
use crate::record::Track;

/// Receives what a file holds.
pub(crate) struct PlayRx {
    pub(crate) shared: Arc<Shared>,
    pub(crate) player: Player,
    pub(crate) pool: Pool,
    pub(crate) alarm: Alarm,
    pub(crate) port: u16,
}

impl PlayRx {
    fn play(&mut self, burst: &mut Burst) -> usize {
        let ready = self.player.ready(burst.room());
        if ready == 0 {
            return 0;
        }
        let first = burst.len();
        self.pool.alloc_bulk(burst, ready);
        let (mut done, mut bytes, mut short, mut passes) = (0, 0, 0, 0);
        for mbuf in &mut burst[first..] {
            let packet = self.player.packet();
            if !fill(mbuf, packet.data, self.port, &self.pool) {
                break;
            }
            done += 1;
            bytes += packet.data.len() as u64;
            short += u64::from(packet.original as usize > packet.data.len());
            passes += u64::from(self.player.advance());
        }
        burst.truncate(first + done);
        let counters = &self.shared.rx;
        counters.packets.add(done as u64);
        counters.bytes.add(bytes);
        counters.short.add(short);
        if done < ready {
            counters.nombuf.add(1);
        }
        if passes > 0 {
            counters.passes.add(passes);
            counters.over.add(u64::from(self.player.is_over()));
        }
        done
    }
}

impl RxQueue for PlayRx {
    fn rx_burst(&mut self, burst: &mut Burst) -> usize {
        if self.shared.is_down() {
            self.player.pause();
            return 0;
        }
        if self.player.is_over() { 0 } else { self.play(burst) }
    }

    fn renumber(&mut self, lport: LportId) {
        self.port = lport.0;
    }

    fn arm(&mut self) -> bool {
        if self.shared.is_down() {
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

/// Copies a packet into an empty mbuf, and into further ones chained to it; `false` when the pool has none left.
fn fill(mbuf: &mut Mbuf, packet: &[u8], port: u16, pool: &Pool) -> bool {
    let mut rest = fill_one(mbuf, packet, port);
    while !rest.is_empty() {
        let Some(mut segment) = pool.alloc() else { return false };
        rest = fill_one(&mut segment, rest, port);
        if mbuf.chain(segment).is_err() {
            return false;
        }
    }
    true
}

/// Copies what fits, and gives what does not.
fn fill_one<'p>(mbuf: &mut Mbuf, packet: &'p [u8], port: u16) -> &'p [u8] {
    let room = mbuf.room_mut();
    let (now, rest) = packet.split_at(packet.len().min(room.len()));
    room[..now.len()].copy_from_slice(now);
    mbuf.set_received(now.len(), port);
    rest
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
    fn count_lost(&self, packets: u64) {
        if packets > 0 {
            self.shared.tx.lost.add(packets);
        }
    }
}

impl TxQueue for RecordTx {
    fn tx_burst(&mut self, burst: &mut Burst) -> usize {
        if self.shared.is_down() {
            return 0;
        }
        if let Some(track) = &mut self.track {
            if track.recording().has_failed() {
                return 0;
            }
            let lost = track.add(burst);
            self.count_lost(lost);
        }
        let n = burst.len();
        let bytes: usize = burst.iter().map(Mbuf::packet_len).sum();
        burst.clear();
        let counters = &self.shared.tx;
        counters.packets.add(n as u64);
        counters.bytes.add(bytes as u64);
        n
    }

    fn flush(&mut self) {
        let lost = self.track.as_mut().map_or(0, Track::write);
        self.count_lost(lost);
    }
}

impl Drop for RecordTx {
    fn drop(&mut self) {
        self.flush();
    }
}
