//! The mbuf: an owned handle on one packet, or on one segment of it.
//!
//! ```text
//!   Mbuf (8 bytes, move-only)
//!     |
//!     v
//!   header, one cache line,          buffer, shared with a peer at most
//!   always private memory            +----------+---------------------+----------+
//!   +-----------------------+        | headroom | data                | tailroom |
//!   | buffer, offset, len   |------->+----------+---------------------+----------+
//!   | pool, next, ...       |        ^          ^                     ^          ^
//!   +-----------------------+        buffer     +offset               +len       +room
//! ```
//!
//! 1. [`crate::Pool::alloc`] or a driver's rx_burst hands one out: exactly one owner, the handle cannot be cloned.
//! 2. The owner reads and writes the data, and gives it away (tx_burst, a [`crate::Burst`], another thread).
//! 3. Dropping it, on any thread, returns every segment to its pool. Bursts do that in bulk.
//!
//! The header lives apart from the data, so that a peer with whom the data is shared can never touch a pool pointer, a
//! length or a free list.
//!
//! This file owns `unsafe`: it turns header pointers into references. The invariants, established in `pool`:
//! - H1: a header and its buffer live as long as any mbuf of the pool is out (the pool keeps itself alive).
//! - H2: whoever holds an `Mbuf` holds its headers, along the whole `next` chain, exclusively.
//! - H3: `offset + len <= room`, and `buffer` points to `room` initialised bytes that belong to this mbuf alone.

#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::mem::offset_of;
use std::ptr::NonNull;

use crate::pool::{self, HEADROOM, Owner, PoolCore};

/// What is known of one segment; one cache line. Drivers from shared objects see it as `struct pmd_mbuf`, so its layout is
/// a promise to them. Through a raw pointer only: see [`crate::raw`].
#[repr(C, align(64))]
pub struct Header {
    /// First byte of the buffer. Fixed when the pool is made.
    pub(crate) buffer: NonNull<u8>,
    /// The pool it returns to. Fixed.
    pub(crate) pool: NonNull<PoolCore>,
    /// The next segment of the packet. `None` in a free mbuf.
    pub next: Option<NonNull<Header>>,
    /// Bytes of the buffer, headroom included. Fixed.
    pub(crate) room: u32,
    /// Where data begins, from the first byte of the buffer.
    pub offset: u32,
    /// Bytes of data in this segment.
    pub len: u32,
    /// Bytes of data in the packet; valid in its first segment.
    pub packet_len: u32,
    /// Segments of the packet; valid in its first one. 1 in a free mbuf.
    pub segments: u16,
    /// Lport it was received on; valid in the first segment.
    pub port: u16,
    /// Position in its pool. Fixed.
    pub(crate) index: u32,
    /// Which copy of this crate the pool belongs to: of the program, or of a driver's shared object. Fixed.
    pub(crate) owner: Owner,
}

const _: () = assert!(size_of::<Header>() == 64 && align_of::<Header>() == 64);
const _: () = assert!(size_of::<Mbuf>() == 8 && size_of::<Option<Mbuf>>() == 8);

/// An owned packet (DPDK's `rte_mbuf`, CNDP's `pktmbuf`): one segment or a chain of them.
///
/// ```
/// use pmd_core::{Pool, PoolConfig};
///
/// let pool = Pool::new(&PoolConfig { name: "p".into(), size: 4, ..PoolConfig::default() })?;
/// let mut mbuf = pool.alloc().expect("an empty pool cannot be");
/// mbuf.append(4).expect("room for 4 bytes").copy_from_slice(b"data");
/// mbuf.prepend(2).expect("room before it").copy_from_slice(b"h:");
/// assert_eq!(mbuf.data(), b"h:data");
/// assert_eq!(pool.available(), 3);
/// drop(mbuf);
/// assert_eq!(pool.available(), 4);
/// # Ok::<(), pmd_core::PoolError>(())
/// ```
#[repr(transparent)]
pub struct Mbuf(NonNull<Header>);

