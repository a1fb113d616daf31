//! The forwarder's modes: what a thread of `lport run` does with packets.
//!
//! 1. The file's `options` (or `--mode`) name a [`Mode`]; [`Forwarding`] holds it with all it needs.
//! 2. [`make_task`] makes one task per thread. Each mode is one file, a loop over bursts, and calls the lports once per
//!    burst.
//! 3. What cannot be sent is dropped and counted by [`Ports::transmit`](pmd_core::Ports::transmit); what a mode drops by
//!    itself is counted in [`ModeDrops`].

mod acl;
#[cfg(test)]
mod at_work;
mod discard;
mod drops;
mod forward;
mod generate;
mod ip;
mod l3fwd;
mod loopback;
mod lpm;
mod macs;
mod prefix;
mod sorter;
mod template;
mod tx_first;

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use pmd_core::{LportId, Task, TaskContext, TaskError};

pub(crate) use acl::{Acl, AclRule, Action, WITH_PORTS};
pub(crate) use drops::ModeDrops;
pub(crate) use generate::Traffic;
pub(crate) use l3fwd::{NextHop, Routes};
pub(crate) use prefix::Prefix;
pub(crate) use template::{SIZE_MAX, SIZE_MIN, Template};

/// What is done with packets, by CNDP's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// `drop`, `rx-only`: receive and drop.
    Drop,
    /// `lb`, `loopback`: swap the MAC addresses and send back.
    Loopback,
    /// `tx-only`: generate.
    TxOnly,
    /// `tx-only-rx`: generate, receive and drop.
    TxOnlyRx,
    /// `fwd`: to another lport, by `port-map` or by destination MAC.
    Forward,
    /// `l3fwd`: by the destination IP address.
    L3Forward,
    /// `acl-strict`: what the access list permits, as with `fwd`.
    AclStrict,
    /// `acl-permissive`: what the access list does not deny, as with `fwd`.
    AclPermissive,
}

/// Every name with its mode.
const NAMES: &[(&str, Mode)] = &[
    ("drop", Mode::Drop),
    ("rx-only", Mode::Drop),
    ("lb", Mode::Loopback),
    ("loopback", Mode::Loopback),
    ("tx-only", Mode::TxOnly),
    ("tx-only-rx", Mode::TxOnlyRx),
    ("fwd", Mode::Forward),
    ("l3fwd", Mode::L3Forward),
    ("acl-strict", Mode::AclStrict),
    ("acl-permissive", Mode::AclPermissive),
];

/// A word that is no mode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no mode `{word}`; there are: {}", Mode::names().join(", "))]
pub(crate) struct UnknownMode {
    word: String,
}

impl Mode {
    /// The names of all modes.
    pub(crate) fn names() -> Vec<&'static str> {
        NAMES.iter().map(|(name, _)| *name).collect()
    }
}

impl FromStr for Mode {
    type Err = UnknownMode;

    fn from_str(word: &str) -> Result<Self, UnknownMode> {
        let found = NAMES.iter().find(|(name, _)| *name == word);
        found.map(|(_, mode)| *mode).ok_or_else(|| UnknownMode { word: word.to_owned() })
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = NAMES.iter().find(|(_, mode)| mode == self).map_or("", |(name, _)| *name);
        f.write_str(name)
    }
}

/// A mode with everything it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Forwarding {
    pub(crate) mode: Mode,
    /// `port-map`: from ingress to egress.
    pub(crate) port_map: HashMap<LportId, LportId>,
    /// `l3fwd-fib-rules`, for the mode that routes.
    pub(crate) routes: Arc<Routes>,
    /// `acl-rules`, for the modes that filter.
    pub(crate) acl: Arc<Acl>,
    /// What the generating modes send.
    pub(crate) traffic: Traffic,
    /// `tx-first`: packets every lport sends before it forwards; 0: none.
    pub(crate) tx_first: u64,
}

#[cfg(test)]
impl Forwarding {
    /// Mode `drop`, and no rules for any other: what tests start from.
    pub(crate) fn nothing() -> Self {
        Self {
            mode: Mode::Drop,
            port_map: HashMap::new(),
            routes: Arc::new(Routes::new(&[])),
            acl: Arc::new(Acl { rules: Vec::new(), otherwise: Action::Deny }),
            traffic: Traffic::default(),
            tx_first: 0,
        }
    }
}

/// The task of a thread. What the mode drops by itself is counted in `drops`.
///
/// # Errors
/// When the thread's lports cannot do what the mode needs.
pub(crate) fn make_task(
    context: &TaskContext<'_>,
    forwarding: &Forwarding,
    drops: &Arc<ModeDrops>,
) -> Result<Box<dyn Task>, TaskError> {
    let task = mode_task(context, forwarding, drops)?;
    if forwarding.tx_first == 0 {
        return Ok(task);
    }
    let traffic = Traffic { count: Some(forwarding.tx_first), ..forwarding.traffic.clone() };
    Ok(Box::new(tx_first::TxFirst::new(generate::Generate::new(context, &traffic)?, task)))
}

fn mode_task(
    context: &TaskContext<'_>,
    forwarding: &Forwarding,
    drops: &Arc<ModeDrops>,
) -> Result<Box<dyn Task>, TaskError> {
    let burst = context.burst;
    let Forwarding { mode, port_map, routes, acl, traffic, .. } = forwarding;
    Ok(match mode {
        Mode::Drop => Box::new(discard::Discard::new(burst)),
        Mode::Loopback => Box::new(loopback::Loopback::new(burst)),
        Mode::TxOnly => Box::new(generate::Generate::new(context, traffic)?),
        Mode::TxOnlyRx => Box::new(generate::GenerateAndReceive::new(context, traffic)?),
        Mode::Forward => Box::new(forward::Forward::new(context, port_map)),
        Mode::L3Forward => Box::new(l3fwd::L3Forward::new(context, routes, drops)),
        Mode::AclStrict | Mode::AclPermissive => Box::new(acl::Filter::new(context, acl, port_map, drops)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_a_mode_and_an_unknown_one_lists_them() {
        assert_eq!("rx-only".parse(), Ok(Mode::Drop));
        for name in Mode::names() {
            let mode: Mode = name.parse().unwrap();
            assert_eq!(mode.to_string().parse(), Ok(mode));
        }
        let unknown = "Fwd".parse::<Mode>().unwrap_err().to_string();
        assert!(unknown.starts_with("there is no mode `Fwd`; there are: drop, rx-only, lb, "), "{unknown}");
    }
}
