//! A runtime's [`Report`], for machines (one JSON object on one line) and for people (tables).

use std::fmt::Write;

use pmd_core::runtime::{LportReport, PoolReport, ThreadReport};
use pmd_core::{Link, LportStats, Report};
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};

use crate::output::{Align, Table, grouped};

/// The promised JSON object, in the words of DPDK's statistics.
#[derive(Debug, Serialize)]
pub(crate) struct Summary<'a> {
    duration_s: f64,
    lports: Vec<Lport<'a>>,
    threads: Vec<Thread<'a>>,
    pools: Vec<Pool<'a>>,
}

#[derive(Debug, Serialize)]
struct Lport<'a> {
    name: &'a str,
    driver: &'a str,
    /// `up`, or `down: ` and why.
    link: String,
    #[serde(flatten)]
    counters: Counters,
    #[serde(serialize_with = "as_map")]
    xstats: &'a [(&'static str, u64)],
}

/// What DPDK's `rte_eth_stats` counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counters {
    pub(crate) ipackets: u64,
    pub(crate) opackets: u64,
    pub(crate) ibytes: u64,
    pub(crate) obytes: u64,
    pub(crate) imissed: u64,
    pub(crate) ierrors: u64,
    pub(crate) oerrors: u64,
    pub(crate) rx_nombuf: u64,
}

impl From<&LportStats> for Counters {
    fn from(stats: &LportStats) -> Self {
        let LportStats { ipackets, opackets, ibytes, obytes, imissed, ierrors, oerrors, rx_nombuf, .. } = *stats;
        Self { ipackets, opackets, ibytes, obytes, imissed, ierrors, oerrors, rx_nombuf }
    }
}

#[derive(Debug, Serialize)]
struct Thread<'a> {
    name: &'a str,
    lcores: &'a [usize],
    polls: u64,
    busy_percent: f64,
}

#[derive(Debug, Serialize)]
struct Pool<'a> {
    name: &'a str,
    size: usize,
    available: usize,
}

/// What is read back from the JSON of another process.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Observed {
    pub(crate) duration_s: f64,
    pub(crate) lports: Vec<ObservedLport>,
}

/// An lport of another process.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct ObservedLport {
    #[serde(flatten)]
    pub(crate) counters: Counters,
}

impl Observed {
    /// The sum of a counter over all lports.
    pub(crate) fn total(&self, counter: fn(&Counters) -> u64) -> u64 {
        self.lports.iter().map(|lport| counter(&lport.counters)).sum()
    }

    /// Everything that was lost on the way in or out.
    pub(crate) fn lost(&self) -> u64 {
        self.total(|counters| counters.imissed + counters.ierrors + counters.oerrors)
    }
}

fn as_map<S: Serializer>(xstats: &[(&'static str, u64)], serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(xstats.len()))?;
    for (name, value) in xstats {
        map.serialize_entry(name, value)?;
    }
    map.end()
}

impl<'a> From<&'a Report> for Summary<'a> {
    fn from(report: &'a Report) -> Self {
        let lport = |lport: &'a LportReport| Lport {
            name: &lport.name,
            driver: &lport.driver,
            link: link_text(&lport.link),
            counters: Counters::from(&lport.stats),
            xstats: &lport.stats.xstats,
        };
        let thread = |ThreadReport { name, lcores, polls, busy_percent, .. }: &'a ThreadReport| Thread {
            name,
            lcores,
            polls: *polls,
            busy_percent: (busy_percent * 10.0).round() / 10.0,
        };
        let pool = |PoolReport { name, size, available, .. }: &'a PoolReport| Pool {
            name,
            size: *size,
            available: *available,
        };
        Self {
            duration_s: (report.duration.as_secs_f64() * 1e6).round() / 1e6,
            lports: report.lports.iter().map(lport).collect(),
            threads: report.threads.iter().map(thread).collect(),
            pools: report.pools.iter().map(pool).collect(),
        }
    }
}

fn link_text(link: &Link) -> String {
    match link {
        Link::Up => "up".into(),
        Link::Down(why) => format!("down: {why}"),
    }
}

