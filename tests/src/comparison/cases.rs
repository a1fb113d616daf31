//! The rows of the comparison: plain data that says what is compared with what, and what the goal is.

use clap::ValueEnum;
use serde::Serialize;

/// A kind of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Work {
    /// one process, one core: two memif ports joined with each other, each sends what it receives to the other; one burst
    /// circulates in each direction
    Loopback,
    /// the same with 512 packets in each direction, half of a ring
    LoopbackDeep,
    /// two processes, one core each: the server sends
    ServerToClient,
    /// two processes, one core each: the client sends
    ClientToServer,
    /// a forwarder on a core of its own between two memifs; generator and sink are one thread of `lport run` on another
    Chain,
    /// the same with a thread of testpmd at the ends: it sends what it receives on either link to the other, and 512 packets go
    /// round in each direction
    ChainOfPeers,
}

impl Work {
    /// What the table calls it.
    pub fn title(self) -> &'static str {
        match self {
            Self::Loopback => "loopback, one core",
            Self::LoopbackDeep => "loopback, one core, 512 in flight",
            Self::ServerToClient => "server to client",
            Self::ClientToServer => "client to server",
            Self::Chain => "forwarder between lport's ends",
            Self::ChainOfPeers => "forwarder between testpmd's ends",
        }
    }

    /// Which ends may have `zero-copy=yes` in it. A server that only sends borrows nothing.
    fn pairings(self) -> &'static [ZeroCopy] {
        use ZeroCopy::{Both, Client, None, Server};
        match self {
            Self::Loopback | Self::LoopbackDeep => &[None, Client, Both],
            Self::ServerToClient => &[None, Client],
            Self::ClientToServer => &[None, Client, Server, Both],
            // Of the forwarder, the server of both links.
            Self::Chain | Self::ChainOfPeers => &[None, Server],
        }
    }

    /// Whether what is compared forwards between ends that are the same for both programs.
    pub fn has_ends(self) -> bool {
        matches!(self, Self::Chain | Self::ChainOfPeers)
    }

    /// How many CPUs poll in it.
    pub fn cpus(self) -> usize {
        if matches!(self, Self::Loopback | Self::LoopbackDeep) { 1 } else { 2 }
    }
}

/// Which ends of a link are told `zero-copy=yes`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ZeroCopy {
    /// None: both copy.
    None,
    /// The client exports its mbufs.
    Client,
    /// The server borrows what it receives.
    Server,
    /// Both do.
    Both,
}

impl ZeroCopy {
    /// Whether the client, and whether the server, are told so.
    pub fn ends(self) -> [bool; 2] {
        [matches!(self, Self::Client | Self::Both), matches!(self, Self::Server | Self::Both)]
    }

    /// What the table calls it.
    pub fn title(self) -> &'static str {
        match self {
            Self::None => "no",
            Self::Client => "client",
            Self::Server => "server",
            Self::Both => "both",
        }
    }
}

/// Packet sizes that have goals, in bytes.
pub const SIZES: [usize; 3] = [64, 512, 1518];

/// A row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Case {
    /// The kind of work.
    pub work: Work,
    /// Our ends with zero-copy.
    pub zero_copy: ZeroCopy,
    /// Bytes per packet.
    pub size: usize,
}

impl Case {
    /// All rows of some works and sizes, in the order of the table.
    pub fn all(works: &[Work], sizes: &[usize]) -> Vec<Self> {
        let rows = works.iter().flat_map(|&work| work.pairings().iter().map(move |&zero_copy| (work, zero_copy)));
        rows.flat_map(|(work, zero_copy)| sizes.iter().map(move |&size| Self { work, zero_copy, size })).collect()
    }

