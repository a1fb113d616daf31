//! Options of `net_af_packet`: DPDK's names where it has them.

use nix::libc;
use nix::unistd::{SysconfVar, sysconf};
use pmd_core::netdev::InterfaceName;
use pmd_core::netns::{NETNS_OPTION, Netns};
use pmd_core::{OptionError, OptionSpec, Options};

use crate::socket::RingSize;

/// Most queues of a device: the members of a fanout group.
pub(crate) const QUEUES_MAX: usize = 256;

/// Most bytes of a queue's ring.
const RING_MAX: u64 = 1 << 30;

/// The ways to share packets among queues, and the kernel's numbers of them.
const FANOUT: [(&str, u32); 6] = [
    ("hash", libc::PACKET_FANOUT_HASH),
    ("lb", libc::PACKET_FANOUT_LB),
    ("cpu", libc::PACKET_FANOUT_CPU),
    ("rollover", libc::PACKET_FANOUT_ROLLOVER),
    ("rnd", libc::PACKET_FANOUT_RND),
    ("qm", libc::PACKET_FANOUT_QM),
];

/// The table.
pub(crate) const OPTIONS: &[OptionSpec] = &[
    OptionSpec::text("iface", 15, "", "name of the interface (default: the device's)"),
    OptionSpec::int("qpairs", 1, QUEUES_MAX as u64, "", "number of queues, for lport-groups with all of them"),
    OptionSpec::choice(
        "fanout_mode",
        &["hash", "lb", "cpu", "rollover", "rnd", "qm"],
        "how packets are dealt to several queues: by flow, in turn, by CPU, to the first with room, at random, by NIC queue",
    ),
    OptionSpec::flag("qdisc_bypass", "no", "send past the interface's queueing discipline"),
    OptionSpec::flag("promiscuous", "yes", "receive packets for other addresses, too"),
    OptionSpec::int(
        "blocksz",
        4096,
        16 << 20,
        "131072",
        "bytes of a block, which the kernel hands over when it is full; longest packet that can be received",
    ),
    OptionSpec::int("framesz", 128, 65536, "2048", "bytes of a frame: with `framecnt` the size of a queue's ring"),
    OptionSpec::int("framecnt", 1, 1 << 20, "", "frames of a queue's ring (default: the rxdesc of its umem)"),
    OptionSpec::int("blocktmo", 1, 1000, "1", "milliseconds after which a block is handed over that is not full"),
    NETNS_OPTION,
];

/// What a checked table makes of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Config {
    pub(crate) ring: RingSize,
    pub(crate) fanout_mode: u32,
    pub(crate) qdisc_bypass: bool,
    pub(crate) promiscuous: bool,
}

