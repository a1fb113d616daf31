//! An lport file as the forwarder reads it.
//!
//! 1. lport-config turns the text into a deployment, and asks our drivers about their options.
//! 2. The section `options` is the forwarder's own: [`Forwarding`] is read from it here.
//! 3. What either finds comes out as one list of diagnostics, in the order of the text.

mod acl_rules;
mod addresses;
mod routes;
mod schema;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use lport_config::{
    Config, Diagnostic, OptionsReader, Outcome, Places, Problem, Rule, Settings, Source, Span, Spanned, render,
};
use pmd_core::{BURST_MAX, Deployment, LportId, Registry};

use crate::driver_check::Drivers;
use crate::machine::{self, Facts};
use crate::modes::{Acl, Action, Forwarding, Mode, Routes, SIZE_MAX, SIZE_MIN, Traffic, UnknownMode};
use crate::rules;

pub(crate) use schema::options_schema;

/// Most packets per second that can be asked for: beyond any machine.
const RATE_MAX: u64 = 1_000_000_000;

/// Most packets that can be sent first: what the largest ring holds, twice.
const TX_FIRST_MAX: u64 = 1 << 15;

/// Keys of CNDP's forwarder without effect here, that nobody misses.
const WITHOUT_EFFECT: &[&str] = &["pkt_api", "cli", "no-restapi"];

/// Keys of CNDP's forwarder whose absence is worth a warning.
const NOT_SUPPORTED: &[&str] = &["hs-patterns", "uds_path"];

/// A file without errors, ready to be run.
#[derive(Debug)]
pub(crate) struct LportFile {
    /// What is to be run: only threads that poll lports.
    pub(crate) deployment: Deployment,
    /// What its threads do.
    pub(crate) forwarding: Forwarding,
    /// Where it was said.
    pub(crate) places: Places,
    /// Whether telemetry is served: unless the file says `no-metrics`.
    pub(crate) metrics: bool,
}

/// What became of a file.
#[derive(Debug)]
pub(crate) struct Checked {
    /// Its text.
    pub(crate) source: Source,
    /// Everything found, in the order of the text.
    pub(crate) diagnostics: Vec<Diagnostic>,
    /// The file, if it has no errors.
    pub(crate) file: Option<LportFile>,
}

impl Checked {
    /// Reads and checks the file at `path`; `-` is the standard input. `mode` overrides the file's.
    pub(crate) fn load(path: &Path, registry: &Registry, mode: Option<Mode>) -> Self {
        let drivers = Drivers(registry);
        let Outcome { source, config, incomplete, mut diagnostics } =
            Config::load(path, &Settings::default().drivers(&drivers));
        let complete = config.is_some();
        let Some(config) = config.or(incomplete) else { return Self { source, diagnostics, file: None } };
        let (file, more) = read_forwarder(&config, &source, mode);
        diagnostics.extend(more);
        sort(&mut diagnostics);
        let usable = complete && !diagnostics.iter().any(Diagnostic::is_error);
        Self { source, file: usable.then_some(file), diagnostics }
    }

    /// Adds what is in the way of the file on this machine, if it has no errors of its own.
    pub(crate) fn check_machine(&mut self, registry: &Registry, facts: &Facts) {
        if let Some(LportFile { deployment, places, .. }) = &self.file {
            let problems = machine::check(deployment, places, registry, facts);
            self.diagnostics.extend(problems.into_iter().map(|problem| problem.locate(&self.source)));
            sort(&mut self.diagnostics);
        }
    }

    /// All diagnostics, drawn for people.
    pub(crate) fn render(&self, color: bool) -> String {
        let drawn = self.diagnostics.iter().map(|diagnostic| render(&self.source, diagnostic, color));
        drawn.collect::<Vec<_>>().join("\n")
    }

    /// How many errors there are.
    pub(crate) fn errors(&self) -> usize {
        self.diagnostics.iter().filter(|diagnostic| diagnostic.is_error()).count()
    }

    /// The file, to be run.
    ///
    /// # Errors
    /// Why it cannot be: it has errors, or leaves all its lports to other programs.
    pub(crate) fn into_runnable(self) -> Result<LportFile, String> {
        let errors = self.errors();
        let count = if errors == 1 { "an error".to_owned() } else { format!("{errors} errors") };
        let name = self.source.name();
        let file = self.file.ok_or_else(|| format!("{name} has {count}"))?;
        if file.deployment.threads.is_empty() {
            return Err(format!("no thread of {name} polls an lport, so there is nothing to run"));
        }
        Ok(file)
    }
}

/// Brings diagnostics into the order of the text.
fn sort(diagnostics: &mut [Diagnostic]) {
    diagnostics.sort_by_key(|diagnostic| (diagnostic.primary.line, diagnostic.primary.column));
}

