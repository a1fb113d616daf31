//! How many of its buffers a client uses: within a process few while both ends keep up, and all when packets wait; towards
//! another one all in turn, or few where that is faster; and never one for two packets.

use std::collections::{HashSet, VecDeque};

use super::tests::{Direction, Pair};
use super::ways::Way;

/// Packets with consecutive numbers, from one end of a pair to the other.
struct Stream {
    pair: Pair,
    /// Bytes of a packet behind its number.
    rest: usize,
    sent: u32,
    waiting: VecDeque<u32>,
}

impl Stream {
    fn new(direction: Direction, log2: u8) -> Self {
        Self::with_buffers(direction, log2, log2)
    }

    fn with_buffers(direction: Direction, log2: u8, log2_buffers: u8) -> Self {
        let pair = Pair::with_buffers(direction, log2, log2_buffers, 2048);
        Self { pair, rest: 0, sent: 0, waiting: VecDeque::new() }
    }

    /// A packet: its number, and that again as often as there is room.
    fn packet(&self, number: u32) -> Vec<u8> {
        number.to_le_bytes().into_iter().cycle().take(4 + self.rest).collect()
    }

    /// Sends up to so many packets, and says how many the ring took.
    fn send(&mut self, count: u32) -> usize {
        let packets: Vec<_> = (0..count).map(|i| self.packet(self.sent + i)).collect();
        let packets: Vec<&[u8]> = packets.iter().map(Vec::as_slice).collect();
        let (taken, _) = self.pair.send(&packets);
        self.waiting.extend(self.sent..self.sent + taken as u32);
        self.sent += taken as u32;
        taken
    }

    /// Receives a burst: it is what was sent first.
    fn receive(&mut self) {
        for packet in self.pair.receive_clean() {
            let number = self.waiting.pop_front().unwrap();
            assert!(packet.chunks(4).all(|part| part == &number.to_le_bytes()[..part.len()]), "{number}: {packet:?}");
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
fn packets_are_written_to_the_clients_buffers_where_those_go_round_within_a_burst() {
    let mut stream = Stream::new(Direction::S2m, 8);
    let own: HashSet<_> = (0..256).map(|number| stream.pair.own.place(number).offset).collect();
    // The client finds all consumed: the first buffer is that of the slot 69. From then on packets always wait.
    assert_eq!(stream.send(69), 69);
    stream.receive_all();
    assert_eq!(stream.send(100), 100);
    assert_eq!(stream.pair.slot(69).offset, stream.pair.own.place(0).offset);
    for _ in 0..20 {
        assert_eq!(stream.send(32), 32);
        assert!(stream.places(stream.pair.ring.head.get(), 132).all(|place| own.contains(&place)));
        assert_eq!(stream.in_use(132), 132);
        stream.receive();
    }
    stream.receive_all();
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

#[test]
#[cfg_attr(miri, ignore = "tens of thousands of packets")]
fn towards_another_process_few_buffers_are_used_where_that_is_faster_while_the_server_keeps_up() {
    let stream = Stream::with_buffers(Direction::S2m, 8, 10);
    let mut stream = Stream { pair: stream.pair.with_data_room(2048), rest: 256, ..stream };
    stream.pair.go(Way::ToFew);
    let keep_up = |stream: &mut Stream| {
        let mut used = HashSet::new();
        for _ in 0..64 {
            stream.keep_up(1, 16);
            used.extend(stream.places(stream.pair.ring.head.get(), 16));
        }
        used.len()
    };
    keep_up(&mut stream);
    assert_eq!(keep_up(&mut stream), 128);
    // Wherever it is, packets wait, and others come that a half has no room for: small ones, of several slots, of any size.
    for (phase, (count, rest)) in (0..9).flat_map(|phase| [(phase, (20, 0)), (phase, (16, 3000)), (phase, (20, 300))]) {
        stream.keep_up(phase, 16);
        (0..7).for_each(|_| assert_eq!(stream.send(16), 16));
        stream.rest = rest;
        assert_eq!(stream.send(count), count as usize);
        stream.rest = 256;
        stream.receive();
        stream.send(65);
        stream.receive_all();
        keep_up(&mut stream);
    }
    stream.send(256);
    assert_eq!(stream.in_use(256), 256, "a buffer for each packet of a full ring");
    stream.receive_all();
    keep_up(&mut stream);
    assert_eq!(keep_up(&mut stream), 128);
    stream.pair.assert_whole();
}
