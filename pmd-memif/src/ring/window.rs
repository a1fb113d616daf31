//! How many buffers a client keeps posted in a ring it receives from.
//!
//! A server fills posted buffers in the order of the ring, so each of them passes through the caches before the first comes
//! again: with 1024 buffers of 2 KiB, every packet is written to memory that L2 no longer has. A receiver that keeps up never
//! needs that many. So:
//!
//! 1. At first all slots are posted: the ring takes as many packets as it has slots while nobody polls.
//! 2. When many packets came in a row of few looks at the server's index, and never more than an eighth of the window waited, the
//!    window is halved, down to a floor.
//! 3. Where a long queue stands, as where so many packets go round, the window is as long as that and the floor together: what a
//!    server fills then lies no longer behind a queue of empty buffers, but behind a few.
//! 4. When more than half of the window waits, or of what it has beside a queue, or when few packets come, all slots are posted
//!    again.
//! 5. Each time that packets waited, it takes twice as long until the window closes again, up to a million packets. Pauses
//!    that the whole ring would have outlasted cost less than a ring of packets each, and so, if they go on, less than one
//!    packet in a thousand.
//!
//! Under little load, when a pause of the receiver is what rings are for, the whole ring is there. Under so much that the
//! window closes, a receiver that pauses would lose packets with the whole ring as well, a few microseconds later.

use super::{PACKET_MAX, RingSize};

/// Packets that are judged together: some milliseconds of them.
const PERIOD: u32 = 1 << 17;

/// Looks per packet, on average, from which on packets are few. A thread that polls nothing else looks some 20 million times a
/// second.
const FEW: u32 = 4;

/// Most periods that a window stays whole after packets waited. With more, threads that are interrupted a few times a second (on
/// a virtual machine all are) would keep the whole ring, and be a third slower, to save one packet in ten thousand.
const LONGEST: u32 = 8;

/// The smallest window, in slots.
const FLOOR: u16 = 128;

/// Floors that are a long queue: with less, eight times as much is not too much.
const LONG: u16 = 2;

/// Largest packets that a window has room for.
const LARGEST: u32 = 4;

/// The window of a ring.
#[derive(Debug)]
pub(crate) struct Window {
    size: u16,
    floor: u16,
    open: u16,
    /// More than so many waiting slots are too many for a window that is not whole.
    enough: u16,
    /// Looks in this period, packets found, and the most at one look.
    looks: u32,
    found: u32,
    peak: u16,
    /// Periods until the window may close, and how many there are next time.
    whole: u32,
    next_whole: u32,
}

impl Window {
    /// The window of a ring whose buffers hold `capacity` bytes: all of it, for now.
    pub(crate) fn new(size: RingSize, capacity: u32) -> Self {
        let slots = LARGEST * (PACKET_MAX as u32).div_ceil(capacity.max(1));
        let floor = u16::try_from(slots.next_power_of_two()).unwrap_or(u16::MAX).max(FLOOR);
        let size = size.get();
        Self { size, floor, open: size, enough: size, looks: 0, found: 0, peak: 0, whole: 0, next_whole: 1 }
    }

    /// Slots to be posted.
    #[inline(always)]
    pub(crate) fn open(&self) -> u16 {
        self.open
    }

    /// A fresh look at the server's index found `waiting` filled slots; says whether [`Self::open`] has changed.
    #[inline(always)]
    pub(crate) fn look(&mut self, waiting: u16) -> bool {
        self.looks += 1;
        if waiting > 0 {
            self.found += u32::from(waiting);
            self.peak = self.peak.max(waiting);
            if self.found >= PERIOD || self.is_short_of(waiting) {
                return self.judge();
            }
        }
        self.looks == FEW * PERIOD && self.judge()
    }

    /// Whether the window is not whole, and too little of it is left.
    #[inline(always)]
    fn is_short_of(&self, waiting: u16) -> bool {
        waiting > self.enough && self.open < self.size
    }

    #[cold]
    fn judge(&mut self) -> bool {
        let before = self.open;
        if self.is_short_of(self.peak) {
            self.whole = self.next_whole;
            self.next_whole = LONGEST.min(2 * self.next_whole);
            self.open = self.size;
        } else if self.found < self.looks / FEW {
            self.open = self.size;
        } else if self.whole > 0 {
            self.whole -= 1;
        } else {
            self.close();
        }
        (self.looks, self.found, self.peak) = (0, 0, 0);
        self.open != before
    }

    /// Makes the window smaller, if it may be.
    fn close(&mut self) {
        let Self { floor, open, peak, .. } = *self;
        if peak <= open / 8 && open / 2 >= floor {
            (self.open, self.enough) = (open / 2, open / 4);
        } else if self.stands() && peak < open.saturating_sub(floor) {
            (self.open, self.enough) = (peak + floor, peak + floor / 2);
        }
    }

