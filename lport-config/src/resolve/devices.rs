//! Lports of one netdev as one device, with the options its driver is to see.

use std::collections::{HashMap, HashSet};

use pmd_core::deployment::{DeviceSpec, QueueSpec, WrapSpec};
use pmd_core::options::{OptionError, OptionKind, OptionSpec, RawValue};

use super::lport_id;
use super::pools::Pools;
use crate::codes;
use crate::diagnostic::{Problem, Problems};
use crate::drivers::{CNDP, DriverCheck, Owner};
use crate::nearest::{list, quoted};
use crate::places::DevicePlace;
use crate::sections::lports::Lport;
use crate::sections::pmd::Pmd;
use crate::source::Span;

/// The devices of a deployment.
#[derive(Default)]
pub(super) struct Devices {
    pub(super) specs: Vec<DeviceSpec>,
    pub(super) places: HashMap<String, DevicePlace>,
}

pub(super) fn build(
    lports: &[Lport],
    pools: &mut Pools,
    drivers: Option<&dyn DriverCheck>,
    problems: &mut Problems,
) -> Devices {
    let known = drivers.map(DriverCheck::driver_names);
    let mut check =
        Check { drivers, known, reported: HashSet::new(), seen_wrappers: HashSet::new(), absent: Vec::new() };
    let mut devices = Devices::default();
    let mut position: HashMap<&str, usize> = HashMap::new();
    // The lport whose driver and options the device has, by position of the device.
    let mut leaders: Vec<(&Lport, &Pmd)> = Vec::new();
    // What the program is to check: the options of each device, and those of lports that differ.
    let mut to_check: Vec<(usize, &Pmd)> = Vec::new();

    for (index, lport) in lports.iter().enumerate() {
        let Some(pmd) = &lport.pmd else {
            pools.of(lport, false, problems);
            continue;
        };
        let known = check.driver(lport, pmd, problems);
        check.wrappers(lport, problems);
        let needed = known && drivers.is_some_and(|drivers| drivers.needs_umem(&pmd.driver.value));
        let queue = queue_spec(index, lport, needed, pools, problems);
        match position.get(lport.netdev.value.as_str()) {
            Some(device) => {
                let leader = leaders[*device];
                // That a misspelt driver is another one goes without saying.
                let misspelt = check.is_misspelt(leader.1) || check.is_misspelt(pmd);
                if misspelt || !agree(leader, (lport, pmd), problems) {
                    to_check.push((*device, pmd));
                }
                devices.specs[*device].queues.push(queue);
            }
            None => {
                position.insert(&lport.netdev.value, devices.specs.len());
                to_check.push((devices.specs.len(), pmd));
                leaders.push((lport, pmd));
                devices.add(lport, pmd, queue);
            }
        }
    }
    let mut sound = vec![true; devices.specs.len()];
    for (device, pmd) in to_check {
        sound[device] &= check.options(&devices.specs[device], pmd, problems);
    }
    let sound = devices.specs.iter().zip(&leaders).zip(sound).filter(|(_, sound)| *sound).map(|(device, _)| device);
    check.claims(sound, problems);
    check.report_absent(problems);
    devices
}

impl Devices {
    fn add(&mut self, lport: &Lport, pmd: &Pmd, queue: QueueSpec) {
        let options = pmd.options.iter().map(|given| (given.key.value.clone(), (given.key.span, given.value.span)));
        let place = DevicePlace { driver: pmd.driver.span, options: options.collect() };
        self.places.insert(lport.netdev.value.clone(), place);
        self.specs.push(DeviceSpec {
            name: lport.netdev.value.clone(),
            driver: pmd.driver.value.clone(),
            options: pmd.raw(),
            queues: vec![queue],
        });
    }
}

fn queue_spec(index: usize, lport: &Lport, needed: bool, pools: &mut Pools, problems: &mut Problems) -> QueueSpec {
    let memory = pools.of(lport, needed, problems);
    let mut xdp = lport.xdp.clone();
    xdp.shared_umem = memory.shared;
    QueueSpec {
        lport: lport_id(index),
        name: lport.name.value.clone(),
        qid: lport.qid.as_ref().map_or(0, |qid| qid.value),
        pool: memory.pool,
        rx_desc: memory.rx_desc,
        tx_desc: memory.tx_desc,
        xdp,
        wrap: lport.wrap.iter().map(wrap_spec).collect(),
    }
}