/// The summary for people.
pub(crate) fn for_people(report: &Report) -> String {
    let mut text = format!("{}\n\n{}\n", lport_table(report), thread_table(report));
    if !report.pools.is_empty() {
        let _ = writeln!(text, "\n{}", pool_table(report));
    }
    for lport in &report.lports {
        if let Link::Down(why) = &lport.link {
            let _ = writeln!(text, "\n{} is down: {why}", lport.name);
        }
        let counted: Vec<_> = lport.stats.xstats.iter().filter(|(_, n)| *n > 0).collect();
        if !counted.is_empty() {
            let words: Vec<_> = counted.iter().map(|(name, n)| format!("{name} {}", grouped(*n))).collect();
            let _ = writeln!(text, "\n{}: {}", lport.name, words.join(", "));
        }
    }
    text.trim_end().to_owned()
}

fn lport_table(report: &Report) -> Table {
    use Align::{Left, Right};
    let mut table = Table::new(&[
        ("lport", Left),
        ("driver", Left),
        ("link", Left),
        ("rx packets", Right),
        ("rx bytes", Right),
        ("rx lost", Right),
        ("tx packets", Right),
        ("tx bytes", Right),
        ("tx lost", Right),
        ("rx Mpps", Right),
        ("tx Mpps", Right),
    ]);
    let seconds = report.duration.as_secs_f64().max(1e-9);
    for LportReport { name, driver, link, stats, .. } in &report.lports {
        let link = if link.is_up() { "up" } else { "down" };
        let mpps = |packets: u64| format!("{:.3}", packets as f64 / seconds / 1e6);
        table.row([
            name.clone(),
            driver.clone(),
            link.to_owned(),
            grouped(stats.ipackets),
            grouped(stats.ibytes),
            grouped(stats.imissed + stats.ierrors),
            grouped(stats.opackets),
            grouped(stats.obytes),
            grouped(stats.oerrors),
            mpps(stats.ipackets),
            mpps(stats.opackets),
        ]);
    }
    table
}

fn thread_table(report: &Report) -> Table {
    use Align::{Left, Right};
    let mut table =
        Table::new(&[("thread", Left), ("lcores", Left), ("polls", Right), ("busy", Right), ("sleeps", Right)]);
    for thread in &report.threads {
        let lcores = if thread.lcores.is_empty() { "any".into() } else { pmd_core::lcore::cpu_list(&thread.lcores) };
        let busy = format!("{:.1} %", thread.busy_percent);
        table.row([thread.name.clone(), lcores, grouped(thread.polls), busy, grouped(thread.sleeps)]);
    }
    table
}

fn pool_table(report: &Report) -> Table {
    let mut table = Table::new(&[("pool", Align::Left), ("mbufs", Align::Right), ("available", Align::Right)]);
    for pool in &report.pools {
        table.row([pool.name.clone(), grouped(pool.size as u64), grouped(pool.available as u64)]);
    }
    table
}

/// What happened between two reports: one line per lport.
pub(crate) fn rates(before: &Report, after: &Report) -> String {
    let seconds = after.duration.saturating_sub(before.duration).as_secs_f64().max(1e-9);
    use Align::{Left, Right};
    let mut table = Table::headless(&[Right, Left, Left, Right, Right, Right, Right, Right]);
    for new in &after.lports {
        // A reload may have added it or given it another number; one that was opened anew counts from 0.
        let old = before.lports.iter().find(|old| old.name == new.name).map(|old| &old.stats);
        let counted = |count: fn(&LportStats) -> u64| count(&new.stats).saturating_sub(old.map_or(0, count));
        let rate = |count| counted(count) as f64 / seconds;
        let mpps = |rate: f64| format!("{:.3} Mpps", rate / 1e6);
        let gbits = |rate: f64| format!("{:.2} Gbit/s", rate * 8.0 / 1e9);
        table.row([
            format!("{:.1} s", after.duration.as_secs_f64()),
            new.name.clone(),
            if new.link.is_up() { "up".into() } else { "down".to_owned() },
            format!("rx {}", mpps(rate(|stats| stats.ipackets))),
            gbits(rate(|stats| stats.ibytes)),
            format!("tx {}", mpps(rate(|stats| stats.opackets))),
            gbits(rate(|stats| stats.obytes)),
            format!("lost {:.0}/s", rate(|stats| stats.imissed + stats.ierrors + stats.oerrors)),
        ]);
    }
    table.to_string()
}
