//! Addresses as they are written in rules: prefixes and next hops, each problem at its place.

use std::net::IpAddr;

use lport_config::{Node, OptionsReader, Problem, Rule, Span, Spanned};
use pmd_core::options::parse_mac;

use crate::modes::Prefix;
use crate::rules;

/// The parts of a string between `separator`s, without blanks around them, each with its place.
pub(super) fn parts<'t>(node: &'t Node, text: &'t str, separator: char) -> Vec<Spanned<&'t str>> {
    let mut parts = Vec::new();
    let mut start = 0;
    for part in text.split(separator) {
        let trimmed = part.trim();
        let from = start + (part.len() - part.trim_start().len());
        parts.push(Spanned::new(trimmed, node.span_within(from, from + trimmed.len())));
        start += part.len() + separator.len_utf8();
    }
    parts
}

/// Reads `address/length`, or an address alone, which is a network of one. What is wrong is reported as a breach of
/// `rule`; bits behind the length as a warning.
pub(super) fn prefix(options: &mut OptionsReader<'_>, text: &Spanned<&str>, rule: &'static Rule) -> Option<Prefix> {
    match parse(text.value) {
        Ok((prefix, address)) => {
            if prefix.network() != address {
                let message = format!("`{}` has bits set behind its length; it means {prefix}", text.value);
                options.report(Problem::new(rules::HOST_BITS, text.span, message).help(format!("write \"{prefix}\"")));
            }
            Some(prefix)
        }
        Err(why) => {
            let message = format!("`{}` is no prefix: {why}", text.value);
            let help = "write an address and a length, such as \"192.0.2.0/24\"";
            options.report(Problem::new(rule, text.span, message).help(help));
            None
        }
    }
}

fn parse(text: &str) -> Result<(Prefix, IpAddr), String> {
    let (address, len) = text.split_once('/').map_or((text, None), |(address, len)| (address, Some(len)));
    let address: IpAddr = address.parse().map_err(|_| "there is no IP address in front".to_owned())?;
    let longest = Prefix::max_len(address);
    let digits = |len: &&str| !len.is_empty() && len.bytes().all(|c| c.is_ascii_digit());
    let len = match len {
        None => Some(longest),
        Some(len) => Some(len).filter(digits).and_then(|len| len.parse().ok()),
    };
    let prefix = len.and_then(|len| Prefix::new(address, len));
    Ok((prefix.ok_or_else(|| format!("its length must be a number from 0 to {longest}"))?, address))
}

/// Reads the Ethernet address of one neighbour.
pub(super) fn mac(options: &mut OptionsReader<'_>, text: &Spanned<&str>, rule: &'static Rule) -> Option<[u8; 6]> {
    let mac = parse_mac(text.value).filter(|mac| mac[0] & 1 == 0 && *mac != [0; 6]);
    if mac.is_none() {
        let message = format!("`{}` is no Ethernet address of a neighbour", text.value);
        let help = "write six bytes, such as \"02:00:00:00:00:01\"; broadcast and multicast are none";
        options.report(Problem::new(rule, text.span, message).help(help));
    }
    mac
}

/// The elements of an array of strings, each with its node; what is something else is reported.
pub(super) fn text_nodes<'c>(options: &mut OptionsReader<'c>, key: &str) -> Vec<(&'c Node, &'c str)> {
    options.texts(key);
    let elements = options.node(key).and_then(Node::as_array).unwrap_or_default();
    elements.iter().filter_map(|node| Some((node, node.as_str()?))).collect()
}

/// Warns of a mode whose rules, at `key`, are absent or empty.
pub(super) fn warn_without_rules(options: &mut OptionsReader<'_>, key: &str, consequence: &str) {
    let given = options.node(key);
    if given.is_none_or(|node| node.as_array().is_some_and(<[Node]>::is_empty)) {
        let span = given.or_else(|| options.node("mode")).map_or_else(Span::default, |node| node.span);
        let message = format!("there are no `{key}`: {consequence}");
        options.report(Problem::new(rules::NO_RULES, span, message).help(format!("list them in `options.{key}`")));
    }
}
