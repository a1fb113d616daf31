//! How a sender writes large packets to the memory of another process: in which of three ways. (What the ways are where packets
//! are sent from where they lie, [`super::resting`] tells.)
//!
//! - **In turn**, by way of the caches, to all buffers: right for a peer that reads the packets, on a CPU that shares a cache.
//! - **Past the caches**: between CPUs that share none, a store waits until the other CPU's caches have given up the line, and
//!   the peer's load waits for ours: past the caches, by way of memory, half as many packets again to twice as many get
//!   across. Between CPUs that share one, it is a half to a quarter as many.
//! - **To few buffers** ([`Few`](super::few::Few)): a tenth faster where the peer does not read the packets, as then our own
//!   cache has all their lines; a fifth to a half slower where it reads them.
//!
//! No program can tell which CPUs it has, least of all on a virtual machine, which is moved, or what the peer does with the
//! packets. So it is tried:
//!
//! 1. Packets are written one way, and timed by the [`CHUNK`].
//! 2. Now and then comes a trial of another way: in turn and that way, alternately. The first packets of each turn do not
//!    count, a ring at least: the peer still reads what was written before. In turn, it is all buffers, which the other way has
//!    driven out of the caches. Those behind them are timed. What has taken too long already is not waited for.
//! 3. The other way it is, until the next trial, when it has [won](WINS) before it has [lost](Way::losses) too often: it wins by
//!    [less time](Way::limit_percent) than the least in turn. Where the packets come slower than either way is, the times are
//!    alike, and the buffers are used in turn. What has lost gives way to a trial of the third way.
//! 4. When the peer falls behind while the other way is tried, that turn ends at once, long before the ring is full, and is lost:
//!    no packet is, for its sake. Now and then a peer falls behind because it was kept from its CPU.
//! 5. The next trial comes late as long as all goes on as it did, and soon when the packets have become slower, or go past the
//!    caches, or what was in use has just lost: then a trial costs least, and a mistake most.
//!
//! Of a ring of 1024 slots, some 20 000 packets of four million go the worse ways while in turn is best.

use std::time::{Duration, Instant};

use super::RingSize;
use crate::layout::MOST_BUFFERS;

/// Bytes of a packet from which on the way matters: a few lines, which memory takes at a time.
pub(crate) const FROM: usize = 256;

/// Packets that are timed together between trials.
const CHUNK: u32 = 1 << 16;

/// Chunks until the next trial, soonest and latest.
const SOON: u32 = 8;
const LATE: u32 = 64;

/// Slow chunks, one after the other, that are no pause.
const SLOW: u32 = 3;

/// Packets of a turn after which it is seen whether the peer falls behind: many times what is on its way to it anyway.
const ENOUGH: u32 = 128;

/// Free slots up to which a ring is full: what a peer that is behind frees now and then.
const FULL: u32 = 64;

/// Packets of another way's turn that do not count, at least.
const LEAST: u32 = 1024;

/// How often another way must win to be chosen; to be kept, once.
const WINS: u8 = 4;

/// A way to write packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    InTurn,
    PastCaches,
    ToFew,
}

impl Way {
    /// Per cent of the least time in turn that it must stay below to win. A mistake past the caches costs a factor of two to four,
    /// so that must win by more than may be chance; with few buffers little is gained and lost.
    fn limit_percent(self) -> u32 {
        match self {
            Self::InTurn | Self::ToFew => 100,
            Self::PastCaches => 80,
        }
    }

    /// How often it may not lose: who is kept from its CPU meanwhile spoils one time. What few buffers gain may be as little as the
    /// times scatter.
    fn losses(self) -> u8 {
        match self {
            Self::InTurn | Self::PastCaches => 2,
            Self::ToFew => 3,
        }
    }
}

/// The decision of a sending end.
#[derive(Debug)]
pub(crate) struct Ways {
    /// How packets are written now.
    way: Way,
    /// Whether there are more buffers than few.
    has_few: bool,
    /// Packets until the end of what is being timed.
    left: u32,
    /// When that began; before the first trial, nothing is timed.
    began: Option<Instant>,
    /// Packets of another way's turn that do not count: a ring.
    ring: u32,
    /// All buffers: packets in turn that do not count, and those that are timed.
    buffers: u32,
    /// Chunks since the last trial, and the fastest of them.
    chunks: u32,
    fastest: Duration,
    /// How many slow ones there were at last, one after the other.
    slow: u32,
    trial: Option<Trial>,
}

