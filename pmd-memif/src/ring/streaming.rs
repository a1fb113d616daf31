//! Whether a sender writes large packets past the caches, to the memory of another process.
//!
//! Between CPUs that share no cache, a store waits until the other CPU's caches have given up the line, and the peer's load
//! waits for ours: past the caches, by way of memory, half as many packets again to twice as many get across. Between
//! CPUs that share one, it is a half to a quarter as many. No program can tell which CPUs it has, least of all on a virtual
//! machine, which is moved. So it is tried:
//!
//! 1. Packets are written one way, and timed by the [`CHUNK`].
//! 2. Now and then comes a trial: both ways in turn, [`TIMES`] times each. The first half of each turn, a ring of packets at
//!    least, does not count: the peer still reads what was written before. The second half is timed.
//! 3. Past the caches it is, until the next trial, when the slowest time that way was well below the fastest the other way.
//!    Where the packets come slower than either way is, the times are alike, and the caches stay in use. The trial ends as
//!    soon as that is clear.
//! 4. When the peer falls behind in a turn past the caches, the trial ends at once, long before the ring is full: no
//!    packet is lost for its sake.
//! 5. The next trial comes late as long as all goes on as it did, and soon when the packets have become slower, or go past the
//!    caches: then a trial costs least, and a mistake most.
//!
//! Of a ring of 1024 slots, a trial takes 4096 packets of four million while the caches are better: half of them go past those.

use std::time::{Duration, Instant};

use super::RingSize;

/// Bytes of a packet from which on it may be written past the caches: a few lines, which memory takes at a time.
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

/// Packets of half a turn, at least: in a few, the clock would see little but chance.
const LEAST: u32 = 1024;

/// How often either way is timed in a trial. Who is kept from its CPU meanwhile spoils one time, not all.
const TIMES: u8 = 3;

/// The decision of a sending end.
#[derive(Debug)]
pub(crate) struct Streaming {
    /// How packets are written now.
    is_on: bool,
    /// Packets until the end of what is being timed.
    left: u32,
    /// When that began; before the first trial, nothing is timed.
    began: Option<Instant>,
    /// Packets of half a turn.
    half: u32,
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
    /// Halves of turns that are over, timed or not.
    halves: u8,
    fastest_cached: Duration,
    slowest_streamed: Duration,
    /// When this turn began, slots that were free then, and packets sent since.
    turn: Instant,
    room: u32,
    sent: u32,
}

impl Streaming {
    /// By way of the caches, until the first trial, soon.
    pub(crate) fn new(size: RingSize) -> Self {
        let (fastest, chunks) = (Duration::MAX, LATE);
        Self {
            is_on: false,
            left: CHUNK,
            began: None,
            half: LEAST.max(size.get().into()),
            chunks,
            fastest,
            slow: 0,
            trial: None,
        }
    }

    /// Whether packets are written past the caches.
    #[inline(always)]
    pub(crate) fn is_on(&self) -> bool {
        self.is_on
    }

    /// So many large packets were sent. How many slots are `free` now, and what the time is, is asked once in a chunk, and in
    /// a trial.
    #[inline(always)]
    pub(crate) fn sent(&mut self, packets: u16, free: impl FnOnce() -> u16, now: impl FnOnce() -> Instant) {
        self.left = self.left.saturating_sub(packets.into());
        if self.left == 0 || self.trial.is_some() {
            self.go_on(packets.into(), u32::from(free()).min(self.half), now());
        }
    }

    #[cold]
    fn go_on(&mut self, packets: u32, free: u32, now: Instant) {
        if let Some(trial) = &mut self.trial {
            trial.sent += packets;
            if self.left > 0 {
                if self.is_on && trial.falls_behind(free, now, self.half) {
                    self.end_trial(false, now);
                }
                return;
            }
        }
        let time = self.began.replace(now).map_or(Duration::ZERO, |began| now - began);
        if self.trial.is_some() {
            self.go_on_trying(time, free, now);
        } else if self.is_trial_due(time) {
            (self.is_on, self.left) = (false, self.half);
            let (fastest_cached, slowest_streamed) = (Duration::MAX, Duration::ZERO);
            self.trial = Some(Trial { halves: 0, fastest_cached, slowest_streamed, turn: now, room: free, sent: 0 });
        } else {
            self.left = CHUNK;
        }
    }

    /// A chunk has taken so long.
    fn is_trial_due(&mut self, time: Duration) -> bool {
        self.chunks += 1;
        self.slow = if time / 3 > self.fastest / 2 { self.slow + 1 } else { 0 };
        self.fastest = self.fastest.min(time);
        self.chunks > LATE || self.chunks >= SOON && (self.is_on || self.slow >= SLOW)
    }

