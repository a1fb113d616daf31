//! How many of its buffers a client uses: within a process few while both ends keep up, and all when packets wait; towards
//! another one all in turn; and never one for two packets.

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
        Self::with_buffers(direction, log2, log2)
    }

    fn with_buffers(direction: Direction, log2: u8, log2_buffers: u8) -> Self {
        let pair = Pair::with_buffers(direction, log2, log2_buffers, 2048);
        Self { pair, sent: 0, waiting: VecDeque::new() }
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

    /// Where the buffers of the so many slots before a free-running index lie.
    fn places(&self, index: u16, slots: u16) -> impl Iterator<Item = u32> {
        let mask = self.pair.ring.descriptors.len() as u16 - 1;
        (1..=slots).rev().map(move |back| self.pair.slot(index.wrapping_sub(back) & mask).offset)
    }

    /// How many buffers hold the packets of the last so many slots that were sent.
    fn in_use(&self, slots: u16) -> usize {
        self.places(self.pair.ring.head.get(), slots).collect::<HashSet<_>>().len()
    }
}

#[test]
fn a_client_sends_from_the_same_few_buffers_while_the_server_keeps_up() {
    let mut stream = Stream::new(Direction::S2m, 8);
    stream.keep_up(40, 16);
    assert!(stream.in_use(256) <= 64 + 16, "{} buffers", stream.in_use(256));
    // Some wait: nothing is written where they lie.
    assert_eq!(stream.send(20), 20);
    assert_eq!(stream.send(300), 236);
    assert_eq!(stream.in_use(256), 256, "a buffer for each packet of a full ring");
    stream.receive_all();
    for waiting in [100, 37, 255, 1, 64, 200] {
        stream.send(waiting);
        stream.receive();
        stream.send(11);
        stream.receive_all();
    }
    stream.keep_up(40, 16);
    assert!(stream.in_use(256) <= 64 + 16);
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

#[test]
fn towards_another_process_all_buffers_are_used_before_the_first_one_again() {
    for direction in [Direction::S2m, Direction::M2s] {
        let mut stream = Stream::with_buffers(direction, 4, 6);
        let mut used = Vec::new();
        // Both ends keep up, then packets wait, and the ring is full.
        for count in [5, 5, 5, 16, 1, 16, 9, 30, 16, 16, 16] {
            let taken = stream.send(count) as u16;
            assert_eq!(taken, (count as u16).min(16), "every slot takes a packet");
            let sent = match direction {
                Direction::S2m => stream.pair.ring.head.get(),
                Direction::M2s => stream.pair.ring.tail.get(),
            };
            used.extend(stream.places(sent, taken));
            stream.receive_all();
        }
        let (first, rest) = used.split_at(64);
        assert_eq!(first.iter().collect::<HashSet<_>>().len(), 64, "{direction:?}: {first:?}");
        assert_eq!(rest, &first[..rest.len()], "{direction:?}");
        stream.pair.assert_whole();
    }
}
