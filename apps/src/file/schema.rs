//! The JSON Schema of the forwarder's keys in `options`, for editors. What it cannot say, such as prefixes and names that
//! must exist, is checked when the file is read.

use pmd_core::BURST_MAX;
use serde_json::{Value, json};

use super::acl_rules::{PROTOCOLS, RULES_MAX};
use super::{RATE_MAX, TX_FIRST_MAX};
use crate::modes::{Mode, SIZE_MAX, SIZE_MIN};

/// The `properties` of the section.
pub(crate) fn options_schema() -> Value {
    let ignored = |kind: &str| json!({ "type": kind, "deprecated": true, "description": "CNDP's; without effect." });
    json!({
        "mode": { "enum": Mode::names(), "description": "What threads do with packets." },
        "port-map": {
            "type": "object",
            "additionalProperties": { "type": "string" },
            "description": "fwd, acl-strict, acl-permissive: from the ingress lport to the egress lport.",
        },
        "l3fwd-fib-rules": {
            "type": "array",
            "items": { "type": "string", "pattern": "^[^,]+,[^,]+,[^,]+$" },
            "description": "l3fwd: \"<prefix>,<Ethernet address of the next hop>,<lport>\"; the longest prefix wins.",
        },
        "acl-rules": {
            "type": "array",
            "maxItems": RULES_MAX,
            "items": acl_rule(),
            "description": "acl-strict, acl-permissive: the first rule that matches decides.",
        },
        "tx-first": int(0, TX_FIRST_MAX, "Packets each lport sends before the mode begins."),
        "tx-size": int(SIZE_MIN as u64, SIZE_MAX as u64, "Bytes of a generated packet, without FCS."),
        "tx-rate": int(1, RATE_MAX, "Packets per second of each generating lport; as fast as possible without."),
        "tx-count": int(1, u64::MAX, "Packets to generate; for ever without."),
        "tx-burst": int(1, BURST_MAX as u64, "Packets generated at a time."),
        "pkt_api": ignored("string"),
        "cli": ignored("boolean"),
        "no-metrics": { "type": "boolean", "description": "Whether telemetry is turned off." },
        "no-restapi": ignored("boolean"),
    })
}

fn int(min: u64, max: u64, description: &str) -> Value {
    json!({ "type": "integer", "minimum": min, "maximum": max, "description": description })
}

fn acl_rule() -> Value {
    let protocols: Vec<_> = PROTOCOLS.iter().map(|(name, _)| *name).collect();
    let prefix = json!({ "type": "string", "description": "IPv4 prefix, such as \"192.0.2.0/24\"." });
    let port = json!({
        "anyOf": [{ "type": "integer", "minimum": 0, "maximum": 65535 }, { "pattern": r"^\s*[0-9]+\s*(-\s*[0-9]+\s*)?$", "type": "string" }],
        "description": "A port, or a range such as \"1024-65535\".",
    });
    json!({
        "type": "object",
        "required": ["action"],
        "additionalProperties": false,
        "properties": {
            "action": { "enum": ["permit", "deny"] },
            "proto": { "anyOf": [{ "enum": protocols }, { "type": "integer", "minimum": 0, "maximum": 255 }] },
            "src": prefix,
            "dst": prefix,
            "src-port": port,
            "dst-port": port,
            "description": { "type": "string" },
            "desc": { "type": "string" },
        },
    })
}
