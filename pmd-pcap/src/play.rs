//! Playing a capture: which packet comes next, and when.
//!
//! A [`Player`] without a pace has packets ready as long as there are any. With a pace, packet `i` of the first pass is
//! ready so long after the first burst as its time in the file is behind the first packet's, divided by the speed. Times
//! that go back count as no time passing. A further pass begins one average distance behind the last packet of the one
//! before, as if the packets went on.

use std::time::{Duration, Instant};

use crate::capture::{Capture, Packet};

/// A capture being played.
#[derive(Debug)]
pub(crate) struct Player {
    capture: Capture,
    /// `None`: as fast as possible.
    pace: Option<Pace>,
    cursor: Cursor,
}

/// When packets are due, in nanoseconds from the beginning of their pass.
#[derive(Debug)]
struct Pace {
    due: Vec<u64>,
    /// From the beginning of a pass to that of the next.
    period: u64,
    clock: Clock,
}

/// Time since the first burst, less the time in pauses.
#[derive(Debug, Default)]
struct Clock {
    start: Option<Instant>,
    paused: Option<Instant>,
}

/// Where in the playing we are.
#[derive(Debug, Clone, Copy)]
struct Cursor {
    position: usize,
    /// Passes that are not over; `u64::MAX` for ever.
    passes: u64,
    /// When this pass began, on the clock.
    began: u64,
}

impl Player {
    /// Plays `capture` so many times (`None`: for ever), at a factor of its own speed (`None`: as fast as possible).
    pub(crate) fn new(capture: Capture, passes: Option<u64>, speed: Option<f64>) -> Self {
        let pace = speed.map(|speed| Pace::new(&capture, speed));
        let passes = if capture.is_empty() { 0 } else { passes.unwrap_or(u64::MAX) };
        Self { capture, pace, cursor: Cursor { position: 0, passes, began: 0 } }
    }

    /// Whether everything has been played.
    #[inline]
    pub(crate) fn is_over(&self) -> bool {
        self.cursor.passes == 0
    }

    /// How many packets are ready, at most `most`.
    #[inline]
    pub(crate) fn ready(&mut self, most: usize) -> usize {
        match &mut self.pace {
            Some(pace) => {
                let now = pace.clock.now();
                count_due(self.cursor, pace, now, most)
            }
            None if self.cursor.passes == u64::MAX => most,
            None => {
                let (passes, len) = (self.cursor.passes as usize, self.capture.len());
                passes.saturating_mul(len).saturating_sub(self.cursor.position).min(most)
            }
        }
    }

    /// The next packet. There must be one.
    #[inline]
    pub(crate) fn packet(&self) -> Packet<'_> {
        self.capture.packet(self.cursor.position)
    }

    /// Goes on to the packet behind it; `true` when that ended a pass.
    #[inline]
    pub(crate) fn advance(&mut self) -> bool {
        self.cursor.advance(self.capture.len(), self.pace.as_ref().map_or(0, |pace| pace.period))
    }

    /// Time until the next packet is ready; `None` when none will ever be.
    pub(crate) fn time_to_next(&mut self) -> Option<Duration> {
        if self.is_over() {
            return None;
        }
        let Some(pace) = &mut self.pace else { return Some(Duration::ZERO) };
        let due = self.cursor.began.saturating_add(pace.due[self.cursor.position]);
        Some(Duration::from_nanos(due.saturating_sub(pace.clock.now())))
    }

    /// Stops the clock, until packets are asked for again.
    pub(crate) fn pause(&mut self) {
        if let Some(pace) = &mut self.pace {
            pace.clock.pause();
        }
    }
}

impl Pace {
    fn new(capture: &Capture, speed: f64) -> Self {
        let mut times = capture.packets().map(|packet| packet.time_ns);
        let (mut last, mut sum) = (times.next().unwrap_or(0), 0_u64);
        let mut due = Vec::with_capacity(capture.len());
        due.push(0);
        for time in times {
            sum = sum.saturating_add(time.saturating_sub(last));
            last = time;
            // A float of up to 2^64 times up to 1000 becomes the nearest u64.
            due.push((sum as f64 / speed) as u64);
        }
        let length = due[due.len() - 1];
        let distance = length / (due.len() as u64 - 1).max(1);
        Self { due, period: length.saturating_add(distance), clock: Clock::default() }
    }
}

