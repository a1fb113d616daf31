//! The section `lport-groups`: devices x queues, dealt over threads.

use std::ops::RangeInclusive;

use pmd_core::deployment::XdpHints;

use super::Entry;
use super::fields::{Given, check_int, wrong_type};
use super::lports::{UmemRef, umem, xdp_hints};
use super::number_list;
use super::pmd::{self, Pmd};
use crate::codes;
use crate::diagnostic::{Problem, Problems};
use crate::keys::Kind;
use crate::nearest::quoted;
use crate::node::{Node, Value};
use crate::source::{Span, Spanned};

/// The driver of a group that names none: without `pmd`, CNDP's groups can only be AF_XDP sockets.
const DRIVER: &str = "net_af_xdp";

const QUEUE_MAX: u64 = u16::MAX as u64;

/// A group of lports to be made.
#[derive(Debug)]
pub(crate) struct LportGroup {
    pub(crate) name: Spanned<String>,
    pub(crate) netdevs: Vec<Spanned<String>>,
    pub(crate) queues: Queues,
    /// Where the queues are said; the group's name if they are not.
    pub(crate) queues_span: Span,
    pub(crate) threads: Vec<Spanned<String>>,
    pub(crate) pmd: Option<Pmd>,
    pub(crate) wrap: Vec<Pmd>,
    pub(crate) umem: UmemRef,
    pub(crate) xdp: XdpHints,
}

/// Which queues of each device.
#[derive(Debug)]
pub(crate) enum Queues {
    /// As many as the device has.
    All,
    /// These, in ascending order, each once.
    Listed(Vec<u16>),
    /// The file does not say it soundly.
    Unsound,
}

pub(super) fn read(entry: &Entry<'_>, problems: &mut Problems) -> LportGroup {
    let fields = &entry.fields;
    let pmd =
        if fields.given("pmd") { pmd::read(entry, problems) } else { Some(pmd::implied(DRIVER, entry, problems)) };
    let queues = fields.node("queues");
    let netdevs = fields.names("netdevs");
    for netdev in &netdevs {
        check_netdev(netdev, &entry.owner, problems);
    }
    check_not_empty(entry, "netdevs", "netdev", problems);
    check_not_empty(entry, "threads", "thread", problems);
    LportGroup {
        name: entry.name.clone(),
        netdevs,
        queues: match fields.says("queues", queues) {
            Given::Sound(node) => read_queues(node, &entry.owner, problems),
            Given::Unsound => Queues::Unsound,
            Given::Absent => Queues::All,
        },
        queues_span: queues.map_or(entry.name.span, |node| node.span),
        threads: fields.names("threads"),
        pmd,
        wrap: pmd::read_wrappers(entry, problems),
        umem: match umem(fields) {
            UmemRef::Missing => UmemRef::Common,
            given => given,
        },
        xdp: xdp_hints(fields),
    }
}

fn check_netdev(netdev: &Spanned<String>, owner: &str, problems: &mut Problems) {
    if netdev.value.contains(':') {
        let message = format!("the netdev {} of {owner} has a colon", quoted(&netdev.value));
        let problem = Problem::new(codes::BAD_NAME, netdev.span, message).label("not a netdev");
        problems.push(problem.help("name the device alone; `queues` says which of its queues"));
    }
}

fn check_not_empty(entry: &Entry<'_>, key: &str, noun: &str, problems: &mut Problems) {
    if let Some(node) = entry.fields.node(key).filter(|node| node.as_array().is_some_and(<[_]>::is_empty)) {
        let message = format!("`{key}` of {} is empty, but needs at least one {noun}", entry.owner);
        let problem = Problem::new(codes::OUT_OF_RANGE, node.span, message).label(format!("no {noun}"));
        problems.push(problem.help(format!("write the name of a {noun}, or remove the group")));
    }
}

fn read_queues(node: &Node, owner: &str, problems: &mut Problems) -> Queues {
    if node.as_str() == Some("all") {
        return Queues::All;
    }
    let before = problems.count();
    let elements = node.as_array().unwrap_or(std::slice::from_ref(node));
    let mut ranges: Vec<_> = elements.iter().flat_map(|element| queue_ranges(element, owner, problems)).collect();
    if problems.count() > before {
        return Queues::Unsound;
    }
    if ranges.is_empty() {
        let problem = Problem::new(codes::BAD_QUEUES, node.span, format!("`queues` of {owner} is empty"));
        problems.push(problem.label("no queue").help("write \"all\" for all queues of the device"));
        return Queues::Unsound;
    }
    ranges.sort_by_key(|range| *range.start());
    Queues::Listed(merged(&ranges))
}

/// Every number of the sorted `ranges` once, in ascending order. Each number is visited once, however the ranges overlap.
fn merged(ranges: &[RangeInclusive<u64>]) -> Vec<u16> {
    let mut queues: Vec<u16> = Vec::new();
    for range in ranges {
        let next = queues.last().map_or(0, |last| u64::from(*last) + 1);
        queues.extend((next.max(*range.start())..=*range.end()).filter_map(|queue| u16::try_from(queue).ok()));
    }
    queues
}

fn queue_ranges(element: &Node, owner: &str, problems: &mut Problems) -> Vec<RangeInclusive<u64>> {
    let what = format!("a queue of {owner}");
    match &element.value {
        Value::Number(_) => {
            let kind = Kind::Int { min: 0, max: QUEUE_MAX, unit: "" };
            check_int(kind, &what, element, 0, QUEUE_MAX, problems);
            element.as_int().map(|queue| queue..=queue).into_iter().collect()
        }
        Value::Text(text) => match number_list::parse(element, text.as_str(), QUEUE_MAX) {
            Ok(ranges) => ranges.into_iter().map(|range| range.value).collect(),
            Err(malformed) => {
                let message = format!("{} in `queues` of {owner} {}", malformed.what, malformed.wrong);
                let problem = Problem::new(codes::BAD_QUEUES, malformed.span, message);
                problems.push(problem.label("not a queue").help(malformed.help));
                Vec::new()
            }
        },
        _ => {
            problems.push(wrong_type("a number or a range such as \"0-3\"", &what, element));
            Vec::new()
        }
    }
}