/// What a trial has found so far.
#[derive(Debug)]
struct Trial {
    /// The way that is tried, whether it was in use before, and what is tried next if it is no better.
    way: Way,
    is_in_use: bool,
    next: Option<Way>,
    /// Whether packets of this turn are timed by now.
    is_timed: bool,
    /// The least time in turn.
    in_turn: Duration,
    /// How often the way has still to win or to lose.
    wins: u8,
    losses: u8,
    /// When this turn began, slots that were free then, and packets sent since.
    turn: Instant,
    room: u32,
    sent: u32,
}

impl Ways {
    /// In turn, until the first trial, soon.
    pub(crate) fn new(size: RingSize, has_few: bool) -> Self {
        Self {
            way: Way::InTurn,
            has_few,
            left: CHUNK,
            began: None,
            ring: LEAST.max(size.get().into()),
            buffers: (MOST_BUFFERS as u32).max(size.get().into()),
            chunks: LATE,
            fastest: Duration::MAX,
            slow: 0,
            trial: None,
        }
    }

    /// How packets are to be written.
    #[inline(always)]
    pub(crate) fn now(&self) -> Way {
        self.way
    }

    /// Writes large packets that way until the next trial, at the end of a chunk.
    #[cfg(test)]
    pub(super) fn go(&mut self, way: Way) {
        self.way = way;
    }

    /// So many large packets were sent. How many slots are `free` now, and what the time is, is asked once in a chunk, and in
    /// a trial.
    #[inline(always)]
    pub(crate) fn sent(&mut self, packets: u16, free: impl FnOnce() -> u16, now: impl FnOnce() -> Instant) {
        self.left = self.left.saturating_sub(packets.into());
        if self.left == 0 || self.trial.is_some() {
            self.go_on(packets.into(), u32::from(free()).min(self.ring), now());
        }
    }

    #[cold]
    fn go_on(&mut self, packets: u32, free: u32, now: Instant) {
        if let Some(trial) = &mut self.trial {
            trial.sent += packets;
            let is_over = trial.is_timed && self.began.is_some_and(|began| trial.is_too_long(self.way, now - began));
            if self.left > 0 && !is_over {
                if self.way != Way::InTurn && trial.falls_behind(free, now, self.buffers) {
                    trial.losses -= 1;
                    self.began = Some(now);
                    self.end_turn(free, now);
                }
                return;
            }
        }
        let time = self.began.replace(now).map_or(Duration::ZERO, |began| now - began);
        if self.trial.is_some() {
            self.go_on_trying(time, free, now);
        } else if self.is_trial_due(time) {
            // First whether what is in use is better still.
            let (way, next) = match self.way {
                Way::ToFew => (Way::ToFew, Some(Way::PastCaches)),
                _ => (Way::PastCaches, self.has_few.then_some(Way::ToFew)),
            };
            self.chunks = 0;
            self.begin_trial(way, next, free, now);
        } else {
            self.left = CHUNK;
        }
    }

    /// A chunk has taken so long.
    fn is_trial_due(&mut self, time: Duration) -> bool {
        self.chunks += 1;
        self.slow = if time / 3 > self.fastest / 2 { self.slow + 1 } else { 0 };
        self.fastest = self.fastest.min(time);
        self.chunks > LATE || self.chunks >= SOON && (self.way == Way::PastCaches || self.slow >= SLOW)
    }

    fn begin_trial(&mut self, way: Way, next: Option<Way>, free: u32, now: Instant) {
        let is_in_use = way == self.way;
        let (in_turn, losses) = (Duration::MAX, way.losses());
        let wins = if is_in_use { 1 } else { WINS };
        let (turn, room, sent) = (now, free, 0);
        self.trial = Some(Trial { way, is_in_use, next, is_timed: false, in_turn, wins, losses, turn, room, sent });
        (self.way, self.left) = (Way::InTurn, self.buffers);
    }

    /// The first packets of a turn, or those that are timed, have taken so long.
    fn go_on_trying(&mut self, time: Duration, free: u32, now: Instant) {
        let Some(trial) = &mut self.trial else { return };
        trial.is_timed = !trial.is_timed;
        if trial.is_timed {
            self.left = self.buffers;
            return;
        }
        trial.timed(self.way, time);
        self.end_turn(free, now);
    }

