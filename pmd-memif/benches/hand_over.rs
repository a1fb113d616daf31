//! What one CPU can hand over to another that does not look at it: the bound for a copying client whose server borrows.
//!
//! ```text
//! cargo bench --package pmd-memif --bench hand_over -- SIZE BUFFERS [CPU CPU]
//! ```
//!
//! 1. A thread takes bursts of 32 packets of SIZE bytes from a null lport, as `lport run` does in `make bench`, copies them into
//!    BUFFERS buffers in turn (a power of two, as far apart as a memif's), describes each in a ring of 1024 descriptors, publishes
//!    how many there are, makes the fence without which it could not wake a peer, and asks for the descriptors of the burst after
//!    next.
//! 2. Another thread on the other CPU reads the descriptors, and publishes how many.
//!
//! No check, no counter, no call by pointer but the null lport's. Prints millions of packets per second, and the nanoseconds that
//! one took.

#![allow(unsafe_code)]

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};
use std::time::{Duration, Instant};

use pmd_core::drivers::NullDriver;
use pmd_core::lcore::pin_current;
use pmd_core::{Burst, DeviceRequest, Driver, Lport, Options, Pool, PoolConfig, RawOption};

const BURST: usize = 32;
const SLOTS: usize = 1024;

/// Bytes of a buffer.
const ROOM: usize = 2048;

const WARM_UP: Duration = Duration::from_millis(50);
const COUNTED: Duration = Duration::from_millis(200);

/// An index on a line of its own.
#[repr(align(128))]
struct Index(AtomicU32);

/// Four descriptors, of two words each.
#[repr(align(64))]
struct Line([AtomicU64; 8]);

/// What both threads have.
struct Ring {
    head: Index,
    tail: Index,
    descriptors: Vec<Line>,
    memory: Vec<AtomicU64>,
    stride: usize,
    size: usize,
    /// One less than there are.
    buffers: usize,
    is_over: AtomicBool,
}

impl Ring {
    fn new(size: usize, buffers: usize) -> Self {
        // An odd number of lines apart.
        let stride = ROOM + 64;
        let words = || (0..8).map(|_| AtomicU64::new(0)).collect::<Vec<_>>().try_into();
        Self {
            head: Index(AtomicU32::new(0)),
            tail: Index(AtomicU32::new(0)),
            descriptors: (0..SLOTS / 4).map(|_| Line(words().expect("eight"))).collect(),
            memory: (0..(buffers * stride + 64) / 8).map(|_| AtomicU64::new(0)).collect(),
            stride,
            size,
            buffers: buffers - 1,
            is_over: AtomicBool::new(false),
        }
    }

    fn slot(&self, index: u32) -> [&AtomicU64; 2] {
        let slot = index as usize % SLOTS;
        let Line(words) = &self.descriptors[slot / 4];
        [&words[slot % 4 * 2], &words[slot % 4 * 2 + 1]]
    }

    /// The first byte of a packet's buffer, at the beginning of a cache line.
    fn buffer(&self, index: u32) -> *mut u8 {
        let first = self.memory.as_ptr().cast::<u8>().cast_mut();
        let at = (index as usize & self.buffers) * self.stride;
        first.wrapping_add(first.align_offset(64) + at)
    }

    /// Sends until it is over: no more at a time than there are buffers for.
    fn send(&self, mut source: Lport) {
        let most = SLOTS.min(self.buffers + 1 - BURST) as u32;
        let (mut head, mut tail) = (0_u32, 0);
        let mut burst = Burst::with_limit(BURST);
        while !self.is_over.load(Ordering::Relaxed) {
            if head.wrapping_sub(tail) + BURST as u32 > most {
                tail = self.tail.0.load(Ordering::Acquire);
                if head.wrapping_sub(tail) + BURST as u32 > most {
                    std::hint::spin_loop();
                    continue;
                }
            }
            source.rx.rx_burst(&mut burst);
            for mbuf in burst.iter() {
                let [length, place] = self.slot(head);
                // SAFETY: the buffer has `size` bytes, as many as the packet; the other thread is done with it.
                unsafe { std::ptr::copy_nonoverlapping(mbuf.data().as_ptr(), self.buffer(head), self.size) };
                length.store(self.size as u64, Ordering::Relaxed);
                place.store(u64::from(head), Ordering::Relaxed);
                head = head.wrapping_add(1);
            }
            self.head.0.store(head, Ordering::Release);
            fence(Ordering::SeqCst);
            self.ask_for_slots(head.wrapping_add(BURST as u32));
            burst.clear();
        }
    }

