//! Packets with reproducible contents.

/// A small generator of pseudo-random numbers (SplitMix64): the same seed gives the same packets on every machine.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// Starts the sequence that belongs to `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number, any 64 bits.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// One of `choices`.
    ///
    /// # Panics
    /// If there are none.
    pub fn choose<T: Copy>(&mut self, choices: &[T]) -> T {
        assert!(!choices.is_empty(), "nothing to choose from");
        let count = u64::try_from(choices.len()).unwrap_or(u64::MAX);
        choices[usize::try_from(self.number() % count).unwrap_or(0)]
    }
}

/// `count` Ethernet frames of random contents from `seed`, their sizes drawn from `sizes` (bytes, at least 14 each).
///
/// The source address has its multicast bit cleared, so that nothing on the way may call a frame malformed, and the
/// type is that of local experiments.
///
/// # Panics
/// If a size is under 14 or there are none.
pub fn frames(seed: u64, count: u64, sizes: &[usize]) -> Vec<Vec<u8>> {
    let mut random = Random::new(seed);
    (0..count).map(|_| frame(&mut random, sizes)).collect()
}

fn frame(random: &mut Random, sizes: &[usize]) -> Vec<u8> {
    let size = random.choose(sizes);
    assert!(size >= 14, "a frame of {size} bytes has no room for its Ethernet header of 14");
    let mut frame: Vec<u8> = (0..size.div_ceil(8)).flat_map(|_| random.number().to_le_bytes()).collect();
    frame.truncate(size);
    frame[0] &= !1;
    frame[6] &= !1;
    frame[12..14].copy_from_slice(&[0x88, 0xB5]);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_decides_the_frames() {
        let frames_of = |seed| frames(seed, 20, &[60, 61, 9000]);
        assert_eq!(frames_of(1), frames_of(1));
        assert_ne!(frames_of(1), frames_of(2));
        assert!(frames_of(1).iter().all(|frame| [60, 61, 9000].contains(&frame.len())));
    }
}