    /// The next turn, if there is one.
    fn end_turn(&mut self, free: u32, now: Instant) {
        let Some(trial) = &mut self.trial else { return };
        (trial.is_timed, trial.turn, trial.room, trial.sent) = (false, now, free, 0);
        (self.way, self.left) = match self.way {
            Way::InTurn => (trial.way, self.ring),
            _ => (Way::InTurn, self.buffers),
        };
        let (is_won, is_lost) = (trial.wins == 0, trial.losses == 0);
        if is_won || is_lost {
            self.end_trial(is_won, free, now);
        }
    }

    fn end_trial(&mut self, is_won: bool, free: u32, now: Instant) {
        let Some(Trial { way, is_in_use, next, .. }) = self.trial.take() else { return };
        (self.left, self.began) = (CHUNK, Some(now));
        (self.fastest, self.slow) = (Duration::MAX, 0);
        (self.way, self.chunks) = match is_won {
            true => (way, 0),
            false => (Way::InTurn, if is_in_use { LATE - SOON } else { self.chunks }),
        };
        if let Some(next) = next.filter(|_| !is_won) {
            self.begin_trial(next, None, free, now);
        }
    }
}

impl Trial {
    fn timed(&mut self, way: Way, time: Duration) {
        if way == Way::InTurn {
            self.in_turn = self.in_turn.min(time);
        } else if self.is_too_long(way, time) {
            self.losses -= 1;
        } else {
            self.wins -= 1;
        }
    }

    /// Whether no way that takes so long wins.
    fn is_too_long(&self, way: Way, time: Duration) -> bool {
        way != Way::InTurn && time.saturating_mul(100) >= self.in_turn.saturating_mul(way.limit_percent())
    }

    /// Whether packets begin to wait in this turn because the peer takes fewer of them in a time than those that were written in
    /// turn, by a quarter at least.
    fn falls_behind(&self, free: u32, now: Instant, timed: u32) -> bool {
        let kept_up = self.room > FULL;
        let wait = kept_up && self.sent >= ENOUGH && free < self.room - self.room / 8;
        let consumed = self.sent.saturating_sub(self.room.saturating_sub(free));
        wait && self.in_turn.saturating_mul(consumed) < (now - self.turn) * timed / 4 * 3
    }
}

