//! Pools: equal mbufs on one memory segment, for any number of threads.
//!
//! ```text
//!   thread A             thread B
//!   cache (LIFO)         cache (LIFO)         no lock, no atomic read-modify-write
//!       \  half a cache     /
//!        \  at a time      /
//!         common free list                    a mutex, once per half cache
//! ```
//!
//! 1. [`Pool::new`] maps one segment for headers and one for buffers, and puts every mbuf on the common list. ([`Pool::over`] has
//!    its buffers in memory of somebody else, a link's for example.)
//! 2. [`Pool::alloc_bulk`] takes from the calling thread's cache, which refills itself from the common list.
//! 3. Dropped mbufs go to the cache of the thread that drops them; when it overflows, its cold half goes to the common
//!    list, so that the mbufs whose lines are still in the CPU's cache are used next.
//! 4. A thread that ends gives its caches back.
//! 5. The memory goes when the last [`Pool`] handle is gone and the last mbuf has come home.
//!
//! Who keeps the memory alive: handles, and as soon as any mbuf is away from the common list, the pool itself (`loan`,
//! an `Arc` to itself, held under the common list's lock). So mbufs need no count of references, and invariant H1 of
//! `mbuf` holds: a header's pool and memory live while the mbuf is out, or in a thread's cache.
//!
//! Counts are exact: [`Pool::available`] adds the common list and every thread's cache; at a quiet moment `available +
//! in_use == size`.

#![allow(unsafe_code)]

mod cache;
mod foreign;
mod lender;
mod posted;
mod receiving;
mod segment;

use std::any::Any;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

pub(crate) use foreign::Owner;
pub use foreign::{ForeignPool, ForeignSource, free_foreign_with};
use lender::Lent;
pub use lender::{Lender, LentSegment};
pub use posted::Posted;
pub use receiving::RxPool;
pub use segment::{FileId, Segment, Span, sealed_memfd};

use crate::burst::Burst;
use crate::deployment::PageSize;
use crate::mbuf::{Header, Mbuf};
use cache::CacheCount;
pub(crate) use cache::release;

/// Bytes before the data of a fresh mbuf, as in DPDK.
pub const HEADROOM: usize = 128;

/// Smallest chunk of a chunked pool, in bytes.
const CHUNK_MIN: usize = 2048;

/// Largest number of mbufs in one pool.
pub const POOL_MAX: usize = 1 << 26;

/// What a pool is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolConfig {
    /// For statistics and messages.
    pub name: String,
    /// Number of mbufs, 1 to [`POOL_MAX`].
    pub size: usize,
    /// Bytes of data one mbuf holds behind its headroom, 64 to 65536.
    pub data_room: usize,
    /// Mbufs a thread keeps in its cache at rest, at most 4096; it may hold twice as many before it gives half of them
    /// back. Small pools get smaller caches, so that no thread can hoard the pool. 0: no caches.
    pub cache: usize,
    /// The page size wanted. When such pages cannot be had the next smaller ones are taken, with a warning.
    pub page: PageSize,
    /// Whether the buffers lie in a memfd that a peer may map (for zero-copy), instead of in private memory.
    pub shareable: bool,
    /// Whether each buffer is a chunk of a power of two bytes, 2048 at least, at a multiple of its size: what AF_XDP wants
    /// unless it is told otherwise. The data room grows to fill the chunk.
    pub chunked: bool,
}

impl Default for PoolConfig {
    fn default() -> Self {
        let (page, shareable, chunked) = (PageSize::Small, false, false);
        Self { name: "pool".into(), size: 4096, data_room: 2048, cache: 256, page, shareable, chunked }
    }
}

/// Why a pool could not be made.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// A number of the configuration is out of range.
    #[error("pool `{pool}`: {what} is {value}, but must be {min} to {max}")]
    OutOfRange {
        /// Name of the pool.
        pool: String,
        /// Which number.
        what: &'static str,
        /// Its value.
        value: usize,
        /// Smallest value accepted.
        min: usize,
        /// Largest value accepted.
        max: usize,
    },
    /// The memory could not be had.
    #[error("pool `{pool}`: cannot get {bytes} bytes of memory: {source}")]
    Memory {
        /// Name of the pool.
        pool: String,
        /// How much was asked for.
        bytes: usize,
        /// What the system said.
        source: std::io::Error,
    },
}

/// A handle on a pool of mbufs; clones are handles on the same pool.
#[derive(Clone)]
pub struct Pool(Arc<Handle>);

