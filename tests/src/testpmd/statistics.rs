//! What testpmd prints about ports, read back.

use anyhow::{Context, Result};

/// `show port stats`: what the driver of a port counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PortStats {
    /// Packets received.
    pub rx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Packets received with errors.
    pub rx_errors: u64,
    /// Packets missed for want of room.
    pub rx_missed: u64,
    /// Times no mbuf could be had.
    pub rx_nombuf: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Packets that could not be sent.
    pub tx_errors: u64,
}

impl PortStats {
    /// Reads the answer to `show port stats <port>`.
    pub(crate) fn parse(answer: &str) -> Result<Self> {
        let number = |label| number_behind(answer, label);
        Ok(Self {
            rx_packets: number("RX-packets:")?,
            rx_bytes: number("RX-bytes:")?,
            rx_errors: number("RX-errors:")?,
            rx_missed: number("RX-missed:")?,
            rx_nombuf: number("RX-nombuf:")?,
            tx_packets: number("TX-packets:")?,
            tx_bytes: number("TX-bytes:")?,
            tx_errors: number("TX-errors:")?,
        })
    }
}

/// `show fwd stats`: what testpmd's forwarding did with the packets of a port since forwarding was started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ForwardStats {
    /// Packets taken from the port.
    pub rx_packets: u64,
    /// Packets the port accepted.
    pub tx_packets: u64,
    /// Packets the port did not accept; testpmd freed them.
    pub tx_dropped: u64,
}

impl ForwardStats {
    /// Reads the paragraph about `port` in the answer to `show fwd stats all`.
    pub(crate) fn parse(answer: &str, port: usize) -> Result<Self> {
        let title = format!("Forward statistics for port {port} ");
        let (_, section) = answer.split_once(&title).with_context(|| format!("no {title:?} in {answer:?}"))?;
        let number = |label| number_behind(section, label);
        Ok(Self {
            rx_packets: number("RX-packets:")?,
            tx_packets: number("TX-packets:")?,
            tx_dropped: number("TX-dropped:")?,
        })
    }
}

/// What forwarding a packet costs testpmd, as `show fwd stats` says where `record-core-cycles` is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForwardCycles {
    /// Cycles of the clock, of all bursts that had packets: from before each was received until it was sent.
    pub cycles: u64,
    /// Packets in them.
    pub packets: u64,
    /// Cycles per second.
    pub hertz: u64,
}

impl ForwardCycles {
    /// Reads the last line of the answer to `show fwd stats all`.
    pub(crate) fn parse(answer: &str) -> Result<Self> {
        let number = |label| number_behind(answer, label);
        Ok(Self {
            cycles: number("(total cycles=")?,
            packets: number("/ total io packets=")?,
            hertz: number(") at ")? * 1_000_000,
        })
    }

    /// What was added since an earlier answer.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        let [cycles, packets] =
            [self.cycles.saturating_sub(earlier.cycles), self.packets.saturating_sub(earlier.packets)];
        Self { cycles, packets, ..*self }
    }

    /// Packets per second that testpmd would forward if there were always some: NaN if there were none.
    #[expect(clippy::cast_precision_loss, reason = "2^53 cycles take a month")]
    pub fn limit(&self) -> f64 {
        self.packets as f64 / self.cycles as f64 * self.hertz as f64
    }
}

/// The whole number that follows the first `label`, or stands in front of a parenthesis there.
pub(crate) fn number_behind(text: &str, label: &str) -> Result<u64> {
    let (_, rest) = text.split_once(label).with_context(|| format!("no {label:?} in {text:?}"))?;
    let word = rest.split_whitespace().next().unwrap_or_default();
    word.trim_end_matches(')').parse().with_context(|| format!("{label} is followed by {word:?}, not by a number"))
}

/// The lines of `show port xstats <port>`: a name, a colon, a number.
pub(crate) fn parse_xstats(answer: &str) -> Vec<(String, u64)> {
    let pair = |line: &str| {
        let (name, value) = line.split_once(':')?;
        Some((name.trim().to_owned(), value.trim().parse().ok()?))
    };
    answer.lines().filter_map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_behind_their_labels() {
        let answer = "\n  #### NIC statistics for port 0  ####\n  RX-packets: 128        RX-missed: 1   RX-bytes:  8192\n  \
                      RX-errors: 2\n  RX-nombuf:  3         \n  TX-packets: 129        TX-errors: 4   TX-bytes:  8704\n";
        let expected = PortStats {
            rx_packets: 128,
            rx_bytes: 8192,
            rx_errors: 2,
            rx_missed: 1,
            rx_nombuf: 3,
            tx_packets: 129,
            tx_bytes: 8704,
            tx_errors: 4,
        };
        assert_eq!(PortStats::parse(answer).unwrap(), expected);
        assert!(PortStats::parse("Invalid port 7").is_err());
    }

    #[test]
    fn what_a_packet_costs_is_what_bursts_with_packets_took() {
        let answer = "  ++++ Accumulated forward statistics for all ports+++\n  CPU cycles/packet=50.00 (total cycles=5000 / \
                      total io packets=100) at 2600 MHz Clock\n";
        let cost = ForwardCycles::parse(answer).unwrap();
        assert_eq!(cost, ForwardCycles { cycles: 5000, packets: 100, hertz: 2_600_000_000 });
        assert_eq!(cost.limit(), 52e6);
        let before = ForwardCycles { cycles: 1000, packets: 60, ..cost };
        assert_eq!(cost.since(&before), ForwardCycles { cycles: 4000, packets: 40, ..cost });
        assert!(ForwardCycles::parse("  RX-packets: 1\n").is_err());
    }

    #[test]
    fn the_asked_port_is_read_where_several_are_shown() {
        let answer = "  --- Forward statistics for port 0  ---\n  RX-packets: 1  RX-dropped: 0  RX-total: 1\n  \
                      TX-packets: 2  TX-dropped: 3  TX-total: 5\n  --- Forward statistics for port 1  ---\n  \
                      RX-packets: 4  RX-dropped: 0  RX-total: 4\n  TX-packets: 5  TX-dropped: 6  TX-total: 11\n";
        let expected = ForwardStats { rx_packets: 4, tx_packets: 5, tx_dropped: 6 };
        assert_eq!(ForwardStats::parse(answer, 1).unwrap(), expected);
    }
}