// SAFETY: an Mbuf is the only way to its header and buffer (H2), so moving it moves all access; returning to the pool
// is allowed from any thread.
unsafe impl Send for Mbuf {}
// SAFETY: through `&Mbuf` everything is only read.
unsafe impl Sync for Mbuf {}

/// A packet is said to lie where its mbuf has no bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a received packet must lie inside the buffer of its mbuf")]
pub struct OutsideBuffer;

impl Mbuf {
    /// Gives the packet up as a pointer to its first header, to be made an mbuf again by [`Self::from_raw`]. What is not
    /// is lost to its pool.
    #[inline(always)]
    pub fn into_raw(self) -> NonNull<Header> {
        let header = self.0;
        std::mem::forget(self);
        header
    }

    /// Position in its pool.
    #[inline(always)]
    pub(crate) fn index(&self) -> usize {
        self.header().index as usize
    }

    /// Whether its first segment returns to `pool`.
    #[inline(always)]
    pub(crate) fn is_of(&self, pool: &PoolCore) -> bool {
        std::ptr::eq(self.header().pool.as_ptr(), pool)
    }

    /// The packet whose first header was given up by [`Self::into_raw`] or [`Burst::forget_front`](crate::Burst), here or
    /// in another copy of this crate.
    ///
    /// # Safety
    /// The caller owns the header and the chain behind it, and gives them up. They are as an mbuf leaves them: fields lie
    /// within their limits, the chain ends, fixed fields are unchanged.
    #[inline(always)]
    pub unsafe fn from_raw(header: NonNull<Header>) -> Self {
        Self(header)
    }

    /// Whether every segment belongs to a pool of another copy of this crate: for the driver's side of a shared object.
    pub fn is_foreign(&self) -> bool {
        self.headers().all(|header| !header.owner.is_us())
    }

    #[inline(always)]
    fn header(&self) -> &Header {
        // SAFETY: H1 (alive) and H2 (nobody writes it while we hold `&self`).
        unsafe { self.0.as_ref() }
    }

    #[inline(always)]
    fn header_mut(&mut self) -> &mut Header {
        // SAFETY: H1 and H2.
        unsafe { self.0.as_mut() }
    }

    /// The data of the first segment.
    #[inline(always)]
    pub fn data(&self) -> &[u8] {
        self.header().data()
    }

    /// The data of the first segment, to be changed.
    #[inline(always)]
    pub fn data_mut(&mut self) -> &mut [u8] {
        self.header_mut().data_mut()
    }

    /// Bytes of data in the first segment.
    #[inline(always)]
    pub fn len(&self) -> usize {
        self.header().len as usize
    }

    /// Whether the first segment has no data.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of data in all segments.
    #[inline(always)]
    pub fn packet_len(&self) -> usize {
        self.header().packet_len as usize
    }

    /// Number of segments, 1 for a packet in one piece.
    #[inline(always)]
    pub fn segment_count(&self) -> usize {
        self.header().segments as usize
    }

