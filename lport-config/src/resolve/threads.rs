//! Threads with the CPUs they run on and the lports they poll.

use std::collections::HashMap;

use pmd_core::deployment::{Placement, ThreadSpec};

use super::fan_out::AllLports;
use super::{by_name, lport_id, unknown};
use crate::codes;
use crate::diagnostic::{Problem, Problems};
use crate::nearest::quoted;
use crate::places::ThreadPlace;
use crate::sections::Sections;
use crate::sections::fields::Given;
use crate::sections::lcore_groups::{Cpus, LcoreGroup};
use crate::sections::threads::Thread;
use crate::source::{Span, Spanned};

/// The group of threads that name none.
const DEFAULT: &str = "default";

/// The threads of a deployment.
pub(super) struct Threads {
    pub(super) specs: Vec<ThreadSpec>,
    pub(super) places: HashMap<String, ThreadPlace>,
}

pub(super) fn build(sections: &Sections, all: &AllLports, problems: &mut Problems) -> Threads {
    let mut owners = Owners { lports: all, by_position: vec![None; all.lports.len()] };
    let mut polled = owners.listed(sections, problems);
    owners.deal(sections, &mut polled, problems);
    if sections.is_whole("threads") {
        owners.report_unpolled(problems);
    }

    let groups = Groups::new(sections);
    let mut threads = Threads { specs: Vec::new(), places: HashMap::new() };
    for (thread, lports) in sections.threads.iter().zip(polled) {
        let group = groups.of(thread, !lports.is_empty(), problems);
        threads.places.insert(thread.name.value.clone(), place(thread, group));
        threads.specs.push(ThreadSpec {
            name: thread.name.value.clone(),
            kind: thread.kind.clone(),
            lcores: placement(group),
            lports: lports.into_iter().map(lport_id).collect(),
            idle_timeout: thread.idle_timeout,
            intr_timeout: thread.intr_timeout,
        });
    }
    threads
}

/// Who polls which lport.
struct Owners<'f> {
    lports: &'f AllLports,
    /// The thread and the place where it claims the lport.
    by_position: Vec<Option<(&'f str, Span)>>,
}

impl<'f> Owners<'f> {
    /// For each thread the lports it lists.
    fn listed(&mut self, sections: &'f Sections, problems: &mut Problems) -> Vec<Vec<usize>> {
        let names = by_name(&self.lports.lports);
        let mut polled = Vec::new();
        for thread in &sections.threads {
            let mut own = Vec::new();
            for name in &thread.lports {
                match names.get(name.value.as_str()) {
                    Some(position) => own.extend(self.claim(*position, thread, name.span, problems)),
                    None if sections.is_whole("lports") && sections.is_whole("lport-groups") => {
                        problems.push(self.unknown_lport(thread, name, problems));
                    }
                    None => {}
                }
            }
            polled.push(own);
        }
        polled
    }

    /// Adds the lports of lport-groups to the threads they are dealt to.
    fn deal(&mut self, sections: &'f Sections, polled: &mut [Vec<usize>], problems: &mut Problems) {
        let threads: HashMap<_, _> =
            sections.threads.iter().enumerate().map(|(index, thread)| (thread.name.value.as_str(), index)).collect();
        for name in sections.lport_groups.iter().flat_map(|group| &group.threads) {
            if !threads.contains_key(name.value.as_str()) && sections.is_whole("threads") {
                problems.push(unknown_thread(name, sections, problems));
            }
        }
        for (position, name) in &self.lports.dealt {
            if let Some(index) = threads.get(name.value.as_str()) {
                polled[*index].extend(self.claim(*position, &sections.threads[*index], name.span, problems));
            }
        }
    }

    /// Gives an lport to a thread, unless another one has it; returns its position.
    fn claim(&mut self, position: usize, thread: &'f Thread, place: Span, problems: &mut Problems) -> Option<usize> {
        if let Some((owner, first)) = self.by_position[position] {
            problems.push(self.shared_lport(position, thread, place, (owner, first)));
            return None;
        }
        self.by_position[position] = Some((&thread.name.value, place));
        Some(position)
    }

    /// Warns of every lport of the file that has no thread; once, if none has any.
    fn report_unpolled(&self, problems: &mut Problems) {
        let all = self.lports.lports.iter().zip(&self.by_position).take(self.lports.written);
        let unpolled: Vec<_> = all.filter(|(_, owner)| owner.is_none()).map(|(lport, _)| &lport.name).collect();
        if let [first, _, ..] = unpolled[..]
            && self.by_position.iter().all(Option::is_none)
        {
            let message = format!("no thread polls any of the {} lports", unpolled.len());
            let problem =
                Problem::new(codes::NOT_POLLED, first.span, message).label("never polled, nor are the others");
            problems.push(problem.help("list them in `lports` of threads"));
            return;
        }
        for name in unpolled.into_iter().filter(|name| !name.value.is_empty()) {
            let message = format!("no thread polls lport {}", quoted(&name.value));
            let problem = Problem::new(codes::NOT_POLLED, name.span, message).label("never polled");
            problems.push(problem.help("add it to `lports` of a thread"));
        }
    }

