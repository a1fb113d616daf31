//! The file's tree as typed sections, every value still with its place.
//!
//! Each section is read by itself, in any order; names that point from one section to another are followed later, by
//! `resolve`. An entry with mistakes stays in its section, so that its name remains known and one mistake does not cause
//! a dozen messages.

pub(crate) mod application;
pub(crate) mod fields;
pub(crate) mod lcore_groups;
pub(crate) mod lport_groups;
pub(crate) mod lports;
pub(crate) mod number_list;
pub(crate) mod pmd;
pub(crate) mod threads;
pub(crate) mod umems;

use std::collections::HashMap;

use application::Application;
use fields::Fields;
use lcore_groups::LcoreGroup;
use lport_groups::LportGroup;
use lports::Lport;
use threads::Thread;
use umems::{Defaults, Umem};

use crate::codes;
use crate::diagnostic::{Problem, Problems};
use crate::keys::{SECTIONS, keys_of};
use crate::nearest::{list, nearest, quoted};
use crate::node::{Member, Node};
use crate::source::{Span, Spanned};

/// Everything the file says, section by section.
#[derive(Debug, Default)]
pub(crate) struct Sections {
    pub(crate) application: Application,
    pub(crate) defaults: Defaults,
    pub(crate) umems: Vec<Umem>,
    pub(crate) lports: Vec<Lport>,
    pub(crate) lport_groups: Vec<LportGroup>,
    pub(crate) lcore_groups: Vec<LcoreGroup>,
    pub(crate) threads: Vec<Thread>,
    pub(crate) options: Option<Node>,
    pub(crate) user_data: Option<Node>,
    /// Sections that the application registered.
    pub(crate) registered: Vec<(String, Node)>,
    /// Sections that the file probably means to have, but that could not be read: names in them are no mistakes.
    damaged: Vec<String>,
}

impl Sections {
    /// Whether everything that the file says about a section is known.
    pub(crate) fn is_whole(&self, section: &str) -> bool {
        !self.damaged.iter().any(|damaged| damaged == section)
    }
}

/// Reads every section of `root`; `registered` are names of further sections, free in form.
pub(crate) fn read(root: &Node, registered: &[String], problems: &mut Problems) -> Sections {
    let mut sections = Sections::default();
    let mut seen: HashMap<String, Span> = HashMap::new();
    let members = root.as_object().unwrap_or_default();
    if is_another_kind_of_file(members, registered) {
        problems.push(another_kind_of_file(members));
        return sections;
    }
    for member in members {
        let name = member.key.value.to_lowercase();
        if let Some(first) = seen.get(&name) {
            problems.push(section_twice(member, *first));
            sections.damaged.push(name);
            continue;
        }
        read_section(&name, member, registered, &mut sections, problems);
        seen.insert(name, member.key.span);
    }
    sections
}

fn read_section(name: &str, member: &Member, registered: &[String], sections: &mut Sections, problems: &mut Problems) {
    let node = &member.node;
    if node.as_object().is_none() {
        sections.damaged.push(name.to_owned());
    }
    match name {
        "application" => sections.application = application::read(member, problems),
        "defaults" => sections.defaults = umems::read_defaults(member, problems),
        "umems" => sections.umems = named(member, "umem", |entry, _| umems::read(entry), problems),
        "lports" => sections.lports = named(member, "lport", lports::read, problems),
        "lport-groups" => sections.lport_groups = named(member, "lport-group", lport_groups::read, problems),
        "lcore-groups" => sections.lcore_groups = lcore_groups::read_all(member, problems),
        "threads" => sections.threads = named(member, "thread", threads::read, problems),
        "options" => sections.options = object(member, problems).map(|_| node.clone()),
        "user-data" => sections.user_data = Some(node.clone()),
        "$schema" if node.as_str().is_some() => {}
        "$schema" => problems.push(not_a(member, "a string")),
        _ => match registered.iter().find(|known| known.to_lowercase() == name) {
            Some(known) => sections.registered.push((known.clone(), node.clone())),
            None => sections.damaged.extend(unknown_section(member, registered, problems)),
        },
    }
}

