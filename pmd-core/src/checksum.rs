//! The Internet checksum (RFC 1071), and its change when a header field changes (RFC 1624).

/// The sum of big-endian 16-bit words, of at most 128 KiB. An odd byte at the end counts as the high half of a word.
#[inline]
pub fn sum(bytes: &[u8]) -> u32 {
    let words = bytes.chunks_exact(2);
    let odd = words.remainder().first().map_or(0, |byte| u32::from(*byte) << 8);
    words.map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum::<u32>() + odd
}

/// Folds the carries of a sum into 16 bits.
#[inline]
pub fn fold(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// The checksum of a header in which the word `before` has become `after` (RFC 1624, equation 3).
#[inline]
pub fn changed(checksum: u16, before: u16, after: u16) -> u16 {
    !fold(u32::from(!checksum) + u32::from(!before) + u32::from(after))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_change_gives_what_computing_afresh_gives(
            mut words in prop::collection::vec(any::<u16>(), 10),
            at in 0_usize..10,
            after: u16,
        ) {
            // A word that is never zero, as the version of an IP header: all zeros have two checksums.
            words[(at + 1) % 10] |= 0x4000;
            let bytes = |words: &[u16]| words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<_>>();
            let checksum = !fold(sum(&bytes(&words)));
            let before = std::mem::replace(&mut words[at], after);
            prop_assert_eq!(changed(checksum, before, after), !fold(sum(&bytes(&words))));
        }
    }
}
