//! What a file would run, as JSON: the names and numbers that the summary of `lport run --json` has, and what they come
//! from.

use pmd_core::deployment::{Deployment, DeviceSpec, Placement, PoolSpec, QueueSpec, ThreadSpec, WrapSpec};
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
        })
    };
    deployment.lports().into_iter().map(lport).collect()
}

fn wrapper(wrap: &WrapSpec) -> Value {
    json!({ "wrapper": wrap.wrapper, "options": wrap.options.iter().map(option).collect::<Map<_, _>>() })
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
