//! How many buffers a client keeps posted in a ring it receives from.
//!
//! A server fills posted buffers in the order of the ring, so each of them passes through the caches before the first comes
//! again: with 1024 buffers of 2 KiB, every packet is written to memory that L2 no longer has. A receiver that keeps up never
//! needs that many. So:
//!
//! 1. At first all slots are posted: the ring takes as many packets as it has slots while nobody polls.
//! 2. When a period of looks at the server's index found packets in plenty and never an eighth of the window waiting, the
//!    window is halved, down to a floor.
//! 3. When more than half of the window waits, or when a period found few packets, all slots are posted again.
//!
//! Under little load, when a pause of the receiver is what rings are for, the whole ring is there. Under so much that the
//! window closes, a receiver that pauses would lose packets with the whole ring as well, a few microseconds later.

use super::{PACKET_MAX, RingSize};

/// Looks that are judged together.
const PERIOD: u16 = 4096;

/// Packets per look, on average, that are plenty.
const PLENTY: u32 = 8;

/// The smallest window, in slots.
const FLOOR: u16 = 128;

/// Largest packets that a window has room for.
const LARGEST: u32 = 4;

/// The window of a ring.
#[derive(Debug)]
pub(crate) struct Window {
    size: u16,
    floor: u16,
    open: u16,
    looks: u16,
    /// Packets found in this period, and the most at one look.
    found: u32,
    peak: u16,
}

impl Window {
    /// The window of a ring whose buffers hold `capacity` bytes: all of it, for now.
    pub(crate) fn new(size: RingSize, capacity: u32) -> Self {
        let slots = LARGEST * (PACKET_MAX as u32).div_ceil(capacity.max(1));
        let floor = u16::try_from(slots.next_power_of_two()).unwrap_or(u16::MAX).max(FLOOR);
        let size = size.get();
        Self { size, floor, open: size, looks: 0, found: 0, peak: 0 }
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
        }
        (self.looks == PERIOD || waiting > self.open / 2) && self.judge()
    }

    #[cold]
    fn judge(&mut self) -> bool {
        let before = self.open;
        let plenty = self.found >= PLENTY * u32::from(self.looks);
        if self.peak > self.open / 2 || !plenty {
            self.open = self.size;
        } else if self.peak <= self.open / 8 && self.open / 2 >= self.floor {
            self.open /= 2;
        }
        (self.looks, self.found, self.peak) = (0, 0, 0);
        self.open != before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A window after so many periods of looks that find `waiting` packets each.
    fn after(window: &mut Window, periods: usize, waiting: u16) -> u16 {
        (0..periods * usize::from(PERIOD)).for_each(|_| _ = window.look(waiting));
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
    fn it_opens_whole_when_little_comes() {
        let mut window = window();
        after(&mut window, 9, 32);
        assert_eq!(after(&mut window, 1, 7), 1024);
        assert_eq!(after(&mut window, 9, 1), 1024, "and stays so");
    }

    #[test]
    fn there_is_always_room_for_the_largest_packets_and_never_more_than_the_ring() {
        let open = |log2, capacity| after(&mut Window::new(RingSize::from_log2(log2), capacity), 20, 8);
        assert_eq!([open(10, 2048), open(14, 2048), open(14, 256), open(15, 1)], [128, 128, 1024, 32768]);
        assert_eq!([open(1, 2048), open(7, 2048)], [2, 128]);
    }
}
