//! `acl-rules`: an array of objects, the first that matches decides.
//!
//! | key | value |
//! |---|---|
//! | `action` | `"permit"` or `"deny"`; required |
//! | `proto` | `"icmp"`, `"tcp"`, `"udp"`, `"sctp"`, or IP's number of a protocol |
//! | `src`, `dst` | IPv4 prefix |
//! | `src-port`, `dst-port` | a port, or a range `"1024-65535"`; only for protocols with ports |
//! | `description`, `desc` | text |
//!
//! A key that is not given matches everything.

use std::ops::RangeInclusive;

use lport_config::{Member, Node, OptionsReader, Problem, Span, Spanned};

use super::addresses::{parts, prefix, warn_without_rules};
use crate::modes::{AclRule, Action, WITH_PORTS};
use crate::rules;

const KEY: &str = "acl-rules";

/// Most rules: each packet is compared with them one by one.
pub(super) const RULES_MAX: usize = 1024;

/// A rule, for messages.
const EXAMPLE: &str = "{ \"action\": \"permit\", \"src\": \"192.0.2.0/24\" }";

const KEYS: &[&str] = &["action", "proto", "src", "dst", "src-port", "dst-port", "description", "desc"];

/// Protocols that have a name, with their numbers.
pub(super) const PROTOCOLS: &[(&str, u8)] = &[("icmp", 1), ("tcp", 6), ("udp", 17), ("sctp", 132)];

/// Warns of an empty access list.
pub(super) fn warn_if_none(options: &mut OptionsReader<'_>, otherwise: Action) {
    let fate = if otherwise == Action::Deny { "every packet will be dropped" } else { "all IPv4 packets will pass" };
    warn_without_rules(options, KEY, fate);
}

/// Reads the rules, and reports what is wrong with them.
pub(super) fn read(options: &mut OptionsReader<'_>) -> Vec<AclRule> {
    let elements = elements(options);
    if let Some(excess) = elements.get(RULES_MAX) {
        let message = format!("there are {} rules, but at most {RULES_MAX} are possible", elements.len());
        let problem = Problem::new(rules::TOO_MANY_ACL_RULES, excess.span, message).label("too many");
        options.report(problem.help("larger prefixes and ranges of ports make a list shorter"));
    }
    elements.iter().take(RULES_MAX).filter_map(|node| read_rule(options, node)).collect()
}

fn elements<'c>(options: &mut OptionsReader<'c>) -> &'c [Node] {
    let Some(node) = options.node(KEY) else { return &[] };
    if node.as_array().is_none() {
        let message = format!("`{KEY}` is {}, but takes an array of objects", node.describe());
        options.report(bad(node.span, message).help(format!("write [{EXAMPLE}]")));
    }
    node.as_array().unwrap_or_default()
}

fn bad(span: Span, message: String) -> Problem {
    Problem::new(rules::BAD_ACL_RULE, span, message).label("in this rule")
}

fn read_rule(options: &mut OptionsReader<'_>, node: &Node) -> Option<AclRule> {
    let Some(members) = node.as_object() else {
        let help = format!("write {EXAMPLE}");
        options.report(bad(node.span, format!("a rule is an object, not {}", node.describe())).help(help));
        return None;
    };
    members.iter().for_each(|member| check_key(options, member));
    // All are read before the first that cannot be is given up on, so that all problems are reported.
    let action = read_action(options, node);
    let protocol = field(node, "proto", |value| read_protocol(options, value));
    let source = field(node, "src", |value| read_network(options, value));
    let destination = field(node, "dst", |value| read_network(options, value));
    let source_ports = field(node, "src-port", |value| read_ports(options, value));
    let destination_ports = field(node, "dst-port", |value| read_ports(options, value));
    let rule = AclRule {
        action: action?,
        protocol: protocol.ok()?,
        source: source.ok()?,
        destination: destination.ok()?,
        source_ports: source_ports.ok()?,
        destination_ports: destination_ports.ok()?,
    };
    check_ports_fit(options, node, &rule);
    Some(rule)
}

/// A value that was given and could not be read, which has been reported. Taken as not given, it would match too much.
struct Unreadable;