/// What the clones of a handle share; dropped with the last of them.
struct Handle(Arc<PoolCore>);

/// A header on the common list or in a cache: an mbuf that nobody holds.
type FreeHeader = NonNull<Header>;

/// The pool itself.
pub(crate) struct PoolCore {
    /// Tells this pool from every other one of the process, also from later ones at the same address.
    id: u64,
    name: String,
    size: usize,
    data_room: usize,
    /// Bytes from one buffer to the next.
    stride: usize,
    /// Mbufs a thread's cache takes from the common list, or gives back to it, at a time.
    cache_target: usize,
    headers: Segment,
    /// `None` for a lender, whose mbufs lie in memory of somebody else.
    buffers: Option<Segment>,
    /// `Some` for a lender: where its mbufs go instead of to caches and the common list.
    lent: Option<Lent>,
    /// `Some` for a stand-in: where mbufs come from instead of from caches and the common list.
    foreign: Option<Box<dyn ForeignSource>>,
    common: Mutex<Common>,
    this: Weak<PoolCore>,
    /// What keeps memory mapped that is not ours.
    _keep: Option<Box<dyn Any + Send + Sync>>,
}

/// What all threads share, under the lock.
struct Common {
    free: Vec<FreeHeader>,
    /// How full each thread's cache is.
    caches: Vec<Arc<CacheCount>>,
    /// Keeps the pool alive while `free` is not whole.
    loan: Option<Arc<PoolCore>>,
}

// SAFETY: the raw pointers in here (free headers, and header -> buffer) point into segments the PoolCore owns. Free
// headers are touched only under the lock or by the one cache or mbuf that took them out under the lock.
unsafe impl Send for PoolCore {}
// SAFETY: as above: shared access goes through the mutex; the rest is immutable after construction.
unsafe impl Sync for PoolCore {}

impl Pool {
    /// Makes a pool.
    ///
    /// # Errors
    /// A number out of range, or no memory.
    pub fn new(config: &PoolConfig) -> Result<Self, PoolError> {
        check(config)?;
        let (stride, data_room) = if config.chunked {
            let chunk = (HEADROOM + config.data_room).next_power_of_two().max(CHUNK_MIN);
            (chunk, chunk - HEADROOM)
        } else {
            (buffer_stride(config.data_room), config.data_room)
        };
        let buffer_bytes = config.size.saturating_mul(stride);
        let buffers = if config.shareable {
            Segment::shareable(buffer_bytes, config.page)
        } else {
            Segment::private(buffer_bytes, config.page)
        };
        let buffers = buffers.map_err(|error| no_memory(config, buffer_bytes, error))?;
        Self::on(config, buffers, stride, data_room, None)
    }

    /// A pool on memory of somebody else, which `keep` keeps mapped: buffer `i` begins `i` times `stride` bytes behind `first`.
    /// Of `config`, page size and kind of memory are not looked at.
    ///
    /// # Errors
    /// A number out of range, or no memory for the headers.
    ///
    /// # Panics
    /// When buffers would overlap.
    ///
    /// # Safety
    /// Each buffer has [`HEADROOM`] and `config.data_room` bytes, initialised, mapped while `keep` lives, and touched by nobody in
    /// this process but through the pool's mbufs. (Where another process writes to them, it changes what their owners read: that
    /// is what sharing means.)
    pub unsafe fn over(
        config: &PoolConfig,
        first: NonNull<u8>,
        stride: usize,
        keep: Box<dyn Any + Send + Sync>,
    ) -> Result<Self, PoolError> {
        check(config)?;
        let PoolConfig { size, data_room, .. } = *config;
        assert!(stride >= HEADROOM + data_room, "mbufs of {data_room} bytes do not fit buffers {stride} bytes apart");
        let buffers = Segment::borrowed(first, (size - 1) * stride + HEADROOM + data_room, PageSize::Small, None);
        Self::on(config, buffers, stride, data_room, Some(keep))
    }

