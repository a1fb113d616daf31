//! `/memif/...`: what VPP's `show memif` tells, for each interface. Wrong parameters are told why.

use pmd_core::LportControl;
use pmd_core::deployment::DeviceSpec;
use serde_json::json;

use super::details::tree;
use super::{Command, Running};
use crate::telemetry::request::Answer;

/// What the memif drivers call themselves.
const MEMIF: &str = "net_memif";

pub(super) const COMMANDS: &[Command] = &[
    Command {
        name: "/memif/list",
        help: "Returns one lport id for each memif interface. Takes no parameters",
        answer: |running, _| list(running),
    },
    Command {
        name: "/memif/info",
        help: "Returns a memif interface: peer, last disconnects, regions, rings, counters of every queue. \
               Parameters: int lport_id",
        answer: info,
    },
];

/// The control handle of a memif device, by any of its lports.
fn control<'r>(running: &'r Running<'_>, device: &DeviceSpec) -> Option<&'r dyn LportControl> {
    let control = running.runtime.control(device.queues.first()?.lport)?;
    (control.info().driver == MEMIF).then_some(control)
}

fn list(running: &Running<'_>) -> Answer {
    let memifs = running.deployment.devices.iter().filter(|device| control(running, device).is_some());
    Answer::Value(memifs.filter_map(|device| device.queues.first()).map(|queue| queue.lport.0).collect())
}

fn info(running: &Running<'_>, parameters: Option<&str>) -> Answer {
    let Some(parameter) = parameters.filter(|text| !text.is_empty()) else {
        return Answer::Error("name an lport by its number: `/memif/info,0`; `/memif/list` lists the memifs".into());
    };
    let id: Option<u16> = parameter.trim().parse().ok();
    let holds = |device: &&DeviceSpec| device.queues.iter().any(|queue| Some(queue.lport.0) == id);
    let device = running.deployment.devices.iter().find(holds);
    match device.and_then(|device| Some((device, control(running, device)?))) {
        Some((device, control)) => {
            let names: Vec<_> = device.queues.iter().map(|queue| queue.name.as_str()).collect();
            let mut value = tree(&control.details());
            value["lports"] = json!(names);
            Answer::Value(value)
        }
        None => Answer::Error(format!("`{parameter}` is no lport of a memif: `/memif/list` lists them")),
    }
}
