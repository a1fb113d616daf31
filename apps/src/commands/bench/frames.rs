//! Frame sizes, and the frames a generator sends.
//!
//! Sizes are those of RFC 2544 (64, 128, 256, 512, 1024, 1280, 1518), any other up to jumbo frames, or IMIX: 64, 570 and
//! 1518 bytes as 28:16:4 of 48, as CSIT has it. The order of IMIX's sizes is shuffled by the seed: the same seed gives the
//! same sequence. A size counts the bytes that an lport carries: from the first byte of the Ethernet header, without FCS.

use std::fmt;
use std::str::FromStr;

use pmd_core::{Burst, LportId, Pool, Ports};
use serde::{Serialize, Serializer};

use crate::modes::{SIZE_MAX, SIZE_MIN, Template};

/// Sizes of IMIX with how many of 48 frames have them.
const IMIX: [(usize, usize); 3] = [(64, 28), (570, 16), (1518, 4)];

/// Bytes in front of a frame's number.
const NUMBER: usize = 42;

/// The size of the frames of a measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FrameSize {
    /// All the same.
    Fixed(usize),
    /// The mixture.
    Imix,
}

impl FrameSize {
    /// Bytes of the largest frame.
    pub(super) fn largest(self) -> usize {
        match self {
            Self::Fixed(size) => size,
            Self::Imix => IMIX.iter().map(|(size, _)| *size).max().unwrap_or_default(),
        }
    }

    /// Bytes of a frame on the average.
    pub(super) fn mean(self) -> f64 {
        match self {
            Self::Fixed(size) => size as f64,
            Self::Imix => {
                let sum = |of: fn(&(usize, usize)) -> usize| IMIX.iter().map(of).sum::<usize>() as f64;
                sum(|(size, share)| size * share) / sum(|(_, share)| *share)
            }
        }
    }

    /// The sizes in the order they are sent in, over and over.
    fn sequence(self, seed: u64) -> Vec<usize> {
        match self {
            Self::Fixed(size) => vec![size],
            Self::Imix => {
                let mut sizes: Vec<_> = IMIX.iter().flat_map(|(size, share)| vec![*size; *share]).collect();
                fastrand::Rng::with_seed(seed).shuffle(&mut sizes);
                sizes
            }
        }
    }
}

impl FromStr for FrameSize {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        if word.eq_ignore_ascii_case("imix") {
            return Ok(Self::Imix);
        }
        let size = word.parse().ok().filter(|size| (SIZE_MIN..=SIZE_MAX).contains(size)).map(Self::Fixed);
        size.ok_or_else(|| format!("`{word}` is neither a number of bytes from {SIZE_MIN} to {SIZE_MAX} nor `imix`"))
    }
}

impl fmt::Display for FrameSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(size) => size.fmt(f),
            Self::Imix => f.pad("imix"),
        }
    }
}

impl Serialize for FrameSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Fixed(size) => serializer.serialize_u64(*size as u64),
            Self::Imix => serializer.serialize_str("imix"),
        }
    }
}

/// What builds frames, each with a number.
pub(super) struct Frames {
    pool: Pool,
    /// By position in the sequence.
    templates: Vec<Template>,
    position: usize,
    largest: usize,
}

impl Frames {
    /// Frames in mbufs of `pool`, whose data room holds the largest.
    pub(super) fn new(size: FrameSize, seed: u64, pool: Pool) -> Self {
        let template = |size| Template::new(size, [2, 0, 0, 0, 0, 0], [2, 0, 0, 0, 0, 1]);
        let templates = size.sequence(seed).into_iter().map(template).collect();
        Self { pool, templates, position: 0, largest: size.largest() }
    }

    /// Begins the sequence of sizes anew.
    pub(super) fn restart(&mut self) {
        self.position = 0;
    }

    /// Fills the empty `burst` with up to `wanted` frames for lport `to`, numbered from `first`, in the memory that the lport
    /// sends from if it has such; says how many: fewer when there are no more mbufs.
    ///
    /// What lies behind a frame's head is not written.
    #[inline]
    pub(super) fn build_for(
        &mut self,
        ports: &mut Ports,
        to: LportId,
        burst: &mut Burst,
        wanted: usize,
        first: u64,
    ) -> usize {
        if let Some(built) = ports.alloc_burst(to, burst, wanted) {
            if burst.iter().all(|frame| frame.tailroom() >= self.largest) {
                self.fill(burst, first);
                return built;
            }
            burst.clear();
        }
        self.build(burst, wanted, first)
    }

    /// The same, in mbufs of the pool.
    #[inline]
    pub(super) fn build(&mut self, burst: &mut Burst, wanted: usize, first: u64) -> usize {
        let built = self.pool.alloc_bulk(burst, wanted);
        self.fill(burst, first);
        built
    }

    /// Makes frames of empty mbufs.
    #[inline]
    fn fill(&mut self, burst: &mut Burst, first: u64) {
        for (frame, number) in burst.iter_mut().zip(first..) {
            let template = &self.templates[self.position];
            self.position = if self.position + 1 == self.templates.len() { 0 } else { self.position + 1 };
            template.write(frame.room_mut(), number);
            frame.set_received(template.size(), 0);
        }
    }
}

/// The number of a frame that came back; `None` when it is too short to be one of ours.
#[inline]
pub(super) fn number_of(frame: &[u8]) -> Option<u64> {
    let number = frame.get(NUMBER..NUMBER + 8)?;
    Some(u64::from_be_bytes(number.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use pmd_core::PoolConfig;

    use super::*;

    /// Sizes and numbers of 100 frames built in bursts of `burst`.
    fn sequence(size: FrameSize, seed: u64, burst: usize) -> Vec<(usize, u64)> {
        let pool = Pool::new(&PoolConfig { size: 256, ..PoolConfig::default() }).unwrap();
        let mut frames = Frames::new(size, seed, pool.clone());
        let (mut out, mut built) = (Vec::new(), Burst::new());
        while out.len() < 100 {
            frames.build(&mut built, burst, out.len() as u64);
            out.extend(built.iter().map(|frame| (frame.packet_len(), number_of(frame.data()).unwrap())));
            built.clear();
        }
        assert_eq!(pool.available(), pool.size());
        out.truncate(100);
        out
    }

    #[test]
    fn a_seed_repeats_the_sequence_whatever_the_bursts_and_another_one_does_not() {
        let frames = sequence(FrameSize::Imix, 7, 1);
        assert_eq!(frames, sequence(FrameSize::Imix, 7, 32));
        assert_ne!(frames, sequence(FrameSize::Imix, 8, 32));
        assert!(frames.iter().zip(0..).all(|((_, number), expected)| *number == expected));
    }

    #[test]
    fn imix_has_its_shares() {
        let sizes = FrameSize::Imix.sequence(3);
        let share = |size| sizes.iter().filter(|other| **other == size).count();
        assert_eq!((sizes.len(), share(64), share(570), share(1518)), (48, 28, 16, 4));
    }

    #[test]
    fn sizes_are_numbers_within_limits_or_imix() {
        assert_eq!("IMIX".parse(), Ok(FrameSize::Imix));
        assert_eq!("9000".parse(), Ok(FrameSize::Fixed(9000)));
        for bad in ["59", "9217", "", "-1", "64B", "1e3"] {
            let error = bad.parse::<FrameSize>().unwrap_err();
            assert!(error.contains(&format!("`{bad}`")) && error.contains("60 to 9216"), "{error}");
        }
    }

    #[test]
    fn a_frame_too_short_for_a_number_has_none() {
        assert_eq!((number_of(&[0; 49]), number_of(&[0; 50])), (None, Some(0)));
    }
}