    /// Half a turn has taken so long.
    fn go_on_trying(&mut self, time: Duration, free: u32, now: Instant) {
        self.left = self.half;
        let Some(trial) = &mut self.trial else { return };
        trial.halves += 1;
        if trial.halves % 2 == 0 {
            trial.timed(self.is_on, time);
            self.is_on = !self.is_on;
            (trial.turn, trial.room, trial.sent) = (now, free, 0);
        }
        // What has once been slower stays so: the slowest time counts.
        if trial.is_lost() || trial.halves == 4 * TIMES {
            let streams = !trial.is_lost();
            self.end_trial(streams, now);
        }
    }

    fn end_trial(&mut self, streams: bool, now: Instant) {
        (self.is_on, self.trial) = (streams, None);
        (self.left, self.began) = (CHUNK, Some(now));
        (self.chunks, self.fastest, self.slow) = (0, Duration::MAX, 0);
    }
}

impl Trial {
    fn timed(&mut self, streamed: bool, time: Duration) {
        if streamed {
            self.slowest_streamed = self.slowest_streamed.max(time);
        } else {
            self.fastest_cached = self.fastest_cached.min(time);
        }
    }

    /// Whether it has not been faster past the caches by a fifth at least: what is less may be chance.
    fn is_lost(&self) -> bool {
        self.slowest_streamed / 4 >= self.fastest_cached / 5
    }

    /// Whether packets begin to wait in this turn because the peer takes fewer of them in a time than those that went through
    /// the caches, by a quarter at least.
    fn falls_behind(&self, free: u32, now: Instant, half: u32) -> bool {
        let kept_up = self.room > FULL;
        let wait = kept_up && self.sent >= ENOUGH && free < self.room - self.room / 8;
        let consumed = self.sent.saturating_sub(self.room.saturating_sub(free));
        wait && self.fastest_cached * consumed < (now - self.turn) * half / 4 * 3
    }
}