fn field<T>(rule: &Node, key: &str, read: impl FnOnce(&Node) -> Option<T>) -> Result<Option<T>, Unreadable> {
    rule.get(key).map(|value| read(value).ok_or(Unreadable)).transpose()
}

fn check_ports_fit(options: &mut OptionsReader<'_>, node: &Node, rule: &AclRule) {
    let without_ports = rule.protocol.filter(|protocol| !WITH_PORTS.contains(protocol));
    let ports = node.get("src-port").or_else(|| node.get("dst-port"));
    if let (Some(protocol), Some(ports)) = (without_ports, ports) {
        let message = format!("the rule is about ports, but protocol {protocol} has none; it would never match");
        options.report(bad(ports.span, message).help("only tcp, udp and sctp have ports: leave them out"));
    }
}

fn check_key(options: &mut OptionsReader<'_>, member: &Member) {
    let key = member.key.value.as_str();
    if !KEYS.contains(&key) {
        let help = match lport_config::nearest(key, KEYS.iter().copied()) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => format!("there are: {}", KEYS.join(", ")),
        };
        options.report(bad(member.key.span, format!("a rule has no key `{key}`")).help(help));
    }
}

fn read_action(options: &mut OptionsReader<'_>, rule: &Node) -> Option<Action> {
    let value = rule.get("action");
    let action = match value.and_then(Node::as_str) {
        Some("permit") => Some(Action::Permit),
        Some("deny") => Some(Action::Deny),
        _ => None,
    };
    if action.is_none() {
        let said = value
            .map_or_else(|| "the rule has no `action`".into(), |value| format!("`action` is {}", value.describe()));
        let span = value.map_or(rule.span, |value| value.span);
        options.report(bad(span, format!("{said}, but must say what to do")).help("write \"permit\" or \"deny\""));
    }
    action
}

fn read_protocol(options: &mut OptionsReader<'_>, value: &Node) -> Option<u8> {
    let named = |name| PROTOCOLS.iter().find(|(known, _)| *known == name).map(|(_, number)| *number);
    let protocol = value.as_str().and_then(named).or_else(|| u8::try_from(value.as_int()?).ok());
    if protocol.is_none() {
        let message =
            format!("`proto` is {}, but takes icmp, tcp, udp, sctp or a number from 0 to 255", value.describe());
        options.report(bad(value.span, message).help("names are in lower case, such as \"udp\""));
    }
    protocol
}

fn read_network(options: &mut OptionsReader<'_>, value: &Node) -> Option<RangeInclusive<u32>> {
    let Some(text) = value.as_str() else {
        let problem = bad(value.span, format!("a prefix is a string, not {}", value.describe()));
        options.report(problem.help("write an address and a length, such as \"192.0.2.0/24\""));
        return None;
    };
    let network = prefix(options, &Spanned::new(text, value.span), rules::BAD_ACL_RULE)?;
    if network.v4().is_none() {
        let problem = bad(value.span, format!("`{text}` is IPv6, but the access list is about IPv4 only"));
        options.report(problem.help("write an IPv4 prefix; packets of IPv6 never match a rule"));
    }
    network.v4()
}

fn read_ports(options: &mut OptionsReader<'_>, value: &Node) -> Option<RangeInclusive<u16>> {
    if let Some(port) = value.as_int().and_then(|port| u16::try_from(port).ok()) {
        return Some(port..=port);
    }
    let ends: Option<Vec<u16>> = value.as_str().map(|text| {
        let numbers = parts(value, text, '-').into_iter().map(|part| parse_port(part.value));
        numbers.collect::<Option<_>>().unwrap_or_default()
    });
    match ends.as_deref() {
        Some([port]) => Some(*port..=*port),
        Some([first, last]) if first <= last => Some(*first..=*last),
        _ => {
            let message = format!("{} is neither a port, 0 to 65535, nor a range of ports", value.describe());
            options.report(bad(value.span, message).help("write 53, or \"1024-65535\" with the smaller end first"));
            None
        }
    }
}

fn parse_port(text: &str) -> Option<u16> {
    text.bytes().all(|c| c.is_ascii_digit()).then(|| text.parse().ok())?
}