fn wrap_spec(wrapper: &Pmd) -> WrapSpec {
    WrapSpec { wrapper: wrapper.driver.value.clone(), options: wrapper.raw() }
}

/// The program's word on drivers.
struct Check<'f> {
    drivers: Option<&'f dyn DriverCheck>,
    known: Option<Vec<String>>,
    /// Unknown drivers that are reported already: a group's lports all have theirs from one place.
    reported: HashSet<Span>,
    /// Wrappers that have been checked already.
    seen_wrappers: HashSet<Span>,
    /// CNDP's drivers that the program lacks: the first lport of each, and how many there are.
    absent: Vec<(&'f Pmd, &'f Lport, usize)>,
}

impl<'f> Check<'f> {
    /// Whether the program has the driver; otherwise it is reported, now or by [`Self::report_absent`].
    fn driver(&mut self, lport: &'f Lport, pmd: &'f Pmd, problems: &mut Problems) -> bool {
        let Some(known) = &self.known else { return true };
        match Owner::of(&pmd.driver.value, known) {
            Owner::Program => return true,
            Owner::Cndp => self.add_absent(lport, pmd),
            Owner::Nobody if self.reported.insert(pmd.driver.span) => {
                problems.push(unknown_driver(lport, pmd, known, problems));
            }
            Owner::Nobody => {}
        }
        false
    }

    /// Reports wrappers that do not exist, and has the program check the options of those that do.
    fn wrappers(&mut self, lport: &Lport, problems: &mut Problems) {
        let Some(drivers) = self.drivers else { return };
        let known = drivers.wrapper_names();
        // A group's lports all have theirs from one place.
        for wrapper in lport.wrap.iter().filter(|wrapper| self.seen_wrappers.insert(wrapper.driver.span)) {
            if !known.contains(&wrapper.driver.value) {
                problems.push(unknown_wrapper(wrapper, &known, problems));
                continue;
            }
            let table = drivers.wrapper_options(&wrapper.driver.value);
            for error in drivers.check_wrapper(&wrap_spec(wrapper)) {
                problems.push(bad_option(&error, wrapper, &table, problems));
            }
        }
    }

    fn is_misspelt(&self, pmd: &Pmd) -> bool {
        self.known.as_ref().is_some_and(|known| Owner::of(&pmd.driver.value, known) == Owner::Nobody)
    }

    fn add_absent(&mut self, lport: &'f Lport, pmd: &'f Pmd) {
        match self.absent.iter_mut().find(|(first, ..)| first.driver.value == pmd.driver.value) {
            Some((.., lports)) => *lports += 1,
            None => self.absent.push((pmd, lport, 1)),
        }
    }

    /// Warns once of each of CNDP's drivers that the program lacks, however many lports name it.
    fn report_absent(&self, problems: &mut Problems) {
        for (pmd, first, lports) in &self.absent {
            problems.push(absent_driver(pmd, first, *lports, self.known.as_deref().unwrap_or_default()));
        }
    }

    /// Has the program check options of a device; whether they are right, and it has their driver.
    fn options(&self, device: &DeviceSpec, pmd: &Pmd, problems: &mut Problems) -> bool {
        let has = |known: &[String]| known.contains(&pmd.driver.value);
        let Some(drivers) = self.drivers.filter(|_| self.known.as_deref().is_some_and(has)) else { return false };
        let (driver, options) = (pmd.driver.value.clone(), pmd.raw());
        let errors = drivers.check(&DeviceSpec { driver, options, ..device.clone() });
        if errors.is_empty() {
            return true;
        }
        let table = drivers.options(&pmd.driver.value);
        for error in errors {
            problems.push(bad_option(&error, pmd, &table, problems));
        }
        false
    }