// Arithmetic by the hundred thousand packets: nothing that miri could find.
#[cfg(all(test, not(miri)))]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    /// Sends by a clock: a ring of packets takes so many nanoseconds, cached and streamed.
    struct Sender {
        streaming: Streaming,
        now: Instant,
    }

    impl Sender {
        fn new() -> Self {
            Self { streaming: Streaming::new(RingSize::from_log2(10)), now: Instant::now() }
        }

        fn send_ring(&mut self, [cached, streamed]: [u64; 2]) {
            for _ in 0..1024 / 32 {
                self.now += Duration::from_nanos(if self.streaming.is_on() { streamed } else { cached } / 32);
                self.streaming.sent(32, || 1024, || self.now);
            }
        }

        /// Sends until a trial begins; says after how many packets.
        fn until_tried(&mut self, times: [u64; 2]) -> u32 {
            let rings = (0..).take_while(|_| {
                let goes_on = self.streaming.trial.is_none();
                if goes_on {
                    self.send_ring(times);
                }
                goes_on
            });
            rings.count() as u32 * 1024
        }

        /// Sends until the trial is over, each ring in its own times; says how many of its rings were streamed.
        fn try_both(&mut self, mut times: impl FnMut(u32) -> [u64; 2]) -> u32 {
            self.until_tried([100_000; 2]);
            let mut streamed = 0;
            for ring in 0.. {
                if self.streaming.trial.is_none() {
                    assert!(ring <= 12, "{ring} rings in a trial");
                    break;
                }
                streamed += u32::from(self.streaming.is_on());
                self.send_ring(times(ring));
            }
            streamed
        }
    }

    #[test]
    fn the_better_way_is_found_and_found_again_when_it_changes() {
        let mut sender = Sender::new();
        for (times, better) in [([50_000, 120_000], false), ([120_000, 60_000], true), ([50_000, 120_000], false)] {
            assert_eq!(sender.try_both(|_| times), if better { 6 } else { 2 }, "until it is clear");
            assert_eq!(sender.streaming.is_on(), better, "{times:?}");
        }
    }

    #[test]
    fn what_is_alike_stays_in_the_caches() {
        let mut sender = Sender::new();
        for times in [[100_000, 100_000], [100_000, 81_000]] {
            sender.try_both(|_| times);
            assert!(!sender.streaming.is_on(), "{times:?}");
        }
    }

    #[test]
    fn one_ring_that_is_odd_does_not_decide() {
        for (odd, times) in (0..12).flat_map(|ring| [(ring, [900_000; 2]), (ring, [100_000, 10_000])]) {
            let mut sender = Sender::new();
            sender.try_both(|ring| if ring == odd { times } else { [100_000, 110_000] });
            assert!(!sender.streaming.is_on(), "ring {odd} in {times:?}");
        }
    }

    #[test]
    fn the_peer_reads_a_whole_ring_before_a_time_counts() {
        let mut sender = Sender::new();
        // What was written the other way shows in the first ring.
        sender.try_both(|ring| if ring % 2 == 0 { [900_000, 1000] } else { [50_000, 100_000] });
        assert!(!sender.streaming.is_on());
    }

    #[test]
    fn trials_are_late_while_all_goes_on_and_soon_when_it_is_slower_or_past_the_caches() {
        let mut sender = Sender::new();
        assert_eq!(sender.until_tried([50_000, 120_000]), CHUNK);
        sender.try_both(|_| [50_000, 120_000]);
        assert_eq!(sender.until_tried([50_000, 120_000]), (LATE + 1) * CHUNK);
        sender.try_both(|_| [50_000, 120_000]);
        for _ in 0..20 * CHUNK / 1024 {
            sender.send_ring([50_000, 120_000]);
        }
        for ring in 0..8 * CHUNK / 1024 {
            sender.send_ring([if ring / 64 % 2 == 0 { 80_000 } else { 50_000 }, 120_000]);
            assert!(sender.streaming.trial.is_none(), "pauses");
        }
        assert_eq!(sender.until_tried([80_000, 120_000]), SLOW * CHUNK, "slower");
        sender.try_both(|_| [120_000, 60_000]);
        assert_eq!(sender.until_tried([120_000, 60_000]), SOON * CHUNK, "past the caches");
    }

    /// Sends a ring of packets each 100 us while the peer takes so many of them in that time, cached and streamed; says how many
    /// waited at most until the trial was over, and how many bursts that took.
    fn paced(taken: [u32; 2]) -> (u32, u32) {
        let mut sender = Sender::new();
        sender.until_tried([100_000; 2]);
        // Packets in the ring, by the way they were written, the oldest first; each is taken in its own time.
        let mut ring: VecDeque<bool> = VecDeque::new();
        let (mut most, mut bursts, mut credit) = (0, 0, 0.0);
        let mut put_32_and_take = |ring: &mut VecDeque<bool>, streamed| {
            credit = f64::min(credit, 0.0) + 1.0 / 32.0;
            while let Some(streamed) = ring.front().copied().filter(|_| credit > 0.0) {
                credit -= 1.0 / f64::from(taken[usize::from(streamed)]);
                ring.pop_front();
            }
            ring.extend([streamed; 32]);
        };
        while sender.streaming.trial.is_some() {
            sender.now += Duration::from_nanos(3125);
            put_32_and_take(&mut ring, sender.streaming.is_on());
            bursts += 1;
            let free = 1024 - ring.len().min(1024) as u16;
            sender.streaming.sent(32, || free, || sender.now);
            most = most.max(ring.len() as u32);
        }
        assert!(!sender.streaming.is_on());
        // What waits when the trial is over still takes its time.
        while ring.iter().any(|streamed| *streamed) {
            put_32_and_take(&mut ring, false);
            most = most.max(ring.len() as u32);
        }
        (most, bursts)
    }

    #[test]
    fn a_peer_that_falls_behind_ends_the_trial_before_a_packet_is_lost() {
        for taken in [[1100, 300], [2000, 500], [1500, 700]] {
            let (most, bursts) = paced(taken);
            assert!(bursts < 4 * 32 && most < 1024, "{taken:?}: {most} packets waited, {bursts} bursts");
        }
        assert_eq!(paced([1100, 1100]).1, 4 * 32, "who keeps up is timed");
    }

    #[test]
    fn a_ring_that_is_always_full_does_not_end_a_trial() {
        let mut sender = Sender::new();
        sender.until_tried([100_000; 2]);
        for (ring, burst) in (0..12).flat_map(|ring| (0..32).map(move |burst| (ring, burst))) {
            assert!(sender.streaming.trial.is_some(), "in ring {ring}");
            // The first ring of a turn is taken slowly: it is still what was written before.
            let time = if ring % 2 == 0 { 200_000 } else { [120_000, 60_000][usize::from(sender.streaming.is_on())] };
            sender.now += Duration::from_nanos(time / 32);
            sender.streaming.sent(32, || if burst == 31 { 20 } else { 0 }, || sender.now);
        }
        assert!(sender.streaming.is_on());
    }
}