    /// The data of each segment in turn.
    pub fn segments(&self) -> Segments<'_> {
        Segments(self.headers())
    }

    #[inline]
    pub(crate) fn headers(&self) -> Headers<'_> {
        Headers { next: Some(self.0), life: PhantomData }
    }

    /// Number of the lport it was received on.
    #[inline]
    pub fn port(&self) -> u16 {
        self.header().port
    }

    /// Sets the lport it was received on: for drivers.
    #[inline]
    pub fn set_port(&mut self, port: u16) {
        self.header_mut().port = port;
    }

    /// Bytes free before the data of the first segment.
    #[inline]
    pub fn headroom(&self) -> usize {
        self.header().offset as usize
    }

    /// Bytes free behind the data of the last segment.
    #[inline]
    pub fn tailroom(&self) -> usize {
        self.last().tailroom()
    }

    /// Adds `n` bytes before the data and returns them, or `None` when the headroom is smaller.
    pub fn prepend(&mut self, n: usize) -> Option<&mut [u8]> {
        let header = self.header_mut();
        let grown = u32::try_from(n).ok().filter(|n| *n <= header.offset)?;
        header.offset -= grown;
        header.len += grown;
        header.packet_len += grown;
        Some(&mut header.data_mut()[..n])
    }

    /// Adds `n` bytes behind the data of the last segment and returns them, or `None` when the tailroom is smaller.
    pub fn append(&mut self, n: usize) -> Option<&mut [u8]> {
        if self.tailroom() < n {
            return None;
        }
        self.header_mut().packet_len += n as u32;
        let last = self.last_mut();
        let old = last.len as usize;
        last.len += n as u32;
        Some(&mut last.data_mut()[old..])
    }

    /// Removes `n` bytes from the front of the first segment (DPDK's `adj`); `false`, changing nothing, when it has
    /// fewer.
    #[must_use]
    pub fn adj(&mut self, n: usize) -> bool {
        let header = self.header_mut();
        if n > header.len as usize {
            return false;
        }
        header.offset += n as u32;
        header.len -= n as u32;
        header.packet_len -= n as u32;
        true
    }

    /// Removes `n` bytes from the end of the last segment; `false`, changing nothing, when it has fewer.
    #[must_use]
    pub fn trim(&mut self, n: usize) -> bool {
        if n > self.last().len as usize {
            return false;
        }
        self.header_mut().packet_len -= n as u32;
        self.last_mut().len -= n as u32;
        true
    }

    /// Links `tail` behind the last segment; its packet becomes the end of this one.
    ///
    /// # Errors
    /// Gives `tail` back when the packet would have more than 65535 segments or 4 GiB.
    pub fn chain(&mut self, tail: Mbuf) -> Result<(), Mbuf> {
        let segments = self.header().segments.checked_add(tail.header().segments);
        let packet_len = self.header().packet_len.checked_add(tail.header().packet_len);
        let (Some(segments), Some(packet_len)) = (segments, packet_len) else { return Err(tail) };
        self.last_mut().next = Some(tail.into_raw());
        let header = self.header_mut();
        (header.segments, header.packet_len) = (segments, packet_len);
        Ok(())
    }

    /// Empties the mbuf: no data, the whole headroom, one segment. Segments chained to it return to their pools. An mbuf that
    /// is smaller than a headroom, as a lent one may be, has no room behind it then.
    pub fn reset(&mut self) {
        let header = self.header_mut();
        let offset = header.room.min(HEADROOM as u32);
        (header.offset, header.len, header.packet_len, header.segments) = (offset, 0, 0, 1);
        if let Some(next) = header.next.take() {
            // SAFETY: the chain behind us is ours (H2), and from here on its own packet.
            unsafe { pool::release(&[next]) };
        }
    }

    /// Copies the whole packet, all segments, to the front of `out` and says how many bytes it wrote: the smaller of
    /// packet and `out`.
    pub fn copy_to(&self, out: &mut [u8]) -> usize {
        let mut done = 0;
        for segment in self.segments() {
            let n = segment.len().min(out.len() - done);
            out[done..done + n].copy_from_slice(&segment[..n]);
            done += n;
        }
        done
    }

    /// The whole buffer behind the headroom the mbuf now has: for drivers that write a packet and then call
    /// [`Self::set_received`]. The bytes are initialised but hold what an earlier packet left.
    #[inline(always)]
    pub fn room_mut(&mut self) -> &mut [u8] {
        let header = self.header_mut();
        // SAFETY: H3: the bytes [offset, room) of the buffer are initialised and ours alone; offset <= room.
        unsafe {
            let first = header.buffer.add(header.offset as usize).as_ptr();
            std::slice::from_raw_parts_mut(first, (header.room - header.offset) as usize)
        }
    }

    /// Says that the first `len` bytes of [`Self::room_mut`] now hold a packet in one segment, received on `port`.
    ///
    /// # Panics
    /// When `len` is larger than the room.
    #[inline(always)]
    pub fn set_received(&mut self, len: usize, port: u16) {
        let header = self.header_mut();
        assert!(len <= (header.room - header.offset) as usize, "a received packet lies inside its mbuf");
        header.len = len as u32;
        header.packet_len = len as u32;
        header.port = port;
    }

    /// Says that `len` bytes of the mbuf's buffer from its byte `offset` on now hold a packet in one segment, received on
    /// `port`: for devices that choose the headroom themselves.
    ///
    /// # Errors
    /// Changes nothing when that is not inside the buffer.
    #[inline(always)]
    pub fn set_received_at(&mut self, offset: usize, len: usize, port: u16) -> Result<(), OutsideBuffer> {
        let header = self.header_mut();
        let room = header.room as usize;
        if offset > room || len > room - offset {
            return Err(OutsideBuffer);
        }
        (header.offset, header.len, header.packet_len, header.port) = (offset as u32, len as u32, len as u32, port);
        Ok(())
    }

    /// Makes the mbuf a packet of `len` bytes in one segment, received on `port`, and returns its whole room, as
    /// [`Self::room_mut`] does, for the caller to write the packet to the front of. `None`, changing nothing, when `len` is
    /// larger than the room.
    #[inline(always)]
    pub fn receive(&mut self, len: usize, port: u16) -> Option<&mut [u8]> {
        let header = self.header_mut();
        if len > (header.room - header.offset) as usize {
            return None;
        }
        header.len = len as u32;
        header.packet_len = len as u32;
        header.port = port;
        Some(self.room_mut())
    }

    /// Makes the mbuf, whatever it held in its one segment, a packet of `len` bytes behind a whole headroom, received on `port`,
    /// and returns the front of its room, `len` rounded up to a multiple of 64, for the caller to write the packet to in whole
    /// blocks. `None`, changing nothing, when that is larger than the room.
    #[inline(always)]
    pub fn receive_blocks(&mut self, len: u16, port: u16) -> Option<&mut [u8]> {
        let header = self.header_mut();
        let blocks = (usize::from(len) + 63) & !63;
        if (HEADROOM + blocks) as u32 > header.room {
            return None;
        }
        let len = u32::from(len);
        (header.offset, header.len, header.packet_len, header.port) = (HEADROOM as u32, len, len, port);
        // SAFETY: H3: all bytes of the buffer are initialised and ours alone, and these lie inside it.
        Some(unsafe { std::slice::from_raw_parts_mut(header.buffer.add(HEADROOM).as_ptr(), blocks) })
    }

    fn last(&self) -> &Header {
        let mut header = self.header();
        while let Some(next) = header.next {
            // SAFETY: H1 and H2 hold along the chain.
            header = unsafe { next.as_ref() };
        }
        header
    }

    fn last_mut(&mut self) -> &mut Header {
        let mut last = self.0;
        // SAFETY: H1 and H2 hold along the chain; the references of the walk end with each step.
        while let Some(next) = unsafe { last.as_ref() }.next {
            last = next;
        }
        // SAFETY: as above, and `&mut self` makes this the only reference.
        unsafe { last.as_mut() }
    }
}

