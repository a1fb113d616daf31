//! The section `lcore-groups`: named lists of CPUs.

use std::ops::RangeInclusive;

use super::number_list::{self, Malformed};
use super::object;
use crate::codes;
use crate::diagnostic::{Problem, Problems};
use crate::keys::CPU_MAX;
use crate::nearest::quoted;
use crate::node::{Member, Node, Value};
use crate::source::{Span, Spanned};

/// A named list of CPUs.
#[derive(Debug)]
pub(crate) struct LcoreGroup {
    pub(crate) name: Spanned<String>,
    pub(crate) cpus: Cpus,
}

/// Where threads of a group run.
#[derive(Debug)]
pub(crate) enum Cpus {
    /// On these, each with the part of the list that names it; none at all means anywhere.
    Listed(Vec<Spanned<usize>>),
    /// Where the machine's topology suggests.
    Auto,
}

pub(super) fn read_all(member: &Member, problems: &mut Problems) -> Vec<LcoreGroup> {
    let groups = object(member, problems).unwrap_or_default();
    groups.iter().map(|group| LcoreGroup { name: group.key.clone(), cpus: cpus(group, problems) }).collect()
}

fn cpus(group: &Member, problems: &mut Problems) -> Cpus {
    let name = &group.key.value;
    if name.is_empty() {
        let problem = Problem::new(codes::BAD_NAME, group.key.span, "the name of an lcore-group is empty");
        problems.push(problem.label("empty").help("write the name that threads give in `group`"));
    }
    let elements = group.node.as_array().unwrap_or(std::slice::from_ref(&group.node));
    let most = index(CPU_MAX) + 1;
    if elements.len() > most {
        let message =
            format!("lcore-group {} has {} entries, but there are at most {most} CPUs", quoted(name), elements.len());
        let problem = Problem::new(codes::BAD_CPU, elements[most].span, message).label("one too many");
        problems.push(problem.help("list each CPU once"));
        return Cpus::Listed(Vec::new());
    }
    if let [only] = elements
        && only.as_str() == Some("auto")
    {
        return Cpus::Auto;
    }
    let mut listed = Listed::default();
    for element in elements {
        match entry(element) {
            Ok(ranges) => ranges.iter().for_each(|part| listed.add(part, name, problems)),
            Err(malformed) => {
                let message = format!("{} in lcore-group {} {}", malformed.what, quoted(name), malformed.wrong);
                let problem = Problem::new(codes::BAD_CPU, malformed.span, message);
                problems.push(problem.label("not a CPU").help(malformed.help));
            }
        }
    }
    Cpus::Listed(listed.cpus)
}

/// The ranges that one element of a group stands for.
fn entry(element: &Node) -> Result<Vec<Spanned<RangeInclusive<u64>>>, Malformed> {
    let malformed = |wrong: &str, help: &str| Malformed {
        span: element.span,
        what: element.describe(),
        wrong: wrong.to_owned(),
        help: help.to_owned(),
    };
    let form = "write numbers and ranges, such as [0, \"2-3\"]";
    match &element.value {
        Value::Number(_) => match element.as_int().filter(|cpu| *cpu <= CPU_MAX) {
            Some(cpu) => Ok(vec![Spanned::new(cpu..=cpu, element.span)]),
            None => Err(malformed(&format!("is not a whole number from 0 to {CPU_MAX}"), form)),
        },
        Value::Text(text) if text.as_str() == "auto" => {
            Err(malformed("stands beside other CPUs", "use \"auto\" alone, or list the CPUs"))
        }
        Value::Text(text) => number_list::parse(element, text.as_str(), CPU_MAX),
        _ => Err(malformed("is neither a number nor a range", form)),
    }
}

/// The CPUs of a group so far.
#[derive(Default)]
struct Listed {
    cpus: Vec<Spanned<usize>>,
    /// By CPU number: where it was listed.
    seen: Vec<Option<Span>>,
}

impl Listed {
    fn add(&mut self, part: &Spanned<RangeInclusive<u64>>, group: &str, problems: &mut Problems) {
        let mut repeated = None;
        self.seen.resize(self.seen.len().max(index(*part.value.end()) + 1), None);
        for cpu in index(*part.value.start())..=index(*part.value.end()) {
            match self.seen[cpu] {
                Some(first) => repeated = repeated.or(Some((cpu, first))),
                None => {
                    self.seen[cpu] = Some(part.span);
                    self.cpus.push(Spanned::new(cpu, part.span));
                }
            }
        }
        if let Some((cpu, first)) = repeated {
            let message = format!("CPU {cpu} is listed twice in lcore-group {}", quoted(group));
            let problem = Problem::new(codes::CPU_TWICE, part.span, message).label("again here");
            problems.push(problem.also(first, "first listed here").help("remove it, or write the CPU that was meant"));
        }
    }
}

/// A CPU number as an index; all of them are small.
fn index(cpu: u64) -> usize {
    usize::try_from(cpu.min(CPU_MAX)).unwrap_or(0)
}