/// An entry of a section of named objects, ready to be read.
pub(crate) struct Entry<'n> {
    /// Its name and the name's place.
    pub(crate) name: &'n Spanned<String>,
    /// `umem `umem0``, for messages.
    pub(crate) owner: String,
    /// Its values.
    pub(crate) fields: Fields<'n>,
}

/// Reads a section of named objects, each by the section's table of keys. `noun` is what one of them is called.
fn named<T>(
    member: &Member,
    noun: &str,
    read: impl Fn(&Entry<'_>, &mut Problems) -> T,
    problems: &mut Problems,
) -> Vec<T> {
    let keys = keys_of(&member.key.value.to_lowercase());
    let mut entries = Vec::new();
    for entry in object(member, problems).unwrap_or_default() {
        let owner = format!("{noun} {}", quoted(&entry.key.value));
        if entry.key.value.is_empty() {
            let problem =
                Problem::new(codes::BAD_NAME, entry.key.span, format!("the name of {} {noun} is empty", article(noun)));
            problems.push(problem.label("empty").help("write a name in the quotes"));
        }
        let Some(members) = entry.node.as_object() else {
            problems.push(not_a(entry, OBJECT));
            entries.push(read(&Entry { name: &entry.key, owner, fields: Fields::damaged() }, problems));
            continue;
        };
        let fields = Fields::read(keys, &owner, entry.key.span, members, problems);
        entries.push(read(&Entry { name: &entry.key, owner, fields }, problems));
    }
    entries
}

fn article(noun: &str) -> &'static str {
    if noun.starts_with("lport") { "an" } else { "a" }
}

/// The members of a section or entry that must be an object.
pub(crate) fn object<'n>(member: &'n Member, problems: &mut Problems) -> Option<&'n [Member]> {
    let members = member.node.as_object();
    if members.is_none() {
        problems.push(not_a(member, OBJECT));
    }
    members
}

/// What most values are.
const OBJECT: &str = "an object";

fn not_a(member: &Member, wanted: &str) -> Problem {
    let message = format!("{} is {}, but must be {wanted}", quoted(&member.key.value), member.node.describe());
    let help = match wanted {
        OBJECT => "write { \"key\": value, ... }".to_owned(),
        _ => format!("write {wanted}"),
    };
    Problem::new(codes::WRONG_TYPE, member.node.span, message).label(format!("not {wanted}")).help(help)
}

fn section_twice(member: &Member, first: Span) -> Problem {
    let message = format!("the section {} is given twice", quoted(&member.key.value));
    Problem::new(codes::SAME_KEY, member.key.span, message)
        .label("again here")
        .also(first, "first given here")
        .help("names of sections are compared without case; move everything into one")
}

/// Whether none of the file's keys is a section, nor looks as if it should be one.
fn is_another_kind_of_file(members: &[Member], registered: &[String]) -> bool {
    let is_section = |name: &str| {
        let known = || SECTIONS.iter().map(|known| known.name).chain(registered.iter().map(String::as_str));
        name == "$schema" || known().any(|known| known.to_lowercase() == name) || nearest(name, known()).is_some()
    };
    // One unknown key of a long file says as much as all of them.
    members.len() > 1 && !members.iter().take(100).any(|member| is_section(&member.key.value.to_lowercase()))
}

fn another_kind_of_file(members: &[Member]) -> Problem {
    let first = &members[0].key;
    let message = format!("none of the {} keys of this file is a section of an lport file", members.len());
    Problem::new(codes::UNKNOWN_SECTION, first.span, message)
        .label("unknown section, like all others")
        .help(format!("the sections are {}", list(SECTIONS.iter().map(|known| known.name))))
}

/// Reports a section that does not exist; returns the one that it was probably meant to be.
fn unknown_section(member: &Member, registered: &[String], problems: &mut Problems) -> Option<String> {
    let key = &member.key;
    let known = || SECTIONS.iter().map(|known| known.name).chain(registered.iter().map(String::as_str));
    let near = problems.nearest(&key.value, known()).map(str::to_owned);
    let help = match &near {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => format!("the sections are {}", list(known())),
    };
    let problem = Problem::new(codes::UNKNOWN_SECTION, key.span, format!("unknown section {}", quoted(&key.value)));
    problems.push(problem.label("unknown section").help(help));
    near
}
