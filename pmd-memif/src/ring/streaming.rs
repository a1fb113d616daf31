//! Whether a sender writes large packets past the caches, to the memory of another process.
//!
//! Between CPUs that share no cache, a store waits until the other CPU's caches have given up the line, and the peer's load
//! waits for ours: past the caches, by way of memory, half as many packets again to twice as many get across. Between
//! CPUs that share one, it is a half to a quarter as many. No program can tell which CPUs it has, least of all on a virtual
//! machine, which is moved. So it is tried:
//!
//! 1. Packets are written one way, and timed by the [`CHUNK`].
//! 2. Now and then comes a trial: both ways in turn, [`TIMES`] times each. The first ring of packets of each turn does not
//!    count: the peer still reads what was written before. The second one is timed.
//! 3. Past the caches it is, until the next trial, when the slowest time that way was well below the fastest the other way.
//!    Where the packets come slower than either way is, the times are alike, and the caches stay in use.
//! 4. The next trial comes late as long as all goes on as it did, and soon when the packets have become slower, or go past the
//!    caches: then a trial costs least, and a mistake most.
//!
//! A trial of a ring of 1024 slots takes 12288 packets of four million, if it is late; half of them go the slower way.

use std::time::{Duration, Instant};

use super::RingSize;

/// Bytes of a packet from which on it may be written past the caches: a few lines, which memory takes at a time.
pub(crate) const FROM: usize = 256;

/// Packets that are timed together between trials.
const CHUNK: u32 = 1 << 16;

/// Chunks until the next trial, soonest and latest.
const SOON: u32 = 8;
const LATE: u32 = 64;

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
    /// A ring of packets.
    ring: u32,
    /// Chunks since the last trial, and the fastest of them.
    chunks: u32,
    fastest: Duration,
    trial: Option<Trial>,
}

/// What a trial has found so far.
#[derive(Debug)]
struct Trial {
    /// Rings of packets that have been sent, timed or not.
    rings: u8,
    fastest_cached: Duration,
    slowest_streamed: Duration,
}

impl Streaming {
    /// By way of the caches, until the first trial, soon.
    pub(crate) fn new(size: RingSize) -> Self {
        let (fastest, chunks) = (Duration::MAX, LATE);
        Self { is_on: false, left: CHUNK, began: None, ring: size.get().into(), chunks, fastest, trial: None }
    }

    /// Whether packets are written past the caches.
    #[inline(always)]
    pub(crate) fn is_on(&self) -> bool {
        self.is_on
    }

    /// So many large packets were sent. `now` is asked once in a chunk, and in a trial.
    #[inline(always)]
    pub(crate) fn sent(&mut self, packets: u16, now: impl FnOnce() -> Instant) {
        self.left = self.left.saturating_sub(packets.into());
        if self.left == 0 {
            self.go_on(now());
        }
    }

    #[cold]
    fn go_on(&mut self, now: Instant) {
        let time = self.began.replace(now).map_or(Duration::ZERO, |began| now - began);
        if self.trial.is_some() {
            self.go_on_trying(time);
        } else if self.is_trial_due(time) {
            (self.is_on, self.left) = (false, self.ring);
            self.trial = Some(Trial { rings: 0, fastest_cached: Duration::MAX, slowest_streamed: Duration::ZERO });
        } else {
            self.left = CHUNK;
        }
    }

    /// A chunk has taken so long.
    fn is_trial_due(&mut self, time: Duration) -> bool {
        self.chunks += 1;
        let is_slow = time / 3 > self.fastest / 2;
        self.fastest = self.fastest.min(time);
        self.chunks > LATE || self.chunks >= SOON && (self.is_on || is_slow)
    }

    /// A ring of packets of a trial has taken so long.
    fn go_on_trying(&mut self, time: Duration) {
        self.left = self.ring;
        let Some(trial) = &mut self.trial else { return };
        trial.rings += 1;
        if trial.rings % 2 == 0 {
            trial.timed(self.is_on, time);
            self.is_on = !self.is_on;
        }
        if trial.rings == 4 * TIMES {
            self.is_on = trial.is_better_streamed();
            (self.trial, self.left) = (None, CHUNK);
            (self.chunks, self.fastest) = (0, Duration::MAX);
        }
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

    /// By a fifth at least: what is less may be chance.
    fn is_better_streamed(&self) -> bool {
        self.slowest_streamed * 5 < self.fastest_cached * 4
    }
}

#[cfg(test)]
mod tests {
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
                self.streaming.sent(32, || self.now);
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
                    assert_eq!(ring, 12);
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
            assert_eq!(sender.try_both(|_| times), 6, "half of a trial");
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
        assert!(sender.until_tried([80_000, 120_000]) <= 2 * CHUNK, "slower");
        sender.try_both(|_| [120_000, 60_000]);
        assert_eq!(sender.until_tried([120_000, 60_000]), SOON * CHUNK, "past the caches");
    }
}
