//! Opening: options and their extremes, devices that cannot be had, a device opened twice, what a driver says of itself.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::not_applicable;
use crate::conformance::checked::require_whole;
use crate::conformance::fixture::{Device, Fixture, Refusal};
use crate::conformance::promise;
use crate::conformance::testbed::{Testbed, open, pool_of};
use crate::driver::OpenError;
use crate::options::{OptionKind, OptionSpec, Options, RawOption, RawValue};

/// The driver's name, summary and options are fit to be shown, and its lports say whose they are.
pub(in crate::conformance) fn the_driver_says_what_it_is(fixture: &dyn Fixture) {
    let bed = Testbed::open(fixture, 1);
    let driver = &bed.device.driver;
    let (name, summary) = (driver.name(), driver.summary());
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    promise::NAME.require(!name.is_empty() && name.chars().all(plain), || format!("the name is {name:?}"));
    promise::SUMMARY.require(is_one_line(summary), || format!("the summary is {summary:?}"));
    for lport in &bed.near.lports {
        let info = lport.control.info();
        promise::INFO.require(info.driver == name, || format!("an lport of {name} says it is of {:?}", info.driver));
    }
    let mut names = HashSet::new();
    for (name, _) in bed.near.lports[0].control.stats().xstats {
        promise::STATS_NAMES
            .require(!name.is_empty() && !name.contains(char::is_whitespace) && names.insert(name), || {
                format!("a counter is called {name:?}, or two are")
            });
    }
    names.clear();
    for OptionSpec { name, help, .. } in driver.options() {
        promise::OPTIONS.require(is_one_line(help), || format!("option `{name}` has the help {help:?}"));
        promise::OPTIONS
            .require(!name.is_empty() && names.insert(*name), || format!("option `{name}` twice, or unnamed"));
    }
    bed.close();
}

fn is_one_line(text: &str) -> bool {
    !text.trim().is_empty() && !text.contains('\n')
}

/// Unknown options, values of the wrong kind and values out of range are refused; the message names option, value and limit.
pub(in crate::conformance) fn wrong_options_are_named_with_their_limits(fixture: &dyn Fixture) {
    let bed = Testbed::open(fixture, 1);
    let table = bed.device.driver.options();
    let unknown = RawOption::text("no-such-option", "1");
    require_named(table, &unknown, "no-such-option");
    for spec in table {
        for (value, limit) in wrong_values(&spec.kind) {
            require_named(table, &RawOption { key: spec.name.to_owned(), value }, &limit);
        }
        let value = RawValue::Text(spec.default.to_owned());
        if !spec.default.is_empty() {
            let given = [RawOption { key: spec.name.to_owned(), value }];
            let errors = Options::check(table, &given).err();
            promise::OPTIONS.require(errors.is_none(), || format!("the default of `{}`: {errors:?}", spec.name));
        }
    }
    bed.close();
}

fn require_named(table: &[OptionSpec], given: &RawOption, limit: &str) {
    let RawOption { key, value } = given;
    let message = match Options::check(table, std::slice::from_ref(given)) {
        Ok(_) => promise::OPTION_ERRORS.broken(&format!("`{key}` was taken with the value {value}")),
        Err(errors) => errors[0].to_string(),
    };
    promise::OPTION_ERRORS
        .require(message.contains(key) && message.contains(limit), || format!("`{key}` = {value}: {message}"));
}

/// Values that an option of this kind cannot have, with what the message must name.
fn wrong_values(kind: &OptionKind) -> Vec<(RawValue, String)> {
    let text = |word: &str| RawValue::Text(word.to_owned());
    match kind {
        OptionKind::Bool => vec![(text("perhaps"), "perhaps".into()), (RawValue::Int(2), "yes or no".into())],
        OptionKind::Int { min, max } => {
            let mut wrong = vec![(text("many"), max.to_string()), (RawValue::Bool(true), min.to_string())];
            wrong.extend(min.checked_sub(1).map(|value| (RawValue::Int(value), min.to_string())));
            wrong.extend(max.checked_add(1).map(|value| (RawValue::Int(value), max.to_string())));
            wrong
        }
        OptionKind::Text { max_len } => {
            vec![(text(&"x".repeat(max_len + 1)), max_len.to_string()), (RawValue::Bool(true), max_len.to_string())]
        }
        OptionKind::Choice(words) => vec![(text("no such word"), words[0].to_owned())],
        OptionKind::Mac => vec![(text("01:00:00:00:00:00"), "unicast".into()), (text("mac"), "unicast".into())],
    }
}

