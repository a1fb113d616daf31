//! What a sleeping worker is woken by: an eventfd, or, where loom tries out all orders of things, what loom can see.

#[cfg(not(loom))]
pub(super) use eventfd::Bell;
#[cfg(loom)]
pub(super) use model::Bell;

#[cfg(not(loom))]
mod eventfd {
    use std::os::fd::{AsFd, BorrowedFd};

    use nix::sys::eventfd::{EfdFlags, EventFd};

    /// Rung by any thread, slept on by its owner.
    #[derive(Debug)]
    pub(in super::super) struct Bell(EventFd);

    impl Bell {
        pub(in super::super) fn new() -> std::io::Result<Self> {
            Ok(Self(EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?))
        }

        /// Makes the fd readable.
        pub(in super::super) fn ring(&self) {
            // Fails only when the counter is at its limit: then the fd is readable already.
            let _ = self.0.write(1);
        }

        /// Makes it unreadable.
        pub(in super::super) fn silence(&self) {
            // Nothing to read when nobody rang.
            let _ = self.0.read();
        }

        pub(in super::super) fn fd(&self) -> BorrowedFd<'_> {
            self.0.as_fd()
        }
    }
}

#[cfg(loom)]
mod model {
    use std::os::fd::BorrowedFd;

    use loom::sync::{Condvar, Mutex};

    #[derive(Debug)]
    pub(in super::super) struct Bell {
        rung: Mutex<bool>,
        changed: Condvar,
    }

    impl Bell {
        pub(in super::super) fn new() -> std::io::Result<Self> {
            Ok(Self { rung: Mutex::new(false), changed: Condvar::new() })
        }

        pub(in super::super) fn ring(&self) {
            *self.rung.lock().unwrap() = true;
            self.changed.notify_one();
        }

        pub(in super::super) fn silence(&self) {
            *self.rung.lock().unwrap() = false;
        }

        /// Sleeps until it has been rung.
        #[cfg(test)]
        pub(in super::super) fn wait(&self) {
            let mut rung = self.rung.lock().unwrap();
            while !*rung {
                rung = self.changed.wait(rung).unwrap();
            }
        }

        pub(in super::super) fn fd(&self) -> BorrowedFd<'_> {
            unreachable!("models sleep by `wait`")
        }
    }
}
