//! The lports of a file: those of `lports`, and behind them those that `lport-groups` make of devices and queues.

use std::collections::HashMap;

use pmd_core::QueueCount;
use pmd_core::deployment::DeviceSpec;

use crate::codes;
use crate::diagnostic::{Problem, Problems};
use crate::drivers::{DriverCheck, Owner};
use crate::nearest::quoted;
use crate::sections::Sections;
use crate::sections::lport_groups::{LportGroup, Queues};
use crate::sections::lports::Lport;
use crate::source::{Span, Spanned};

/// Most lports that one process polls.
const MAX_LPORTS: usize = 4096;

/// Every lport of a file.
pub(super) struct AllLports {
    /// In the order of their ids.
    pub(super) lports: Vec<Lport>,
    /// How many of them stand in the file themselves; the others come from groups.
    pub(super) written: usize,
    /// Which lport goes to which thread, as lport-groups deal them: position, and the name of the thread.
    pub(super) dealt: Vec<(usize, Spanned<String>)>,
}

pub(super) fn all_lports(sections: &Sections, drivers: Option<&dyn DriverCheck>, problems: &mut Problems) -> AllLports {
    let mut lports = sections.lports.clone();
    if let Some(excess) = lports.get(MAX_LPORTS) {
        problems.push(too_many(excess.name.span, lports.len()));
        lports.truncate(MAX_LPORTS);
    }
    let mut taken = Taken::default();
    for lport in &lports {
        taken.write(lport, problems);
    }
    let mut all = AllLports { written: lports.len(), lports, dealt: Vec::new() };
    for group in &sections.lport_groups {
        expand(group, drivers, &mut all, &mut taken, problems);
    }
    all
}

/// An lport that has a queue.
struct Holder {
    name: String,
    /// Where its queue is said.
    queue: Span,
}

/// Names and queues that an lport has already.
#[derive(Default)]
struct Taken {
    names: HashMap<String, Span>,
    queues: HashMap<(String, u16), Holder>,
}

impl Taken {
    /// Notes an lport of the section `lports`, whose name is unique.
    fn write(&mut self, lport: &Lport, problems: &mut Problems) {
        self.names.insert(lport.name.value.clone(), lport.name.span);
        let Some(qid) = lport.qid.as_ref().filter(|_| !lport.netdev.value.is_empty()) else { return };
        let queue = (lport.netdev.value.clone(), qid.value);
        match self.queues.get(&queue) {
            Some(first) => problems.push(shared_queue(lport, qid, first)),
            None => drop(self.queues.insert(queue, Holder { name: lport.name.value.clone(), queue: qid.span })),
        }
    }

    /// Where the name or the queue of a group's lport is taken already; otherwise it is taken from now on.
    fn take(&mut self, lport: &Lport, queue: u16) -> Option<Span> {
        let queue = (lport.netdev.value.clone(), queue);
        let named = self.names.get(&lport.name.value).copied();
        let first = named.or_else(|| self.queues.get(&queue).map(|holder| holder.queue));
        if first.is_none() {
            self.names.insert(lport.name.value.clone(), lport.name.span);
            self.queues.insert(queue, Holder { name: lport.name.value.clone(), queue: lport.name.span });
        }
        first
    }
}

/// Appends the lports of a group, netdev by netdev, and deals them over its threads in turn.
fn expand(
    group: &LportGroup,
    drivers: Option<&dyn DriverCheck>,
    all: &mut AllLports,
    taken: &mut Taken,
    problems: &mut Problems,
) {
    let mut turn = group.threads.iter().cycle();
    for netdev in group.netdevs.iter().filter(|netdev| !netdev.value.contains(':')) {
        let queues = queues(group, netdev, drivers, problems);
        if all.lports.len() + queues.len() > MAX_LPORTS {
            problems.push(too_many(group.queues_span, all.lports.len() + queues.len()));
            return;
        }
        let mut clash = None;
        for queue in queues {
            let lport = make(group, netdev, queue);
            match taken.take(&lport, queue) {
                Some(first) => clash = clash.or(Some((lport, first))),
                None => {
                    all.dealt.extend(turn.next().map(|thread| (all.lports.len(), thread.clone())));
                    all.lports.push(lport);
                }
            }
        }
        // One message for a netdev, however many of its queues are taken.
        if let Some((lport, first)) = clash {
            problems.push(name_taken(group, &lport, first));
        }
    }
}

