//! The forwarder's modes: what a thread of `lport run` does with packets.
//!
//! 1. The file's `options` (or `--mode`) name a [`Mode`]; [`Forwarding`] holds it with all it needs.
//! 2. [`make_task`] makes one task per thread. Each mode is one file, a loop over bursts, and calls the lports once per
//!    burst.
//! 3. What cannot be sent is dropped and counted by [`Ports::transmit`](pmd_core::Ports::transmit).

#[cfg(test)]
mod at_work;
mod discard;
mod forward;
mod generate;
mod loopback;
mod macs;
mod template;
mod tx_first;

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use pmd_core::{LportId, Task, TaskContext, TaskError};

pub(crate) use generate::Traffic;
pub(crate) use template::{SIZE_MAX, SIZE_MIN};

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
}

/// Every name with its mode; `None` for those of a later version.
const NAMES: &[(&str, Option<Mode>)] = &[
    ("drop", Some(Mode::Drop)),
    ("rx-only", Some(Mode::Drop)),
    ("lb", Some(Mode::Loopback)),
    ("loopback", Some(Mode::Loopback)),
    ("tx-only", Some(Mode::TxOnly)),
    ("tx-only-rx", Some(Mode::TxOnlyRx)),
    ("fwd", Some(Mode::Forward)),
    ("l3fwd", None),
    ("acl-strict", None),
    ("acl-permissive", None),
];

/// Why a word is no mode that can be run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ModeError {
    /// There is no such mode.
    #[error("there is no mode `{word}`; there are: {}", Mode::names().join(", "))]
    Unknown {
        /// The word.
        word: String,
    },
    /// CNDP has it, this version does not.
    #[error("mode `{word}` is not part of this version yet; there are: {}", Mode::names().join(", "))]
    NotYet {
        /// The word.
        word: String,
    },
}

impl Mode {
    /// The names of all modes that can be run.
    pub(crate) fn names() -> Vec<&'static str> {
        NAMES.iter().filter(|(_, mode)| mode.is_some()).map(|(name, _)| *name).collect()
    }
}

impl FromStr for Mode {
    type Err = ModeError;

    fn from_str(word: &str) -> Result<Self, ModeError> {
        match NAMES.iter().find(|(name, _)| *name == word) {
            Some((_, Some(mode))) => Ok(*mode),
            Some((_, None)) => Err(ModeError::NotYet { word: word.to_owned() }),
            None => Err(ModeError::Unknown { word: word.to_owned() }),
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = NAMES.iter().find(|(_, mode)| *mode == Some(*self)).map_or("", |(name, _)| *name);
        f.write_str(name)
    }
}

/// A mode with everything it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Forwarding {
    pub(crate) mode: Mode,
    /// `port-map`: from ingress to egress.
    pub(crate) port_map: HashMap<LportId, LportId>,
    /// What the generating modes send.
    pub(crate) traffic: Traffic,
    /// `tx-first`: packets every lport sends before it forwards; 0: none.
    pub(crate) tx_first: u64,
}

/// The task of a thread.
///
/// # Errors
/// When the thread's lports cannot do what the mode needs.
pub(crate) fn make_task(context: &TaskContext<'_>, forwarding: &Forwarding) -> Result<Box<dyn Task>, TaskError> {
    let task = mode_task(context, forwarding)?;
    if forwarding.tx_first == 0 {
        return Ok(task);
    }
    let traffic = Traffic { count: Some(forwarding.tx_first), ..forwarding.traffic.clone() };
    Ok(Box::new(tx_first::TxFirst::new(generate::Generate::new(context, &traffic)?, task)))
}

fn mode_task(context: &TaskContext<'_>, forwarding: &Forwarding) -> Result<Box<dyn Task>, TaskError> {
    let burst = context.burst;
    Ok(match forwarding.mode {
        Mode::Drop => Box::new(discard::Discard::new(burst)),
        Mode::Loopback => Box::new(loopback::Loopback::new(burst)),
        Mode::TxOnly => Box::new(generate::Generate::new(context, &forwarding.traffic)?),
        Mode::TxOnlyRx => Box::new(generate::GenerateAndReceive::new(context, &forwarding.traffic)?),
        Mode::Forward => Box::new(forward::Forward::new(context, &forwarding.port_map)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_a_mode_or_says_why_not() {
        assert_eq!("rx-only".parse(), Ok(Mode::Drop));
        assert_eq!("tx-only-rx".parse(), Ok(Mode::TxOnlyRx));
        assert_eq!(Mode::Loopback.to_string().parse(), Ok(Mode::Loopback));
        let unknown = "Fwd".parse::<Mode>().unwrap_err().to_string();
        assert_eq!(unknown, "there is no mode `Fwd`; there are: drop, rx-only, lb, loopback, tx-only, tx-only-rx, fwd");
        assert!(
            "l3fwd".parse::<Mode>().unwrap_err().to_string().starts_with("mode `l3fwd` is not part of this version")
        );
    }
}
