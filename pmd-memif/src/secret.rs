//! The shared secret of an interface: the 24 bytes of INIT.secret.
//!
//! It is compared in constant time and never shown: [`std::fmt::Debug`] hides it, no error message contains it.

use std::fmt;
use std::hint::black_box;

/// Bytes of the secret on the wire.
pub(crate) const FIELD: usize = 24;

/// A secret, or none; NUL padded as on the wire.
#[derive(Clone, Default, Eq)]
pub struct Secret([u8; FIELD]);

/// Why a text cannot be a secret. The text itself is not repeated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Longer than every peer can compare.
    #[error("secret has {0} bytes, at most {max} are possible: shorten it on both sides", max = Secret::MAX_LEN)]
    TooLong(usize),
    /// A NUL would end it early.
    #[error("secret contains a NUL byte at position {0}: remove it")]
    Nul(usize),
}

impl Secret {
    /// Longest secret in bytes: the field holds 24, but peers written in C keep one for the NUL.
    pub const MAX_LEN: usize = FIELD - 1;

    /// No secret: 24 zero bytes (statement 9).
    pub const NONE: Self = Self([0; FIELD]);

    /// A secret from configuration; the empty text is [`Self::NONE`].
    ///
    /// # Errors
    /// More than [`Self::MAX_LEN`] bytes, or a NUL among them.
    pub fn new(text: &str) -> Result<Self, SecretError> {
        if text.len() > Self::MAX_LEN {
            return Err(SecretError::TooLong(text.len()));
        }
        if let Some(at) = text.bytes().position(|byte| byte == 0) {
            return Err(SecretError::Nul(at));
        }
        let mut field = [0; FIELD];
        field[..text.len()].copy_from_slice(text.as_bytes());
        Ok(Self(field))
    }

    /// What a peer sent: everything after the first NUL carries no meaning and is cleared, without a branch on it.
    pub(crate) fn from_field(mut field: [u8; FIELD]) -> Self {
        let mut keep = 0xff_u8;
        for byte in &mut field {
            keep &= 0_u8.wrapping_sub(u8::from(black_box(*byte) != 0));
            *byte &= keep;
        }
        Self(field)
    }

    /// The bytes for the wire.
    pub(crate) fn field(&self) -> [u8; FIELD] {
        self.0
    }

    /// Whether there is none.
    pub fn is_none(&self) -> bool {
        self.0[0] == 0
    }
}

/// Compares all 24 bytes, whatever they are (statement 11).
impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        let differences = self.0.iter().zip(&other.0).fold(0, |seen, (a, b)| black_box(seen | (a ^ b)));
        black_box(differences) == 0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_none() { "Secret(none)" } else { "Secret(hidden)" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s11_comparison_stops_at_nul_and_covers_every_byte() {
        let mut dirty = [0x41; FIELD];
        dirty[4] = 0;
        assert_eq!(Secret::from_field(dirty), Secret::new("AAAA").unwrap());

        let full = Secret::from_field([0x41; FIELD]);
        for at in 0..FIELD {
            let mut other = [0x41; FIELD];
            other[at] ^= 1;
            assert_ne!(full, Secret::from_field(other), "byte {at}");
        }
        assert_eq!(full, Secret::from_field([0x41; FIELD]));
        assert_ne!(full, Secret::NONE);
    }

    #[test]
    fn limits_are_named() {
        assert!(Secret::new(&"x".repeat(23)).is_ok());
        assert_eq!(
            Secret::new(&"x".repeat(24)).unwrap_err().to_string(),
            "secret has 24 bytes, at most 23 are possible: shorten it on both sides"
        );
        assert_eq!(Secret::new("a\0b"), Err(SecretError::Nul(1)));
        assert!(Secret::new("").unwrap().is_none());
    }

    #[test]
    fn debug_output_hides_it() {
        assert!(!format!("{:?}", Secret::new("psst").unwrap()).contains("psst"));
    }
}