/// Packets from `cursor` on that are due by `now`, at most `most`.
fn count_due(mut cursor: Cursor, pace: &Pace, now: u64, most: usize) -> usize {
    for n in 0..most {
        if cursor.passes == 0 || cursor.began.saturating_add(pace.due[cursor.position]) > now {
            return n;
        }
        cursor.advance(pace.due.len(), pace.period);
    }
    most
}

impl Cursor {
    #[inline]
    fn advance(&mut self, len: usize, period: u64) -> bool {
        self.position += 1;
        if self.position < len {
            return false;
        }
        self.position = 0;
        self.began = self.began.saturating_add(period);
        if self.passes != u64::MAX {
            self.passes -= 1;
        }
        true
    }
}

impl Clock {
    fn now(&mut self) -> u64 {
        let now = Instant::now();
        let start = self.start.get_or_insert(now);
        if let Some(paused) = self.paused.take() {
            *start += now.saturating_duration_since(paused);
        }
        u64::try_from(now.saturating_duration_since(*start).as_nanos()).unwrap_or(u64::MAX)
    }

    fn pause(&mut self) {
        if self.start.is_some() && self.paused.is_none() {
            self.paused = Some(Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::tests::classic;

    /// A capture of packets at these microseconds.
    fn capture(times: &[u32]) -> Capture {
        let packets: Vec<_> = times.iter().map(|time| (*time, vec![0; 60])).collect();
        Capture::parse(classic(&packets)).unwrap()
    }

    fn due(times: &[u32], passes: Option<u64>, speed: f64, now_us: u64) -> usize {
        let player = Player::new(capture(times), passes, Some(speed));
        count_due(player.cursor, player.pace.as_ref().unwrap(), now_us * 1000, 100)
    }

    #[test]
    fn packets_are_due_at_their_distance_from_the_first() {
        let times = [500, 510, 530];
        assert_eq!([0, 9, 10, 29, 30, 1000].map(|now| due(&times, Some(1), 1.0, now)), [1, 1, 2, 2, 3, 3]);
        assert_eq!([0, 4, 5, 15].map(|now| due(&times, Some(1), 2.0, now)), [1, 1, 2, 3], "twice as fast");
        assert_eq!([0, 19, 20].map(|now| due(&times, Some(1), 0.5, now)), [1, 1, 2], "half as fast");
    }

    #[test]
    fn a_further_pass_follows_at_the_average_distance() {
        assert_eq!([30, 44, 45, 54, 55, 1000].map(|now| due(&[500, 510, 530], Some(2), 1.0, now)), [3, 3, 4, 4, 5, 6]);
        assert_eq!(due(&[500, 510, 530], None, 1.0, 1_000_000), 100, "for ever, but no more than asked for");
    }

    #[test]
    fn times_that_go_back_do_not_stop_the_playing() {
        assert_eq!([0, 10].map(|now| due(&[500, 400, 410], Some(1), 1.0, now)), [2, 3]);
    }

    #[test]
    fn without_a_pace_everything_is_ready() {
        let mut player = Player::new(capture(&[1, 2, 3]), Some(2), None);
        assert_eq!((player.ready(4), player.ready(100), player.time_to_next()), (4, 6, Some(Duration::ZERO)));
        assert_eq!((0..6).map(|_| player.advance()).collect::<Vec<_>>(), [false, false, true, false, false, true]);
        assert_eq!((player.is_over(), player.ready(100), player.time_to_next()), (true, 0, None));
    }

    #[test]
    fn an_empty_capture_is_over_at_once_even_for_ever() {
        assert!(Player::new(capture(&[]), None, None).is_over());
        assert!(Player::new(capture(&[]), None, Some(1.0)).is_over());
    }

    #[test]
    fn a_pause_is_no_time() {
        let mut clock = Clock::default();
        clock.pause();
        assert_eq!(clock.now(), 0);
        clock.pause();
        let paused = clock.paused.unwrap();
        clock.start = Some(paused - Duration::from_secs(5));
        clock.paused = Some(paused - Duration::from_secs(4));
        let second = Duration::from_secs(1).as_nanos() as u64;
        let now = clock.now();
        assert!(
            (second..2 * second).contains(&now) || clock.start.unwrap().elapsed() > Duration::from_secs(2),
            "{now}"
        );
    }
}
