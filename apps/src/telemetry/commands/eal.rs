//! `/eal/...`: the CPUs that our threads are pinned to, and the command line.

use std::collections::BTreeSet;

use serde_json::json;

use super::{Command, Running};
use crate::telemetry::request::Answer;

/// Words of the command line before the application's own: the program and its command.
const OWN_WORDS: usize = 2;

pub(super) const COMMANDS: &[Command] = &[
    Command {
        name: "/eal/lcore/list",
        help: "List of lcore ids. Takes no parameters",
        answer: |running, _| Answer::Value(lcores(running).into_iter().collect()),
    },
    Command { name: "/eal/lcore/info", help: "Returns lcore info. Parameters: int lcore_id", answer: info },
    Command {
        name: "/eal/params",
        help: "Returns EAL commandline parameters used at application start. Takes no parameters",
        answer: |_, _| Answer::Value(words().take(OWN_WORDS).collect()),
    },
    Command {
        name: "/eal/app_params",
        help: "Returns app commandline parameters used at application start. Takes no parameters",
        answer: |_, _| Answer::Value(words().skip(OWN_WORDS).collect()),
    },
];

fn words() -> impl Iterator<Item = String> {
    std::env::args_os().map(|word| word.to_string_lossy().into_owned())
}

/// Every CPU that a thread is pinned to. Threads that are not pinned stand in `/lport/threads` only.
fn lcores(running: &Running<'_>) -> BTreeSet<usize> {
    running.runtime.threads().into_iter().flat_map(|thread| thread.lcores).collect()
}

fn info(running: &Running<'_>, parameters: Option<&str>) -> Answer {
    let id = parameters.and_then(|text| text.trim().parse().ok()).filter(|id| lcores(running).contains(id));
    let Some(id) = id else { return Answer::Null };
    let cpu = running.machine().and_then(|machine| machine.cpus.iter().find(|cpu| cpu.id == id));
    let socket = cpu.map_or(0, |cpu| cpu.node);
    Answer::Value(json!({ "lcore_id": id, "socket": socket, "role": "RTE", "cpuset": [id] }))
}
