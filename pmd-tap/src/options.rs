//! Options of `net_tap` and `net_tun`: DPDK's names where it has them.

use std::net::IpAddr;

use pmd_core::netdev::InterfaceName;
use pmd_core::netns::{NETNS_OPTION, Netns};
use pmd_core::{OptionError, OptionSpec, Options};

use crate::tun::Kind;

/// Most queues of an interface, the kernel's limit.
pub(crate) const QUEUES_MAX: usize = 256;

const IFACE: OptionSpec = OptionSpec::text(
    "iface",
    15,
    "",
    "name of the interface (default: the lport's, or the device's if it has several queues)",
);
const MTU_HELP: &str = "largest packet behind the Ethernet header, in bytes (default: the interface's)";
const PERSIST: OptionSpec = OptionSpec::flag("persist", "no", "keep the interface when the program ends");
const UP: OptionSpec = OptionSpec::flag("up", "yes", "set the interface up, as `ip link set NAME up` does");
const IP: OptionSpec = OptionSpec::text(
    "ip",
    43,
    "",
    "address of the kernel's end with its prefix, such as 192.0.2.1/24 or 2001:db8::1/64",
);
const OWNER: OptionSpec =
    OptionSpec::int("owner-uid", 0, 0xffff_fffe, "", "user that may open queues without privileges");
const GROUP: OptionSpec = OptionSpec::int("owner-gid", 0, 0xffff_fffe, "", "group that may");

const TAP: &[OptionSpec] = &[
    IFACE,
    OptionSpec::mac("mac", "Ethernet address of the kernel's end (default: random)"),
    // The kernel's limits; a frame has 65535 bytes at most, its header included.
    OptionSpec::int("mtu", 68, 65521, "", MTU_HELP),
    PERSIST,
    UP,
    IP,
    OWNER,
    GROUP,
    NETNS_OPTION,
];
const TUN: &[OptionSpec] =
    &[IFACE, OptionSpec::int("mtu", 68, 65535, "", MTU_HELP), PERSIST, UP, IP, OWNER, GROUP, NETNS_OPTION];

/// The table of a kind.
pub(crate) fn table(kind: Kind) -> &'static [OptionSpec] {
    if kind == Kind::Tap { TAP } else { TUN }
}

/// What is to be made of an interface.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) name: InterfaceName,
    pub(crate) netns: Option<Netns>,
    pub(crate) mac: Option<[u8; 6]>,
    pub(crate) mtu: Option<u32>,
    pub(crate) address: Option<(IpAddr, u8)>,
    pub(crate) persist: Option<bool>,
    pub(crate) up: bool,
    pub(crate) owner: Option<u32>,
    pub(crate) group: Option<u32>,
}

/// Checks what the tables cannot express.
///
/// # Errors
/// Every problem found.
pub(crate) fn check(options: &Options, queues: usize) -> Result<(), Vec<OptionError>> {
    let mut errors = Vec::new();
    if options.is_given("iface") {
        errors.extend(named(options.text("iface")).err());
    }
    errors.extend(Netns::of(options).err());
    errors.extend(address(options).err());
    if queues > QUEUES_MAX {
        let message =
            format!("the device has {queues} queues, but an interface has {QUEUES_MAX} at most: use a second one");
        errors.push(OptionError::value("iface", message));
    }
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

/// The interface that the options of device `device` describe; `lports` are the names of its queues.
///
/// # Errors
/// What is wrong, the first problem only.
pub(crate) fn wanted<'a>(
    device: &str,
    mut lports: impl ExactSizeIterator<Item = &'a str>,
    options: &Options,
) -> Result<Wanted, OptionError> {
    check(options, lports.len()).map_err(|mut errors| errors.remove(0))?;
    let default = match (lports.len(), lports.next()) {
        (1, Some(lport)) => lport.split(':').next().unwrap_or(lport),
        _ => device,
    };
    let name = if options.is_given("iface") { options.text("iface") } else { default };
    let number = |key| options.int(key).map(|number| number as u32);
    Ok(Wanted {
        name: named(name)?,
        netns: Netns::of(options)?,
        mac: options.mac("mac"),
        mtu: number("mtu"),
        address: address(options)?,
        persist: options.is_given("persist").then(|| options.bool("persist")),
        up: options.bool("up"),
        owner: number("owner-uid"),
        group: number("owner-gid"),
    })
}

fn named(name: &str) -> Result<InterfaceName, OptionError> {
    name.parse().map_err(|error| OptionError::value("iface", format!("{error}; name it by the option `iface`")))
}

fn address(options: &Options) -> Result<Option<(IpAddr, u8)>, OptionError> {
    let text = options.text("ip");
    let read = || {
        let (address, prefix) = text.split_once('/')?;
        let address: IpAddr = address.parse().ok()?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        Some((address, prefix.parse().ok().filter(|prefix| (1..=longest).contains(prefix))?))
    };
    if text.is_empty() {
        return Ok(None);
    }
    let wrong = || format!("option `ip` is \"{text}\", but takes an address with its prefix, such as 192.0.2.1/24");
    read().map(Some).ok_or_else(|| OptionError::value("ip", wrong()))
}

#[cfg(test)]
mod tests {
    use pmd_core::RawOption;

    use super::*;

    fn options(given: &[(&'static str, &str)]) -> Options {
        let raw: Vec<_> = given.iter().map(|(key, value)| RawOption::text(*key, *value)).collect();
        Options::check(TAP, &raw).unwrap()
    }

    fn name(device: &str, lports: &[&str], given: &[(&'static str, &str)]) -> Result<String, String> {
        let wanted = wanted(device, lports.iter().copied(), &options(given));
        wanted.map(|wanted| wanted.name.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_interface_is_called_as_the_option_says_or_the_lport_or_the_device_of_many_queues() {
        assert_eq!(name("d", &["tap0"], &[]), Ok("tap0".into()));
        assert_eq!(name("d", &["tap0:1"], &[]), Ok("tap0".into()));
        assert_eq!(name("d", &["d:0", "d:1"], &[]), Ok("d".into()));
        assert_eq!(name("d", &["tap0"], &[("iface", "blue")]), Ok("blue".into()));
        let error = name("d", &["a-name-that-is-too-long"], &[]).unwrap_err();
        assert_eq!(
            error,
            "`a-name-that-is-too-long` has 23 bytes, but the name of an interface has 15 at most; name it by the option `iface`"
        );
    }

    #[test]
    fn what_no_table_can_say_is_refused_with_the_way_out() {
        for (key, value, words) in [
            ("iface", "a/b", "cannot be the name of an interface"),
            ("netns", "../x", "no network namespace"),
            ("ip", "192.0.2.1", "such as 192.0.2.1/24"),
            ("ip", "192.0.2.1/33", "such as 192.0.2.1/24"),
            ("ip", "2001:db8::1/0", "such as 192.0.2.1/24"),
        ] {
            let errors = check(&options(&[(key, value)]), 1).unwrap_err();
            assert!(errors.len() == 1 && errors[0].key == key && errors[0].message.contains(words), "{errors:?}");
        }
        assert!(check(&options(&[("ip", "2001:db8::1/64")]), QUEUES_MAX).is_ok());
        assert!(check(&options(&[]), QUEUES_MAX + 1).is_err());
    }
}
