//! The options of `net_pcap`: DPDK's names where DPDK has the option.

use std::path::{Path, PathBuf};

use pmd_core::{MachineProblem, OptionError, OptionSpec, Options};

use crate::capture::{Direction, PACKET_MAX};

/// What stands for the queue's number in a path.
const QUEUE: &str = "{queue}";

/// Longest path, as the kernel takes it.
pub(crate) const PATH_MAX: usize = 4095;

const SPEED_MIN: f64 = 0.001;
const SPEED_MAX: f64 = 1000.0;

pub(crate) const OPTIONS: &[OptionSpec] = &[
    OptionSpec::text(
        "rx_pcap",
        PATH_MAX,
        "",
        "pcap or pcapng file to play; `{queue}` in it is the queue's number; without it nothing is received",
    ),
    OptionSpec::text(
        "tx_pcap",
        PATH_MAX,
        "",
        "pcapng file to record what is sent, overwritten; `{queue}` as above, or one file for all queues; without it \
         packets are swallowed",
    ),
    OptionSpec::flag("infinite_rx", "no", "play again and again"),
    OptionSpec::int("rx_passes", 1, u32::MAX as u64, "1", "times the file is played"),
    OptionSpec::text(
        "rx_speed",
        16,
        "max",
        "`max`: as fast as packets are asked for; or a factor, 0.001 to 1000: 1 keeps the recorded times",
    ),
    OptionSpec::choice(
        "rx_direction",
        &["any", "inbound", "outbound"],
        "which packets of a pcapng file with directions are played",
    ),
    OptionSpec::int("rx_size_max", 1, 1 << 20, "1024", "largest file to load for playing, in MiB; it stays in memory"),
    OptionSpec::int("tx_snaplen", 1, PACKET_MAX as u64, "262144", "bytes recorded of each packet"),
    OptionSpec::mac("mac", "Ethernet address (default: none)"),
];

/// The options, as the driver uses them.
#[derive(Debug)]
pub(crate) struct Configured {
    pub(crate) rx_pcap: Option<String>,
    pub(crate) tx_pcap: Option<String>,
    /// `None`: for ever.
    pub(crate) passes: Option<u64>,
    /// `None`: as fast as possible.
    pub(crate) speed: Option<f64>,
    /// `None`: any.
    pub(crate) direction: Option<Direction>,
    pub(crate) size_max: u64,
    pub(crate) snap_length: u32,
    pub(crate) mac: Option<[u8; 6]>,
}

/// What the table cannot express.
pub(crate) fn check(options: &Options, queues: usize) -> Result<(), Vec<OptionError>> {
    configure(options, queues).map(drop)
}

/// The options of a device of so many queues.
pub(crate) fn configure(options: &Options, queues: usize) -> Result<Configured, Vec<OptionError>> {
    let path = |key: &str| Some(options.text(key).to_owned()).filter(|path| !path.is_empty());
    let (rx_pcap, tx_pcap) = (path("rx_pcap"), path("tx_pcap"));
    let mut errors = Vec::new();
    if let Some(path) = rx_pcap.as_ref().filter(|path| queues > 1 && !path.contains(QUEUE)) {
        let message = format!(
            "option `rx_pcap` names one file, \"{path}\", for {queues} queues; put `{QUEUE}` into it, so that each queue \
             plays its own"
        );
        errors.push(OptionError::value("rx_pcap", message));
    }
    if options.bool("infinite_rx") && options.is_given("rx_passes") {
        let message =
            "option `rx_passes` says how often the file is played, but `infinite_rx` plays it for ever; keep one";
        errors.push(OptionError::value("rx_passes", message));
    }
    if rx_pcap.is_some() && rx_pcap == tx_pcap {
        let message = "option `tx_pcap` names the file of `rx_pcap`, which would be overwritten; name another";
        errors.push(OptionError::value("tx_pcap", message));
    }
    let speed = speed(options.text("rx_speed")).unwrap_or_else(|error| {
        errors.push(error);
        None
    });
    if !errors.is_empty() {
        return Err(errors);
    }
    Ok(Configured {
        rx_pcap,
        tx_pcap,
        passes: if options.bool("infinite_rx") { None } else { options.int("rx_passes") },
        speed,
        direction: match options.text("rx_direction") {
            "inbound" => Some(Direction::Inbound),
            "outbound" => Some(Direction::Outbound),
            _ => None,
        },
        size_max: options.int("rx_size_max").unwrap_or(1024) << 20,
        snap_length: options.int("tx_snaplen").map_or(PACKET_MAX, |length| length as u32),
        mac: options.mac("mac"),
    })
}

