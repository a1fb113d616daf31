//! The program's own rules for lport files, numbered on behind those of the format: 05xx are about the forwarder's
//! `options`, 06xx about this machine. A number that is missing was a rule that is gone; it is never given again.

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

/// A CPU that cannot be had.
pub(crate) static CPU_MISSING: &Rule = &Rule {
    code: "E0601",
    severity: Severity::Error,
    title: "a CPU is not there",
    explanation: "A thread is to run on a CPU that this machine does not have, that is offline, or that taskset or the container's \
cpuset keeps from this process. `lport topology` lists the CPUs.",
};

/// A device that cannot be opened here.
pub(crate) static DEVICE_IMPOSSIBLE: &Rule = &Rule {
    code: "E0602",
    severity: Severity::Error,
    title: "a device cannot be opened on this machine",
    explanation: "The driver has looked, without opening anything, and found what is missing; the message names it. `lport run` would \
end with exit code 4.",
};

/// Two threads on one CPU.
pub(crate) static CPU_SHARED: &Rule = &Rule {
    code: "W0601",
    severity: Severity::Warning,
    title: "two polling threads share a CPU",
    explanation: "A polling thread never stops by itself. Two of them on one CPU take turns by the kernel's time slices of milliseconds, \
in which rings overflow. Threads with `idle_timeout` share a CPU well as long as there is little traffic.",
};

/// Two threads on one core.
pub(crate) static CORE_SHARED: &Rule = &Rule {
    code: "W0602",
    severity: Severity::Warning,
    title: "two polling threads share a core",
    explanation: "The two hyperthreads of a core share its execution units and caches: two threads that poll all the time slow each other \
down. `lport topology` shows which CPUs belong to one core.",
};

/// Memory far away.
pub(crate) static REMOTE_MEMORY: &Rule = &Rule {
    code: "W0603",
    severity: Severity::Warning,
    title: "memory lies on another NUMA node",
    explanation: "A pool lies on the node of the first thread that receives into it. A thread on another node reaches its packets across \
the interconnect, which costs time and bandwidth. Umems and regions are cheap: give each node its own.",
};

/// No huge pages.
pub(crate) static HUGE_PAGES: &Rule = &Rule {
    code: "W0604",
    severity: Severity::Warning,
    title: "there are not enough huge pages",
    explanation: "`mtype` asks for pages that must be reserved beforehand, as with `echo 512 > \
/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages`. Where there are too few, the next smaller size is taken.",
};

/// Not enough memory.
pub(crate) static MEMORY: &Rule = &Rule {
    code: "W0607",
    severity: Severity::Warning,
    title: "there is not enough memory",
    explanation: "The pools together are larger than what the kernel says is available without swapping. Either they cannot be made, or \
the kernel ends a process as soon as they fill up.",
};

/// A device that will open and not work.
pub(crate) static DEVICE_INCOMPLETE: &Rule = &Rule {
    code: "W0605",
    severity: Severity::Warning,
    title: "a device lacks something on this machine",
    explanation: "The device can be opened, but its link stays down until what the message names is there.",
};

/// An unreadable machine.
pub(crate) static TOPOLOGY_UNKNOWN: &Rule = &Rule {
    code: "W0606",
    severity: Severity::Warning,
    title: "the machine's topology is not known",
    explanation: "libhwloc could not read which CPUs belong to one core or NUMA node, so nothing is said about either; `\"auto\"` takes the \
allowed CPUs in order.",
};

/// All of them.
pub(crate) const ALL: &[&Rule] = &[
    UNKNOWN_MODE,
    UNKNOWN_PORT,
    BAD_ROUTE,
    ROUTE_TWICE,
    UNKNOWN_EGRESS,
    BAD_ACL_RULE,
    TOO_MANY_ACL_RULES,
    NO_MODE,
    NOT_SUPPORTED,
    NO_RULES,
    HOST_BITS,
    CPU_MISSING,
    DEVICE_IMPOSSIBLE,
    CPU_SHARED,
    CORE_SHARED,
    REMOTE_MEMORY,
    HUGE_PAGES,
    DEVICE_INCOMPLETE,
    TOPOLOGY_UNKNOWN,
    MEMORY,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_tell_their_severity() {
        let mut codes: Vec<_> = ALL.iter().chain(lport_config::RULES).map(|rule| rule.code).collect();
        codes.sort_unstable();
        assert!(codes.is_sorted_by(|a, b| a < b), "{codes:?}");
        for rule in ALL {
            assert_eq!(rule.code.starts_with('E'), rule.severity == Severity::Error, "{}", rule.code);
        }
    }
}
