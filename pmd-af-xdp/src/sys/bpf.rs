//! The few commands of bpf(2) that a redirect program and its map of sockets need.
//!
//! This file owns `unsafe`: bpf(2) reads and writes memory through addresses that are numbers in its attributes.

#![allow(unsafe_code)]

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::libc;

/// `BPF_MAP_TYPE_XSKMAP`: AF_XDP sockets by queue number.
const XSKMAP: u32 = 17;

/// `BPF_PROG_TYPE_XDP`.
const PROGRAM_XDP: u32 = 6;

/// `BPF_XDP`, the place where XDP programs are attached.
const ATTACH_XDP: u32 = 37;

/// Commands, `enum bpf_cmd` of linux/bpf.h.
mod command {
    pub(super) const MAP_CREATE: i32 = 0;
    pub(super) const MAP_UPDATE_ELEM: i32 = 2;
    pub(super) const MAP_DELETE_ELEM: i32 = 3;
    pub(super) const PROG_LOAD: i32 = 5;
    pub(super) const OBJ_PIN: i32 = 6;
    pub(super) const OBJ_GET: i32 = 7;
    pub(super) const OBJ_GET_INFO_BY_FD: i32 = 15;
    pub(super) const LINK_CREATE: i32 = 28;
}

/// One instruction of a program, `struct bpf_insn`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
pub(crate) struct Instruction {
    pub(crate) code: u8,
    /// Destination register in the low half, source in the high one.
    pub(crate) registers: u8,
    pub(crate) offset: i16,
    pub(crate) immediate: i32,
}

/// How an XDP program is attached (`XDP_FLAGS_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attach {
    /// Before the kernel makes its own buffers: what drivers support.
    Native = 1 << 2,
    /// Behind them, on any interface; packets are copied.
    Generic = 1 << 1,
}

/// A map of AF_XDP sockets by queue number.
#[derive(Debug)]
pub(crate) struct XskMap(OwnedFd);

/// A program in the kernel.
#[derive(Debug)]
pub(crate) struct Program(OwnedFd);

/// A program's place on an interface: it goes when this is dropped.
#[derive(Debug)]
pub(crate) struct Link(OwnedFd);

impl XskMap {
    /// An empty map for queues 0 to `queues` - 1.
    pub(crate) fn new(queues: u32) -> io::Result<Self> {
        #[repr(C)]
        struct Create {
            kind: u32,
            key_size: u32,
            value_size: u32,
            max_entries: u32,
        }
        make(command::MAP_CREATE, &mut Create { kind: XSKMAP, key_size: 4, value_size: 4, max_entries: queues })
            .map(Self)
    }

    /// The map that is pinned at `path`.
    pub(crate) fn pinned(path: &Path) -> io::Result<Self> {
        let path = CString::new(path.as_os_str().as_bytes())?;
        make(command::OBJ_GET, &mut Object { path: address(path.as_c_str()), fd: 0, flags: 0 }).map(Self)
    }

    /// A map that somebody handed us.
    pub(crate) fn received(fd: OwnedFd) -> Self {
        Self(fd)
    }

    /// How many queues it has room for; `None` when it is another kind of map, or none.
    pub(crate) fn room(&self) -> io::Result<Option<u32>> {
        #[repr(C)]
        #[derive(Default)]
        struct Info {
            kind: u32,
            id: u32,
            key_size: u32,
            value_size: u32,
            max_entries: u32,
            flags: u32,
        }
        #[repr(C)]
        struct Ask {
            fd: u32,
            length: u32,
            info: u64,
        }
        let mut info = Info::default();
        let fd = self.0.as_raw_fd().cast_unsigned();
        let mut ask = Ask { fd, length: size_of::<Info>() as u32, info: (&raw mut info).expose_provenance() as u64 };
        call(command::OBJ_GET_INFO_BY_FD, &mut ask)?;
        Ok((info.kind == XSKMAP && info.key_size == 4 && info.value_size == 4).then_some(info.max_entries))
    }

    /// Sends the packets of queue `queue` to `socket` from now on.
    pub(crate) fn set(&self, queue: u32, socket: BorrowedFd<'_>) -> io::Result<()> {
        let socket = socket.as_raw_fd();
        call(command::MAP_UPDATE_ELEM, &mut self.element(&queue, (&raw const socket).expose_provenance() as u64))
            .map(drop)
    }

    /// Sends the packets of queue `queue` to nobody.
    pub(crate) fn clear(&self, queue: u32) -> io::Result<()> {
        match call(command::MAP_DELETE_ELEM, &mut self.element(&queue, 0)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            outcome => outcome.map(drop),
        }
    }

    fn element(&self, queue: &u32, value: u64) -> Element {
        let map = self.0.as_raw_fd().cast_unsigned();
        Element { map, padding: 0, key: std::ptr::from_ref(queue).expose_provenance() as u64, value, flags: 0 }
    }
}

impl AsFd for XskMap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Program {
    /// Loads an XDP program.
    pub(crate) fn load(instructions: &[Instruction], license: &CStr) -> io::Result<Self> {
        #[repr(C)]
        #[derive(Default)]
        struct Load {
            kind: u32,
            count: u32,
            instructions: u64,
            license: u64,
            log: [u32; 4],
            kernel_version: u32,
            flags: u32,
            name: [u8; 16],
            interface: u32,
            attach: u32,
        }
        let mut load = Load {
            kind: PROGRAM_XDP,
            count: instructions.len() as u32,
            instructions: instructions.as_ptr().expose_provenance() as u64,
            license: address(license),
            attach: ATTACH_XDP,
            ..Load::default()
        };
        load.name[..8].copy_from_slice(b"lport_xs");
        make(command::PROG_LOAD, &mut load).map(Self)
    }

    /// Attaches it to the interface of this number, until the link is dropped.
    pub(crate) fn attach(&self, interface: u32, how: Attach) -> io::Result<Link> {
        #[repr(C)]
        struct Create {
            program: u32,
            target: u32,
            place: u32,
            flags: u32,
        }
        let program = self.0.as_raw_fd().cast_unsigned();
        let fd = make(
            command::LINK_CREATE,
            &mut Create { program, target: interface, place: ATTACH_XDP, flags: how as u32 },
        )?;
        Ok(Link(fd))
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Pins a map or a link at `path`, in a BPF file system: it stays until that file is removed.
pub(crate) fn pin(object: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let fd = object.as_raw_fd().cast_unsigned();
    call(command::OBJ_PIN, &mut Object { path: address(path.as_c_str()), fd, flags: 0 }).map(drop)
}

#[repr(C)]
struct Object {
    path: u64,
    fd: u32,
    flags: u32,
}

#[repr(C)]
struct Element {
    map: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

fn address(text: &CStr) -> u64 {
    text.as_ptr().expose_provenance() as u64
}

/// A command that makes a descriptor.
fn make<T>(command: i32, attributes: &mut T) -> io::Result<OwnedFd> {
    let fd = call(command, attributes)?;
    // SAFETY: these commands answer with a new descriptor (close-on-exec), which nobody else knows.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn call<T>(command: i32, attributes: &mut T) -> io::Result<i32> {
    // SAFETY: the attributes are as long as is said, and each is the command's part of `union bpf_attr`. The addresses in
    // them are made from references of the callers above, which live through the call; the kernel writes through one only,
    // `Info`, and no more than its length.
    let outcome = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size_of::<T>()) };
    Ok(Errno::result(outcome)? as i32)
}
