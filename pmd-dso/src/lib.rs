//! Drivers from shared objects: found, loaded, and adapted to the traits of pmd-core.
//!
//! ```text
//!   -d PATH --file--> shared objects --library--> pmd_plugin: version, sizes --init--> table --table--> checked table
//!                                                                                                          |
//!   Registry <-- Plugged: Driver -- open --> Device { pools, Control } -- Rx, Tx: one call per burst <-----+
//!                                                |
//!                                              Library: the functions that the shared object may call, and the Tracker
//! ```
//!
//! 1. [`load`] reads each file's head (`file`), maps it (`library`) and compares versions and sizes before it runs any
//!    function of it. (The constructors that the object has run when it is mapped.) It stays mapped for ever.
//! 2. The table it gives is checked: no null where a function is needed, text that is text, options that make sense
//!    (`table`). What is wrong is a [`LoadError`], and nothing is registered.
//! 3. A driver opens devices like any other (`driver`, `device`, `queues`). Packets cross as pointers in arrays, one call
//!    per burst.
//! 4. When drivers are checked, every mbuf that crosses is tracked (`tracker`). A device whose driver does what it must not
//!    is taken down with a reason; what the driver holds then comes back when its last device is closed.
//!
//! What a shared object sees is the C of `pmd-plugin/include/pmd.h`; `docs/shared-objects.md` is the guide.

mod device;
mod driver;
mod error;
mod file;
mod library;
mod options;
mod queues;
mod table;
mod text;
mod tracker;

pub use error::LoadError;
pub use library::{Checking, load};