    /// Reports devices that want what an earlier one has for itself alone.
    fn claims<'d>(
        &self,
        devices: impl Iterator<Item = (&'d DeviceSpec, &'d (&'d Lport, &'d Pmd))>,
        problems: &mut Problems,
    ) {
        let mut owners: HashMap<String, (&str, Span)> = HashMap::new();
        for (device, (_, pmd)) in devices {
            let Some(claim) = self.drivers.and_then(|drivers| drivers.claim(device)) else { continue };
            match owners.get(&claim) {
                Some(owner) => problems.push(same_claim(&claim, device, pmd, *owner)),
                None => drop(owners.insert(claim, (&device.name, pmd.driver.span))),
            }
        }
    }
}

fn same_claim(claim: &str, device: &DeviceSpec, pmd: &Pmd, (owner, first): (&str, Span)) -> Problem {
    let message = format!("devices {} and {} are both {claim}", quoted(owner), quoted(&device.name));
    Problem::new(codes::SAME_CLAIM, pmd.driver.span, message)
        .label("the same again")
        .also(first, format!("{} first here", quoted(owner)))
        .help("give one of them other options; queues of one device are lports with one netdev")
}

fn absent_driver(pmd: &Pmd, first: &Lport, lports: usize, known: &[String]) -> Problem {
    let driver = quoted(&pmd.driver.value);
    let users = match lports {
        1 => format!("lport {}", quoted(&first.name.value)),
        _ => format!("lport {} and {} more", quoted(&first.name.value), lports - 1),
    };
    let means = if pmd.implied { " (an lport-group without `pmd` means that one)" } else { "" };
    let message = format!("this program has no driver {driver}, so it cannot run {users}{means}");
    Problem::new(codes::ABSENT_DRIVER, pmd.driver.span, message)
        .label("not in this program")
        .help(format!("it has {}", list(known.iter().map(String::as_str))))
}

fn unknown_driver(lport: &Lport, pmd: &Pmd, known: &[String], problems: &Problems) -> Problem {
    let driver = quoted(&pmd.driver.value);
    let message = if lport.of_group {
        format!("the lport-group names the driver {driver}, which this program does not have")
    } else {
        format!("lport {} names the driver {driver}, which this program does not have", quoted(&lport.name.value))
    };
    let meant = known.iter().map(String::as_str).chain(CNDP.iter().copied());
    let help = match problems.nearest(&pmd.driver.value, meant) {
        Some(near) => format!("did you mean {}?", quoted(near)),
        None => format!("it has {}", list(known.iter().map(String::as_str))),
    };
    Problem::new(codes::UNKNOWN_DRIVER, pmd.driver.span, message).label("unknown driver").help(help)
}

fn unknown_wrapper(wrapper: &Pmd, known: &[String], problems: &Problems) -> Problem {
    let name = &wrapper.driver.value;
    let message = format!("{} is no wrapper that this program has", quoted(name));
    let help = match problems.nearest(name, known.iter().map(String::as_str)) {
        Some(near) => format!("did you mean {}?", quoted(near)),
        None if known.is_empty() => "it has none".to_owned(),
        None => format!("it has {}", list(known.iter().map(String::as_str))),
    };
    Problem::new(codes::UNKNOWN_WRAPPER, wrapper.driver.span, message).label("unknown wrapper").help(help)
}

/// What a driver says about an option, at the option's key or value, or at the driver if the option is not given.
fn bad_option(error: &OptionError, pmd: &Pmd, table: &[OptionSpec], problems: &Problems) -> Problem {
    let near = |help: &str| format!("did you mean {}?", quoted(help));
    match pmd.option(&error.key) {
        None => Problem::new(codes::OPTION_MISSING, pmd.driver.span, &error.message)
            .label(format!("{} is not given", quoted(&error.key)))
            .help(format!("add it: {}", described(&error.key, table))),
        Some(given) if error.key_at_fault => {
            let names = table.iter().map(|spec| spec.name);
            let unknown = names.clone().all(|name| name != error.key);
            let help = problems.nearest(&error.key, names).filter(|_| unknown).map(near);
            let help = help.unwrap_or_else(|| "remove it".to_owned());
            Problem::new(codes::BAD_OPTION_KEY, given.key.span, &error.message)
                .label(if unknown { "unknown option" } else { "this option" })
                .help(help)
        }
        Some(given) => {
            let words = table.iter().find(|spec| spec.name == error.key).map(|spec| spec.kind);
            let help = match (words, &given.value.value) {
                (Some(OptionKind::Choice(words)), RawValue::Text(word)) => {
                    problems.nearest(word, words.iter().copied()).filter(|near| near != word).map(near)
                }
                _ => None,
            };
            let help = help.unwrap_or_else(|| described(&error.key, table));
            Problem::new(codes::BAD_OPTION_VALUE, given.value.span, &error.message).label("this value").help(help)
        }
    }
}

