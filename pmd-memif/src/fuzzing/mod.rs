//! Entry points for the fuzz targets in `fuzz/`: any bytes, to wherever the bytes of a peer go. Compiled for the fuzzer,
//! which sets `cfg(fuzzing)`, and for tests; no part of the crate otherwise.
//!
//! 1. A target takes its input apart ([`Input`]): inputs of any length mean something.
//! 2. It plays it to the code that meets a peer's bytes, and panics when an invariant is broken.
//! 3. It says how far it came, so that the tests below can tell whether the seeds still reach what they are for.

mod handshakes;
mod messages;
mod ring;

pub use handshakes::{client_handshake, server_handshake};
pub use messages::messages;
pub use ring::ring;

/// Bytes yet to be used. Behind the end there are zeros.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next bytes, up to `count`.
    fn slice(&mut self, count: usize) -> &'a [u8] {
        let (taken, left) = self.0.split_at(count.min(self.0.len()));
        self.0 = left;
        taken
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        let taken = self.slice(N);
        array[..taken.len()].copy_from_slice(taken);
        array
    }

    fn byte(&mut self) -> u8 {
        let [byte] = self.array();
        byte
    }

    fn word(&mut self) -> u16 {
        u16::from_le_bytes(self.array())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    /// Plays the seeds of a target. Each goes all the way: to a message, a link, or packets in both directions.
    fn play(target: &str, entry: fn(&[u8]) -> bool) {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
        let seeds: Vec<_> = fs::read_dir(&directory).unwrap().map(|seed| seed.unwrap().path()).collect();
        assert!(!seeds.is_empty());
        for seed in seeds {
            let bytes = fs::read(&seed).unwrap();
            assert!(entry(&bytes), "{} does not reach what it is for", seed.display());
            // Its beginnings and near variants need not get far, only survive.
            for at in 0..bytes.len() {
                entry(&bytes[..at]);
                let mut changed = bytes.clone();
                changed[at] ^= 0xFF;
                entry(&changed);
            }
        }
    }

    #[test]
    fn seeds_of_messages() {
        play("messages", super::messages);
    }

    #[test]
    fn seeds_of_the_servers_handshake() {
        play("server_handshake", super::server_handshake);
    }

    #[test]
    fn seeds_of_the_clients_handshake() {
        play("client_handshake", super::client_handshake);
    }

    #[test]
    fn seeds_of_the_ring() {
        play("ring", super::ring);
    }
}
