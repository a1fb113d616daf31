//! What real peers do differently from the book, as memory and messages for a fake one.

use std::io;

use nix::fcntl::{FcntlArg, SealFlag, fcntl};

use super::{FakeClient, FakeError, FakeMemory, FakeRegion, FakeServer, RingPlan, Step};
use crate::message::{AddRing, Bytes, Message};

impl FakeMemory {
    /// CNDP's client: it asks for two rings per direction, has one, and announces it twice with the same place.
    ///
    /// # Errors
    /// The system gives no memory or descriptors.
    pub fn cndp() -> io::Result<Self> {
        let mut memory = Self::plain(RingPlan::default())?;
        let rings: Vec<AddRing> = memory.rings.drain(..).map(|ring| ring.message).collect();
        for ring in rings {
            memory.add_ring(ring)?;
            memory.add_ring(AddRing { index: 1, ..ring })?;
        }
        Ok(memory)
    }

    /// libmemif's client: rings in region 0, buffers in region 1.
    ///
    /// # Errors
    /// The system gives no memory or descriptors.
    pub fn libmemif() -> io::Result<Self> {
        let plan = RingPlan::default();
        let mut memory = Self::plain(RingPlan { buffer_size: 0, ..plan })?;
        let slots = u64::from(plan.s2m + plan.m2s) << plan.log2;
        memory.regions.push(FakeRegion::sealed(slots * u64::from(plan.buffer_size))?);
        Ok(memory)
    }

    /// DPDK's client with `zero-copy=yes` and `--no-huge`: rings in region 0, its packet memory in region 1, which nobody
    /// can seal against shrinking (F_SEAL_SEAL only).
    ///
    /// # Errors
    /// The system gives no memory or descriptors.
    pub fn dpdk_zero_copy() -> io::Result<Self> {
        let mut memory = Self::plain(RingPlan { buffer_size: 0, ..RingPlan::default() })?;
        let packets = FakeRegion::unsealed(1 << 20)?;
        fcntl(&packets.file, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_SEAL))?;
        memory.regions.push(packets);
        Ok(memory)
    }

    /// VPP's client with `ring-size 32768`: laid out for the 2^14 slots that were agreed, announced with the 2^15 that
    /// were configured.
    ///
    /// # Errors
    /// The system gives no memory or descriptors.
    pub fn vpp_ring_size_32768() -> io::Result<Self> {
        let mut memory = Self::plain(RingPlan { log2: 14, buffer_size: 64, ..RingPlan::default() })?;
        for ring in &mut memory.rings {
            ring.message.log2_ring_size = 15;
        }
        Ok(memory)
    }
}

impl FakeClient {
    /// Sends INIT as libmemif does without a secret: heap garbage in the secret and behind the message's end.
    ///
    /// # Errors
    /// The server does not acknowledge it.
    pub fn dirty_init(&mut self) -> Result<(), FakeError> {
        const SECRET: std::ops::Range<usize> = 9..33;
        self.run(Step::Hello)?;
        let message = Message::Init(self.init.clone());
        let mut bytes = dirty(&message);
        bytes[SECRET].fill(GARBAGE);
        self.peer.send_bytes(&bytes, &[])?;
        self.peer.expect_ack()?;
        self.done = Some(Step::Init);
        Ok(())
    }
}

impl FakeServer {
    /// libmemif's answer to an id that it does not have: ACK, and the end without a word.
    ///
    /// # Errors
    /// The client does not send INIT.
    pub fn libmemif_unknown_id(mut self) -> Result<(), FakeError> {
        self.run(Step::Init)
    }

    /// CNDP's HELLO: highest ring index 1, though it has one queue.
    #[must_use]
    pub fn cndp(self) -> Self {
        self.with_hello(|hello| (hello.max_s2m_ring, hello.max_m2s_ring) = (1, 1))
    }
}

const GARBAGE: u8 = 0xa5;

/// The message with garbage in every byte that has no meaning.
pub fn dirty(message: &Message) -> Bytes {
    let mut bytes = message.encode();
    bytes[message.encoded_len()..].fill(GARBAGE);
    bytes
}