/// An option in the words of its driver.
fn described(key: &str, table: &[OptionSpec]) -> String {
    match table.iter().find(|spec| spec.name == key) {
        Some(OptionSpec { help, default: "", .. }) => format!("{} is: {help}", quoted(key)),
        Some(OptionSpec { help, default, .. }) => format!("{} is: {help}; by default {default}", quoted(key)),
        None => quoted(key),
    }
}

/// Whether a further lport of a device says the same as the first; reports in what it differs.
fn agree((first, first_pmd): (&Lport, &Pmd), (other, pmd): (&Lport, &Pmd), problems: &mut Problems) -> bool {
    let device = quoted(&other.netdev.value);
    if pmd.driver.value != first_pmd.driver.value {
        let message = format!(
            "lport {} opens {device} with {}, but lport {} with {}",
            quoted(&other.name.value),
            quoted(&pmd.driver.value),
            quoted(&first.name.value),
            quoted(&first_pmd.driver.value)
        );
        let problem = Problem::new(codes::DIFFERENT_DRIVERS, pmd.driver.span, message).label("another driver");
        let problem = problem.also(first_pmd.driver.span, format!("the driver of {device}"));
        problems.push(problem.help("lports of one netdev are queues of one device: use one driver, or another netdev"));
        return false;
    }
    let differences = differences(first_pmd, pmd);
    for difference in &differences {
        let names = (quoted(&other.name.value), quoted(&first.name.value));
        problems.push(difference.problem(&device, &names));
    }
    differences.is_empty()
}

/// An option in which two lports of one device differ.
struct Difference<'o> {
    key: &'o str,
    /// In the later lport: the value and its place, or the place of the driver if the option is missing.
    later: (Option<&'o RawValue>, Span),
    /// Likewise in the first.
    first: (Option<&'o RawValue>, Span),
}

fn differences<'o>(first: &'o Pmd, later: &'o Pmd) -> Vec<Difference<'o>> {
    let changed = later.options.iter().filter_map(|option| {
        let key = option.key.value.as_str();
        let there = (Some(&option.value.value), option.value.span);
        match first.option(key) {
            Some(known) if same(&known.value.value, &option.value.value) => None,
            Some(known) => Some(Difference { key, later: there, first: (Some(&known.value.value), known.value.span) }),
            None => Some(Difference { key, later: there, first: (None, first.driver.span) }),
        }
    });
    let left_out = first.options.iter().filter(|option| later.option(&option.key.value).is_none());
    let left_out = left_out.map(|option| Difference {
        key: &option.key.value,
        later: (None, later.driver.span),
        first: (Some(&option.value.value), option.value.span),
    });
    changed.chain(left_out).collect()
}

/// Whether two values say the same, one perhaps as a word and the other as JSON.
fn same(one: &RawValue, other: &RawValue) -> bool {
    let word = |value: &RawValue| value.to_string().trim_matches('"').to_owned();
    word(one) == word(other)
}

impl Difference<'_> {
    fn problem(&self, device: &str, (later, first): &(String, String)) -> Problem {
        let key = quoted(self.key);
        let said = |value: Option<&RawValue>| value.map_or("not given".to_owned(), ToString::to_string);
        let message = format!(
            "option {key} of {device} is {} in lport {later}, but {} in lport {first}",
            said(self.later.0),
            said(self.first.0)
        );
        Problem::new(codes::DIFFERENT_OPTIONS, self.later.1, message)
            .label(if self.later.0.is_some() { "differs".to_owned() } else { format!("{key} is missing") })
            .also(
                self.first.1,
                if self.first.0.is_some() { "first given here".to_owned() } else { format!("no {key} here") },
            )
            .help("give all lports of one netdev the same options, or give them different netdevs")
    }
}