impl Header {
    /// Where each field lies, in the words of `struct pmd_mbuf`.
    pub const OFFSETS: [(&str, usize); 11] = [
        ("buffer", offset_of!(Header, buffer)),
        ("pool", offset_of!(Header, pool)),
        ("next", offset_of!(Header, next)),
        ("room", offset_of!(Header, room)),
        ("offset", offset_of!(Header, offset)),
        ("len", offset_of!(Header, len)),
        ("packet_len", offset_of!(Header, packet_len)),
        ("segments", offset_of!(Header, segments)),
        ("port", offset_of!(Header, port)),
        ("index", offset_of!(Header, index)),
        ("owner", offset_of!(Header, owner)),
    ];

    /// The fields that never change while the pool lives.
    pub fn fixed(&self) -> Fixed {
        Fixed { buffer: self.buffer, pool: self.pool, room: self.room, index: self.index, owner: self.owner }
    }

    /// Puts the fixed fields back as they were.
    pub fn restore(&mut self, fixed: Fixed) {
        Fixed { buffer: self.buffer, pool: self.pool, room: self.room, index: self.index, owner: self.owner } = fixed;
    }

    /// Bytes of the buffer, headroom included.
    pub fn room(&self) -> u32 {
        self.room
    }

    #[inline(always)]
    fn data(&self) -> &[u8] {
        // SAFETY: H3.
        unsafe {
            std::slice::from_raw_parts(self.buffer.add(self.offset as usize).as_ptr().cast_const(), self.len as usize)
        }
    }

