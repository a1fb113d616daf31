//! The forwarder's own rules for lport files, numbered on behind those of the format.

use lport_config::{Rule, Severity};

/// A mode that is none.
pub(crate) static UNKNOWN_MODE: &Rule = &Rule {
    code: "E0501",
    severity: Severity::Error,
    title: "the mode is unknown",
    explanation: "`options.mode` says what the threads do with packets. Names are exact, in lower case: `drop` or `rx-only` receive \
and drop, `lb` or `loopback` swap the MAC addresses and send back, `tx-only` and `tx-only-rx` generate packets, `fwd` \
forwards from lport to lport, `l3fwd` routes by destination address, `acl-strict` and `acl-permissive` forward what an \
access list lets through.",
};

/// A `port-map` with an unknown lport.
pub(crate) static UNKNOWN_PORT: &Rule = &Rule {
    code: "E0503",
    severity: Severity::Error,
    title: "`port-map` names an lport that does not exist",
    explanation: "`options.port-map` is an object: what comes in on the lport named by the key goes out on the lport named by the \
value. Both must be lports of the file, by their full names, `netdev:tag`.",
};

/// A route that is none.
pub(crate) static BAD_ROUTE: &Rule = &Rule {
    code: "E0505",
    severity: Severity::Error,
    title: "a route cannot be read",
    explanation: "Each string of `options.l3fwd-fib-rules` has three parts with commas between them: a prefix such as `192.0.2.0/24` or \
`2001:db8::/32`, the Ethernet address of the next hop, and the lport that leads there, by name or by number (its position \
in the file, from 0).",
};

/// Two routes to one prefix.
pub(crate) static ROUTE_TWICE: &Rule = &Rule {
    code: "E0506",
    severity: Severity::Error,
    title: "two routes lead to one prefix",
    explanation: "Of the routes that hold a destination the longest prefix wins. With two of one prefix one would never be taken.",
};

/// A route through an unknown lport.
pub(crate) static UNKNOWN_EGRESS: &Rule = &Rule {
    code: "E0507",
    severity: Severity::Error,
    title: "a route leads to an lport that does not exist",
    explanation: "The last part of a route is an lport of the file: its full name, or its number. Numbers are positions in `lports`, \
from 0; the lports of lport-groups come behind them.",
};

/// A rule of an access list that is none.
pub(crate) static BAD_ACL_RULE: &Rule = &Rule {
    code: "E0508",
    severity: Severity::Error,
    title: "a rule of the access list cannot be read",
    explanation: "`options.acl-rules` is an array of objects. `action` is `permit` or `deny`. `proto` (icmp, tcp, udp, sctp or a \
number), `src` and `dst` (IPv4 prefixes), `src-port` and `dst-port` (a port or a range such as `1024-65535`) say which \
packets are meant; what is left out matches everything. The first rule that matches decides. A rule that cannot be read is \
never skipped: the filter would let through, or drop, something else than was meant.",
};

/// A long access list.
pub(crate) static TOO_MANY_ACL_RULES: &Rule = &Rule {
    code: "E0509",
    severity: Severity::Error,
    title: "the access list is too long",
    explanation: "Each packet is compared with the rules one by one, so at most 1024 are possible. Larger prefixes and ranges of ports \
make a list shorter.",
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

/// A mode without what it goes by.
pub(crate) static NO_RULES: &Rule = &Rule {
    code: "W0503",
    severity: Severity::Warning,
    title: "the mode has no rules",
    explanation: "`l3fwd` goes by `options.l3fwd-fib-rules` and drops what no route leads to; `acl-strict` drops what no rule of \
`options.acl-rules` permits, and `acl-permissive` passes what none denies. Without any rules they treat all packets alike.",
};

/// A prefix with host bits.
pub(crate) static HOST_BITS: &Rule = &Rule {
    code: "W0504",
    severity: Severity::Warning,
    title: "a prefix has bits set behind its length",
    explanation: "`10.1.2.3/8` means all addresses that begin with 10, the rest of the address says nothing. Perhaps another length was \
meant.",
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
pub(crate) const ALL: &[&Rule] = &[
    UNKNOWN_MODE,
    UNKNOWN_PORT,
    NOTHING_POLLED,
    BAD_ROUTE,
    ROUTE_TWICE,
    UNKNOWN_EGRESS,
    BAD_ACL_RULE,
    TOO_MANY_ACL_RULES,
    NO_MODE,
    NOT_SUPPORTED,
    NO_RULES,
    HOST_BITS,
];
