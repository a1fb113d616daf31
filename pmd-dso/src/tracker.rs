//! Which mbufs the driver of a shared object holds: what it gives back is believed only if it is one of them.
//!
//! 1. An mbuf that the driver takes from a pool is given to it. One that it is asked to send is offered to it, and what it
//!    leaves must be of this offer.
//! 2. What it returns or frees is looked up by its address. Nothing at an address that is not held is ever read.
//! 3. What is held is read with suspicion: the fields that are the program's must be as they were, data must lie in its
//!    buffer, and a chain be as long as it says. Segments are held one by one, since a driver may chain them anew.
//! 4. After a fault nobody knows what the driver still means to return. When its last device is closed, what it holds is
//!    taken from it.
//!
//! Mbufs are held by a driver, not by a device of it: a driver may receive on one device what it sent on another.
//!
//! This file owns `unsafe`: it reads headers of mbufs that are held, and makes mbufs of what is given back.

#![allow(unsafe_code)]

use std::collections::HashMap;
use std::ptr::NonNull;
use std::sync::{Mutex, MutexGuard, PoisonError};

use pmd_core::raw::{Fixed, Header};
use pmd_core::{Burst, Mbuf};

/// A call of tx_burst, so that one thread's is not taken for another's; 0 is none.
type Offer = u64;

/// The mbufs that a driver holds.
#[derive(Default)]
pub(crate) struct Tracker(Mutex<State>);

#[derive(Default)]
struct State {
    /// Every segment that the driver ever had: no more than the pools have mbufs.
    known: HashMap<NonNull<Header>, Known>,
    /// The last offer.
    offer: Offer,
    /// Whether it has done what it must not.
    distrusted: bool,
}

// SAFETY: addresses, which are followed only for mbufs that are held, and those are the tracker's alone to give back.
unsafe impl Send for State {}

/// What is known of a segment.
enum Known {
    /// The driver has it.
    Held { fixed: Fixed, offered: Offer },
    /// It had it, and gave it back.
    GivenBack,
}

/// What a driver returned that it must not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Nonsense {
    #[error("a null pointer")]
    Null,
    #[error("the pointer {0:p}, which is no mbuf that it was ever given")]
    Foreign(NonNull<Header>),
    #[error("the mbuf {0:p}, which it had given back already")]
    GivenBack(NonNull<Header>),
    #[error("the mbuf {0:p}, which it was not asked to send")]
    NotOffered(NonNull<Header>),
    #[error("the mbuf {0:p}, in which it had changed `buffer`, `pool`, `room`, `index` or `owner`")]
    Changed(NonNull<Header>),
    #[error("the mbuf {mbuf:p} with {len} bytes of data from {offset} on, but its buffer has {room}")]
    Outside { mbuf: NonNull<Header>, offset: u32, len: u32, room: u32 },
    #[error("the mbuf {mbuf:p} with {said} segments and {said_bytes} bytes of data, but its chain has other numbers")]
    Chain { mbuf: NonNull<Header>, said: u16, said_bytes: u32 },
}

impl Tracker {
    /// The driver has taken these mbufs from a pool.
    pub(crate) fn give(&self, heads: &[NonNull<Header>]) {
        self.state().hold(heads, 0);
    }

    /// The driver is about to be asked to send these packets.
    pub(crate) fn offer(&self, heads: &[NonNull<Header>]) -> Offer {
        let mut state = self.state();
        state.offer += 1;
        let offer = state.offer;
        state.hold(heads, offer);
        offer
    }

    /// Moves what the driver gives back to the end of `to`, which has room, and tells what of it is nonsense.
    pub(crate) fn take_back_all(&self, heads: &[Option<NonNull<Header>>], to: &mut Burst) -> Vec<Nonsense> {
        let mut state = self.state();
        let mut take = |head: &Option<NonNull<Header>>| state.take_back(*head, None, to).err();
        heads.iter().filter_map(&mut take).collect()
    }

    /// Of the packets of an offer the driver left `left`, it says, which go to the end of `to`. The others it has taken.
    pub(crate) fn settle(&self, offer: Offer, left: &[Option<NonNull<Header>>], to: &mut Burst) -> Vec<Nonsense> {
        let mut state = self.state();
        let mut take = |head: &Option<NonNull<Header>>| state.take_back(*head, Some(offer), to).err();
        left.iter().filter_map(&mut take).collect()
    }