fn queues(
    group: &LportGroup,
    netdev: &Spanned<String>,
    drivers: Option<&dyn DriverCheck>,
    problems: &mut Problems,
) -> Vec<u16> {
    match &group.queues {
        Queues::Listed(queues) => queues.clone(),
        Queues::Unsound => Vec::new(),
        Queues::All => match ask_queue_count(group, netdev, drivers) {
            Some(QueueCount::Has(count)) => (0..count).collect(),
            Some(QueueCount::AsTold) => {
                problems.push(queue_count_to_choose(group, netdev));
                Vec::new()
            }
            Some(QueueCount::Unknown(why)) => {
                problems.push(unknown_queue_count(group, netdev, &why));
                vec![0]
            }
            None => Vec::new(),
        },
    }
}

/// `None` if the driver is nobody's or not named, which is reported elsewhere.
fn ask_queue_count(
    group: &LportGroup,
    netdev: &Spanned<String>,
    drivers: Option<&dyn DriverCheck>,
) -> Option<QueueCount> {
    let pmd = group.pmd.as_ref()?;
    let driver = pmd.driver.value.clone();
    let Some(drivers) = drivers else { return Some(QueueCount::AsTold) };
    match Owner::of(&driver, &drivers.driver_names()) {
        Owner::Program => {
            let device = DeviceSpec { name: netdev.value.clone(), driver, options: pmd.raw(), queues: Vec::new() };
            Some(drivers.queue_count(&device))
        }
        Owner::Cndp => {
            let only = format!("only its driver {} can tell, which this program does not have", quoted(&driver));
            Some(QueueCount::Unknown(only))
        }
        Owner::Nobody => None,
    }
}

fn make(group: &LportGroup, netdev: &Spanned<String>, queue: u16) -> Lport {
    Lport {
        name: Spanned::new(format!("{}:{queue}", netdev.value), netdev.span),
        netdev: netdev.clone(),
        pmd: group.pmd.clone(),
        qid: Some(Spanned::new(queue, group.queues_span)),
        umem: group.umem.clone(),
        region: None,
        xdp: group.xdp.clone(),
        of_group: true,
    }
}

fn too_many(span: Span, count: usize) -> Problem {
    let message = format!("the file has {count} lports or more, but at most {MAX_LPORTS} are possible");
    let help = "split the file over several processes, or list fewer queues";
    Problem::new(codes::TOO_MANY_LPORTS, span, message).label("too many").help(help)
}

fn shared_queue(lport: &Lport, qid: &Spanned<u16>, first: &Holder) -> Problem {
    let Lport { name, netdev, .. } = lport;
    let queue = format!("queue {} of {}", qid.value, quoted(&netdev.value));
    let message = format!("lports {} and {} are both {queue}", quoted(&first.name), quoted(&name.value));
    Problem::new(codes::SHARED_QUEUE, qid.span, message)
        .label("the same queue again")
        .also(first.queue, format!("{queue} first here"))
        .help("the tag behind the colon does not choose the queue: give each lport of a netdev its own \"qid\"")
}

fn name_taken(group: &LportGroup, lport: &Lport, first: Span) -> Problem {
    let message = format!(
        "lport-group {} makes the lport {}, which exists already",
        quoted(&group.name.value),
        quoted(&lport.name.value)
    );
    Problem::new(codes::NAME_TAKEN, lport.netdev.span, message)
        .label(format!("makes {}", quoted(&lport.name.value)))
        .also(first, "this name or queue is the same")
        .help("remove the lport, or list the group's queues without this one")
}

fn queue_count_to_choose(group: &LportGroup, netdev: &Spanned<String>) -> Problem {
    let (name, group) = (quoted(&netdev.value), quoted(&group.name.value));
    let message = format!("lport-group {group} takes all queues of {name}, which has as many as it is told");
    Problem::new(codes::UNKNOWN_QUEUE_COUNT, netdev.span, message)
        .label("how many queues?")
        .help("list them, such as \"queues\": \"0-3\"")
}

fn unknown_queue_count(group: &LportGroup, netdev: &Spanned<String>, why: &str) -> Problem {
    let (name, group) = (quoted(&netdev.value), quoted(&group.name.value));
    let message = format!("lport-group {group} takes all queues of {name}, but how many it has is not known: {why}");
    Problem::new(codes::UNASKED_QUEUE_COUNT, netdev.span, message)
        .label("taken for one queue")
        .help("check the file where the netdev is, or list its queues, such as \"queues\": \"0-3\"")
}
