//! What `lport run --json` prints: one object on one line, every `--stats-period` and, as a summary, at the end.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

/// The whole summary.
#[derive(Debug, Clone, Deserialize)]
pub struct Summary {
    /// Seconds from start to stop.
    pub duration_s: f64,
    /// In the order of lport ids.
    pub lports: Vec<LportSummary>,
    /// In the order of the file.
    pub threads: Vec<ThreadSummary>,
    /// In the order of the file.
    pub pools: Vec<PoolSummary>,
}

/// What the lines before the last are read for.
#[derive(Debug, Clone, Deserialize)]
pub struct Live {
    /// Seconds since the start.
    pub duration_s: f64,
    /// In the order of lport ids.
    pub lports: Vec<LportSummary>,
}

impl Live {
    /// Reads the last whole line of what was printed so far, if there is one.
    ///
    /// # Errors
    /// When the line is not such an object.
    pub fn last(stdout: &str) -> Result<Option<Self>> {
        let Some((whole, _)) = stdout.rsplit_once('\n') else { return Ok(None) };
        let line = whole.lines().last().unwrap_or_default();
        serde_json::from_str(line).map(Some).with_context(|| format!("no object with lports: {line}"))
    }
}

/// An lport, in the words of DPDK's statistics.
#[derive(Debug, Clone, Deserialize)]
pub struct LportSummary {
    /// Logical name.
    pub name: String,
    /// Name of its driver.
    pub driver: String,
    /// `up`, or `down: ` and why.
    pub link: String,
    /// Packets received.
    pub ipackets: u64,
    /// Packets sent.
    pub opackets: u64,
    /// Bytes received.
    pub ibytes: u64,
    /// Bytes sent.
    pub obytes: u64,
    /// Packets lost because we were too slow.
    pub imissed: u64,
    /// Packets refused as malformed.
    pub ierrors: u64,
    /// Packets that could not be sent.
    pub oerrors: u64,
    /// Times no mbuf could be had.
    pub rx_nombuf: u64,
    /// Everything else the driver counts.
    pub xstats: BTreeMap<String, u64>,
}

impl LportSummary {
    /// Whether its link is up.
    pub fn is_up(&self) -> bool {
        self.link == "up"
    }

    /// Why its link is down; `None` when it is up or nothing is said.
    pub fn why_down(&self) -> Option<&str> {
        self.link.strip_prefix("down: ").filter(|reason| !reason.is_empty())
    }
}

/// A polling thread.
#[derive(Debug, Clone, Deserialize)]
pub struct ThreadSummary {
    /// Its name in the file.
    pub name: String,
    /// CPUs it ran on.
    pub lcores: Vec<usize>,
    /// Rounds over its lports.
    pub polls: u64,
    /// Share of rounds that moved a packet.
    pub busy_percent: f64,
}

/// A pool of mbufs.
#[derive(Debug, Clone, Deserialize)]
pub struct PoolSummary {
    /// Its name.
    pub name: String,
    /// Mbufs it was made with.
    pub size: u64,
    /// Mbufs it holds after the stop.
    pub available: u64,
}

impl Summary {
    /// Reads it from the last line of the program's standard output and asserts that every pool is whole.
    ///
    /// # Errors
    /// When it is not there, lacks a promised key, or an mbuf leaked.
    pub fn parse(stdout: &str) -> Result<Self> {
        let line = stdout.lines().last().context("nothing on standard output")?;
        let summary: Self = serde_json::from_str(line).with_context(|| format!("not the promised summary: {line}"))?;
        for pool in &summary.pools {
            let PoolSummary { name, size, available } = pool;
            ensure!(available == size, "pool {name} leaks: {available} of {size} mbufs are back");
        }
        Ok(summary)
    }

    /// The lport called `name`.
    ///
    /// # Errors
    /// When there is none.
    pub fn lport(&self, name: &str) -> Result<&LportSummary> {
        let found = self.lports.iter().find(|lport| lport.name == name);
        found.with_context(|| format!("no lport {name} in the summary of {:?}", self.names()))
    }

    fn names(&self) -> Vec<&str> {
        self.lports.iter().map(|lport| lport.name.as_str()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leaking_pool_is_an_error_that_names_it() {
        let summary = |available| {
            format!(
                "log\n{{\"duration_s\":1.5,\"lports\":[],\"threads\":[],\
                 \"pools\":[{{\"name\":\"umem:0\",\"size\":8,\"available\":{available}}}]}}\n"
            )
        };
        assert_eq!(Summary::parse(&summary(8)).unwrap().pools.len(), 1);
        let error = Summary::parse(&summary(7)).unwrap_err().to_string();
        assert_eq!(error, "pool umem:0 leaks: 7 of 8 mbufs are back");
    }
}