/// Reads what is the forwarder's own, and says what is wrong with it.
fn read_forwarder(config: &Config, source: &Source, mode: Option<Mode>) -> (LportFile, Vec<Diagnostic>) {
    let mut options = config.options();
    let mode = read_mode(&mut options, mode, &config.deployment);
    let port_map = read_port_map(&mut options, &config.deployment);
    let (routes, acl) = read_rules(&mut options, mode, &config.deployment);
    let traffic = read_traffic(&mut options);
    let tx_first = options.int("tx-first", 0..=TX_FIRST_MAX).map_or(0, |value| value.value);
    let metrics = !options.bool("no-metrics").is_some_and(|no| no.value);
    for key in WITHOUT_EFFECT {
        options.node(key);
    }
    for key in NOT_SUPPORTED {
        options.node(key);
        if let Some(place) = config.places.options_key(key) {
            let message = format!("option `{key}` is not supported and has no effect");
            let problem = Problem::new(rules::NOT_SUPPORTED, place, message).label("has no effect");
            options.report(problem.help("remove it, unless CNDP's forwarder reads the file, too"));
        }
    }
    let mut deployment = config.deployment.clone();
    // A thread without lports has nothing to poll: it exists in CNDP's files for the sake of its name.
    deployment.threads.retain(|thread| !thread.lports.is_empty());
    let forwarding = Forwarding { mode, port_map, routes: Arc::new(routes), acl: Arc::new(acl), traffic, tx_first };
    let file = LportFile { deployment, forwarding, places: config.places.clone(), metrics };
    (file, options.finish(source))
}

fn read_mode(options: &mut OptionsReader<'_>, given: Option<Mode>, deployment: &Deployment) -> Mode {
    let Some(word) = options.text("mode") else {
        let said = options.node("mode").is_some() || given.is_some();
        if !said && !deployment.devices.is_empty() {
            let problem =
                Problem::new(rules::NO_MODE, Span::default(), "the file names no mode; packets will be dropped")
                    .label("no mode");
            options.report(problem.help("write `\"options\": { \"mode\": \"fwd\" }`, or run with `--mode`"));
        }
        return given.unwrap_or(Mode::Drop);
    };
    match word.value.parse() {
        Ok(mode) => given.unwrap_or(mode),
        // Given on the command line, a mode makes the file's of no account.
        Err(_) if given.is_some() => given.unwrap_or(Mode::Drop),
        Err(error) => {
            options.report(mode_problem(&error, &word));
            Mode::Drop
        }
    }
}

fn mode_problem(error: &UnknownMode, word: &Spanned<&str>) -> Problem {
    let problem = Problem::new(rules::UNKNOWN_MODE, word.span, error.to_string()).label("unknown mode");
    match lport_config::nearest(word.value, Mode::names()) {
        Some(near) => problem.help(format!("did you mean \"{near}\"?")),
        None => problem.help("`lport explain E0501` says what each mode does"),
    }
}

/// What the modes that look into packets go by. Routes of another mode stay unread: CNDP's files carry them whatever the
/// mode is.
fn read_rules(options: &mut OptionsReader<'_>, mode: Mode, deployment: &Deployment) -> (Routes, Acl) {
    options.node(routes::KEY);
    let routes = if mode == Mode::L3Forward { routes::read(options, deployment) } else { Routes::new(&[]) };
    let otherwise = if mode == Mode::AclPermissive { Action::Permit } else { Action::Deny };
    if matches!(mode, Mode::AclStrict | Mode::AclPermissive) {
        acl_rules::warn_if_none(options, otherwise);
    }
    (routes, Acl { rules: acl_rules::read(options), otherwise })
}

fn read_port_map(options: &mut OptionsReader<'_>, deployment: &Deployment) -> HashMap<LportId, LportId> {
    let mut map = HashMap::new();
    for (ingress, egress) in options.text_map("port-map").unwrap_or_default() {
        let ingress = lport_named(options, deployment, &ingress);
        let egress = lport_named(options, deployment, &egress);
        if let (Some(ingress), Some(egress)) = (ingress, egress) {
            map.insert(ingress, egress);
        }
    }
    map
}

fn lport_named(options: &mut OptionsReader<'_>, deployment: &Deployment, name: &Spanned<&str>) -> Option<LportId> {
    let found = deployment.lport_named(name.value);
    if found.is_none() {
        options.report(unknown_lport(rules::UNKNOWN_PORT, "port-map", deployment, name));
    }
    found
}

/// The problem of a key that names an lport which is not there.
fn unknown_lport(rule: &'static Rule, key: &str, deployment: &Deployment, name: &Spanned<&str>) -> Problem {
    let lports = deployment.lports();
    let names: Vec<_> = lports.iter().map(|(_, queue)| queue.name.as_str()).collect();
    let message = format!("`{key}` names lport `{}`, which does not exist", name.value);
    let help = match lport_config::nearest(name.value, names.iter().copied()) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => format!("there are: {}", names.join(", ")),
    };
    Problem::new(rule, name.span, message).label("no such lport").help(help)
}

fn read_traffic(options: &mut OptionsReader<'_>) -> Traffic {
    let usual = Traffic::default();
    let mut int = |key, min, max| options.int(key, min..=max).map(|value| value.value);
    Traffic {
        size: int("tx-size", SIZE_MIN as u64, SIZE_MAX as u64).map_or(usual.size, |size| size as usize),
        rate: int("tx-rate", 1, RATE_MAX),
        count: int("tx-count", 1, u64::MAX),
        burst: int("tx-burst", 1, BURST_MAX as u64).map(|burst| burst as usize),
    }
}
