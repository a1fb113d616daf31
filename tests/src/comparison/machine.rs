//! The machine a comparison belongs to: what tells it from others, and what spoils numbers on it.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Result, ensure};
use serde::Serialize;

use super::disturbance::{Disturbance, Reading, ran};
use super::probe::Probe;
use crate::testbed;

/// How long the machine is watched before anything runs on it.
const WATCHED: Duration = Duration::from_secs(1);

/// Then, how often its CPUs are probed, and how long between.
const PROBES: u32 = 20;
const BETWEEN: Duration = Duration::from_millis(50);

/// Share of the CPUs' time beyond which probes wait for others.
const BUSY: f64 = 0.4;

/// How many times farther from each other than before two CPUs are that were moved.
const MOVED: f64 = 2.0;

/// Shares of a CPU's time, and processes ready to run, that a quiet machine may have.
const QUIET: (f64, f64) = (0.02, 0.5);

/// What was found.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Machine {
    /// Seconds since 1970 when it was looked at.
    pub unix_time: u64,
    /// The day, in UTC.
    pub date: String,
    /// Name of the processor.
    pub model: String,
    /// Its frequency as the kernel gave it at that moment, in MHz.
    pub mhz: String,
    /// The kernel's release.
    pub kernel: String,
    /// Whether it is a guest of a hypervisor.
    pub virtual_machine: bool,
    /// CPUs that may be used.
    pub allowed_cpus: Vec<usize>,
    /// The CPUs that are taken: of the server and single processes, of the client and of forwarders.
    pub cpus: [usize; 2],
    /// For each of them, the other hyperthreads of its core.
    pub siblings: [Vec<usize>; 2],
    /// What decides their frequency, where the kernel may.
    pub governors: Vec<String>,
    /// Processes ready to run, averaged over a minute.
    pub load: f64,
    /// What others did with the CPUs that are taken, before anything ran.
    pub disturbance: Option<Disturbance>,
    /// What the CPUs were like at best, and at worst, while nothing ran.
    pub best: Option<Probe>,
    /// See there.
    pub worst: Option<Probe>,
    /// Why probes failed meanwhile.
    pub probe_failures: Vec<String>,
    /// Free huge pages of 2 MiB, or whatever the usual size is.
    pub huge_pages: u64,
    /// When the kernel uses huge pages of its own accord.
    pub transparent_huge_pages: String,
    /// Version of DPDK.
    pub dpdk: String,
    /// Version of our program.
    pub lport: String,
    /// Whether our program is optimised.
    pub optimised: bool,
}

impl Machine {
    /// Looks at this one, for two seconds.
    ///
    /// # Errors
    /// When it has fewer than two CPUs.
    pub fn look() -> Result<Self> {
        let allowed = testbed::allowed_cpus()?;
        let siblings = |cpu: usize| {
            let list = read(&format!("/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list"));
            cpu_list(&list).into_iter().filter(|other| *other != cpu).collect::<Vec<_>>()
        };
        let cpus = choose(&allowed, siblings)?;
        let cpuinfo = read("/proc/cpuinfo");
        let before = Reading::take(&cpus, ran(&[]))?;
        thread::sleep(WATCHED);
        let disturbance = before.until(&Reading::take(&cpus, ran(&[]))?, cpus.len());
        let (probes, probe_failures) = probe(|| Probe::take(cpus));
        let over_all = |of: fn(Probe, Probe) -> Probe| probes.iter().copied().reduce(of);
        Ok(Self {
            unix_time: SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs(),
            date: said_by("date", &["--utc", "+%Y-%m-%d"]),
            model: field(&cpuinfo, "model name").to_owned(),
            mhz: field(&cpuinfo, "cpu MHz").to_owned(),
            kernel: read("/proc/sys/kernel/osrelease"),
            virtual_machine: field(&cpuinfo, "flags").split(' ').any(|flag| flag == "hypervisor"),
            allowed_cpus: allowed,
            cpus,
            siblings: cpus.map(siblings),
            governors: cpus.iter().filter_map(|cpu| governor(*cpu)).collect(),
            load: read("/proc/loadavg").split(' ').next().and_then(|word| word.parse().ok()).unwrap_or_default(),
            disturbance: Some(disturbance),
            best: over_all(Probe::best),
            worst: over_all(Probe::worst),
            probe_failures,
            huge_pages: field(&read("/proc/meminfo"), "HugePages_Free").parse().unwrap_or_default(),
            transparent_huge_pages: chosen(&read("/sys/kernel/mm/transparent_hugepage/enabled")).to_owned(),
            dpdk: said_by("pkg-config", &["--modversion", "libdpdk"]),
            lport: env!("CARGO_PKG_VERSION").to_owned(),
            optimised: !cfg!(debug_assertions),
        })
    }