    /// Asks for the lines of a burst's descriptors, to write to them.
    fn ask_for_slots(&self, first: u32) {
        for slot in (0..BURST as u32).step_by(4) {
            let [line, _] = self.slot(first.wrapping_add(slot));
            #[cfg(target_arch = "x86_64")]
            // SAFETY: prefetching changes nothing but caches, and never faults.
            unsafe {
                std::arch::asm!("prefetchw [{}]", in(reg) line.as_ptr(), options(nostack, preserves_flags, readonly));
            }
            #[cfg(not(target_arch = "x86_64"))]
            let _ = line;
        }
    }

    /// Receives until it is over.
    fn receive(&self) {
        let mut tail = 0_u32;
        while !self.is_over.load(Ordering::Relaxed) {
            let filled = self.head.0.load(Ordering::Acquire).wrapping_sub(tail).min(BURST as u32);
            if filled == 0 {
                std::hint::spin_loop();
                continue;
            }
            for _ in 0..filled {
                let found = self.slot(tail).map(|word| word.load(Ordering::Relaxed));
                assert_eq!(found, [self.size as u64, u64::from(tail)], "what was published");
                tail = tail.wrapping_add(1);
            }
            self.tail.0.store(tail, Ordering::Release);
        }
    }
}

fn null_lport(size: usize) -> Lport {
    let pool = Pool::new(&PoolConfig { size: 1024, ..PoolConfig::default() }).expect("memory for it");
    let given = [RawOption::text("size", size.to_string()), RawOption::text("zeroed", "no")];
    let options = Options::check(NullDriver.options(), &given).expect("the driver has these options");
    let request = DeviceRequest::new("null", options, 1, Some(&pool));
    NullDriver.open(request).expect("a null lport opens").pop().expect("one lport")
}

fn main() -> ExitCode {
    // `cargo bench` adds an argument of its own.
    let arguments: Vec<_> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let numbers: Result<Vec<usize>, _> = arguments.iter().map(|argument| argument.parse()).collect();
    let (size, buffers, cpus) = match numbers.as_deref() {
        Ok([size, buffers]) => (*size, *buffers, [0, 1]),
        Ok([size, buffers, first, second]) => (*size, *buffers, [*first, *second]),
        _ => return usage(),
    };
    if !(64..=ROOM).contains(&size) || !(64..=65536).contains(&buffers) || !buffers.is_power_of_two() {
        return usage();
    }
    let ring = Ring::new(size, buffers);
    let source = null_lport(size);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            pin_current(&cpus[..1]).expect("the CPU is there");
            ring.send(source);
        });
        scope.spawn(|| {
            pin_current(&cpus[1..]).expect("the CPU is there");
            ring.receive();
        });
        std::thread::sleep(WARM_UP);
        let (before, start) = (ring.tail.0.load(Ordering::Relaxed), Instant::now());
        std::thread::sleep(COUNTED);
        let (packets, time) = (ring.tail.0.load(Ordering::Relaxed).wrapping_sub(before), start.elapsed());
        ring.is_over.store(true, Ordering::Relaxed);
        let each = time.as_nanos() as f64 / f64::from(packets.max(1));
        println!("{:.2} Mpps, {each:.1} ns per packet", 1000.0 / each);
    });
    ExitCode::SUCCESS
}

fn usage() -> ExitCode {
    eprintln!("usage: hand_over SIZE BUFFERS [CPU CPU]; SIZE from 64 to 2048, BUFFERS a power of two from 64 to 65536");
    ExitCode::from(2)
}
