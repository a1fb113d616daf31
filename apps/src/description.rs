//! What a file would run, as JSON: the names and numbers that the summary of `lport run --json` has, and what they come
//! from.

#[cfg(test)]
mod tests;

use pmd_core::deployment::{Deployment, DeviceSpec, Placement, PoolSpec, QueueSpec, ThreadSpec, WrapSpec, XdpHints};
use pmd_core::{RawOption, RawValue};
use serde_json::{Map, Value, json};

use crate::file::LportFile;

/// Describes a file without errors.
pub(crate) fn describe(file: &LportFile) -> Value {
    let LportFile { deployment, forwarding, .. } = file;
    json!({
        "mode": forwarding.mode.to_string(),
        "lports": lports(deployment),
        "threads": deployment.threads.iter().map(|thread| describe_thread(thread, deployment)).collect::<Vec<_>>(),
        "pools": deployment.pools.iter().map(pool).collect::<Vec<_>>(),
    })
}

/// The lports in the order of their ids, which are their positions.
fn lports(deployment: &Deployment) -> Value {
    let lport = |(device, queue): (&DeviceSpec, &QueueSpec)| {
        json!({
            "name": queue.name,
            "driver": device.driver,
            "device": device.name,
            "qid": queue.qid,
            "options": device.options.iter().map(option).collect::<Map<_, _>>(),
            "pool": queue.pool.map(|pool| &deployment.pools[pool.0].name),
            "wrap": queue.wrap.iter().map(wrapper).collect::<Vec<_>>(),
            "rx_desc": queue.rx_desc,
            "tx_desc": queue.tx_desc,
            "af_xdp": af_xdp(&queue.xdp),
        })
    };
    deployment.lports().into_iter().map(lport).collect()
}

fn wrapper(wrap: &WrapSpec) -> Value {
    json!({ "wrapper": wrap.wrapper, "options": wrap.options.iter().map(option).collect::<Map<_, _>>() })
}

/// The keys for AF_XDP that say something.
fn af_xdp(hints: &XdpHints) -> Map<String, Value> {
    let flag = |key: &str, value: bool| value.then(|| (key.to_owned(), json!(true)));
    let number = |key: &str, value: u16| (value > 0).then(|| (key.to_owned(), json!(value)));
    let path = |key: &str, value: &Option<String>| value.as_ref().map(|path| (key.to_owned(), json!(path)));
    let keys = [
        flag("busy_poll", hints.busy_poll),
        number("busy_timeout", hints.busy_timeout),
        number("busy_budget", hints.busy_budget),
        flag("force_wakeup", hints.force_wakeup),
        flag("skb_mode", hints.skb_mode),
        flag("unaligned_buffers", hints.unaligned_buffers),
        flag("shared_umem", hints.shared_umem),
        path("xsk_pin_path", &hints.xsk_pin_path),
        path("uds_path", &hints.uds_path),
    ];
    keys.into_iter().flatten().collect()
}

fn option(option: &RawOption) -> (String, Value) {
    let value = match &option.value {
        RawValue::Bool(value) => json!(value),
        RawValue::Int(value) => json!(value),
        RawValue::Text(value) => json!(value),
    };
    (option.key.clone(), value)
}

fn describe_thread(thread: &ThreadSpec, deployment: &Deployment) -> Value {
    let all = deployment.lports();
    let lports: Vec<_> = thread.lports.iter().map(|id| &all[usize::from(id.0)].1.name).collect();
    json!({
        "name": thread.name,
        "lcores": match &thread.lcores {
            Placement::Anywhere => json!([]),
            Placement::Cpus(cpus) => json!(cpus),
            Placement::Auto => json!("auto"),
        },
        "lports": lports,
        "idle_timeout_ms": thread.idle_timeout.map(|time| time.as_millis() as u64),
        "intr_timeout_ms": thread.intr_timeout.as_millis() as u64,
    })
}

fn pool(pool: &PoolSpec) -> Value {
    let PoolSpec { name, size, data_room, cache, page } = pool;
    json!({ "name": name, "size": size, "data_room": data_room, "cache": cache, "page": page.to_string() })
}
