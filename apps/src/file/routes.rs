//! `l3fwd-fib-rules`: an array of `"<prefix>,<Ethernet address of the next hop>,<lport>"`.
//!
//! The lport is given by its name or, as in CNDP's files, by its number: its position in the file, from 0.

use std::collections::HashMap;

use lport_config::{Node, OptionsReader, Problem, Span, Spanned};
use pmd_core::{Deployment, LportId};

use super::addresses::{mac, parts, prefix, text_nodes, warn_without_rules};
use super::unknown_lport;
use crate::modes::{NextHop, Prefix, Routes};
use crate::rules;

pub(super) const KEY: &str = "l3fwd-fib-rules";

/// Reads the routing table, and reports what is wrong with it.
pub(super) fn read(options: &mut OptionsReader<'_>, deployment: &Deployment) -> Routes {
    warn_without_rules(options, KEY, "every packet will be dropped");
    let mut routes = Vec::new();
    let mut known: HashMap<Prefix, Span> = HashMap::new();
    for (node, text) in text_nodes(options, KEY) {
        let Some((prefix, hop)) = read_route(options, deployment, node, text) else { continue };
        match known.get(&prefix) {
            Some(first) => options.report(
                Problem::new(rules::ROUTE_TWICE, node.span, format!("there are two routes to {prefix}"))
                    .label("would never be taken")
                    .also(*first, "the first one")
                    .help("keep one of them"),
            ),
            None => {
                known.insert(prefix, node.span);
                routes.push((prefix, hop));
            }
        }
    }
    Routes::new(&routes)
}

fn read_route(
    options: &mut OptionsReader<'_>,
    deployment: &Deployment,
    node: &Node,
    text: &str,
) -> Option<(Prefix, NextHop)> {
    let parts = parts(node, text, ',');
    let [network, neighbour, lport] = parts.as_slice() else {
        let message = format!("`{text}` has {} parts, but a route has 3", parts.len());
        let help = "write \"<prefix>,<Ethernet address>,<lport>\", such as \"192.0.2.0/24,02:00:00:00:00:01,0\"";
        options.report(Problem::new(rules::BAD_ROUTE, node.span, message).help(help));
        return None;
    };
    let network = prefix(options, network, rules::BAD_ROUTE);
    let mac = mac(options, neighbour, rules::BAD_ROUTE);
    let lport = read_lport(options, deployment, lport);
    Some((network?, NextHop { lport: lport?, mac: mac? }))
}

fn read_lport(options: &mut OptionsReader<'_>, deployment: &Deployment, text: &Spanned<&str>) -> Option<LportId> {
    let lports = deployment.lports();
    let number: Option<u16> = text.value.parse().ok();
    let numbered = number.map(LportId).filter(|id| usize::from(id.0) < lports.len());
    let found = deployment.lport_named(text.value).or(numbered);
    if found.is_none() {
        let problem = unknown_lport(rules::UNKNOWN_EGRESS, KEY, deployment, text);
        options.report(match (number, lports.last()) {
            (Some(_), Some((_, last))) => {
                problem.help(format!("lports are numbered from 0; the last one is {}, `{}`", last.lport, last.name))
            }
            _ => problem,
        });
    }
    found
}
