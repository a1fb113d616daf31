//! Mbufs as pointers: for drivers in shared objects, on both sides of their boundary.
//!
//! A driver in a shared object may be written in C, or have a copy of this crate of its own. Both see an mbuf as a pointer
//! to its [`Header`], which C calls `struct pmd_mbuf`.
//!
//! 1. The program passes pointers from a burst ([`crate::Burst::as_raw`]), forgets those that the driver took
//!    ([`crate::Burst::forget_front`]) and takes those that it received ([`crate::Burst::grow`]).
//! 2. The driver's copy of this crate makes mbufs of them ([`crate::Mbuf::from_raw`]). They behave like its own. Dropped,
//!    they are given to the function that [`free_foreign_with`] has named.
//! 3. A [`ForeignPool`] stands there for a pool of the program: what is taken from it comes from the program's.
//!
//! Ownership is the same as ever: whoever has the pointer that [`crate::Mbuf::into_raw`] or a burst gave up has the mbuf.

pub use crate::mbuf::{Fixed, Header};
pub use crate::pool::{ForeignPool, ForeignSource, free_foreign_with};