    /// What spoils numbers, each with the way out.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        warnings.extend(self.of_program());
        warnings.extend(self.of_cores());
        warnings.extend(self.of_frequency());
        warnings.extend(self.of_others());
        warnings.extend(self.of_probes());
        warnings.extend(self.of_kind());
        warnings.extend(self.of_memory());
        warnings
    }

    fn of_program(&self) -> Option<String> {
        (!self.optimised).then(|| "the program is not optimised; `make bench` builds one that is".into())
    }

    fn of_cores(&self) -> Vec<String> {
        let [a, b] = self.cpus;
        if self.siblings[0].contains(&b) {
            return vec![format!(
                "CPUs {a} and {b} are hyperthreads of one core and share its speed; allow CPUs of two cores"
            )];
        }
        let shared = self.siblings.iter().zip(self.cpus).filter(|(others, _)| !others.is_empty());
        let warning = |(others, cpu): (&Vec<usize>, usize)| {
            format!("CPU {cpu} shares its core with CPU {}; keep that one idle", numbers(others))
        };
        shared.map(warning).collect()
    }

    fn of_frequency(&self) -> Option<String> {
        let governor = self.governors.iter().find(|governor| *governor != "performance")?;
        Some(format!("the frequency governor is `{governor}`; `cpupower frequency-set -g performance` steadies it"))
    }

    /// Who else wants the CPUs.
    fn of_others(&self) -> Vec<String> {
        let [a, b] = self.cpus;
        let load = (self.load > QUIET.1).then(|| {
            format!("{:.1} processes were ready to run in the last minute; stop what can be stopped", self.load)
        });
        let took = |share: f64, who: &str| {
            let share = (share > QUIET.0).then_some(share * 100.0)?;
            Some(format!("{who} {share:.0} % of CPUs {a} and {b} before anything ran"))
        };
        let stolen = self.disturbance.and_then(|disturbance| took(disturbance.stolen, "the hypervisor took"));
        let others = self.disturbance.and_then(|disturbance| took(disturbance.others, "others used"));
        [load, stolen, others].into_iter().flatten().collect()
    }

    /// How far apart the CPUs were, if that could be told.
    fn of_probes(&self) -> Vec<String> {
        let failed = self.probe_failures.last().map(|reason| {
            format!("{} of {PROBES} probes of the CPUs failed, at last: {reason}", self.probe_failures.len())
        });
        failed.into_iter().chain(self.of_distance()).collect()
    }

    fn of_distance(&self) -> Option<String> {
        // Where others run, the probing threads wait for them, which says nothing about distances.
        let is_busy = self.disturbance.is_some_and(|disturbance| disturbance.others > BUSY);
        let farther = self.worst?.round_trip / self.best?.round_trip;
        let [a, b] = self.cpus;
        (farther > MOVED && !is_busy)
            .then(|| format!("CPUs {a} and {b} were {farther:.0} times as far from each other at worst as at best"))
    }

    fn of_kind(&self) -> Option<String> {
        self.virtual_machine.then(|| {
            "this is a virtual machine: its CPUs may be moved, slowed or shared unseen; trust ratios only".into()
        })
    }

    fn of_memory(&self) -> Option<String> {
        (self.huge_pages == 0)
            .then(|| "no huge page is free; neither program is given any, so both pay for small pages".into())
    }

    /// One line that tells it from others.
    pub fn title(&self) -> String {
        let Self { model, mhz, kernel, cpus, lport, dpdk, .. } = self;
        let kind = if self.virtual_machine { ", virtual" } else { "" };
        let dpdk = if dpdk.is_empty() { "of unknown version" } else { dpdk };
        let [a, b] = cpus;
        format!("{model} ({mhz} MHz{kind}), CPUs {a} and {b}, Linux {kernel}; lport {lport}, dpdk-testpmd {dpdk}")
    }
}

/// Two CPUs of different cores if there are such.
fn choose(allowed: &[usize], siblings: impl Fn(usize) -> Vec<usize>) -> Result<[usize; 2]> {
    ensure!(allowed.len() >= 2, "two processes need a CPU each, but only CPU {} is allowed", allowed[0]);
    let first = allowed[0];
    let shared = siblings(first);
    let second = allowed[1..].iter().find(|cpu| !shared.contains(cpu)).unwrap_or(&allowed[1]);
    Ok([first, *second])
}

