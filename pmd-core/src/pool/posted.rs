//! Mbufs that a device holds and knows by address: posted to it, and taken back by what it says.
//!
//! ```text
//!   post(mbuf) -> offset of its buffer  ------->  device: fills it, or sends it, in whatever order
//!   take(any offset inside the buffer) -> mbuf <-------
//! ```
//!
//! 1. A driver makes a [`Posted`] for the pool whose segment the device works on, one for each of its own halves.
//! 2. [`Posted::post`] gives an mbuf up for the offset of its buffer in the segment.
//! 3. [`Posted::take`] makes an mbuf again of what the device gave back. An offset that is not of a posted mbuf is answered
//!    with `None`: whatever a device says, there is never a second handle on a header (H2 of `mbuf`).
//! 4. When it is dropped, all mbufs still posted return to their pool: the device must be done with them.
//!
//! The state is a bit per mbuf, so that it stays in the CPU's nearest cache; the mbuf is found by its position. Devices that
//! give mbufs back in the order they got them need no more than an [`MbufFifo`](crate::MbufFifo).

#![allow(unsafe_code)]

use std::ptr::NonNull;

use super::{Pool, release};
use crate::mbuf::{Header, Mbuf};

/// The mbufs of one pool that a device holds. For drivers.
pub struct Posted {
    pool: Pool,
    /// A bit for each mbuf of the pool: set while it is here.
    bits: Box<[u64]>,
    count: usize,
    position: Position,
}

impl Posted {
    /// None yet, of `pool`.
    pub fn new(pool: &Pool) -> Self {
        let bits = vec![0; pool.size().div_ceil(64)].into_boxed_slice();
        Self { pool: pool.clone(), bits, count: 0, position: Position::new(pool) }
    }

    /// The pool.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Mbufs that are here.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether [`Self::post`] would take the mbuf: one segment, of this pool.
    #[inline(always)]
    pub fn accepts(&self, mbuf: &Mbuf) -> bool {
        mbuf.segment_count() == 1 && mbuf.is_of(self.pool.core())
    }

    /// Keeps the mbuf until the device gives it back, and says where its buffer begins in the pool's segment.
    ///
    /// # Errors
    /// Gives back an mbuf of another pool, or one of several segments.
    #[inline(always)]
    pub fn post(&mut self, mbuf: Mbuf) -> Result<usize, Mbuf> {
        if !self.accepts(&mbuf) {
            return Err(mbuf);
        }
        let index = mbuf.index();
        // The handle ends here; from now on the bit stands for it.
        let _ = mbuf.into_raw();
        self.bits[index / 64] |= 1 << (index % 64);
        self.count += 1;
        Ok(index * self.position.stride)
    }

    /// The mbuf in whose buffer the byte at `offset` of the segment lies, and where in the buffer that is; `None` when it
    /// was not posted, or has been taken already.
    #[inline(always)]
    pub fn take(&mut self, offset: usize) -> Option<(Mbuf, usize)> {
        let index = self.position.of(offset)?;
        let (word, bit) = (self.bits.get_mut(index / 64)?, 1 << (index % 64));
        if *word & bit == 0 {
            return None;
        }
        *word &= !bit;
        self.count -= 1;
        // SAFETY: the bit was set, so this is the header that `post` got out of a handle, and clearing the bit was the only
        // way to it.
        let mbuf = unsafe { Mbuf::from_raw(self.header(index)) };
        Some((mbuf, offset - index * self.position.stride))
    }

    /// # Safety
    /// `index` is below the pool's size.
    unsafe fn header(&self, index: usize) -> NonNull<Header> {
        // SAFETY: the segment holds `size` headers, and the pool lives while we hold a handle on it.
        unsafe { self.pool.core().headers.base().cast::<Header>().add(index) }
    }
}

impl Drop for Posted {
    fn drop(&mut self) {
        for at in 0..self.bits.len() {
            let mut word = std::mem::take(&mut self.bits[at]);
            while word != 0 {
                let index = at * 64 + word.trailing_zeros() as usize;
                word &= word - 1;
                // SAFETY: only indices of headers have bits, and a set bit stands for the handle that was given up to `post`.
                unsafe { release(&[self.header(index)]) };
            }
        }
    }
}

impl std::fmt::Debug for Posted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Posted").field("pool", &self.pool.name()).field("len", &self.count).finish()
    }
}

