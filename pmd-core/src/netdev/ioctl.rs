//! The ioctls of network interfaces (netdevice(7)).
//!
//! This file owns `unsafe`: the kernel reads and writes a structure through a pointer, and leaves the fields of a union.
//! Every request here takes exactly the structure it is given: `ifreq`, or `in6_ifreq` for IPv6 addresses.

#![allow(unsafe_code)]

use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::libc;

use super::{InterfaceName, LinkLayer, NetdevState};

/// Everything there is to know, asked in turn. An interface that goes in between is ENODEV.
pub(super) fn state(socket: BorrowedFd<'_>, name: &InterfaceName) -> nix::Result<NetdevState> {
    let ask = |code| {
        let mut request = request(name);
        exchange(socket, code, &mut request).map(|()| request.ifr_ifru)
    };
    let (index, flags, mtu, address) =
        (ask(libc::SIOCGIFINDEX)?, ask(libc::SIOCGIFFLAGS)?, ask(libc::SIOCGIFMTU)?, ask(libc::SIOCGIFHWADDR)?);
    // SAFETY: the kernel wrote the field that belongs to each request; all of them are plain numbers.
    let (index, flags, mtu, address) =
        unsafe { (index.ifru_ifindex, libc::c_int::from(flags.ifru_flags), mtu.ifru_mtu, address.ifru_hwaddr) };
    let link_layer = match address.sa_family {
        libc::ARPHRD_ETHER | libc::ARPHRD_LOOPBACK => LinkLayer::Ethernet,
        libc::ARPHRD_NONE => LinkLayer::Ip,
        other => LinkLayer::Other(other),
    };
    let mac = address.sa_data.map(|byte| byte as u8);
    Ok(NetdevState {
        index: index.unsigned_abs(),
        is_up: flags & libc::IFF_UP != 0,
        is_running: flags & libc::IFF_RUNNING != 0,
        mtu: mtu.unsigned_abs(),
        link_layer,
        mac: (link_layer == LinkLayer::Ethernet).then(|| [mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]]),
    })
}

pub(super) fn set_up(socket: BorrowedFd<'_>, name: &InterfaceName, up: bool) -> nix::Result<()> {
    let mut request = request(name);
    exchange(socket, libc::SIOCGIFFLAGS, &mut request)?;
    // SAFETY: the kernel has written the flags.
    let flags = unsafe { request.ifr_ifru.ifru_flags };
    let up_flag = libc::IFF_UP as libc::c_short;
    request.ifr_ifru.ifru_flags = if up { flags | up_flag } else { flags & !up_flag };
    exchange(socket, libc::SIOCSIFFLAGS, &mut request)
}

pub(super) fn set_mtu(socket: BorrowedFd<'_>, name: &InterfaceName, mtu: u32) -> nix::Result<()> {
    let mut request = request(name);
    request.ifr_ifru.ifru_mtu = libc::c_int::try_from(mtu).map_err(|_| Errno::EINVAL)?;
    exchange(socket, libc::SIOCSIFMTU, &mut request)
}

pub(super) fn set_mac(socket: BorrowedFd<'_>, name: &InterfaceName, mac: [u8; 6]) -> nix::Result<()> {
    let mut address = libc::sockaddr { sa_family: libc::ARPHRD_ETHER, sa_data: [0; 14] };
    for (to, byte) in address.sa_data.iter_mut().zip(mac) {
        *to = byte as libc::c_char;
    }
    let mut request = request(name);
    request.ifr_ifru.ifru_hwaddr = address;
    exchange(socket, libc::SIOCSIFHWADDR, &mut request)
}

pub(super) fn set_address_v4(
    socket: BorrowedFd<'_>,
    name: &InterfaceName,
    address: Ipv4Addr,
    prefix: u8,
) -> nix::Result<()> {
    let set = |code, address: [u8; 4]| {
        let mut request = request(name);
        let mut holder = libc::sockaddr { sa_family: libc::AF_INET as libc::sa_family_t, sa_data: [0; 14] };
        // As in a sockaddr_in: two bytes of port, then the address in network order.
        for (to, byte) in holder.sa_data[2..6].iter_mut().zip(address) {
            *to = byte as libc::c_char;
        }
        request.ifr_ifru.ifru_addr = holder;
        exchange(socket, code, &mut request)
    };
    set(libc::SIOCSIFADDR, address.octets())?;
    let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
    set(libc::SIOCSIFNETMASK, mask.to_be_bytes())
}

/// `socket` is one of IPv6.
pub(super) fn set_address_v6(
    socket: BorrowedFd<'_>,
    name: &InterfaceName,
    address: Ipv6Addr,
    prefix: u8,
) -> nix::Result<()> {
    let mut asked = request(name);
    exchange(socket, libc::SIOCGIFINDEX, &mut asked)?;
    let request = libc::in6_ifreq {
        ifr6_addr: libc::in6_addr { s6_addr: address.octets() },
        ifr6_prefixlen: prefix.into(),
        // SAFETY: the kernel has written the index.
        ifr6_ifindex: unsafe { asked.ifr_ifru.ifru_ifindex },
    };
    // SAFETY: SIOCSIFADDR of an IPv6 socket reads one in6_ifreq, which lives through the call.
    Errno::result(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFADDR, &raw const request) }).map(drop)
}

fn request(name: &InterfaceName) -> libc::ifreq {
    // SAFETY: an ifreq is plain numbers and bytes, for which all zeros are values.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // The name is shorter than the field, so a NUL stays behind it.
    for (to, byte) in request.ifr_name.iter_mut().zip(name.as_str().bytes()) {
        *to = byte as libc::c_char;
    }
    request
}

fn exchange(socket: BorrowedFd<'_>, code: libc::Ioctl, request: &mut libc::ifreq) -> nix::Result<()> {
    // SAFETY: every code that this file passes reads and writes one ifreq and nothing beyond it.
    Errno::result(unsafe { libc::ioctl(socket.as_raw_fd(), code, request) }).map(drop)
}