    /// The driver has done what it must not.
    pub(crate) fn distrust(&self) {
        self.state().distrusted = true;
    }

    /// Its last device is closed. Says how many mbufs it had not given back; after a fault they are taken from it.
    pub(crate) fn last_closed(&self) -> usize {
        let mut state = self.state();
        let held: Vec<_> = state.held().collect();
        if std::mem::take(&mut state.distrusted) {
            for (segment, fixed) in &held {
                state.known.insert(*segment, Known::GivenBack);
                // SAFETY: it was held, so it is out of its pool and nobody else's: the driver's devices are closed.
                unsafe {
                    let header = &mut *segment.as_ptr();
                    header.restore(*fixed);
                    (header.next, header.segments, header.len, header.packet_len) = (None, 1, 0, 0);
                    drop(Mbuf::from_raw(*segment));
                }
            }
        }
        held.len()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn hold(&mut self, heads: &[NonNull<Header>], offered: Offer) {
        for head in heads {
            let mut next = Some(*head);
            let mut offered = offered;
            while let Some(segment) = next {
                // SAFETY: the program owns the packets until the driver gets them, after this.
                let header = unsafe { segment.as_ref() };
                self.known.insert(segment, Known::Held { fixed: header.fixed(), offered });
                next = header.next;
                // What is settled is a packet, by its first segment.
                offered = 0;
            }
        }
    }

    fn take_back(
        &mut self,
        head: Option<NonNull<Header>>,
        offer: Option<Offer>,
        to: &mut Burst,
    ) -> Result<(), Nonsense> {
        let head = head.ok_or(Nonsense::Null)?;
        let segments = self.chain(head, offer)?;
        for segment in segments {
            self.known.insert(segment, Known::GivenBack);
        }
        // SAFETY: the driver held it and gives it back; it is as an mbuf has to be, as was just seen.
        let pushed = to.push(unsafe { Mbuf::from_raw(head) });
        debug_assert!(pushed.is_ok(), "callers have room for what they ask to be taken back");
        Ok(())
    }

    /// The segments of a packet that the driver gives back.
    fn chain(&self, head: NonNull<Header>, offer: Option<Offer>) -> Result<Vec<NonNull<Header>>, Nonsense> {
        let mut segments = Vec::with_capacity(1);
        let (mut next, mut bytes, mut said) = (Some(head), 0, (1, 0));
        while let Some(segment) = next {
            let header = self.segment(segment, offer.filter(|_| segment == head))?;
            if segment == head {
                said = (header.segments, header.packet_len);
            }
            let wrong = Nonsense::Chain { mbuf: head, said: said.0, said_bytes: said.1 };
            if segments.len() == usize::from(said.0) {
                return Err(wrong);
            }
            segments.push(segment);
            bytes += u64::from(header.len);
            next = header.next;
            if next.is_none() && (segments.len() != usize::from(said.0) || bytes != u64::from(said.1)) {
                return Err(wrong);
            }
        }
        Ok(segments)
    }

    /// A segment that the driver gives back, if it may.
    fn segment(&self, segment: NonNull<Header>, offer: Option<Offer>) -> Result<&Header, Nonsense> {
        let fixed = match self.known.get(&segment) {
            None => return Err(Nonsense::Foreign(segment)),
            Some(Known::GivenBack) => return Err(Nonsense::GivenBack(segment)),
            Some(Known::Held { offered, .. }) if offer.is_some_and(|offer| offer != *offered) => {
                return Err(Nonsense::NotOffered(segment));
            }
            Some(Known::Held { fixed, .. }) => *fixed,
        };
        // SAFETY: it is held, so its memory is there, and nobody but the driver, which gives it back, has it.
        let header = unsafe { segment.as_ref() };
        if header.fixed() != fixed {
            return Err(Nonsense::Changed(segment));
        }
        let (offset, len, room) = (header.offset, header.len, header.room());
        if u64::from(offset) + u64::from(len) > u64::from(room) {
            return Err(Nonsense::Outside { mbuf: segment, offset, len, room });
        }
        Ok(header)
    }

    /// All segments that the driver has, as they were given to it.
    fn held(&self) -> impl Iterator<Item = (NonNull<Header>, Fixed)> {
        self.known.iter().filter_map(|(segment, known)| match known {
            Known::Held { fixed, .. } => Some((*segment, *fixed)),
            Known::GivenBack => None,
        })
    }
}
