//! `/lport/...`: everything by the names of the lport file. Wrong parameters are told why.

use pmd_core::deployment::{DeviceSpec, QueueSpec};
use pmd_core::runtime::{LportReport, PoolReport, ThreadReport};
use pmd_core::{Link, LportControl};
use serde_json::{Map, Value, json};

use super::details::tree;
use super::ethdev::mac_address;
use super::{Command, Running};
use crate::summary::Counters;
use crate::telemetry::request::Answer;

pub(super) const COMMANDS: &[Command] = &[
    Command {
        name: "/lport/list",
        help: "Returns the names of all lports. Takes no parameters",
        answer: |running, _| list(running),
    },
    Command {
        name: "/lport/info",
        help: "Returns everything about an lport: its link, counters, thread, and what its driver tells of the device. \
               Parameters: string lport",
        answer: info,
    },
    Command {
        name: "/lport/threads",
        help: "Returns all polling threads with their load. Takes no parameters",
        answer: |running, _| threads(running),
    },
    Command {
        name: "/lport/pools",
        help: "Returns all pools of mbufs with their levels. Takes no parameters",
        answer: |running, _| pools(running),
    },
];

fn list(running: &Running<'_>) -> Answer {
    Answer::Value(running.deployment.lports().into_iter().map(|(_, queue)| queue.name.as_str()).collect())
}

fn info(running: &Running<'_>, name: Option<&str>) -> Answer {
    let Some(name) = name.filter(|name| !name.is_empty()) else {
        return Answer::Error("name an lport: `/lport/info,NAME`; `/lport/list` lists them".into());
    };
    let lports = running.deployment.lports();
    let configured = lports.into_iter().find(|(_, queue)| queue.name == name);
    let report = running.lports().into_iter().find(|lport| lport.name == name);
    match (configured, report) {
        (Some((device, queue)), Some(report)) => Answer::Value(lport(running, device, queue, &report)),
        _ => Answer::Error(format!("there is no lport `{name}`: `/lport/list` lists them")),
    }
}

fn lport(running: &Running<'_>, device: &DeviceSpec, queue: &QueueSpec, report: &LportReport) -> Value {
    let control = running.runtime.control(queue.lport);
    let driver = control.map(LportControl::info);
    let thread = running.deployment.threads.iter().find(|thread| thread.lports.contains(&queue.lport));
    let pool = queue.pool.and_then(|pool| running.deployment.pools.get(pool.0));
    let (is_up, reason) = match &report.link {
        Link::Up => (true, None),
        Link::Down(reason) => (false, Some(reason)),
    };
    let xstats: Map<_, _> = report.stats.xstats.iter().map(|(name, n)| ((*name).to_owned(), json!(n))).collect();
    json!({
        "id": queue.lport.0,
        "name": queue.name,
        "device": device.name,
        "driver": device.driver,
        "queue": queue.qid,
        "open": control.is_some(),
        "link": if is_up { "up" } else { "down" },
        "down_because": reason,
        "mac": driver.as_ref().and_then(|info| info.mac).map(mac_address),
        "max_packet": driver.as_ref().map(|info| info.max_packet),
        "speed_mbps": driver.as_ref().map(|info| info.speed_mbps),
        "thread": thread.map(|thread| &thread.name),
        "pool": pool.map(|pool| &pool.name),
        "stats": Counters::from(&report.stats),
        "xstats": xstats,
        "details": control.map(|control| tree(&control.details())),
    })
}

fn threads(running: &Running<'_>) -> Answer {
    let names: Vec<_> = running.deployment.lports().into_iter().map(|(_, queue)| queue.name.as_str()).collect();
    let lports = |name: &str| {
        let thread = running.deployment.threads.iter().find(|thread| thread.name == name);
        let ids = thread.map_or(&[][..], |thread| &thread.lports);
        ids.iter().filter_map(|id| names.get(usize::from(id.0))).collect::<Vec<_>>()
    };
    let thread = |thread: &ThreadReport| {
        let ThreadReport { name, lcores, polls, busy_percent, sleeps, wakeups, failure } = thread;
        json!({
            "name": name,
            "lcores": lcores,
            "lports": lports(name),
            "polls": polls,
            "busy_percent": (busy_percent * 10.0).round() / 10.0,
            "sleeps": sleeps,
            "wakeups": wakeups,
            "failure": failure,
        })
    };
    Answer::Value(running.runtime.threads().iter().map(thread).collect())
}

fn pools(running: &Running<'_>) -> Answer {
    let pool = |pool: &PoolReport| {
        let PoolReport { name, size, available, cached, cache_size, data_room, memory, page } = pool;
        json!({
            "name": name,
            "size": size,
            "available": available,
            "in_use": size.saturating_sub(*available),
            "cached": cached,
            "cache_size": cache_size,
            "data_room": data_room,
            "memory": memory,
            "page": page.to_string(),
        })
    };
    Answer::Value(running.runtime.pools().iter().map(pool).collect())
}
