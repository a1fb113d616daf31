//! How many of its buffers a client uses: few while both ends keep up, all when packets wait; and never one for two packets.

use std::collections::{HashSet, VecDeque};

use super::tests::{Direction, Pair};

/// Packets with consecutive numbers, from one end of a pair to the other.
struct Stream {
    pair: Pair,
    sent: u32,
    waiting: VecDeque<u32>,
}

impl Stream {
    fn new(direction: Direction, log2: u8) -> Self {
        Self { pair: Pair::with_capacity(direction, log2, 2048), sent: 0, waiting: VecDeque::new() }
    }

    /// Sends up to so many packets, and says how many the ring took.
    fn send(&mut self, count: u32) -> usize {
        let packets: Vec<_> = (0..count).map(|i| (self.sent + i).to_le_bytes()).collect();
        let packets: Vec<&[u8]> = packets.iter().map(<[u8; 4]>::as_slice).collect();
        let (taken, _) = self.pair.send(&packets);
        self.waiting.extend(self.sent..self.sent + taken as u32);
        self.sent += taken as u32;
        taken
    }

    /// Receives a burst: it is what was sent first.
    fn receive(&mut self) {
        for packet in self.pair.receive_clean() {
            assert_eq!(packet, self.waiting.pop_front().unwrap().to_le_bytes());
        }
    }

    fn receive_all(&mut self) {
        while !self.waiting.is_empty() {
            self.receive();
        }
    }

    /// Sends and receives by turns.
    fn keep_up(&mut self, rounds: usize, packets: u32) {
        for _ in 0..rounds {
            assert_eq!(self.send(packets), packets as usize);
            self.receive();
        }
    }

    fn posted(&self) -> u16 {
        self.pair.ring.head.get().wrapping_sub(self.pair.ring.tail.get())
    }

    /// Where the packets of the last so many slots that were sent lie.
    fn places(&self, slots: u16) -> HashSet<u32> {
        let size = self.pair.ring.descriptors.len() as u16;
        let head = self.pair.ring.head.get();
        (1..=slots).map(|back| self.pair.slot(head.wrapping_sub(back) & (size - 1)).offset).collect()
    }
}

#[test]
fn a_client_sends_from_the_same_few_buffers_while_the_server_keeps_up() {
    let mut stream = Stream::new(Direction::S2m, 8);
    stream.keep_up(40, 16);
    assert!(stream.places(256).len() <= 64 + 16, "{} buffers", stream.places(256).len());
    // Some wait: nothing is written where they lie.
    assert_eq!(stream.send(20), 20);
    assert_eq!(stream.send(300), 236);
    assert_eq!(stream.places(256).len(), 256, "a buffer for each packet of a full ring");
    stream.receive_all();
    for waiting in [100, 37, 255, 1, 64, 200] {
        stream.send(waiting);
        stream.receive();
        stream.send(11);
        stream.receive_all();
    }
    stream.keep_up(40, 16);
    assert!(stream.places(256).len() <= 64 + 16);
    stream.pair.assert_whole();
}

#[test]
#[cfg_attr(miri, ignore = "windows close after thousands of bursts")]
fn a_client_posts_few_buffers_while_it_keeps_up_and_all_when_packets_wait() {
    let mut stream = Stream::new(Direction::M2s, 9);
    assert_eq!(stream.posted(), 512);
    stream.keep_up(3 * (1 << 17) / 16, 16);
    assert_eq!(stream.posted(), 128);
    // As many as are posted, and no more.
    assert_eq!(stream.send(300), 128);
    stream.receive();
    assert_eq!(stream.posted(), 512 - 96, "all are posted at once when more than half of them wait");
    assert_eq!(stream.send(500), 512 - 96);
    stream.receive_all();
    // It takes a period longer this time. Bursts that have nothing to do with its size, across the end of the ring.
    stream.keep_up(4 * (1 << 17) / 13 + 4, 13);
    assert_eq!(stream.posted(), 128);
    stream.send(60);
    stream.receive_all();
    (0..1 << 19).for_each(|_| stream.receive());
    assert_eq!(stream.posted(), 512, "nothing comes: the whole ring is there for what may come");
    for waiting in [200, 512, 1, 300, 129] {
        assert_eq!(stream.send(waiting), waiting as usize);
        stream.receive_all();
    }
    stream.pair.assert_whole();
}