/// Checks what the table cannot express.
///
/// # Errors
/// Every problem found.
pub(crate) fn check(options: &Options, queues: usize) -> Result<(), Vec<OptionError>> {
    let mut errors = Vec::new();
    if options.is_given("iface") {
        errors.extend(name("", options).err());
    }
    errors.extend(Netns::of(options).err());
    errors.extend(ring(options, options.int("framecnt").unwrap_or(1)).err());
    if let Some(told) = options.int("qpairs").filter(|told| *told != queues as u64) {
        let message = format!("option `qpairs` is {told}, but {queues} lport(s) name the device: one for each queue");
        errors.push(OptionError::value("qpairs", message));
    }
    if queues > QUEUES_MAX {
        let message = format!("the device has {queues} queues, but an interface can be shared by {QUEUES_MAX} at most");
        errors.push(OptionError::value("iface", message));
    }
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

/// The device; `rx_desc` descriptors are wanted by its queues.
///
/// # Errors
/// As [`check`], the first problem only.
pub(crate) fn configure(options: &Options, queues: usize, rx_desc: u32) -> Result<Config, OptionError> {
    check(options, queues).map_err(|mut errors| errors.remove(0))?;
    let frames = options.int("framecnt").unwrap_or(rx_desc.max(1).into());
    let mode = FANOUT.iter().find(|(word, _)| *word == options.text("fanout_mode"));
    let mode = mode.map_or(libc::PACKET_FANOUT_HASH, |(_, number)| *number);
    Ok(Config {
        ring: ring(options, frames)?,
        // A group has a setting of its own for what the interface sends; those of its members do not count.
        fanout_mode: mode | libc::PACKET_FANOUT_FLAG_IGNORE_OUTGOING,
        qdisc_bypass: options.bool("qdisc_bypass"),
        promiscuous: options.bool("promiscuous"),
    })
}

/// The interface's name; `device` is what it is called without the option.
///
/// # Errors
/// When it cannot be one.
pub(crate) fn name(device: &str, options: &Options) -> Result<InterfaceName, OptionError> {
    let text = if options.is_given("iface") { options.text("iface") } else { device };
    text.parse().map_err(|error| OptionError::value("iface", format!("{error}; name it by the option `iface`")))
}

fn ring(options: &Options, frames: u64) -> Result<RingSize, OptionError> {
    let number = |key| options.int(key).unwrap_or_default();
    let (block_size, frame_size) = (number("blocksz"), number("framesz"));
    let page = sysconf(SysconfVar::PAGE_SIZE).ok().flatten().map_or(4096, i64::unsigned_abs);
    if block_size % page != 0 {
        let message = format!("option `blocksz` is {block_size}, but must be a multiple of the page size, {page}");
        return Err(OptionError::value("blocksz", message));
    }
    if frame_size % 16 != 0 || frame_size > block_size {
        let message = format!(
            "option `framesz` is {frame_size}, but must be a multiple of 16, and not more than `blocksz`, {block_size}"
        );
        return Err(OptionError::value("framesz", message));
    }
    // Two at least: while one is read, the kernel fills the other.
    let blocks = frames.div_ceil(block_size / frame_size).max(2);
    if blocks * block_size > RING_MAX {
        let message = format!(
            "the ring would have {} bytes, but {RING_MAX} at most: use a smaller `framecnt`",
            blocks * block_size
        );
        return Err(OptionError::value("framecnt", message));
    }
    Ok(RingSize {
        block_size: block_size as u32,
        blocks: blocks as u32,
        frame_size: frame_size as u32,
        block_timeout: number("blocktmo") as u32,
    })
}

#[cfg(test)]
mod tests {
    use pmd_core::RawOption;

    use super::*;

    fn options(given: &[(&'static str, &str)]) -> Options {
        let raw: Vec<_> = given.iter().map(|(key, value)| RawOption::text(*key, *value)).collect();
        Options::check(OPTIONS, &raw).unwrap()
    }

    #[test]
    fn the_ring_has_as_many_blocks_as_its_frames_need() {
        let ring = |given: &[_], rx_desc| configure(&options(given), 1, rx_desc).unwrap().ring;
        let default = RingSize { block_size: 131_072, blocks: 32, frame_size: 2048, block_timeout: 1 };
        assert_eq!(ring(&[], 2048), default);
        assert_eq!(ring(&[("framecnt", "65")], 2048), RingSize { blocks: 2, ..default });
        assert_eq!(ring(&[("framecnt", "129")], 2048), RingSize { blocks: 3, ..default });
    }

    #[test]
    fn what_no_table_can_say_is_refused_with_the_way_out() {
        let large = &[("framecnt", "1048576"), ("framesz", "65536")][..];
        for (given, key, words) in [
            (&[("iface", "a/b")][..], "iface", "cannot be the name of an interface"),
            (&[("netns", "../x")], "netns", "no network namespace"),
            (&[("blocksz", "5000")], "blocksz", "multiple of the page size, 4096"),
            (&[("framesz", "2047")], "framesz", "multiple of 16"),
            (&[("blocksz", "4096"), ("framesz", "8192")], "framesz", "not more than `blocksz`, 4096"),
            (&[("qpairs", "3")], "qpairs", "2 lport(s)"),
            (large, "framecnt", "1073741824 at most"),
        ] {
            let errors = check(&options(given), 2).unwrap_err();
            assert!(errors.len() == 1 && errors[0].key == key && errors[0].message.contains(words), "{errors:?}");
        }
        assert!(check(&options(&[("qpairs", "2")]), 2).is_ok());
        assert!(check(&options(&[]), QUEUES_MAX + 1).is_err());
    }
}