    #[inline(always)]
    fn data_mut(&mut self) -> &mut [u8] {
        // SAFETY: H3.
        unsafe { std::slice::from_raw_parts_mut(self.buffer.add(self.offset as usize).as_ptr(), self.len as usize) }
    }

    #[inline]
    fn tailroom(&self) -> usize {
        (self.room - self.offset - self.len) as usize
    }
}

/// The fields of a [`Header`] that never change: for whoever must know whether somebody wrote them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fixed {
    buffer: NonNull<u8>,
    pool: NonNull<PoolCore>,
    room: u32,
    index: u32,
    owner: Owner,
}

// SAFETY: addresses to compare with; they are followed only once they are in a header again.
unsafe impl Send for Fixed {}

impl Drop for Mbuf {
    fn drop(&mut self) {
        // SAFETY: we own the header (H2) and never touch it again.
        unsafe { pool::release(std::slice::from_ref(&self.0)) };
    }
}

impl std::fmt::Debug for Mbuf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let header = self.header();
        f.debug_struct("Mbuf")
            .field("index", &header.index)
            .field("packet_len", &header.packet_len)
            .field("segments", &header.segments)
            .field("port", &header.port)
            .finish()
    }
}

/// Iterator over the data of a packet's segments; made by [`Mbuf::segments`].
#[derive(Debug)]
pub struct Segments<'a>(Headers<'a>);

impl<'a> Iterator for Segments<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        self.0.next().map(Header::data)
    }
}

/// Iterator over the headers of a packet's segments; made by [`Mbuf::headers`].
#[derive(Debug)]
pub(crate) struct Headers<'a> {
    next: Option<NonNull<Header>>,
    life: PhantomData<&'a Mbuf>,
}

impl<'a> Iterator for Headers<'a> {
    type Item = &'a Header;

    #[inline]
    fn next(&mut self) -> Option<&'a Header> {
        // SAFETY: H1 and H2 hold along the chain for as long as the mbuf is borrowed, which is 'a.
        let header: &'a Header = unsafe { self.next?.as_ref() };
        self.next = header.next;
        Some(header)
    }
}

#[cfg(test)]
mod tests {
    use crate::{Pool, PoolConfig};

    fn pool(size: usize) -> Pool {
        Pool::new(&PoolConfig { name: "mbuf-test".into(), size, data_room: 256, ..PoolConfig::default() }).unwrap()
    }

    #[test]
    fn data_grows_and_shrinks_at_both_ends_within_the_room() {
        let pool = pool(2);
        let mut mbuf = pool.alloc().unwrap();
        assert_eq!((mbuf.headroom(), mbuf.len(), mbuf.tailroom()), (128, 0, 256));
        mbuf.append(10).unwrap().copy_from_slice(b"0123456789");
        mbuf.prepend(2).unwrap().copy_from_slice(b"ab");
        assert!(mbuf.adj(1) && mbuf.trim(3));
        assert_eq!(mbuf.data(), b"b0123456");
        assert_eq!((mbuf.headroom(), mbuf.packet_len(), mbuf.tailroom()), (127, 8, 249));
        assert!(mbuf.append(250).is_none() && mbuf.prepend(128).is_none() && !mbuf.adj(9) && !mbuf.trim(9));
        assert_eq!(mbuf.data(), b"b0123456");
    }

