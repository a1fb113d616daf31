//! The kernel's side of AF_XDP: system calls and mapped rings. The only files of this crate with `unsafe`.
//!
//! Everything here is one call or one access each; what they are good for is decided above.

pub(crate) mod bpf;
pub(crate) mod channels;
pub(crate) mod passing;
pub(crate) mod ring;
pub(crate) mod xsk;