    /// A pool on these buffers.
    fn on(
        config: &PoolConfig,
        buffers: Segment,
        stride: usize,
        data_room: usize,
        keep: Option<Box<dyn Any + Send + Sync>>,
    ) -> Result<Self, PoolError> {
        let header_bytes = config.size * size_of::<Header>();
        let headers = Segment::private(header_bytes, PageSize::Small);
        let headers = headers.map_err(|error| no_memory(config, header_bytes, error))?;
        let core = Arc::new_cyclic(|this| PoolCore {
            id: next_id(),
            name: config.name.clone(),
            size: config.size,
            data_room,
            stride,
            cache_target: config.cache.min(config.size / 8),
            headers,
            buffers: Some(buffers),
            lent: None,
            foreign: None,
            common: Mutex::new(Common { free: Vec::with_capacity(config.size), caches: Vec::new(), loan: None }),
            this: this.clone(),
            _keep: keep,
        });
        core.write_headers();
        Ok(Self(Arc::new(Handle(core))))
    }

    /// Takes one mbuf, empty, with the whole headroom; `None` when the pool is exhausted.
    pub fn alloc(&self) -> Option<Mbuf> {
        let mut burst = Burst::with_limit(1);
        self.alloc_bulk(&mut burst, 1);
        burst.pop()
    }

    /// Adds up to `n` empty mbufs to `burst`, within its limit, and says how many.
    #[inline]
    pub fn alloc_bulk(&self, burst: &mut Burst, n: usize) -> usize {
        self.take::<true>(burst, n)
    }

    /// As [`Self::alloc_bulk`], but each mbuf is as its last owner left it, data and all: for drivers that make it a packet of
    /// their own, whole, at once ([`Mbuf::receive_blocks`]), or empty ([`Mbuf::reset`]). (DPDK's `rte_mbuf_raw_alloc`.)
    #[inline]
    pub fn raw_alloc_bulk(&self, burst: &mut Burst, n: usize) -> usize {
        self.take::<false>(burst, n)
    }

    #[inline(always)]
    fn take<const EMPTY: bool>(&self, burst: &mut Burst, n: usize) -> usize {
        let n = n.min(burst.room());
        match &self.core().foreign {
            None => cache::alloc_bulk::<EMPTY>(self.core(), burst, n),
            Some(source) => foreign::alloc_bulk(&**source, burst, n),
        }
    }

    /// A packet that holds a copy of `data`, in as many segments as that takes; `None`, taking nothing, when the pool has
    /// too few mbufs. For drivers that get whole packets in memory of their own.
    pub fn alloc_packet(&self, data: &[u8]) -> Option<Mbuf> {
        let (first, rest) = data.split_at(data.len().min(self.data_room()));
        let mut packet = self.alloc()?;
        packet.append(first.len())?.copy_from_slice(first);
        for part in rest.chunks(self.data_room()) {
            let mut segment = self.alloc()?;
            segment.append(part.len())?.copy_from_slice(part);
            packet.chain(segment).ok()?;
        }
        Some(packet)
    }

    /// A copy of `packet` in mbufs of this pool, in as many segments as that takes; `None`, taking nothing, when the pool has
    /// too few. For drivers whose device can only read packets of this pool. (DPDK's `rte_pktmbuf_copy`.)
    pub fn alloc_copy(&self, packet: &Mbuf) -> Option<Mbuf> {
        let mut copy = self.alloc()?;
        for mut data in packet.segments() {
            while !data.is_empty() {
                if copy.tailroom() == 0 {
                    copy.chain(self.alloc()?).ok()?;
                }
                let (part, rest) = data.split_at(data.len().min(copy.tailroom()));
                copy.append(part.len())?.copy_from_slice(part);
                data = rest;
            }
        }
        copy.set_port(packet.port());
        Some(copy)
    }

    #[inline(always)]
    fn core(&self) -> &PoolCore {
        &self.0.0
    }

    /// Name given at creation.
    pub fn name(&self) -> &str {
        &self.core().name
    }

    /// Whether both are handles on one pool.
    pub fn is_same(&self, other: &Pool) -> bool {
        self.core().id == other.core().id
    }

    /// Number of mbufs it was made with.
    pub fn size(&self) -> usize {
        self.core().size
    }

    /// Mbufs that can be taken, counting those in threads' caches. Exact at a quiet moment, otherwise recent.
    pub fn available(&self) -> usize {
        if let Some(source) = &self.core().foreign {
            return source.available();
        }
        let common = self.core().lock();
        common.free.len() + common.caches.iter().map(|count| count.get()).sum::<usize>()
    }

    /// Mbufs that somebody holds.
    pub fn in_use(&self) -> usize {
        self.size().saturating_sub(self.available())
    }

    /// Mbufs that lie in threads' caches.
    pub fn cached(&self) -> usize {
        self.core().lock().caches.iter().map(|count| count.get()).sum()
    }