/// Every option at its least and its largest value, and every word of a choice, opens a device or is refused with a
/// message; nothing panics, nothing stays behind.
pub(in crate::conformance) fn options_at_their_extremes_open_or_are_refused(fixture: &dyn Fixture) {
    let mut bed = Testbed::open(fixture, 1);
    bed.close_lports();
    let untried = bed.caps.untried.clone();
    let table: Vec<_> = bed.device.driver.options().to_vec();
    for spec in table.iter().filter(|spec| !untried.contains(&spec.name)) {
        for value in extremes(&spec.kind) {
            let mut device = bed.device.clone();
            device.options.retain(|option| option.key != spec.name);
            device.options.push(RawOption { key: spec.name.to_owned(), value: value.clone() });
            // A panic of the driver is told with the option that it comes from.
            let outcome = catch_unwind(AssertUnwindSafe(|| open_and_close(&device, 1)));
            let found = match outcome {
                Ok(Err(OpenError(message))) if message.trim().is_empty() => "refused without a word",
                Err(_) => "it panics, as printed above",
                Ok(_) => continue,
            };
            promise::OPEN.broken(&format!("`{}` = {value}: {found}", spec.name));
        }
    }
    if let Err(error) = open_and_close(&bed.device, 1) {
        promise::OPEN.broken(&format!("after all that the fixture's device cannot be opened any more: {error}"));
    }
    bed.close();
}

fn extremes(kind: &OptionKind) -> Vec<RawValue> {
    match kind {
        OptionKind::Bool => vec![RawValue::Bool(false), RawValue::Bool(true)],
        OptionKind::Int { min, max } => vec![RawValue::Int(*min), RawValue::Int(*max)],
        OptionKind::Text { max_len } => {
            let odd = ["", " ", "/", "no such thing", "ä", "-1", "%n"].map(str::to_owned);
            let longest = "x".repeat(*max_len);
            let fitting = odd.into_iter().chain([longest]).filter(|word| word.len() <= *max_len);
            fitting.map(RawValue::Text).collect()
        }
        OptionKind::Choice(words) => words.iter().map(|word| RawValue::Text((*word).to_owned())).collect(),
        OptionKind::Mac => vec![RawValue::Text("02:00:00:00:00:01".into())],
    }
}

/// Opens a device with a pool of its own and closes it again; every mbuf is back.
fn open_and_close(device: &Device, queues: u16) -> Result<(), OpenError> {
    let pool = pool_of(device);
    let outcome = open(device, queues, Some(&pool)).map(drop);
    require_whole(&[pool]);
    outcome
}

/// A device without a pool opens when the driver needs none, and is otherwise refused with the lport's name.
pub(in crate::conformance) fn a_missing_pool_is_refused_by_name(fixture: &dyn Fixture) {
    let mut bed = Testbed::open(fixture, 1);
    bed.close_lports();
    let (needs_pool, name) = (bed.device.driver.needs_pool(), bed.device.name.clone());
    match open(&bed.device, 1, None) {
        Ok(_) => promise::OPEN_POOL.require(!needs_pool, || "a pool is needed, but it opens without".into()),
        Err(error) => promise::OPEN_POOL.require(needs_pool && error.0.contains(&name), || {
            format!("a pool is needed: {needs_pool}; without one: {error}")
        }),
    }
    bed.close();
}

/// Devices that cannot be had are refused in words that help; a device that can be had then opens.
pub(in crate::conformance) fn bad_devices_are_refused_in_words_that_help(fixture: &dyn Fixture) {
    let refusals = fixture.refusals();
    if refusals.is_empty() {
        not_applicable("the fixture names no device that cannot be had");
    }
    for Refusal { device, queues, words } in refusals {
        let given: Vec<_> = device.options.iter().map(|option| format!("{}={}", option.key, option.value)).collect();
        match open_and_close(&device, queues) {
            Ok(()) => promise::OPEN.broken(&format!("`{}` with {given:?} was opened", device.name)),
            Err(OpenError(message)) => {
                let lower = message.to_lowercase();
                let missing = words.iter().find(|word| !lower.contains(&word.to_lowercase()));
                promise::OPEN.require(missing.is_none(), || format!("{given:?}: no {missing:?} in: {message}"));
            }
        }
    }
    Testbed::open(fixture, 1).close();
}

/// A device that is open can be opened once more, or is refused with a message; the first one works on.
pub(in crate::conformance) fn opening_twice_does_what_the_device_allows(fixture: &dyn Fixture) {
    let mut bed = Testbed::open(fixture, 1);
    let pool = pool_of(&bed.device);
    let second = open(&bed.device, 1, Some(&pool));
    match (&second, bed.caps.opens_twice) {
        (Ok(_), Some(false)) => promise::OPEN.broken("a device that only one can have was opened twice"),
        (Err(error), Some(true)) => promise::OPEN.broken(&format!("a device that many can have was refused: {error}")),
        (Err(OpenError(message)), _) => promise::OPEN.require(!message.trim().is_empty(), || "no message".into()),
        _ => {}
    }
    let alone = second.is_err() || bed.caps.opens_twice.is_some();
    drop(second);
    for way in bed.ways() {
        if alone {
            let packets = bed.packets(&[bed.caps.min_packet.max(64); 8]);
            bed.carry(way, 0, 8, &packets);
        }
    }
    require_whole(&[pool]);
    bed.close();
}