fn speed(word: &str) -> Result<Option<f64>, OptionError> {
    if word == "max" {
        return Ok(None);
    }
    let plain = word.bytes().all(|c| c.is_ascii_digit() || c == b'.');
    match word.parse::<f64>() {
        Ok(factor) if plain && (SPEED_MIN..=SPEED_MAX).contains(&factor) => Ok(Some(factor)),
        _ => {
            let message =
                format!("option `rx_speed` is \"{word}\", but takes max or a number from {SPEED_MIN} to {SPEED_MAX}");
            Err(OptionError::value("rx_speed", message))
        }
    }
}

/// The path of queue `qid`.
pub(crate) fn path_of_queue(path: &str, qid: u16) -> PathBuf {
    PathBuf::from(path.replace(QUEUE, &qid.to_string()))
}

/// What can be seen of the files without touching them.
pub(crate) fn check_machine(options: &Options) -> Vec<MachineProblem> {
    let mut problems = Vec::new();
    let mut problem = |option, message| problems.push(MachineProblem { option, message, fatal: true });
    let (rx_pcap, tx_pcap) = (options.text("rx_pcap"), options.text("tx_pcap"));
    if !rx_pcap.is_empty()
        && !rx_pcap.contains(QUEUE)
        && let Err(error) = std::fs::metadata(rx_pcap)
    {
        problem("rx_pcap", format!("cannot play \"{rx_pcap}\": {error}"));
    }
    let parent = Path::new(tx_pcap).parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(parent) = parent.filter(|parent| !parent.is_dir()) {
        problem("tx_pcap", format!("cannot record to \"{tx_pcap}\": there is no directory {}", parent.display()));
    }
    problems
}

#[cfg(test)]
mod tests {
    use pmd_core::RawOption;

    use super::*;

    fn configured(given: &[(&str, &str)], queues: usize) -> Result<Configured, Vec<String>> {
        let given: Vec<_> = given.iter().map(|(key, value)| RawOption::text(*key, *value)).collect();
        let options = Options::check(OPTIONS, &given);
        let configured = options.and_then(|options| configure(&options, queues));
        configured.map_err(|errors| errors.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn what_is_not_given_plays_nothing_and_swallows() {
        let none = configured(&[], 4).unwrap();
        assert_eq!((none.rx_pcap, none.tx_pcap, none.passes, none.speed), (None, None, Some(1), None));
    }

    #[test]
    fn speeds_are_max_or_a_factor_in_range() {
        assert_eq!(configured(&[("rx_speed", "0.5")], 1).unwrap().speed, Some(0.5));
        assert_eq!(configured(&[("rx_speed", "1000")], 1).unwrap().speed, Some(1000.0));
        for bad in ["", "0", "0.0001", "1001", "-1", "1x", "fast", "inf", "NaN", "1e2"] {
            let errors = configured(&[("rx_speed", bad)], 1).unwrap_err();
            assert!(errors[0].ends_with("takes max or a number from 0.001 to 1000"), "{errors:?}");
        }
    }

    #[test]
    fn options_that_exclude_one_another_are_all_reported() {
        let given = [("rx_pcap", "a"), ("tx_pcap", "a"), ("infinite_rx", "yes"), ("rx_passes", "2")];
        let errors = configured(&given, 2).unwrap_err();
        assert_eq!(errors.len(), 3, "{errors:?}");
        assert!(errors[0].contains("\"a\", for 2 queues; put `{queue}`"), "{errors:?}");
        assert!(configured(&[("rx_pcap", "in-{queue}"), ("tx_pcap", "out")], 2).is_ok());
    }

    #[test]
    fn a_path_may_hold_the_number_of_the_queue() {
        assert_eq!(path_of_queue("/x/{queue}/y-{queue}.pcap", 12), Path::new("/x/12/y-12.pcap"));
        assert_eq!(path_of_queue("/x", 3), Path::new("/x"));
    }
}