    /// Mbufs a thread's cache keeps at rest.
    pub fn cache_size(&self) -> usize {
        self.core().cache_target
    }

    /// Bytes of data one mbuf holds behind its headroom.
    pub fn data_room(&self) -> usize {
        self.core().data_room
    }

    /// Bytes from one buffer to the next: buffer `i` begins `i` times as many bytes into the segment.
    pub fn stride(&self) -> usize {
        self.core().stride
    }

    /// The memory the buffers lie in.
    pub fn segment(&self) -> &Segment {
        self.core().buffers.as_ref().expect("every pool has buffers; only a lender, which is no pool, has none")
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // Nobody will take from this thread's cache any more. (Other threads' caches end with their threads.)
        cache::flush(&self.0);
    }
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool")
            .field("name", &self.name())
            .field("size", &self.size())
            .field("available", &self.available())
            .finish()
    }
}

impl PoolCore {
    fn lock(&self) -> MutexGuard<'_, Common> {
        // A panic while the lock is held cannot leave the list half changed: the moves under it do not panic.
        self.common.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes every header and fills the common list, lowest address on top.
    fn write_headers(&self) {
        let Some(buffers) = &self.buffers else { return };
        let room = (HEADROOM + self.data_room) as u32;
        let mut common = self.lock();
        for index in (0..self.size).rev() {
            // SAFETY: `headers` holds `size` headers and `buffers` `size` strides; nobody else has a pointer to them yet.
            let header = unsafe {
                let header = self.headers.base().cast::<Header>().add(index);
                header.write(Header {
                    buffer: buffers.base().add(index * self.stride),
                    pool: NonNull::from(self),
                    next: None,
                    room,
                    offset: HEADROOM as u32,
                    len: 0,
                    packet_len: 0,
                    segments: 1,
                    port: 0,
                    index: index as u32,
                    owner: Owner::us(),
                });
                header
            };
            common.free.push(header);
        }
    }

    /// Moves up to `n` headers from the common list to the end of `to`.
    fn take(&self, n: usize, to: &mut Vec<FreeHeader>) {
        let mut common = self.lock();
        let first = common.free.len().saturating_sub(n);
        to.extend(common.free.drain(first..));
        if common.free.len() < self.size && common.loan.is_none() {
            common.loan = self.this.upgrade();
        }
    }

    /// Puts headers back on the common list. When that makes it whole, the pool no longer keeps itself alive: the caller
    /// drops the returned loan, and with it perhaps the pool, when it no longer looks at it.
    #[must_use]
    fn give_back(&self, headers: &[FreeHeader]) -> Option<Arc<PoolCore>> {
        let mut common = self.lock();
        common.free.extend_from_slice(headers);
        if common.free.len() == self.size { common.loan.take() } else { None }
    }
}

fn no_memory(config: &PoolConfig, bytes: usize, source: std::io::Error) -> PoolError {
    PoolError::Memory { pool: config.name.clone(), bytes, source }
}

fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Bytes of memory behind the buffers of a pool of `size` mbufs of `data_room` bytes, headroom included, before they are
/// rounded up to pages.
pub fn buffer_bytes(size: usize, data_room: usize) -> usize {
    size.saturating_mul(buffer_stride(data_room))
}

/// Distance between buffers: an odd number of cache lines, so that the first lines of successive packets spread over all
/// sets of the CPU's caches. With 2048 or 2176 bytes they would share a few.
fn buffer_stride(data_room: usize) -> usize {
    ((HEADROOM + data_room).div_ceil(64) | 1) * 64
}

