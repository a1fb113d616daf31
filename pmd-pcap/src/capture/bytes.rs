//! A part of a file, read in the file's byte order. Nothing can be read beyond its end.

/// Byte order of a file or section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Little,
    Big,
}

/// Bytes in an order.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bytes<'b> {
    pub(super) bytes: &'b [u8],
    pub(super) order: Order,
}

impl<'b> Bytes<'b> {
    pub(super) fn new(bytes: &'b [u8], order: Order) -> Self {
        Self { bytes, order }
    }

    /// The 16 bits at offset `at`; `None` when they do not lie inside.
    pub(super) fn u16(self, at: usize) -> Option<u16> {
        let bytes = self.array(at)?;
        Some(if self.order == Order::Little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) })
    }

    /// The 32 bits at offset `at`.
    pub(super) fn u32(self, at: usize) -> Option<u32> {
        let bytes = self.array(at)?;
        Some(if self.order == Order::Little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) })
    }

    /// The 64 bits at offset `at`, with a sign.
    pub(super) fn i64(self, at: usize) -> Option<i64> {
        let bytes = self.array(at)?;
        Some(if self.order == Order::Little { i64::from_le_bytes(bytes) } else { i64::from_be_bytes(bytes) })
    }

    /// The `len` bytes at offset `at`.
    pub(super) fn part(self, at: usize, len: usize) -> Option<&'b [u8]> {
        self.bytes.get(at..at.checked_add(len)?)
    }

    fn array<const N: usize>(self, at: usize) -> Option<[u8; N]> {
        self.part(at, N)?.try_into().ok()
    }
}
