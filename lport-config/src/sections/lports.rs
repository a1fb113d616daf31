//! The section `lports`, and the keys that lports and lport-groups share.

use pmd_core::deployment::XdpHints;

use super::Entry;
use super::fields::{Fields, Given};
use super::pmd::{self, Pmd};
use crate::codes;
use crate::diagnostic::{Problem, Problems};
use crate::nearest::quoted;
use crate::source::Spanned;

/// An lport, from the section `lports` or made by an lport-group.
#[derive(Debug, Clone)]
pub(crate) struct Lport {
    /// Its logical name, `netdev[:tag]`.
    pub(crate) name: Spanned<String>,
    /// The device.
    pub(crate) netdev: Spanned<String>,
    /// `None` if the file does not say it soundly.
    pub(crate) pmd: Option<Pmd>,
    /// The wrappers around it, from the inside out.
    pub(crate) wrap: Vec<Pmd>,
    /// The queue of the device, at the place of the name if it is not given; `None` if it is given unsoundly.
    pub(crate) qid: Option<Spanned<u16>>,
    pub(crate) umem: UmemRef,
    pub(crate) region: Option<Spanned<u64>>,
    pub(crate) xdp: XdpHints,
    /// Whether an lport-group made it.
    pub(crate) of_group: bool,
}

/// The umem of an lport.
#[derive(Debug, Clone)]
pub(crate) enum UmemRef {
    /// This one.
    Named(Spanned<String>),
    /// The one that lport-groups share.
    Common,
    /// None.
    Missing,
    /// One is given, but not by a name.
    Unsound,
}

pub(super) fn read(entry: &Entry<'_>, problems: &mut Problems) -> Lport {
    let fields = &entry.fields;
    let name = entry.name;
    Lport {
        name: name.clone(),
        netdev: fields.text("netdev").unwrap_or_else(|| implied_netdev(entry, problems)),
        pmd: pmd::read(entry, problems),
        wrap: pmd::read_wrappers(entry, problems),
        qid: match fields.says("qid", fields.int("qid")) {
            Given::Absent => Some(Spanned::new(0, name.span)),
            Given::Unsound => None,
            Given::Sound(qid) => Some(Spanned::new(fields.u16("qid"), qid.span)),
        },
        umem: umem(fields),
        region: fields.int("region"),
        xdp: xdp_hints(fields),
        of_group: false,
    }
}

/// The text of the name before its first colon.
fn implied_netdev(entry: &Entry<'_>, problems: &mut Problems) -> Spanned<String> {
    let name = &entry.name.value;
    let netdev = name.split(':').next().unwrap_or_default();
    if netdev.is_empty() && !name.is_empty() && !entry.fields.given("netdev") {
        let message = format!("the lport name {} has no netdev in front of its colon", quoted(name));
        let problem = Problem::new(codes::BAD_NAME, entry.name.span, message).label("no netdev");
        problems.push(problem.help("an lport is named `netdev` or `netdev:tag`, such as `eth0:0`"));
    }
    Spanned::new(netdev.to_owned(), entry.name.span)
}

pub(super) fn umem(fields: &Fields<'_>) -> UmemRef {
    match fields.says("umem", fields.text("umem")) {
        Given::Sound(name) => UmemRef::Named(name),
        Given::Unsound => UmemRef::Unsound,
        Given::Absent => UmemRef::Missing,
    }
}

/// The keys that only AF_XDP heeds.
pub(super) fn xdp_hints(fields: &Fields<'_>) -> XdpHints {
    XdpHints {
        busy_poll: fields.bool("busy_poll"),
        busy_timeout: fields.u16("busy_timeout"),
        busy_budget: fields.u16("busy_budget"),
        force_wakeup: fields.bool("force_wakeup"),
        skb_mode: fields.bool("skb_mode"),
        unaligned_buffers: fields.bool("unaligned_buffers"),
        shared_umem: false,
        xsk_pin_path: fields.text("xsk_pin_path").map(|path| path.value),
        uds_path: fields.text("uds_path").map(|path| path.value),
    }
}