/// What repeated probes found, and why others failed.
fn probe(take: impl Fn() -> Result<Probe>) -> (Vec<Probe>, Vec<String>) {
    let (mut found, mut failures) = (Vec::new(), Vec::new());
    for _ in 0..PROBES {
        thread::sleep(BETWEEN);
        match take() {
            Ok(probe) => found.push(probe),
            Err(error) => failures.push(format!("{error:#}")),
        }
    }
    (found, failures)
}

fn governor(cpu: usize) -> Option<String> {
    let path = format!("/sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_governor");
    Path::new(&path).exists().then(|| read(&path))
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

/// What a program prints, or nothing when it cannot.
fn said_by(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let said = output.ok().filter(|output| output.status.success()).map(|output| output.stdout);
    String::from_utf8_lossy(&said.unwrap_or_default()).trim().to_owned()
}

/// The first value of a key in lines of `key : value`.
fn field<'a>(text: &'a str, name: &str) -> &'a str {
    let mut fields = text.lines().filter_map(|line| line.split_once(':'));
    fields.find(|(key, _)| key.trim() == name).map_or("", |(_, value)| value.trim())
}

/// The word in brackets.
fn chosen(text: &str) -> &str {
    text.split_once('[').and_then(|(_, rest)| rest.split_once(']')).map_or("", |(word, _)| word)
}

/// `0-2,5` as numbers.
fn cpu_list(text: &str) -> Vec<usize> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.trim().parse().ok()?..=last.trim().parse().ok()?)
    };
    text.split(',').filter_map(range).flatten().collect()
}

fn numbers(cpus: &[usize]) -> String {
    cpus.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use anyhow::bail;

    use super::*;

    #[test]
    fn what_the_kernel_writes_is_read() {
        assert_eq!(cpu_list("0-2,5"), [0, 1, 2, 5]);
        assert!(cpu_list("").is_empty());
        assert_eq!(chosen("always [madvise] never"), "madvise");
        assert_eq!(field("a\t: b\nmodel name\t: X: Y\n", "model name"), "X: Y");
        assert_eq!(field("HugePages_Free:        3\n", "HugePages_Free"), "3");
    }

    #[test]
    fn cpus_of_two_cores_are_preferred() {
        let pairs = |cpu: usize| vec![cpu ^ 1];
        assert_eq!(choose(&[0, 1, 2, 3], pairs).unwrap(), [0, 2]);
        assert_eq!(choose(&[0, 1], pairs).unwrap(), [0, 1]);
        assert_eq!(choose(&[4, 6], |_| Vec::new()).unwrap(), [4, 6]);
        assert!(choose(&[3], pairs).unwrap_err().to_string().contains("only CPU 3"));
    }

    #[test]
    fn what_spoils_numbers_is_said_and_a_quiet_machine_has_nothing_to_say() {
        let quiet = Machine { cpus: [0, 2], huge_pages: 8, optimised: true, ..Machine::default() };
        assert_eq!(quiet.warnings(), Vec::<String>::new());
        let loud = Machine {
            cpus: [0, 1],
            siblings: [vec![1], vec![0]],
            governors: vec!["performance".into(), "powersave".into()],
            load: 3.2,
            disturbance: Some(Disturbance { others: 0.3, stolen: 0.1 }),
            best: Some(Probe { round_trip: 80.0, work: [1.0; 2] }),
            worst: Some(Probe { round_trip: 400.0, work: [1.0; 2] }),
            virtual_machine: true,
            ..Machine::default()
        };
        let said = loud.warnings().join("\n");
        let words =
            ["not optimised", "hyperthreads of one core", "`powersave`", "3.2 processes", "took 10 %", "used 30 %"];
        assert!(words.iter().all(|word| said.contains(word)), "{said}");
        assert!(said.contains("5 times as far"), "{said}");
        assert!(said.contains("virtual machine") && said.contains("huge page"), "{said}");
    }

    #[test]
    fn a_probe_that_fails_costs_itself_and_is_said() {
        let (taken, answer) = (Cell::new(0), Probe { round_trip: 80.0, work: [1.0; 2] });
        let (found, probe_failures) = probe(|| {
            taken.set(taken.get() + 1);
            if taken.get() % 10 == 0 { bail!("CPU 2 did not answer") } else { Ok(answer) }
        });
        assert_eq!((found.len(), probe_failures.len()), (18, 2));
        let machine = Machine { cpus: [0, 2], huge_pages: 8, optimised: true, probe_failures, ..Machine::default() };
        assert_eq!(machine.warnings(), ["2 of 20 probes of the CPUs failed, at last: CPU 2 did not answer"]);
    }

    #[test]
    fn this_machine_can_be_looked_at() {
        let machine = Machine::look().unwrap();
        assert_ne!(machine.cpus[0], machine.cpus[1]);
        assert!(!machine.kernel.is_empty() && !machine.date.is_empty());
    }
}