    #[test]
    fn a_chain_is_one_packet_and_returns_whole() {
        let pool = pool(3);
        let mut head = pool.alloc().unwrap();
        head.append(3).unwrap().copy_from_slice(b"abc");
        for part in [b"def", b"ghi"] {
            let mut tail = pool.alloc().unwrap();
            tail.append(3).unwrap().copy_from_slice(part);
            head.chain(tail).unwrap();
        }
        assert_eq!((head.segment_count(), head.packet_len(), head.len()), (3, 9, 3));
        let mut whole = [0; 16];
        assert_eq!(head.copy_to(&mut whole), 9);
        assert_eq!(&whole[..9], b"abcdefghi");
        head.append(1).unwrap()[0] = b'!';
        assert!(head.trim(2));
        assert_eq!(head.segments().map(<[u8]>::len).collect::<Vec<_>>(), [3, 3, 2]);
        assert_eq!(pool.available(), 0);
        head.reset();
        assert_eq!((head.packet_len(), head.segment_count(), pool.available()), (0, 1, 2));
        drop(head);
        assert_eq!(pool.available(), 3);
    }

    #[test]
    fn a_packet_is_received_in_whole_blocks_or_not_at_all() {
        let pool = pool(1);
        let mut mbuf = pool.alloc().unwrap();
        let room = mbuf.tailroom();
        let too_long = u16::try_from(room / 64 * 64 + 1).unwrap();
        assert!(mbuf.receive_blocks(too_long, 3).is_none() && mbuf.receive_blocks(u16::MAX, 3).is_none());
        assert_eq!((mbuf.len(), mbuf.packet_len(), mbuf.tailroom()), (0, 0, room), "nothing has changed");
        mbuf.receive_blocks(60, 3).unwrap().fill(7);
        assert_eq!((mbuf.data(), mbuf.packet_len(), mbuf.port()), (&[7; 60][..], 60, 3));
        assert_eq!(mbuf.receive_blocks(64, 4).map(|room| room.len()), Some(64));
    }

    #[test]
    fn a_packet_in_blocks_takes_the_place_of_whatever_the_mbuf_held() {
        let pool = pool(1);
        let mut mbuf = pool.alloc().unwrap();
        mbuf.append(200).unwrap();
        assert!(mbuf.adj(50));
        mbuf.receive_blocks(64, 3).unwrap().fill(7);
        assert_eq!((mbuf.headroom(), mbuf.data(), mbuf.packet_len(), mbuf.segment_count()), (128, &[7; 64][..], 64, 1));
    }

    #[test]
    fn a_device_may_choose_the_headroom_inside_the_buffer() {
        let pool = pool(1);
        let mut mbuf = pool.alloc().unwrap();
        assert_eq!(mbuf.set_received_at(200, 100, 3), Ok(()));
        assert_eq!((mbuf.headroom(), mbuf.packet_len(), mbuf.tailroom(), mbuf.port()), (200, 100, 84, 3));
        for (offset, len) in [(200, 185), (385, 0), (usize::MAX, 1), (0, usize::MAX)] {
            assert_eq!(mbuf.set_received_at(offset, len, 4), Err(super::OutsideBuffer));
        }
        assert_eq!((mbuf.headroom(), mbuf.len(), mbuf.port()), (200, 100, 3), "nothing has changed");
    }

    #[test]
    fn a_returned_mbuf_comes_back_empty() {
        let pool = pool(1);
        let mut mbuf = pool.alloc().unwrap();
        mbuf.prepend(100).unwrap();
        mbuf.set_port(7);
        drop(mbuf);
        let mbuf = pool.alloc().unwrap();
        assert_eq!((mbuf.headroom(), mbuf.len(), mbuf.packet_len(), mbuf.segment_count()), (128, 0, 0, 1));
    }
}
