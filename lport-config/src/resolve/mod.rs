//! Names followed from section to section, and the deployment built.
//!
//! 1. `fan_out` makes the lports of lport-groups and puts them behind those of the file: a position in that list is an
//!    lport's id.
//! 2. `pools` makes a pool of every region of every umem.
//! 3. `devices` gathers the lports of one netdev, has the program check their drivers, and finds their pools.
//! 4. `threads` follows the names of groups and lports.
//!
//! Every name that leads nowhere is reported with the nearest one that would not.

mod devices;
mod fan_out;
mod pools;
mod threads;

use std::collections::HashMap;

use pmd_core::deployment::{Deployment, LportId};

use crate::codes;
use crate::diagnostic::{Problem, Problems};
use crate::drivers::DriverCheck;
use crate::nearest::quoted;
use crate::node::Node;
use crate::places::Places;
use crate::sections::Sections;
use crate::sections::lports::Lport;
use crate::source::{Span, Spanned};

/// The deployment that the sections describe, as far as they are sound, and the places of its parts.
pub(crate) fn resolve(
    sections: &Sections,
    root: &Node,
    drivers: Option<&dyn DriverCheck>,
    problems: &mut Problems,
) -> (Deployment, Places) {
    let lports = fan_out::all_lports(sections, drivers, problems);
    let mut pools = pools::build(sections, &lports.lports, drivers, problems);
    let devices = devices::build(&lports.lports, &mut pools, drivers, problems);
    let threads = threads::build(sections, &lports, problems);
    pools.report_unused(problems);
    if lports.lports.is_empty() && sections.threads.is_empty() {
        nothing_configured(root, problems);
    }
    let places = Places {
        lports: lports.lports.iter().map(|lport| lport.name.span).collect(),
        devices: devices.places,
        threads: threads.places,
        pools: pools.places,
        options: HashMap::new(),
    };
    (Deployment { pools: pools.specs, devices: devices.specs, threads: threads.specs }, places)
}

/// The id of the lport at `position`; there are fewer lports than ids.
fn lport_id(position: usize) -> LportId {
    LportId(u16::try_from(position).unwrap_or(u16::MAX))
}

/// Lports by name.
fn by_name(lports: &[Lport]) -> HashMap<&str, usize> {
    lports.iter().enumerate().map(|(position, lport)| (lport.name.value.as_str(), position)).collect()
}

fn nothing_configured(root: &Node, problems: &mut Problems) {
    // A mistake in the sections themselves is the reason, and is reported already.
    if problems.any_error() {
        return;
    }
    let place = root.as_object().and_then(|sections| sections.iter().find(|section| section.key.value == "lports"));
    let span = place.map_or(Span::new(root.span.start, root.span.start + 1), |section| section.key.span);
    let problem = Problem::new(codes::NOTHING_CONFIGURED, span, "the file configures neither an lport nor a thread");
    problems.push(problem.label("no lport here").help("add at least one lport, and a thread that polls it"));
}

/// A name that leads nowhere. `noun` is what it should name, and `known` are those that exist.
fn unknown<'n>(
    problem: Problem,
    name: &Spanned<String>,
    noun: &str,
    known: impl IntoIterator<Item = &'n Spanned<String>>,
    problems: &Problems,
) -> Problem {
    if !problems.suggests() {
        return problem;
    }
    let known: Vec<_> = known.into_iter().filter(|known| !known.value.is_empty()).collect();
    let near = problems.nearest(&name.value, known.iter().map(|known| known.value.as_str()));
    match near.and_then(|near| known.iter().find(|known| known.value == near)) {
        Some(near) => {
            problem.also(near.span, "this one is near").help(format!("did you mean {}?", quoted(&near.value)))
        }
        None if known.is_empty() => problem.help(format!("the file has no {noun} at all")),
        None => {
            let names = crate::nearest::list(known.iter().map(|known| known.value.as_str()));
            problem.help(format!("the file has the {noun}s {names}"))
        }
    }
}