    /// What testpmd can do instead. It has no zero-copy server; the better of what it has then counts.
    pub fn of_testpmd(self) -> &'static [ZeroCopy] {
        match (self.work, self.zero_copy) {
            (Work::Chain | Work::ChainOfPeers, _) | (_, ZeroCopy::None) => &[ZeroCopy::None],
            (_, ZeroCopy::Client) => &[ZeroCopy::Client],
            (_, ZeroCopy::Server | ZeroCopy::Both) => &[ZeroCopy::None, ZeroCopy::Client],
        }
    }

    /// How many times testpmd's rate is wanted; `None` for a size without a goal.
    pub fn goal(&self) -> Option<f64> {
        let goals = match (self.work, self.zero_copy) {
            (Work::Loopback | Work::LoopbackDeep, ZeroCopy::None) => [3.0, 2.0, 1.6],
            (Work::Loopback | Work::LoopbackDeep, _) => [3.0, 2.5, 2.5],
            (Work::ServerToClient | Work::ClientToServer, ZeroCopy::None) => [2.5, 2.0, 1.4],
            (Work::ServerToClient | Work::ClientToServer, _) => [2.0, 2.0, 1.5],
            (Work::Chain, _) => [2.5, 2.0, 2.0],
            (Work::ChainOfPeers, _) => [1.3, 1.2, 1.1],
        };
        SIZES.iter().position(|&size| size == self.size).map(|column| goals[column])
    }
}

/// Whether a goal is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The median reaches it.
    Reached,
    /// It does not.
    Missed,
    /// There is no goal.
    NoGoal,
    /// There is too little to judge by: it failed, or too few pairs count.
    NotMeasured,
    /// It was measured, and does not tell: it may be chance, or the machine's own doing.
    Undecided,
}

impl Verdict {
    /// That of a ratio, which is NaN when there is none.
    pub fn of(ratio: f64, goal: Option<f64>) -> Self {
        match goal {
            _ if !ratio.is_finite() => Self::NotMeasured,
            None => Self::NoGoal,
            Some(goal) if ratio >= goal => Self::Reached,
            Some(_) => Self::Missed,
        }
    }

    /// The same, unless it rests on fewer pairs than a verdict takes.
    pub fn resting_on(self, pairs: usize, least: usize) -> Self {
        if pairs < least && self != Self::NoGoal { Self::NotMeasured } else { self }
    }

    /// What the table says.
    pub fn word(self) -> &'static str {
        match self {
            Self::Reached => "yes",
            Self::Missed => "no",
            Self::NoGoal => "",
            Self::NotMeasured => "not measured",
            Self::Undecided => "undecided",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_the_usual_sizes_has_a_goal_and_other_sizes_have_none() {
        let rows = Case::all(Work::value_variants(), &SIZES);
        assert_eq!(rows.len(), (3 + 3 + 2 + 4 + 2 + 2) * 3);
        assert!(rows.iter().all(|case| case.goal().is_some()));
        assert!(Case::all(Work::value_variants(), &[128]).iter().all(|case| case.goal().is_none()));
        let goal = |work, zero_copy, size| Case { work, zero_copy, size }.goal();
        assert_eq!(goal(Work::Loopback, ZeroCopy::None, 64), Some(3.0));
        assert_eq!(goal(Work::LoopbackDeep, ZeroCopy::Client, 512), Some(2.5));
        assert_eq!(goal(Work::ClientToServer, ZeroCopy::Server, 1518), Some(1.5));
        assert_eq!(goal(Work::ChainOfPeers, ZeroCopy::None, 512), Some(1.2));
    }

    #[test]
    fn a_goal_is_reached_at_its_very_value_and_nothing_is_judged_without_numbers() {
        assert_eq!(Verdict::of(2.0, Some(2.0)), Verdict::Reached);
        assert_eq!(Verdict::of(1.99, Some(2.0)), Verdict::Missed);
        assert_eq!(Verdict::of(1.0, None), Verdict::NoGoal);
        for ratio in [f64::NAN, f64::INFINITY] {
            assert_eq!(Verdict::of(ratio, Some(2.0)), Verdict::NotMeasured);
        }
    }

    #[test]
    fn a_verdict_takes_pairs_and_no_goal_takes_none() {
        use Verdict::{Missed, NoGoal, NotMeasured, Reached};
        let verdicts = [Reached, Missed, NoGoal];
        assert_eq!(verdicts.map(|verdict| verdict.resting_on(4, 5)), [NotMeasured, NotMeasured, NoGoal]);
        assert_eq!(verdicts.map(|verdict| verdict.resting_on(5, 5)), verdicts);
    }

    #[test]
    fn testpmd_is_never_asked_for_a_zero_copy_server() {
        for case in Case::all(Work::value_variants(), &SIZES) {
            assert!(case.of_testpmd().iter().all(|theirs| !theirs.ends()[1]), "{case:?}");
        }
    }
}
