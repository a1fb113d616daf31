//! Making an interface: from what the options want to queues that are attached to it.
//!
//! Only what is wanted and not so already is changed, so that a program without privileges can use an interface that an
//! administrator has made for it (`ip tuntap add NAME mode tap user UID`).

use std::io;

use nix::errno::Errno;
use pmd_core::netdev::{Netdev, NetdevState};
use pmd_core::privileges::{self, Capability};

use crate::options::Wanted;
use crate::tun::{DEVICE, Kind, Queues, TunFile};

/// An interface with its queues.
#[derive(Debug)]
pub(crate) struct Interface {
    pub(crate) netdev: Netdev,
    pub(crate) state: NetdevState,
    pub(crate) files: Vec<TunFile>,
    pub(crate) mode: Queues,
}

/// Makes, or takes over, the interface with `queues` queues.
///
/// # Errors
/// Names what the kernel refused, and the way out.
pub(crate) fn make(wanted: &Wanted, kind: Kind, queues: usize) -> Result<Interface, String> {
    let name = &wanted.name;
    let netdev = Netdev::new(name.clone(), wanted.netns.clone()).map_err(|error| error.to_string())?;
    let (files, mode) = attach(&netdev, kind, queues)?;
    // All of them go with the files, if anything below fails, unless they were here before.
    let first = &files[0];
    let refused = |what: &str, errno: Errno| refused(&format!("{what} of {name}"), &errno.into());
    first.refuse_offloads().map_err(|errno| refused("setting the offloads", errno))?;
    wanted.owner.map_or(Ok(()), |uid| first.set_owner(uid)).map_err(|errno| refused("setting the owner", errno))?;
    wanted.group.map_or(Ok(()), |gid| first.set_group(gid)).map_err(|errno| refused("setting the group", errno))?;
    configure(&netdev, wanted)?;
    let persistent = wanted.persist.map_or(Ok(()), |persist| first.set_persistent(persist));
    persistent.map_err(|errno| refused("changing the persistence", errno))?;
    let state = netdev.state().map_err(|error| error.to_string())?;
    let state = state.ok_or_else(|| format!("interface {name} was removed while it was being set up"))?;
    Ok(Interface { netdev, state, files, mode })
}

fn attach(netdev: &Netdev, kind: Kind, queues: usize) -> Result<(Vec<TunFile>, Queues), String> {
    let attach_as = |mode| {
        let one = || {
            let file = TunFile::open()?;
            file.attach(netdev.name(), kind, mode)?;
            Ok(file)
        };
        netdev.within(|| (0..queues).map(|_| one()).collect::<io::Result<Vec<_>>>()).map(|files| (files, mode))
    };
    // An interface for one queue, unless one for many is here already.
    let is_other_kind = |error: &io::Error| error.raw_os_error() == Some(Errno::EINVAL as i32);
    let attached = match queues {
        1 => attach_as(Queues::One)
            .or_else(|error| if is_other_kind(&error) { attach_as(Queues::Many) } else { Err(error) }),
        _ => attach_as(Queues::Many),
    };
    attached.map_err(|error| not_attached(netdev, kind, queues, &error))
}

/// Why no queue of an interface can be had.
fn not_attached(netdev: &Netdev, kind: Kind, queues: usize, error: &io::Error) -> String {
    let name = netdev.name();
    let mode = if kind == Kind::Tap { "tap" } else { "tun" };
    let many = if queues > 1 { " multi_queue" } else { "" };
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENOENT) => format!("there is no {DEVICE}: `sudo modprobe tun`, or let the container have it"),
        Some(Errno::EINVAL) => format!(
            "interface {name} exists, and is no {mode} interface for {queues} queue(s): name another by `iface`, or make it \
             anew with `ip link del {name}` and `ip tuntap add {name} mode {mode}{many}`"
        ),
        Some(Errno::EBUSY) => format!("interface {name} is in use by another program: name another by `iface`"),
        Some(Errno::E2BIG) => format!("interface {name} has no room for {queues} more queue(s)"),
        _ => refused(&format!("making the interface {name}"), error),
    }
}

/// Sets what is wanted and not so yet.
fn configure(netdev: &Netdev, wanted: &Wanted) -> Result<(), String> {
    let name = netdev.name();
    let Some(now) = netdev.state().map_err(|error| error.to_string())? else { return Err(netdev.absence()) };
    let set = |what: &str, outcome: io::Result<()>| {
        outcome.map_err(|error| refused(&format!("setting {what} of {name}"), &error))
    };
    if let Some(mac) = wanted.mac.filter(|mac| now.mac != Some(*mac)) {
        set("the MAC address", netdev.set_mac(mac))?;
    }
    if let Some(mtu) = wanted.mtu.filter(|mtu| now.mtu != *mtu) {
        set("the MTU", netdev.set_mtu(mtu))?;
    }
    if let Some((address, prefix)) = wanted.address {
        let outcome = netdev.set_address(address, prefix);
        // A persistent interface has it since the last time.
        let is_there = outcome.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::AlreadyExists);
        set("the address", if is_there { Ok(()) } else { outcome })?;
    }
    if wanted.up && !now.is_up {
        set("the state", netdev.set_up(true))?;
    }
    Ok(())
}

fn refused(what: &str, error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::PermissionDenied {
        privileges::refusal(what, &[Capability::NetAdmin])
    } else {
        format!("{what}: {error}")
    }
}