    fn unknown_lport(&self, thread: &Thread, name: &Spanned<String>, problems: &Problems) -> Problem {
        let message =
            format!("thread {} polls lport {}, which does not exist", quoted(&thread.name.value), quoted(&name.value));
        let problem = Problem::new(codes::UNKNOWN_LPORT, name.span, message).label("no such lport");
        unknown(problem, name, "lport", self.lports.lports.iter().map(|lport| &lport.name), problems)
    }

    fn shared_lport(&self, position: usize, thread: &Thread, place: Span, (owner, first): (&str, Span)) -> Problem {
        let lport = quoted(&self.lports.lports[position].name.value);
        let (message, help) = if position >= self.lports.written {
            let message = format!("an lport-group deals lport {lport} to a thread, but {} lists it too", quoted(owner));
            (message, "remove it from the `lports` of the thread")
        } else if owner == thread.name.value {
            (format!("thread {} lists lport {lport} twice", quoted(owner)), "remove one")
        } else {
            let message =
                format!("lport {lport} is given to two threads, {} and {}", quoted(owner), quoted(&thread.name.value));
            (message, "an lport has one thread; for a second one give the device another queue, as an lport of its own")
        };
        let problem = Problem::new(codes::SHARED_LPORT, place, message).label("again here");
        problem.also(first, "first given here").help(help)
    }
}

fn unknown_thread(name: &Spanned<String>, sections: &Sections, problems: &Problems) -> Problem {
    let message = format!("an lport-group names the thread {}, which does not exist", quoted(&name.value));
    let problem = Problem::new(codes::UNKNOWN_THREAD, name.span, message).label("no such thread");
    unknown(problem, name, "thread", sections.threads.iter().map(|thread| &thread.name), problems)
}

/// The lcore-groups of a file.
struct Groups<'f> {
    all: &'f [LcoreGroup],
    by_name: HashMap<&'f str, &'f LcoreGroup>,
    /// Whether every group of the file is known.
    whole: bool,
}

impl<'f> Groups<'f> {
    fn new(sections: &'f Sections) -> Self {
        let all = &sections.lcore_groups;
        let by_name = all.iter().map(|group| (group.name.value.as_str(), group)).collect();
        Self { all, by_name, whole: sections.is_whole("lcore-groups") }
    }

    /// The group of a thread; `polls` says whether it has lports.
    fn of(&self, thread: &Thread, polls: bool, problems: &mut Problems) -> Option<&'f LcoreGroup> {
        let (name, missing) = match &thread.group {
            Given::Sound(name) => (name.value.as_str(), Some(name)),
            Given::Unsound => return None,
            Given::Absent => (DEFAULT, None),
        };
        let found = self.by_name.get(name).copied();
        if found.is_none() && self.whole {
            match missing {
                Some(name) => problems.push(self.unknown(thread, name, problems)),
                None if polls => problems.push(unpinned(thread)),
                None => {}
            }
        }
        found
    }

    fn unknown(&self, thread: &Thread, name: &Spanned<String>, problems: &Problems) -> Problem {
        let (thread, group) = (quoted(&thread.name.value), quoted(&name.value));
        let message = format!("thread {thread} runs on lcore-group {group}, which does not exist");
        let problem = Problem::new(codes::UNKNOWN_GROUP, name.span, message).label("no such group");
        unknown(problem, name, "lcore-group", self.all.iter().map(|group| &group.name), problems)
    }
}

fn unpinned(thread: &Thread) -> Problem {
    let message = format!(
        "thread {} polls lports but has no `group`, and there is no lcore-group `{DEFAULT}`: it is not pinned",
        quoted(&thread.name.value)
    );
    Problem::new(codes::UNPINNED, thread.name.span, message)
        .label("not pinned")
        .help(format!("add \"group\", or an lcore-group \"{DEFAULT}\"; `[]` as a group says that this is meant"))
}

fn placement(group: Option<&LcoreGroup>) -> Placement {
    match group.map(|group| &group.cpus) {
        Some(Cpus::Auto) => Placement::Auto,
        Some(Cpus::Listed(cpus)) if !cpus.is_empty() => Placement::Cpus(cpus.iter().map(|cpu| cpu.value).collect()),
        _ => Placement::Anywhere,
    }
}

fn place(thread: &Thread, group: Option<&LcoreGroup>) -> ThreadPlace {
    let cpus = match group.map(|group| &group.cpus) {
        Some(Cpus::Listed(cpus)) => cpus.iter().map(|cpu| (cpu.value, cpu.span)).collect(),
        _ => HashMap::new(),
    };
    ThreadPlace { name: thread.name.span, group: thread.group.sound().map(|group| group.span), cpus }
}