// Arithmetic by the hundred thousand packets: nothing that miri could find.
#[cfg(all(test, not(miri)))]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    /// How long a ring of packets takes in nanoseconds, or how many are taken in a time, by the way.
    type ByWay = [u64; 3];

    /// Sends by a clock.
    struct Sender {
        ways: Ways,
        now: Instant,
    }

    impl Sender {
        /// One that has few buffers, too, or not.
        fn new(has_few: bool) -> Self {
            Self { ways: Ways::new(RingSize::from_log2(10), has_few), now: Instant::now() }
        }

        fn way(&self) -> usize {
            self.ways.now() as usize
        }

        fn send_burst(&mut self, times: ByWay) {
            self.now += Duration::from_nanos(times[self.way()] / 32);
            self.ways.sent(32, || 1024, || self.now);
        }

        fn send_ring(&mut self, times: ByWay) {
            (0..32).for_each(|_| self.send_burst(times));
        }

        fn send_chunks(&mut self, chunks: u32, times: ByWay) {
            (0..chunks * CHUNK / 1024).for_each(|_| self.send_ring(times));
        }

        /// Sends until a trial begins; says after how many packets.
        fn until_tried(&mut self, times: ByWay) -> u32 {
            let rings = (0..).take_while(|_| {
                let goes_on = self.ways.trial.is_none();
                if goes_on {
                    self.send_ring(times);
                }
                goes_on
            });
            rings.count() as u32 * 1024
        }

        /// Sends until the trials are over, each burst in its own times, by the ring's number and whether it is timed; says how
        /// many of their bursts went each way.
        fn try_all(&mut self, mut times: impl FnMut(u32, bool) -> ByWay) -> [u32; 3] {
            self.until_tried([100_000; 3]);
            let mut bursts = [0; 3];
            while let Some(trial) = &self.ways.trial {
                let ring = bursts.iter().sum::<u32>() / 32;
                assert!(ring < 2 * 5 * (8 + 5), "more than two trials");
                let times = times(ring, trial.is_timed);
                bursts[self.way()] += 1;
                self.send_burst(times);
            }
            bursts
        }
    }

    #[test]
    fn the_better_way_is_found_and_found_again_when_it_changes() {
        let mut sender = Sender::new(true);
        // In turn eight rings at a time; another way five, or less when it has taken too long.
        for (times, better, bursts) in [
            ([50_000, 120_000, 80_000], Way::InTurn, [5 * 256, 2 * (32 + 43), 3 * (32 + 80)]),
            ([120_000, 60_000, 60_000], Way::PastCaches, [4 * 256, 4 * 160, 0]),
            ([50_000, 60_000, 49_000], Way::ToFew, [6 * 256, 2 * (32 + 86), 4 * 160]),
            ([50_000, 20_000, 49_000], Way::ToFew, [256, 0, 160]),
            ([120_000, 60_000, 130_000], Way::PastCaches, [7 * 256, 4 * 160, 3 * (32 + 119)]),
            ([50_000, 120_000, 50_000], Way::InTurn, [5 * 256, 2 * (32 + 43), 3 * 160]),
        ] {
            assert_eq!(sender.try_all(|_, _| times), bursts, "until it is clear: {times:?}");
            assert_eq!(sender.ways.now(), better, "{times:?}");
        }
    }

    #[test]
    fn who_has_no_more_than_few_buffers_does_not_try_them() {
        let mut sender = Sender::new(false);
        assert_eq!(sender.try_all(|_, _| [50_000, 120_000, 10_000]), [512, 150, 0]);
        assert_eq!(sender.ways.now(), Way::InTurn);
    }

    #[test]
    fn what_is_alike_is_written_in_turn() {
        let mut sender = Sender::new(true);
        for times in [[100_000, 100_000, 100_000], [100_000, 81_000, 100_000]] {
            sender.try_all(|_, _| times);
            assert_eq!(sender.ways.now(), Way::InTurn, "{times:?}");
        }
    }

    #[test]
    fn one_ring_that_is_odd_does_not_decide() {
        for (odd, times) in (0..60).flat_map(|ring| [(ring, [900_000; 3]), (ring, [100_000, 10_000, 10_000])]) {
            let mut sender = Sender::new(true);
            sender.try_all(|ring, _| if ring == odd { times } else { [100_000, 110_000, 110_000] });
            assert_eq!(sender.ways.now(), Way::InTurn, "ring {odd} in {times:?}");
        }
    }

    #[test]
    fn the_least_time_in_turn_is_the_measure() {
        let mut sender = Sender::new(true);
        // In turn was fast, until the trial disturbed it.
        sender.try_all(|ring, _| if ring < 8 { [100_000; 3] } else { [300_000, 110_000, 110_000] });
        assert_ne!(sender.ways.now(), Way::PastCaches);
    }

    #[test]
    fn the_peer_reads_a_whole_ring_before_a_time_counts() {
        let mut sender = Sender::new(true);
        // What was written the other way shows in the first ring; in turn, buffers have to come back into the caches.
        sender.try_all(|_, is_timed| if is_timed { [50_000, 100_000, 100_000] } else { [900_000, 1000, 1000] });
        assert_eq!(sender.ways.now(), Way::InTurn);
    }

    #[test]
    fn trials_are_late_while_all_goes_on_and_soon_when_it_is_slower_or_goes_past_the_caches() {
        let (in_turn, past, few) = ([50_000, 120_000, 80_000], [120_000, 60_000, 130_000], [50_000, 120_000, 40_000]);
        let mut sender = Sender::new(true);
        assert_eq!(sender.until_tried(in_turn), CHUNK);
        sender.try_all(|_, _| in_turn);
        assert_eq!(sender.until_tried(in_turn), (LATE + 1) * CHUNK);
        sender.try_all(|_, _| in_turn);
        sender.send_chunks(20, in_turn);
        let slower = [80_000, 120_000, 80_000];
        for ring in 0..8 * CHUNK / 1024 {
            sender.send_ring(if ring / 64 % 2 == 0 { slower } else { in_turn });
            assert!(sender.ways.trial.is_none(), "pauses");
        }
        assert_eq!(sender.until_tried(slower), SLOW * CHUNK, "slower");
        for (better, until) in [(past, SOON), (few, LATE + 1)] {
            sender.try_all(|_, _| better);
            assert_eq!(sender.until_tried(better), until * CHUNK, "another way: {better:?}");
        }
        sender.try_all(|_, _| few);
        sender.send_chunks(20, few);
        assert_eq!(sender.until_tried(slower), SLOW * CHUNK, "few, slower");
    }

    /// Sends a ring of packets each 100 us while the peer takes so many of them in that time; says how many waited at most
    /// until the trials were over, and how many bursts of those went each way.
    fn paced(taken: ByWay) -> (u32, [u32; 3]) {
        let mut sender = Sender::new(true);
        sender.until_tried([100_000; 3]);
        // Packets in the ring, by the way they were written, the oldest first; each is taken in its own time.
        let mut ring: VecDeque<usize> = VecDeque::new();
        let (mut most, mut bursts, mut credit) = (0, [0; 3], 0.0);
        let mut put_32_and_take = |ring: &mut VecDeque<usize>, way| {
            credit = f64::min(credit, 0.0) + 1.0 / 32.0;
            while let Some(way) = ring.front().copied().filter(|_| credit > 0.0) {
                credit -= 1.0 / taken[way] as f64;
                ring.pop_front();
            }
            ring.extend([way; 32]);
        };
        while sender.ways.trial.is_some() {
            sender.now += Duration::from_nanos(3125);
            put_32_and_take(&mut ring, sender.way());
            bursts[sender.way()] += 1;
            let free = 1024 - ring.len().min(1024) as u16;
            sender.ways.sent(32, || free, || sender.now);
            most = most.max(ring.len() as u32);
        }
        assert_eq!(sender.ways.now(), Way::InTurn);
        // What waits when the trials are over still takes its time.
        while ring.iter().any(|way| *way != Way::InTurn as usize) {
            put_32_and_take(&mut ring, Way::InTurn as usize);
            most = most.max(ring.len() as u32);
        }
        (most, bursts)
    }

    #[test]
    fn a_peer_that_falls_behind_ends_the_trial_before_a_packet_is_lost() {
        for taken in [[1100, 300, 300], [2000, 500, 700], [1500, 700, 500]] {
            let (most, [_, past, few]) = paced(taken);
            // In two turns and in three, of sixteen bursts at most.
            assert!(past < 2 * 16 && few < 3 * 16, "{taken:?}: {past} and {few} bursts");
            assert!(most < 1024, "{taken:?}: {most} packets waited");
        }
        let (_, [_, past, few]) = paced([1100; 3]);
        assert_eq!((past, few), (2 * (32 + 103), 3 * (32 + 128)), "who keeps up is timed");
    }

    #[test]
    fn a_peer_that_was_away_for_a_moment_does_not_end_what_is_in_use() {
        let times = [120_000, 60_000, 130_000];
        let mut sender = Sender::new(true);
        sender.try_all(|_, _| times);
        for (pauses, then, until) in [(1, Way::PastCaches, SOON), (2, Way::InTurn, SOON + 1)] {
            sender.until_tried(times);
            for _ in 0..pauses {
                while sender.ways.now() == Way::InTurn {
                    sender.send_burst(times);
                }
                // Nothing is taken for five bursts.
                for burst in 1..=5 {
                    sender.now += Duration::from_micros(2);
                    sender.ways.sent(32, || 1024 - burst * 32, || sender.now);
                }
                assert_eq!(sender.ways.now(), Way::InTurn, "the turn is over");
            }
            while sender.ways.trial.is_some() {
                sender.send_burst(times);
            }
            assert_eq!(sender.ways.now(), then, "{pauses} pauses");
            assert_eq!(sender.until_tried(times), until * CHUNK, "{pauses} pauses");
        }
    }

    #[test]
    fn a_ring_that_is_always_full_does_not_end_a_trial() {
        let mut sender = Sender::new(true);
        sender.until_tried([100_000; 3]);
        for (ring, burst) in (0..4 * (8 + 5)).flat_map(|ring| (0..32).map(move |burst| (ring, burst))) {
            let trial = sender.ways.trial.as_ref();
            let is_timed = trial.unwrap_or_else(|| panic!("ended in ring {ring}")).is_timed;
            // The first ring of a turn is taken slowly: it is still what was written before.
            let time = if is_timed { [120_000, 60_000, 60_000][sender.way()] } else { 200_000 };
            sender.now += Duration::from_nanos(time / 32);
            sender.ways.sent(32, || if burst == 31 { 20 } else { 0 }, || sender.now);
        }
        assert_eq!(sender.ways.now(), Way::PastCaches);
    }
}