fn check(config: &PoolConfig) -> Result<(), PoolError> {
    let range = |what, value: usize, min, max| {
        let pool = config.name.clone();
        if (min..=max).contains(&value) { Ok(()) } else { Err(PoolError::OutOfRange { pool, what, value, min, max }) }
    };
    range("number of mbufs", config.size, 1, POOL_MAX)?;
    range("data room", config.data_room, 64, 65536)?;
    range("cache", config.cache, 0, 4096)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    fn pool(size: usize, cache: usize) -> Pool {
        Pool::new(&PoolConfig { name: "t".into(), size, data_room: 64, cache, ..PoolConfig::default() }).unwrap()
    }

    #[test]
    fn all_mbufs_can_be_taken_and_come_back() {
        let size = if cfg!(miri) { 100 } else { 1000 };
        for cache in [0, 1, 32, 4096] {
            let pool = pool(size, cache);
            let mut held = Vec::new();
            while let Some(mbuf) = pool.alloc() {
                held.push(mbuf);
            }
            assert_eq!((held.len(), pool.available(), pool.in_use()), (size, 0, size));
            let mut buffers: Vec<_> = held.iter().map(|mbuf| mbuf.data().as_ptr()).collect();
            buffers.sort_unstable();
            buffers.dedup();
            assert_eq!(buffers.len(), size, "every mbuf has a buffer of its own");
            drop(held);
            assert_eq!((pool.available(), pool.in_use()), (size, 0));
        }
    }

    #[test]
    fn a_pool_over_memory_of_somebody_else_uses_its_buffers_and_keeps_it_until_the_last_mbuf_is_back() {
        let config = PoolConfig { size: 8, data_room: 64, cache: 0, ..PoolConfig::default() };
        let mut memory = vec![0_u8; 8 * 256];
        let (first, token) = (NonNull::new(memory.as_mut_ptr()).unwrap(), Arc::new(()));
        // SAFETY: eight buffers of 192 bytes, 256 apart, lie in `memory`, which outlives the pool and is not touched meanwhile.
        let pool = unsafe { Pool::over(&config, first, 256, Box::new(Arc::clone(&token))) }.unwrap();
        let mut all: Vec<_> = std::iter::from_fn(|| pool.alloc()).collect();
        all.iter_mut().zip(1..).for_each(|(mbuf, mark)| mbuf.append(64).unwrap().fill(mark));
        assert_eq!((all.len(), all[7].tailroom(), pool.available()), (8, 0, 0));
        drop(pool);
        let last = all.pop();
        drop(all);
        assert_eq!(Arc::strong_count(&token), 2, "an mbuf is out");
        drop(last);
        assert_eq!(Arc::strong_count(&token), 1);
        for (buffer, mark) in memory.chunks(256).zip(1..) {
            assert!(buffer.iter().enumerate().all(|(i, byte)| *byte == if (128..192).contains(&i) { mark } else { 0 }));
        }
    }

    #[test]
    #[should_panic(expected = "mbufs of 64 bytes do not fit buffers 191 bytes apart")]
    fn buffers_of_somebody_else_do_not_overlap() {
        let config = PoolConfig { size: 1, data_room: 64, ..PoolConfig::default() };
        // SAFETY: it is refused before anything is touched.
        drop(unsafe { Pool::over(&config, NonNull::dangling(), 191, Box::new(())) });
    }

    #[test]
    fn a_burst_gets_what_there_is() {
        let pool = pool(100, 8);
        let (mut first, mut second) = (Burst::new(), Burst::new());
        assert_eq!((pool.alloc_bulk(&mut first, 70), pool.alloc_bulk(&mut second, 70)), (70, 30));
        assert_eq!(pool.alloc_bulk(&mut second, 1), 0);
        drop((first, second));
        assert_eq!(pool.available(), 100);
    }

    #[test]
    fn a_packet_takes_as_many_segments_as_it_needs_or_nothing() {
        let pool = pool(3, 0);
        for (len, segments) in [(0, 1), (64, 1), (65, 2), (192, 3)] {
            let data: Vec<_> = (0..len).map(|byte| byte as u8).collect();
            let packet = pool.alloc_packet(&data).unwrap();
            assert_eq!((packet.segment_count(), packet.packet_len()), (segments, len));
            assert_eq!(packet.segments().flatten().copied().collect::<Vec<_>>(), data);
        }
        assert!(pool.alloc_packet(&[0; 193]).is_none());
        assert_eq!(pool.available(), 3);
    }

    #[test]
    fn a_copy_lies_in_the_pool_it_was_asked_of_or_takes_nothing() {
        let (from, to) = (pool(4, 0), pool(3, 0));
        let data: Vec<_> = (0..150).collect();
        let mut packet = from.alloc_packet(&data).unwrap();
        packet.set_port(7);
        let copy = to.alloc_copy(&packet).unwrap();
        assert_eq!((copy.segment_count(), copy.port(), to.available()), (3, 7, 0));
        assert_eq!(copy.segments().flatten().copied().collect::<Vec<_>>(), data);
        drop(copy);
        let _held = to.alloc();
        assert!(to.alloc_copy(&packet).is_none());
        assert_eq!(to.available(), 2);
    }

    #[test]
    fn a_raw_mbuf_is_as_it_was_freed_but_one_packet_of_one_segment() {
        let pool = pool(2, 2);
        let mut packet = pool.alloc().unwrap();
        packet.prepend(3).unwrap().copy_from_slice(b"old");
        packet.chain(pool.alloc().unwrap()).unwrap();
        drop(packet);
        let mut burst = Burst::with_limit(2);
        assert_eq!((pool.raw_alloc_bulk(&mut burst, 3), pool.available()), (2, 0));
        assert!(burst.iter().all(|mbuf| mbuf.segment_count() == 1 && mbuf.data().len() == mbuf.packet_len()));
        assert!(burst.iter().any(|mbuf| mbuf.data() == b"old"));
        burst.clear();
        pool.alloc_bulk(&mut burst, 2);
        assert!(
            burst.iter().all(|mbuf| mbuf.is_empty() && mbuf.headroom() == HEADROOM),
            "unless it is asked for empty"
        );
        burst.clear();
        assert_eq!(pool.available(), 2);
    }

    #[test]
    fn mbufs_may_be_dropped_on_another_thread_which_gives_them_back_when_it_ends() {
        let pool = pool(512, 64);
        let (send, receive) = mpsc::channel::<Burst>();
        let sink = std::thread::spawn(move || receive.into_iter().for_each(drop));
        for _ in 0..200 {
            let mut burst = Burst::with_limit(32);
            pool.alloc_bulk(&mut burst, 32);
            send.send(burst).unwrap();
        }
        drop(send);
        sink.join().unwrap();
        assert_eq!(pool.available(), 512);
    }

    #[test]
    fn memory_outlives_the_handle_while_an_mbuf_is_out() {
        let pool = pool(4, 2);
        let weak = Arc::downgrade(&pool.0.0);
        let mut mbuf = pool.alloc().unwrap();
        drop(pool);
        mbuf.append(3).unwrap().copy_from_slice(b"abc");
        assert_eq!(mbuf.data(), b"abc");
        assert!(weak.upgrade().is_some());
        std::thread::spawn(move || drop(mbuf)).join().unwrap();
        drop(std::thread::spawn(|| ()).join());
        assert!(weak.upgrade().is_none(), "the last mbuf to come home frees the pool");
    }

    #[test]
    fn caches_of_a_gone_pool_are_not_taken_for_a_new_one() {
        for round in 0..20 {
            let pool = pool(16 + round, 4);
            let held: Vec<_> = std::iter::from_fn(|| pool.alloc()).collect();
            assert_eq!(held.len(), 16 + round);
        }
    }

    #[test]
    fn data_has_a_place_in_the_segment_of_its_own_pool_only() {
        let (a, b) = (pool(4, 0), pool(4, 0));
        let mut mbuf = a.alloc().unwrap();
        let place = a.segment().offset_of(mbuf.data()).unwrap();
        assert!(place >= HEADROOM && place < a.segment().len());
        mbuf.prepend(8).unwrap();
        assert_eq!((a.segment().offset_of(mbuf.data()), b.segment().offset_of(mbuf.data())), (Some(place - 8), None));
    }

    #[test]
    fn numbers_out_of_range_are_refused_by_name() {
        let error = Pool::new(&PoolConfig { size: 0, ..PoolConfig::default() }).unwrap_err().to_string();
        assert_eq!(error, "pool `pool`: number of mbufs is 0, but must be 1 to 67108864");
        assert!(Pool::new(&PoolConfig { data_room: 63, ..PoolConfig::default() }).is_err());
        assert!(Pool::new(&PoolConfig { cache: 4097, ..PoolConfig::default() }).is_err());
    }

    #[test]
    fn a_chunked_pool_gives_each_mbuf_an_aligned_power_of_two() {
        for (asked, chunk) in [(64, 2048), (1920, 2048), (1921, 4096), (4096, 8192)] {
            let config = PoolConfig { size: 3, data_room: asked, cache: 0, chunked: true, ..PoolConfig::default() };
            let pool = Pool::new(&config).unwrap();
            assert_eq!((pool.stride(), pool.data_room()), (chunk, chunk - HEADROOM));
            let mbuf = pool.alloc().unwrap();
            assert_eq!(mbuf.tailroom(), pool.data_room(), "the whole chunk can be used");
            assert_eq!(pool.segment().offset_of(mbuf.data()).unwrap() % chunk, HEADROOM);
        }
    }

    #[test]
    fn buffers_spread_over_the_sets_of_the_cache() {
        assert_eq!([64, 1920, 2048].map(|room| buffer_stride(room) / 64), [3, 33, 35]);
    }
}
