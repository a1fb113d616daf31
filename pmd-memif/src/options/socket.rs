//! The options about the socket that a table of types cannot check: where it is, and who may use it.

use std::os::fd::RawFd;

use pmd_core::netns::Netns;
use pmd_core::{OptionError, Options};

use crate::address::Address;
use crate::inherited;

/// Options of servers only, and those of servers' socket files only.
const OF_SERVERS: [&str; 4] = ["socket-mode", "mkdir", "allowed-uids", "listener-fd"];
const OF_FILES: [&str; 2] = ["socket-mode", "mkdir"];
/// Options that say how a socket is made, which is too late for one that is inherited.
const OF_MAKING: [&str; 5] = ["owner-uid", "owner-gid", "socket-mode", "mkdir", "netns"];

/// What is wrong with these options, apart from the address.
pub(super) fn check(options: &Options, is_client: bool) -> Vec<OptionError> {
    let mut errors = Vec::new();
    let mut refuse = |keys: &[&str], why: &str| {
        let given = keys.iter().filter(|key| options.is_given(key));
        errors.extend(given.map(|key| OptionError::value(*key, format!("option `{key}` {why}"))));
    };
    if is_client {
        refuse(&OF_SERVERS, "is for servers only: leave it out, or use role=server");
    } else if options.bool("socket-abstract") {
        refuse(&OF_FILES, "is for socket files only: leave it out, or use socket-abstract=no");
    }
    if options.is_given("listener-fd") {
        refuse(
            &OF_MAKING,
            "says how a socket is made, but `listener-fd` names one that is there: leave one of them out",
        );
    }
    errors.extend(mode(options).err());
    errors.extend(allowed_uids(options).err());
    errors
}

/// Where the socket is.
pub(super) fn address(options: &Options) -> Result<Address, OptionError> {
    let socket = options.text("socket");
    let address = match (options.bool("socket-abstract"), options.bool("socket-padded")) {
        (false, _) => Address::path(socket),
        (true, false) => Address::abstract_name(socket),
        (true, true) => Address::abstract_padded(socket),
    };
    let address = address.map_err(|error| OptionError::value("socket", error.to_string()))?;
    if !options.is_given("netns") {
        return Ok(address);
    }
    let wrong = |error: &dyn std::fmt::Display| OptionError::value("netns", format!("option `netns`: {error}"));
    let netns: Netns = options.text("netns").parse().map_err(|error| wrong(&error))?;
    address.in_netns(netns).map_err(|error| wrong(&error))
}

/// The permissions of the socket file.
pub(super) fn mode(options: &Options) -> Result<Option<u32>, OptionError> {
    if !options.is_given("socket-mode") {
        return Ok(None);
    }
    let text = options.text("socket-mode");
    let is_octal = text.bytes().all(|byte| byte.is_ascii_digit());
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| is_octal && *mode <= 0o777);
    let wrong = || format!("option `socket-mode` is \"{text}\", but takes permissions in octal, 0 to 777, such as 660");
    mode.map(Some).ok_or_else(|| OptionError::value("socket-mode", wrong()))
}

/// The users that may connect.
pub(super) fn allowed_uids(options: &Options) -> Result<Option<Vec<u32>>, OptionError> {
    if !options.is_given("allowed-uids") {
        return Ok(None);
    }
    let uid = |text: &str| {
        let wrong = || format!("option `allowed-uids`: \"{text}\" is no user's number: write such as 0:1000");
        text.trim().parse().map_err(|_| OptionError::value("allowed-uids", wrong()))
    };
    options.text("allowed-uids").split([':', ',']).map(uid).collect::<Result<_, _>>().map(Some)
}

/// The listening socket to take over.
pub(super) fn inherited(options: &Options) -> Result<Option<RawFd>, String> {
    if !options.is_given("listener-fd") {
        return Ok(None);
    }
    let environment = |name: &str| std::env::var(name).ok();
    let found = inherited::find(options.text("listener-fd"), environment, std::process::id());
    found.map(Some).map_err(|error| format!("option `listener-fd`: {error}"))
}

#[cfg(test)]
mod tests {
    use pmd_core::RawOption;

    use super::*;
    use crate::options;

    fn refused(given: &[(&str, &str)]) -> Vec<(String, String)> {
        let given: Vec<_> = given.iter().map(|(key, value)| RawOption::text(*key, *value)).collect();
        let checked = Options::check(options::OPTIONS, &given).expect("the table allows them");
        let errors = options::check(&checked, 1).err().unwrap_or_default();
        errors.into_iter().map(|error| (error.key, error.message)).collect()
    }

    #[test]
    fn what_does_not_go_together_is_refused_with_a_way_out() {
        let file = [("role", "server"), ("socket-abstract", "no")];
        let with = |more: &[(&str, &str)]| refused(&[&file[..], more].concat());
        assert_eq!(with(&[("socket-mode", "660"), ("mkdir", "yes"), ("allowed-uids", "0:1000")]), []);
        assert_eq!(with(&[("listener-fd", "3"), ("allowed-uids", "0,1000")]), []);
        assert_eq!(refused(&[("role", "server"), ("netns", "blue"), ("allowed-uids", "7")]), []);
        let cases: [(&[(&str, &str)], &str, &str); 9] = [
            (&[("mkdir", "yes")], "mkdir", "for servers only"),
            (&[("listener-fd", "3")], "listener-fd", "for servers only"),
            (&[("role", "server"), ("socket-mode", "660")], "socket-mode", "use socket-abstract=no"),
            (&[file[0], file[1], ("socket-mode", "rw")], "socket-mode", "\"rw\", but takes permissions in octal"),
            (&[file[0], file[1], ("socket-mode", "1000")], "socket-mode", "0 to 777"),
            (&[file[0], file[1], ("netns", "blue")], "netns", "network namespace blue is given with a socket file"),
            (&[("netns", "a/b")], "netns", "`a/b` is no network namespace"),
            (&[("role", "server"), ("allowed-uids", "0:root")], "allowed-uids", "\"root\" is no user's number"),
            (&[file[0], file[1], ("listener-fd", "3"), ("mkdir", "yes")], "mkdir", "leave one of them out"),
        ];
        for (given, key, words) in cases {
            let errors = refused(given);
            assert!(errors.iter().any(|(at, text)| at == key && text.contains(words)), "{given:?}: {errors:?}");
        }
    }
}
