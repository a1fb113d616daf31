//! The file of a running `lport run`, read again on SIGHUP.
//!
//! 1. [`read_again`] checks the new text wholly. Anything wrong with it, or anything in it that cannot change while the
//!    program runs, refuses all of it; the program runs on as before.
//! 2. It says what is going to change, and gives a [`Reload`], unless nothing changes.
//! 3. [`Reload::apply`] changes the runtime. What fails on the way is said; everything else runs, and the next SIGHUP
//!    tries it again.
//!
//! A thread goes on when its mode would do the very same with the new file ([`task_change`]); otherwise it is started
//! anew, with its lports as they are. A generator that is started anew begins to count anew, and `tx-first` sends again.
//!
//! What is said goes to standard error. When that is gone, as with a closed terminal, which itself sends SIGHUP, the run
//! ends.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use pmd_core::deployment::ThreadSpec;
use pmd_core::runtime::{Prepared, StartFailure};
use pmd_core::{Deployment, LportId, Registry, Runtime, TaskChange};

use crate::cli::RunArgs;
use crate::failure::Failure;
use crate::file::{Checked, LportFile};
use crate::logging::is_coloured;
use crate::modes::{Forwarding, Mode, ModeDrops, make_task};

/// A checked file and the way to it.
#[derive(Debug)]
pub(crate) struct Reload {
    file: LportFile,
    prepared: Prepared,
}

/// Reads the file of `running` again; `None` when there is nothing to change, for whatever reason, which is said.
///
/// # Errors
/// [`Failure::ReaderGone`] when standard error is.
pub(crate) fn read_again(
    args: &RunArgs,
    running: &LportFile,
    runtime: &Runtime,
    registry: &Registry,
) -> Result<Option<Reload>, Failure> {
    let name = args.file.display();
    if args.file == Path::new("-") {
        say("warning: SIGHUP: the file came from the standard input and cannot be read again; running on as before")?;
        return Ok(None);
    }
    let checked = Checked::load(&args.file, registry, args.mode);
    say(&checked.render(is_coloured(&std::io::stderr())))?;
    let file = match checked.into_runnable() {
        Ok(file) => file,
        Err(why) => {
            say(&format!("error: {why}; not reloaded, running on as before"))?;
            return Ok(None);
        }
    };
    let prepared = runtime.prepare(&file.deployment, registry, |thread| task_change(running, &file, thread));
    let prepared = match prepared {
        Ok(prepared) => prepared,
        Err(error) => {
            say(&errors(&error.failures))?;
            say(&format!("error: {name} is not reloaded; running on as before"))?;
            return Ok(None);
        }
    };
    let options = options_change(running, &file);
    if prepared.plan().is_empty() && options.is_none() {
        say(&format!("{name} read again: nothing changes"))?;
        return Ok(None);
    }
    let options = options.unwrap_or_else(|| "options: unchanged".to_owned());
    say(&format!("{name} read again:\n{}\n{options}", prepared.plan()))?;
    Ok(Some(Reload { file, prepared }))
}

impl Reload {
    /// Changes the runtime; `running` is the new file afterwards.
    ///
    /// # Errors
    /// [`Failure::NotOpened`] when nothing is left that polls; [`Failure::ReaderGone`] as above.
    pub(crate) fn apply(
        self,
        runtime: &mut Runtime,
        running: &mut LportFile,
        drops: &mut Arc<ModeDrops>,
    ) -> Result<(), Failure> {
        let old = std::mem::replace(running, self.file);
        let next = next_drops(&old, running, drops);
        let failures = runtime.apply(self.prepared, |context| make_task(context, &running.forwarding, &next));
        if !Arc::ptr_eq(&next, drops) {
            // Those who counted there have stopped.
            next.begin_from(drops, &renumbering(&old.deployment, &running.deployment));
            *drops = next;
        }
        if !runtime.is_polling() {
            let left = "no thread polls any more after the reload".to_owned();
            let all: Vec<_> = failures.iter().map(ToString::to_string).chain([left]).collect();
            return Err(Failure::NotOpened(all.join("\n")));
        }
        if failures.is_empty() {
            return say("reloaded");
        }
        say(&format!("{}\nreloaded, except for what failed; SIGHUP tries that again", errors(&failures)))
    }
}

/// Where the new tasks count what they drop. Tasks that count go on only where mode and lports are the same, so they share
/// the counters; otherwise all of them begin anew.
fn next_drops(old: &LportFile, new: &LportFile, drops: &Arc<ModeDrops>) -> Arc<ModeDrops> {
    let same = old.forwarding.mode == new.forwarding.mode && names(&old.deployment) == names(&new.deployment);
    if same { Arc::clone(drops) } else { Arc::new(ModeDrops::new(new.forwarding.mode, new.deployment.lports().len())) }
}

/// For each lport of `new`, which one of `old` it was.
fn renumbering(old: &Deployment, new: &Deployment) -> Vec<Option<LportId>> {
    names(new).into_iter().map(|name| old.lport_named(name)).collect()
}

/// Whether the task of a thread, that is otherwise unchanged, would be the same with the new file, and where it sends to.
fn task_change(old: &LportFile, new: &LportFile, thread: &ThreadSpec) -> TaskChange {
    let (before, after) = (&old.forwarding, &new.forwarding);
    if without_map(before) != without_map(after) {
        return TaskChange::Other;
    }
    let egress = |forwarding: &Forwarding| -> Option<Vec<LportId>> {
        thread.lports.iter().map(|id| forwarding.port_map.get(id).copied()).collect()
    };
    match (after.mode, egress(before), egress(after)) {
        (Mode::Drop | Mode::Loopback | Mode::TxOnly | Mode::TxOnlyRx, ..) => TaskChange::Same { sends_to: Vec::new() },
        // The map says it all.
        (Mode::Forward, Some(was), Some(is)) if was == is => TaskChange::Same { sends_to: is },
        (Mode::Forward, Some(_), Some(_)) => TaskChange::Other,
        // It may send to any lport, by its number.
        _ if before.port_map == after.port_map && names(&old.deployment) == names(&new.deployment) => {
            let all = new.deployment.lports();
            TaskChange::Same { sends_to: all.iter().map(|(_, queue)| queue.lport).collect() }
        }
        _ => TaskChange::Other,
    }
}