    /// Whether a long queue stands: hardly less waited on average than at most.
    fn stands(&self) -> bool {
        self.peak >= self.floor.saturating_mul(LONG) && self.found / self.looks >= u32::from(self.peak) / 4 * 3
    }
}

// Arithmetic by the million looks: nothing that miri could find, and minutes of its time.
#[cfg(all(test, not(miri)))]
mod tests {
    use super::*;

    /// A window after so many periods of looks that find `waiting` packets each.
    fn after(window: &mut Window, periods: u32, waiting: u16) -> u16 {
        (0..periods * PERIOD.div_ceil(waiting.into())).for_each(|_| _ = window.look(waiting));
        window.open()
    }

    /// A window after a period with `empty` looks that find nothing before each that finds 32 packets.
    fn sparse(window: &mut Window, empty: usize) -> u16 {
        let mut found = 0;
        let mut looks = 0;
        while found < PERIOD && looks < FEW * PERIOD {
            (0..empty).for_each(|_| _ = window.look(0));
            window.look(32);
            (found, looks) = (found + 32, looks + empty as u32 + 1);
        }
        window.open()
    }

    fn window() -> Window {
        Window::new(RingSize::from_log2(10), 2048)
    }

    #[test]
    fn it_closes_step_by_step_while_much_comes_and_little_waits() {
        let mut window = window();
        assert_eq!(window.open(), 1024);
        assert_eq!(after(&mut window, 1, 32), 512);
        assert_eq!(after(&mut window, 1, 32), 256);
        assert_eq!(after(&mut window, 5, 32), 128, "an eighth of 256 waits, so it closes once more");
        let mut bursty = super::tests::window();
        assert_eq!(after(&mut bursty, 9, 65), 512, "there is room for eight times what waits");
    }

    #[test]
    fn it_opens_whole_at_once_when_half_of_it_waits() {
        let mut window = window();
        after(&mut window, 9, 32);
        assert!(!window.look(64) && window.open() == 128);
        assert!(window.look(65) && window.open() == 1024);
    }

    #[test]
    fn it_closes_behind_a_long_queue_that_stands_and_opens_when_that_grows() {
        let mut window = window();
        assert_eq!(after(&mut window, 1, 500), 628);
        assert_eq!(after(&mut window, 1, 490), 618, "it follows");
        assert!(!window.look(554) && window.open() == 618, "half of what lies behind the queue is left");
        assert!(window.look(555) && window.open() == 1024);
        assert_eq!([after(&mut window, 1, 600), after(&mut window, 1, 600)], [1024, 728], "after a while");
        assert_eq!(after(&mut window, 9, 897), 1024, "no room for a floor behind it");
        let mut short = super::tests::window();
        assert_eq!(
            [after(&mut short, 9, 255), after(&mut short, 9, 256)],
            [1024, 384],
            "a queue of two floors is long"
        );
    }

    #[test]
    fn it_stays_whole_where_a_long_queue_comes_and_goes() {
        let mut window = window();
        for _ in 0..PERIOD / 128 {
            assert!((0..8).all(|i| !window.look(if i < 5 { 500 } else { 20 })));
        }
        assert_eq!(window.open(), 1024);
    }

    #[test]
    fn it_stays_whole_twice_as_long_each_time_that_packets_waited() {
        let mut window = window();
        for periods in [1, 2, 4, 8, 8] {
            after(&mut window, 3, 128);
            assert_eq!(window.open(), 512, "before the pause that is followed by {periods} periods");
            window.look(300);
            assert_eq!(after(&mut window, periods, 128), 1024);
            assert_eq!(after(&mut window, 1, 128), 512);
        }
    }

    #[test]
    fn it_opens_whole_when_little_comes_and_closes_for_a_receiver_that_finds_nothing_most_of_the_time() {
        let mut window = window();
        after(&mut window, 9, 32);
        assert_eq!(sparse(&mut window, 200), 1024, "a packet in six looks");
        assert_eq!(sparse(&mut window, 200), 1024, "and it stays so");
        assert_eq!(sparse(&mut window, 100), 512, "one in three");
        let before = (0..FEW * PERIOD).find(|_| window.look(0)).map(|_| window.open());
        assert_eq!(before, Some(1024), "none at all");
    }

    #[test]
    fn there_is_always_room_for_the_largest_packets_and_never_more_than_the_ring() {
        let open = |log2, capacity| after(&mut Window::new(RingSize::from_log2(log2), capacity), 20, 8);
        assert_eq!([open(10, 2048), open(14, 2048), open(14, 256), open(15, 1)], [128, 128, 1024, 32768]);
        assert_eq!([open(1, 2048), open(7, 2048)], [2, 128]);
    }
}
