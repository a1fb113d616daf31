//! The sections `umems` and `defaults`.

use pmd_core::deployment::PageSize;

use super::fields::{Fields, Given};
use super::{Entry, object};
use crate::diagnostic::Problems;
use crate::keys::keys_of;
use crate::node::Member;
use crate::source::Spanned;

/// Sizes as a umem or the defaults give them, counted in the file's units of 1024.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sizes {
    pub(crate) bufcnt: Given<Spanned<u64>>,
    pub(crate) bufsz: Given<Spanned<u64>>,
    /// `None` for 0 too: both mean the default.
    pub(crate) rxdesc: Option<u64>,
    pub(crate) txdesc: Option<u64>,
    pub(crate) page: Option<PageSize>,
}

/// What umems and lport-groups fall back to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Defaults {
    pub(crate) sizes: Sizes,
    pub(crate) cache: Option<usize>,
}

/// A memory area.
#[derive(Debug)]
pub(crate) struct Umem {
    pub(crate) name: Spanned<String>,
    pub(crate) sizes: Sizes,
    /// If absent: one region of all buffers.
    pub(crate) regions: Given<Vec<Spanned<u64>>>,
    pub(crate) shared: bool,
}

pub(super) fn read_defaults(member: &Member, problems: &mut Problems) -> Defaults {
    let Some(members) = object(member, problems) else { return Defaults::default() };
    let fields = Fields::read(keys_of("defaults"), "`defaults`", member.key.span, members, problems);
    Defaults { sizes: sizes(&fields), cache: fields.int("cache").and_then(|cache| usize::try_from(cache.value).ok()) }
}

pub(super) fn read(entry: &Entry<'_>) -> Umem {
    let fields = &entry.fields;
    Umem {
        name: entry.name.clone(),
        sizes: sizes(fields),
        regions: fields.says("regions", fields.ints("regions")),
        shared: fields.bool("shared_umem"),
    }
}

fn sizes(fields: &Fields<'_>) -> Sizes {
    let descriptors = |name| fields.int(name).map(|value| value.value).filter(|value| *value > 0);
    Sizes {
        bufcnt: fields.says("bufcnt", fields.int("bufcnt")),
        bufsz: fields.says("bufsz", fields.int("bufsz")),
        rxdesc: descriptors("rxdesc"),
        txdesc: descriptors("txdesc"),
        page: fields.text("mtype").map(|word| page_size(&word.value)),
    }
}

/// The page size of a word that the table of keys has let pass.
fn page_size(word: &str) -> PageSize {
    match word.to_ascii_uppercase().as_str() {
        "2MB" => PageSize::Huge2M,
        "1GB" => PageSize::Huge1G,
        _ => PageSize::Small,
    }
}