/// What changes about the section `options`, in words.
fn options_change(old: &LportFile, new: &LportFile) -> Option<String> {
    let (before, after) = (&old.forwarding, &new.forwarding);
    if before.mode != after.mode {
        return Some(format!("options: mode `{}` becomes `{}`", before.mode, after.mode));
    }
    let same =
        without_map(before) == without_map(after) && named_map(old) == named_map(new) && old.metrics == new.metrics;
    (!same).then(|| "options: changed".to_owned())
}

fn without_map(forwarding: &Forwarding) -> Forwarding {
    Forwarding { port_map: HashMap::new(), ..forwarding.clone() }
}

/// The `port-map` by names: numbers are those of one file only.
fn named_map(file: &LportFile) -> BTreeMap<&str, &str> {
    let names = names(&file.deployment);
    let pairs = file.forwarding.port_map.iter();
    pairs.filter_map(|(from, to)| Some((*names.get(usize::from(from.0))?, *names.get(usize::from(to.0))?))).collect()
}

fn names(deployment: &Deployment) -> Vec<&str> {
    deployment.lports().into_iter().map(|(_, queue)| queue.name.as_str()).collect()
}

fn errors(failures: &[StartFailure]) -> String {
    failures.iter().map(|failure| format!("error: {failure}")).collect::<Vec<_>>().join("\n")
}

/// Writes `text` to standard error as lines of their own.
fn say(text: &str) -> Result<(), Failure> {
    if text.is_empty() {
        return Ok(());
    }
    writeln!(std::io::stderr().lock(), "{}", text.trim_end()).map_err(|_| Failure::ReaderGone)
}

#[cfg(test)]
mod tests {
    use lport_config::Places;

    use super::*;

    /// Null lports of these names, all polled by one thread, in mode `fwd`.
    fn file(names: &[&str], map: &[(u16, u16)]) -> LportFile {
        let mut deployment = Deployment::default();
        let lports: Vec<_> = names.iter().map(|name| deployment.add_lport(name, "net_null", vec![], None)).collect();
        deployment.add_thread("fwd", &lports[..2]);
        let port_map = map.iter().map(|(from, to)| (LportId(*from), LportId(*to))).collect();
        let forwarding = Forwarding { mode: Mode::Forward, port_map, ..Forwarding::nothing() };
        LportFile { deployment, forwarding, places: Places::default(), metrics: true }
    }

    fn change(old: &LportFile, new: &LportFile) -> TaskChange {
        task_change(old, new, &new.deployment.threads[0])
    }

    fn sends_to(ids: &[u16]) -> TaskChange {
        TaskChange::Same { sends_to: ids.iter().copied().map(LportId).collect() }
    }

    #[test]
    fn a_mapped_thread_sends_where_the_map_says_and_heeds_no_other_entry() {
        let old = file(&["a", "b", "c"], &[(0, 1), (1, 2)]);
        assert_eq!(change(&old, &file(&["a", "b", "c", "d"], &[(0, 1), (1, 2), (2, 0)])), sends_to(&[1, 2]));
        assert_eq!(change(&old, &file(&["a", "b", "c"], &[(0, 1), (1, 0)])), TaskChange::Other);
        assert_eq!(change(&old, &file(&["a", "b", "c"], &[(0, 1)])), TaskChange::Other);
    }

    #[test]
    fn a_thread_that_goes_by_mac_may_send_anywhere_and_heeds_every_lport() {
        let old = file(&["a", "b", "c"], &[(0, 1)]);
        assert_eq!(change(&old, &old), sends_to(&[0, 1, 2]));
        for names in [&["a", "b", "d"][..], &["a", "b", "c", "d"], &["a", "b"]] {
            assert_eq!(change(&old, &file(names, &[(0, 1)])), TaskChange::Other, "{names:?}");
        }
    }

    #[test]
    fn other_modes_keep_to_their_own_lports_and_heed_their_options() {
        let with = |mode, size| {
            let mut file = file(&["a", "b"], &[]);
            (file.forwarding.mode, file.forwarding.traffic.size) = (mode, size);
            file
        };
        assert_eq!(change(&with(Mode::Loopback, 64), &with(Mode::Loopback, 64)), sends_to(&[]));
        assert_eq!(change(&with(Mode::Loopback, 64), &with(Mode::Drop, 64)), TaskChange::Other);
        assert_eq!(change(&with(Mode::TxOnly, 64), &with(Mode::TxOnly, 65)), TaskChange::Other);
    }

    #[test]
    fn options_are_compared_by_names() {
        let old = file(&["a", "b", "c"], &[(0, 2)]);
        assert_eq!(options_change(&old, &file(&["x", "a", "b", "c"], &[(1, 3)])), None);
        assert_eq!(options_change(&old, &file(&["c", "b", "a"], &[(0, 2)])).as_deref(), Some("options: changed"));
        let mut silent = file(&["a", "b", "c"], &[(0, 2)]);
        silent.metrics = false;
        assert_eq!(options_change(&old, &silent).as_deref(), Some("options: changed"));
    }
}
