//! Every command of telemetry, in one table: DPDK's with DPDK's names and shapes, and ours.
//!
//! Commands read snapshots of what runs, and answer at once. Each file holds the commands of one namespace.

mod details;
mod eal;
mod ethdev;
mod lport;
mod memif;
mod mempool;
#[cfg(test)]
mod tests;

use std::sync::OnceLock;

use pmd_core::runtime::LportReport;
use pmd_core::topology::Machine;
use pmd_core::{Deployment, LportId, Runtime};
use serde_json::{Value, json};

use super::ANSWER_MAX;
use super::request::{Answer, Request};
use crate::modes::ModeDrops;

/// What runs, as the commands see it.
pub(crate) struct Running<'a> {
    runtime: &'a Runtime,
    deployment: &'a Deployment,
    drops: &'a ModeDrops,
    /// Read when it is asked for first.
    machine: OnceLock<Option<Machine>>,
}

impl<'a> Running<'a> {
    /// The runtime, what it was made from, and what its tasks drop by themselves.
    pub(crate) fn new(runtime: &'a Runtime, deployment: &'a Deployment, drops: &'a ModeDrops) -> Self {
        Self { runtime, deployment, drops, machine: OnceLock::new() }
    }

    /// All lports, with the counters of driver, runtime and mode.
    fn lports(&self) -> Vec<LportReport> {
        let mut lports = self.runtime.lports();
        self.drops.report_in(&mut lports);
        lports
    }

    fn machine(&self) -> Option<&Machine> {
        self.machine.get_or_init(|| Machine::detect().ok()).as_ref()
    }

    /// The open lport that a parameter names by its number.
    fn port(&self, parameters: Option<&str>) -> Option<LportId> {
        let id = LportId(parameters?.trim().parse().ok()?);
        self.runtime.control(id).map(|_| id)
    }
}

/// A command.
struct Command {
    name: &'static str,
    help: &'static str,
    answer: fn(&Running<'_>, Option<&str>) -> Answer,
}

/// Those of no namespace.
const BASE: &[Command] = &[
    Command { name: "/", help: "Returns list of available commands, Takes no parameters", answer: |_, _| list() },
    Command { name: "/help", help: "Returns help text for a command. Parameters: string command", answer: help },
    Command {
        name: "/info",
        help: "Returns version, process and largest answer of this telemetry. Takes no parameters",
        answer: |_, _| Answer::Value(info()),
    },
];

/// All of them, in the order of their names.
fn all() -> Vec<&'static Command> {
    let mut all: Vec<_> = [BASE, eal::COMMANDS, ethdev::COMMANDS, lport::COMMANDS, memif::COMMANDS, mempool::COMMANDS]
        .into_iter()
        .flatten()
        .collect();
    all.sort_by_key(|command| command.name);
    all
}

/// Answers a request.
pub(super) fn answer(request: &Request<'_>, running: &Running<'_>) -> Answer {
    let command = all().into_iter().find(|command| command.name == request.command);
    match command {
        Some(command) => (command.answer)(running, request.parameters),
        None if is_ours(request.command) => {
            Answer::Error(format!("there is no command `{}`: `/` lists those there are", request.command))
        }
        None => Answer::Null,
    }
}

/// Whether a command is one that DPDK does not have.
pub(super) fn is_ours(command: &str) -> bool {
    command.starts_with("/lport/") || command.starts_with("/memif/")
}

/// What a client is told unasked.
pub(super) fn greeting() -> Vec<u8> {
    info().to_string().into_bytes()
}

fn info() -> Value {
    let version = concat!("lport ", env!("CARGO_PKG_VERSION"));
    json!({ "version": version, "pid": std::process::id(), "max_output_len": ANSWER_MAX })
}

fn list() -> Answer {
    Answer::Value(all().iter().map(|command| command.name).collect())
}

fn help(_: &Running<'_>, parameters: Option<&str>) -> Answer {
    let of = |name: &str| all().into_iter().find(|command| command.name == name);
    match parameters.filter(|name| !name.is_empty()) {
        None => Answer::Value(json!(of("/help").map(|command| command.help))),
        Some(name) => of(name).map_or(Answer::Null, |command| Answer::Value(json!({ name: command.help }))),
    }
}
