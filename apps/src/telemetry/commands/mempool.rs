//! `/mempool/...`: each pool of mbufs, as DPDK's applications answer for theirs.

use pmd_core::deployment::PageSize;
use pmd_core::runtime::PoolReport;
use serde_json::json;

use super::{Command, Running};
use crate::telemetry::request::Answer;

/// Bytes of an mbuf's header, which lies apart from its data.
const HEADER: usize = 64;

pub(super) const COMMANDS: &[Command] = &[
    Command {
        name: "/mempool/list",
        help: "Returns list of available mempool. Takes no parameters",
        answer: |running, _| list(running),
    },
    Command { name: "/mempool/info", help: "Returns mempool info. Parameters: pool_name", answer: info },
];

fn list(running: &Running<'_>) -> Answer {
    Answer::Value(running.runtime.pools().into_iter().map(|pool| pool.name).collect())
}

fn info(running: &Running<'_>, name: Option<&str>) -> Answer {
    let pools = running.runtime.pools();
    let found = pools.iter().enumerate().find(|(_, pool)| Some(pool.name.as_str()) == name);
    let Some((number, pool)) = found else { return Answer::Null };
    let PoolReport { name, size, available, cached, cache_size, data_room, memory, page } = pool;
    Answer::Value(json!({
        "name": name,
        "pool_id": number,
        "flags": 0,
        "socket_id": -1,
        "size": size,
        "cache_size": cache_size,
        "elt_size": data_room + pmd_core::pool::HEADROOM,
        "header_size": HEADER,
        "trailer_size": 0,
        "private_data_size": 0,
        "ops_index": 0,
        "populated_size": size,
        "total_cache_count": cached,
        "common_pool_count": available.saturating_sub(*cached),
        "mz_name": name,
        "mz_len": memory,
        "mz_hugepage_sz": page_bytes(*page),
        "mz_socket_id": -1,
        "mz_flags": 0,
    }))
}

fn page_bytes(page: PageSize) -> u64 {
    match page {
        PageSize::Small => 4 << 10,
        PageSize::Huge2M => 2 << 20,
        PageSize::Huge1G => 1 << 30,
    }
}