/// From an offset to the position of its mbuf, without a division: strides are odd numbers of lines.
#[derive(Debug, Clone, Copy)]
struct Position {
    stride: usize,
    /// 2^64 / stride, rounded up.
    reciprocal: u64,
    /// End of the last buffer.
    end: usize,
}

impl Position {
    fn new(pool: &Pool) -> Self {
        let stride = pool.stride();
        Self { stride, reciprocal: u64::MAX / stride as u64 + 1, end: pool.size() * stride }
    }

    /// The position of the buffer that `offset` lies in, if it lies in one.
    ///
    /// Exact: the reciprocal is too large by less than 1, so the product by less than `offset` / 2^64, which is less than the
    /// 1 / stride that would be needed to reach the next whole number: pools end below 2^44, strides are below 2^18.
    #[inline(always)]
    fn of(self, offset: usize) -> Option<usize> {
        let index = (u128::from(self.reciprocal) * offset as u128) >> 64;
        (offset < self.end).then_some(index as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Burst, PoolConfig};

    fn pool(size: usize, data_room: usize, chunked: bool) -> Pool {
        Pool::new(&PoolConfig { size, data_room, chunked, cache: 8, ..PoolConfig::default() }).unwrap()
    }

    #[test]
    fn a_device_gives_back_in_any_order_by_any_byte_of_a_buffer() {
        for chunked in [false, true] {
            let pool = pool(100, 2048, chunked);
            let mut posted = Posted::new(&pool);
            let mut burst = Burst::new();
            pool.alloc_bulk(&mut burst, 70);
            let expected: Vec<_> = burst.iter().map(|mbuf| mbuf.data().as_ptr()).collect();
            let offsets: Vec<_> = burst.drain_front(70).map(|mbuf| posted.post(mbuf).unwrap()).collect();
            assert_eq!((posted.len(), pool.available()), (70, 30));
            for (i, (offset, data)) in offsets.iter().zip(expected).enumerate().rev() {
                let inside = i * 31 % (super::super::HEADROOM + 2048);
                let (mbuf, at) = posted.take(offset + inside).unwrap();
                assert_eq!((mbuf.data().as_ptr(), at), (data, inside));
                assert!(posted.take(*offset).is_none(), "an mbuf is given back once");
            }
            assert_eq!((posted.is_empty(), pool.available()), (true, 100));
        }
    }

    #[test]
    fn what_was_not_posted_is_not_taken() {
        let pool = pool(4, 64, false);
        let mut posted = Posted::new(&pool);
        let offset = posted.post(pool.alloc().unwrap()).unwrap();
        for wrong in [offset + pool.stride(), 4 * pool.stride(), pool.segment().len(), usize::MAX] {
            assert!(posted.take(wrong).is_none(), "{wrong}");
        }
        assert!(posted.take(offset + pool.stride() - 1).is_some(), "the last byte of the buffer");
    }

    #[test]
    fn chains_and_strangers_are_given_back() {
        let (pool, other) = (pool(4, 64, false), pool(4, 64, false));
        let mut posted = Posted::new(&pool);
        let stranger = posted.post(other.alloc().unwrap()).unwrap_err();
        let mut chain = pool.alloc().unwrap();
        chain.chain(pool.alloc().unwrap()).unwrap();
        let chain = posted.post(chain).unwrap_err();
        drop((stranger, chain));
        assert_eq!((posted.len(), pool.available(), other.available()), (0, 4, 4));
    }

    #[test]
    fn what_is_still_posted_at_the_end_returns_to_the_pool_which_it_may_outlive() {
        let pool = pool(130, 64, false);
        let mut posted = Posted::new(&pool);
        for _ in 0..130 {
            posted.post(pool.alloc().unwrap()).unwrap();
        }
        assert_eq!(pool.available(), 0);
        let handle = pool.clone();
        drop(pool);
        drop(posted);
        assert_eq!(handle.available(), 130);
    }

    #[test]
    fn positions_are_exact_at_both_ends_of_every_buffer() {
        for stride in [192, 2240, 4096, 4160, 65728, 131_072] {
            let size = 1 << 26;
            let position = Position { stride, reciprocal: u64::MAX / stride as u64 + 1, end: size * stride };
            for index in [0, 1, 2, 3, 1000, (1 << 20) - 1, size / 3, size - 2, size - 1] {
                let first = index * stride;
                assert_eq!((position.of(first), position.of(first + stride - 1)), (Some(index), Some(index)));
            }
            assert_eq!(position.of(size * stride), None);
        }
    }
}
