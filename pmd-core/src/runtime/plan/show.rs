//! A plan for people: a line for each kind of change.

use std::fmt;

use super::{Change, Plan, Step};

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of_kind = |wanted: fn(&Change) -> bool| self.listed(wanted);
        let renumbered =
            self.renumbered.iter().map(|lport| format!("lport {} ({} to {})", lport.name, lport.from, lport.to));
        let lines = [
            ("added", of_kind(|change| *change == Change::Added)),
            ("removed", of_kind(|change| *change == Change::Removed)),
            ("changed", of_kind(|change| matches!(change, Change::Changed(_)))),
            ("renumbered", renumbered.collect()),
            ("unchanged", of_kind(|change| *change == Change::Unchanged)),
        ];
        let said = lines.iter().filter(|(_, names)| !names.is_empty());
        let text: Vec<_> = said.map(|(kind, names)| format!("{kind}: {}", names.join(", "))).collect();
        f.write_str(&text.join("\n"))
    }
}

impl Plan {
    /// The parts with a `wanted` change, each with its kind and name.
    fn listed(&self, wanted: fn(&Change) -> bool) -> Vec<String> {
        let kinds = [("pool", &self.pools), ("lport", &self.lports), ("thread", &self.threads)];
        let steps = kinds.into_iter().flat_map(|(kind, steps)| steps.iter().map(move |step| (kind, step)));
        steps.filter(|(_, step)| wanted(&step.change)).map(|(kind, step)| describe(kind, step)).collect()
    }
}

fn describe(kind: &str, Step { name, change, .. }: &Step) -> String {
    match change {
        Change::Changed(why) => format!("{kind} {name} ({why})"),
        _ => format!("{kind} {name}"),
    }
}
