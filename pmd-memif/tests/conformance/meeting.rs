//! A device of ours and a fake peer at the other end of its link, who reads and writes the shared memory as files.

use std::fs::File;
use std::os::unix::fs::FileExt;

use pmd_memif::address::Address;
use pmd_memif::fake::{FakeClient, FakeMemory, Step};
use pmd_memif::message::AddRing;

use crate::common::{Port, until};

/// A ring in the peer's hands, laid out for cache lines of 64 bytes.
#[derive(Clone, Copy)]
pub(crate) struct RawRing<'a> {
    file: &'a File,
    at: u64,
}

pub(crate) const FLAGS: u64 = 4;
pub(crate) const HEAD: u64 = 6;
pub(crate) const TAIL: u64 = 64;
pub(crate) const DESCRIPTORS: u64 = 128;
pub(crate) const MASK_INT: u16 = 1;
pub(crate) const NEXT: u16 = 1;

/// Flags, region, length and offset.
pub(crate) type Slot = (u16, u16, u32, u32);

impl<'a> RawRing<'a> {
    pub(crate) fn new(file: &'a File, message: &AddRing) -> Self {
        Self { file, at: message.offset.into() }
    }

    pub(crate) fn bytes<const N: usize>(&self, at: u64) -> [u8; N] {
        let mut bytes = [0; N];
        self.file.read_exact_at(&mut bytes, self.at + at).unwrap();
        bytes
    }

    pub(crate) fn word(&self, at: u64) -> u16 {
        u16::from_le_bytes(self.bytes(at))
    }

    pub(crate) fn set_word(&self, at: u64, value: u16) {
        self.file.write_all_at(&value.to_le_bytes(), self.at + at).unwrap();
    }

    pub(crate) fn slot(&self, number: u64) -> Slot {
        let bytes: [u8; 12] = self.bytes(DESCRIPTORS + 16 * number);
        let [f0, f1, r0, r1, l0, l1, l2, l3, o0, o1, o2, o3] = bytes;
        let (length, offset) = (u32::from_le_bytes([l0, l1, l2, l3]), u32::from_le_bytes([o0, o1, o2, o3]));
        (u16::from_le_bytes([f0, f1]), u16::from_le_bytes([r0, r1]), length, offset)
    }

    pub(crate) fn set_slot(&self, number: u64, (flags, region, length, offset): Slot) {
        let low = u64::from(flags) | u64::from(region) << 16 | u64::from(length) << 32;
        let at = self.at + DESCRIPTORS + 16 * number;
        self.file.write_all_at(&low.to_le_bytes(), at).unwrap();
        self.file.write_all_at(&u64::from(offset).to_le_bytes(), at + 8).unwrap();
    }
}

/// Where the test's two ends meet: its socket, as options and as an address. The directory goes with the test.
pub(crate) struct Meeting {
    _directory: tempfile::TempDir,
    socket: String,
    pub(crate) address: Address,
}

impl Meeting {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("memif.sock").display().to_string();
        let address = Address::path(&socket).unwrap();
        Self { _directory: directory, socket, address }
    }

    pub(crate) fn open(&self, role: &str, zero_copy: &str) -> Port {
        self.open_with(&[("role", role), ("zero-copy", zero_copy)])
    }

    /// A device of ours with these options.
    pub(crate) fn open_with(&self, options: &[(&str, &str)]) -> Port {
        let common: &[_] = &[("socket", &*self.socket), ("socket-abstract", "no")];
        Port::open("ours", 1, &[common, options].concat()).unwrap()
    }

    /// A server of ours with a client that shares this.
    pub(crate) fn serve(&self, zero_copy: &str, memory: FakeMemory) -> (Port, FakeClient) {
        let port = self.open("server", zero_copy);
        let client = self.connect(&port, memory);
        (port, client)
    }

    /// A further client. It is refused until the server has seen the last one go.
    pub(crate) fn connect(&self, port: &Port, memory: FakeMemory) -> FakeClient {
        until("the last client gone", || !is_up(port));
        let mut client = FakeClient::connect(&self.address).unwrap().with_memory(memory);
        client.run(Step::Connected).unwrap();
        until("link up", || is_up(port));
        client
    }
}

pub(crate) fn is_up(port: &Port) -> bool {
    port.lports[0].control.link().is_up()
}

pub(crate) fn rings(client: &FakeClient) -> [RawRing<'_>; 2] {
    let file = &client.memory.regions[0].file;
    [0, 1].map(|i: usize| RawRing::new(file, &client.memory.rings[i].message))
}
