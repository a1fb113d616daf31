//! Packets in memory that is no pool's, as a driver lends them that receives without copying: what a device has to send like
//! any others.

#![allow(unsafe_code)]

use std::ptr::NonNull;

use crate::pool::Lender;
use crate::{Mbuf, Pool};

/// Packets to be lent, each in bytes of its own, with no room around it.
pub struct Loan {
    lender: Lender,
    places: Vec<(NonNull<u8>, usize)>,
}

impl Loan {
    /// Of these packets, none of which is out yet: 1 to 65536.
    ///
    /// # Panics
    /// When there are more, or none, or no memory for their headers.
    pub fn of(mut packets: Vec<Vec<u8>>) -> Self {
        let place = |packet: &mut Vec<u8>| (NonNull::from(packet.as_mut_slice()).cast(), packet.len());
        let places: Vec<_> = packets.iter_mut().map(place).collect();
        let lender = Lender::new(places.len(), Vec::new(), Box::new(packets)).expect("memory for some headers");
        Self { lender, places }
    }

    /// The packet of a number, from 0 up.
    ///
    /// # Panics
    /// When there is none, or it is out.
    pub fn lend(&mut self, number: usize) -> Mbuf {
        let (data, len) = self.places[number];
        // SAFETY: the bytes belong to a vector that the lender keeps, and that nobody reaches otherwise. Each number has its own.
        unsafe { self.lender.lend(number, data, len, 0) }
    }

    /// Whether no packet is out.
    pub fn is_back(&self) -> bool {
        self.lender.all_back()
    }

    /// How many of them were sent as copies in `pool`, as the drivers say who did so ([`Pool::tell_lender`]).
    pub fn copied_into(&self, pool: &Pool) -> u64 {
        self.lender.copied_into(pool)
    }
}

impl std::fmt::Debug for Loan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loan").field("packets", &self.places.len()).finish_non_exhaustive()
    }
}
