//! Interrupts: when a receiver that sleeps is woken (statements 63 to 65).
//!
//! Two words in two places decide: the sender's index and the receiver's mask. Each side writes its own and then looks at
//! the other's, and a sequentially consistent fence stands between the two steps on both sides: so never does each miss
//! what the other wrote.
//!
//! ```text
//!   receiver                             sender
//!   1. unmask                            1. publish packets (the ring's index)
//!   2. fence                             2. fence
//!   3. packets? then it does not sleep   3. unmasked? then it rings the eventfd
//! ```

use super::{RING_MASK_INT, RingMemory};
use crate::sync::{Ordering, fence};

/// Asks the sender of this ring for interrupts. The receiver has to look for packets afterwards, before it sleeps.
pub(crate) fn unmask(memory: &impl RingMemory) {
    memory.set_flags(0);
    fence(Ordering::SeqCst);
}

/// Tells the sender that the receiver polls.
pub(crate) fn mask(memory: &impl RingMemory) {
    memory.set_flags(RING_MASK_INT);
}

/// After a burst that published packets: interrupts the peer if it wants that. `Some(false)` when it failed.
#[inline]
pub(crate) fn send(memory: &impl RingMemory) -> Option<bool> {
    fence(Ordering::SeqCst);
    (memory.flags() & RING_MASK_INT == 0).then(|| memory.interrupt())
}
