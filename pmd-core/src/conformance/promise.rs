//! What the traits promise, in the words of their documentation, and how a breach is told.
//!
//! A test compares each promise with the file it is from: who changes a word of the contract finds the checks.

/// A sentence of the contract.
#[derive(Debug, Clone, Copy)]
pub(super) struct Promise {
    /// The item whose documentation says it.
    pub(super) at: &'static str,
    /// The sentence.
    pub(super) said: &'static str,
}

impl Promise {
    /// Fails unless `holds`; `found` says what was seen instead.
    #[track_caller]
    pub(super) fn require(&self, holds: bool, found: impl FnOnce() -> String) {
        if !holds {
            self.broken(&found());
        }
    }

    /// Fails.
    ///
    /// # Panics
    /// Always.
    #[track_caller]
    pub(super) fn broken(&self, found: &str) -> ! {
        panic!("a promise of `{}` is broken: \"{}\"\n  found: {found}", self.at, self.said)
    }
}

macro_rules! promises {
    ($($name:ident: $at:literal, $said:literal;)*) => {
        $(pub(super) const $name: Promise = Promise { at: $at, said: $said };)*

        #[cfg(test)]
        const ALL: &[Promise] = &[$($name),*];
    };
}

promises! {
    RX_COUNT: "RxQueue::rx_burst", "Appends received packets to `burst`, up to its limit, and says how many.";
    RX_KEEPS: "RxQueue::rx_burst", "What is in `burst` already stays as it is.";
    RX_WHOLE: "RxQueue::rx_burst", "Packets arrive whole, unchanged, once, and in the order in which they came.";
    RX_OWNED: "RxQueue::rx_burst", "A received packet belongs to whoever holds it, for as long as they like.";
    RX_PORT: "RxQueue::rx_burst", "Each carries the number of its lport ([`crate::Mbuf::port`]).";
    RX_NOMBUF: "RxQueue::rx_burst", "Without mbufs nothing is received and `rx_nombuf` counts; it goes on when there are mbufs again.";
    RX_RENUMBER: "RxQueue::renumber", "The lport has another number from now on, which received packets carry ([`crate::Mbuf::port`]).";
    RX_PASSED_ON: "RxQueue::set_passed_on", "Until it is given, and after it is taken back, the owner may do with packets what they like.";
    RX_INTO: "RxQueue::receive_into", "So what is received into it is the packet, and no other bytes.";
    RX_INTO_OWN: "RxQueue::receive_into", "`None` for the queue's own.";
    RX_ARM: "RxQueue::arm", "Returns `true` when sleeping is safe, `false` when packets may be waiting already (poll again, do not sleep).";
    RX_WAKE: "RxQueue::arm", "A packet that comes after that makes [`Self::wake_fd`] readable: no wake-up is lost.";
    RX_NO_FD: "RxQueue::arm", "A queue without interrupts has no fd: its owner sleeps for a bounded time only.";
    TX_COUNT: "TxQueue::tx_burst", "Sends packets from the front of `burst` and says how many.";
    TX_REST: "TxQueue::tx_burst", "What was not accepted stays in `burst`, in order.";
    TX_DROPS: "TxQueue::tx_burst", "A packet that can never be sent is taken, dropped and counted in `oerrors`, and holds up nothing behind it";
    TX_SUM: "TxQueue::tx_burst", "So packets offered are those sent, those dropped and those left.";
    TX_POOLS: "TxQueue::tx_burst", "Packets may come from any pool.";
    TX_IN_PLACE: "TxQueue::alloc_burst", "Adds up to `n` empty mbufs to `burst` that this queue sends from where they lie, as far as the burst has room";
    TX_IN_PLACE_LOST: "TxQueue::alloc_burst", "one that is dropped, or sent elsewhere, or changed in front ([`crate::Mbuf::adj`]) is no loss: what it delays is copied;";
    TX_FLUSH: "TxQueue::flush", "After it everything accepted is on its way, without further calls.";
    DEAD_LINK: "lport", "A dead link receives and sends nothing; why it is dead is in [`LportControl::link`] and in the counters.";
    SPLIT: "lport", "the two halves may also go to two threads ([`Lport::split`]).";
    MOVES: "lport", "They may move to another thread between two bursts.";
    CLOSE: "lport", "Dropping both queues and every control handle closes the device; every mbuf goes back to its pool.";
    STATS: "LportControl::stats", "All counters since the lport was opened.";
    STATS_RX: "LportStats", "Packets received and given to the application.";
    STATS_TX: "LportStats", "Packets sent: accepted by the device.";
    STATS_RX_BYTES: "LportStats", "Bytes of `ipackets`.";
    STATS_TX_BYTES: "LportStats", "Bytes of `opackets`.";
    STATS_NAMES: "LportStats", "Everything else the driver counts, by name.";
    STATS_IDLE: "LportControl::stats", "Nothing that did not happen is counted.";
    DETAILS: "LportControl::details", "The same from each lport of a device";
    ADMIN: "LportControl::set_admin_up", "Sets the whole device administratively up or down.";
    ADMIN_DOWN: "LportControl::set_admin_up", "Down: soon the link is lost, and bursts of every queue return 0 and take nothing.";
    ADMIN_UP: "LportControl::set_admin_up", "Up: soon packets flow as before.";
    MAX_PACKET: "LportInfo", "Largest packet the lport carries, in bytes from the first byte of the Ethernet header, without FCS.";
    INFO: "LportInfo", "Driver's name.";
    OPEN: "Driver::open", "When the device cannot be had.";
    OPEN_QUEUES: "DeviceRequest", "Its queues, at least one; the lports come back in this order.";
    OPEN_POOL: "Driver::needs_pool", "Whether each of its queues must have a pool to receive into.";
    OPTIONS: "Driver::options", "The options it takes.";
    OPTION_ERRORS: "Options::check", "Every unknown key, repeated key and value out of range, in the order given.";
    NAME: "Driver::name", "The name files use, `net_memif`.";
    SUMMARY: "Driver::summary", "One line for people.";
}

#[cfg(test)]
mod tests {
    use super::ALL;

    #[test]
    fn every_promise_stands_in_the_documentation_word_for_word() {
        let files = [
            include_str!("../lport.rs"),
            include_str!("../driver.rs"),
            include_str!("../options.rs"),
            include_str!("../stats.rs"),
        ];
        let documentation = files.map(in_one_line).join(" ");
        for promise in ALL {
            let said = in_one_line(promise.said);
            assert!(documentation.contains(&said), "`{}` no longer says: {said}", promise.at);
        }
    }

    fn in_one_line(text: &str) -> String {
        text.split_whitespace().filter(|word| !word.starts_with("//")).collect::<Vec<_>>().join(" ")
    }
}
