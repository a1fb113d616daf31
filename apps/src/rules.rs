//! The forwarder's own rules for lport files, numbered on behind those of the format.

use lport_config::{Rule, Severity};

/// A mode that is none.
pub(crate) static UNKNOWN_MODE: &Rule = &Rule {
    code: "E0501",
    severity: Severity::Error,
    title: "the mode is unknown",
    explanation: "`options.mode` says what the threads do with packets. Names are exact, in lower case: `drop` or `rx-only` receive \
and drop, `lb` or `loopback` swap the MAC addresses and send back, `tx-only` and `tx-only-rx` generate packets, `fwd` \
forwards from lport to lport.",
};

/// A mode of CNDP's that is not there yet.
pub(crate) static MODE_NOT_YET: &Rule = &Rule {
    code: "E0502",
    severity: Severity::Error,
    title: "the mode is not part of this version",
    explanation: "CNDP's forwarder has the modes `l3fwd`, `acl-strict` and `acl-permissive`, which this version does not have yet. \
Running something else in their place would forward packets that were meant to be filtered.",
};

/// A `port-map` with an unknown lport.
pub(crate) static UNKNOWN_PORT: &Rule = &Rule {
    code: "E0503",
    severity: Severity::Error,
    title: "`port-map` names an lport that does not exist",
    explanation: "`options.port-map` is an object: what comes in on the lport named by the key goes out on the lport named by the \
value. Both must be lports of the file, by their full names, `netdev:tag`.",
};

/// No mode.
pub(crate) static NO_MODE: &Rule = &Rule {
    code: "W0501",
    severity: Severity::Warning,
    title: "the file names no mode",
    explanation: "Without `options.mode` (or `--mode`) packets are received and dropped, as with `\"mode\": \"drop\"`.",
};

/// A key without effect here.
pub(crate) static NOT_SUPPORTED: &Rule = &Rule {
    code: "W0502",
    severity: Severity::Warning,
    title: "an option of CNDP's forwarder is not supported",
    explanation: "The key is known from CNDP's forwarder, is accepted so that its files can be used unchanged, and has no effect.",
};

/// No thread with lports.
pub(crate) static NOTHING_POLLED: &Rule = &Rule {
    code: "E0504",
    severity: Severity::Error,
    title: "no thread polls any lport",
    explanation: "Packets move only on lports that a thread polls: list them in `threads.<name>.lports`. A file all of whose lports are \
left alone would run and do nothing.",
};

/// All of them.
pub(crate) const ALL: &[&Rule] = &[UNKNOWN_MODE, MODE_NOT_YET, UNKNOWN_PORT, NOTHING_POLLED, NO_MODE, NOT_SUPPORTED];
