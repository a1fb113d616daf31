//! Umems as pools: one for each region.

use std::collections::HashMap;

use pmd_core::deployment::{PageSize, PoolIndex, PoolSpec};
use pmd_core::pool::POOL_MAX;

use super::unknown;
use crate::codes;
use crate::diagnostic::{Problem, Problems};
use crate::drivers::DriverCheck;
use crate::nearest::{quoted, shown};
use crate::sections::Sections;
use crate::sections::fields::Given;
use crate::sections::lports::{Lport, UmemRef};
use crate::sections::umems::{Defaults, Sizes, Umem};
use crate::source::{Span, Spanned};

/// The file counts buffers, bytes and descriptors in units of this.
const UNIT: usize = 1024;

/// Descriptors of a ring, if the file does not say.
const DESCRIPTORS: u32 = 2048;

/// Mbufs in a thread's cache, if the file does not say.
const CACHE: usize = 256;

/// Name of the umem that lport-groups share, as in CNDP.
const COMMON: &str = "lport-group";

/// Transmit descriptors of that umem, if the file does not say.
const COMMON_TX: u32 = 4096;

/// Bytes of its buffers, if the file does not say.
const COMMON_BUFFER: usize = 2048;

/// Bursts of descriptors that can be under way at once in each direction, for the size of that umem.
const COMMON_FACTOR: usize = 3;

/// All pools, and how to find the one of an lport.
pub(super) struct Pools {
    pub(super) specs: Vec<PoolSpec>,
    pub(super) places: Vec<Span>,
    umems: Vec<UmemPools>,
    by_name: HashMap<String, usize>,
    default_rx: u32,
    default_tx: u32,
    /// Whether the file has umems that are not known, so that a name that leads nowhere is no mistake.
    incomplete: bool,
    /// Whether it is unknown which umem some lport means, so that a umem without lports is no surprise.
    unclear: bool,
}

/// The pools of one umem.
struct UmemPools {
    name: Spanned<String>,
    /// Index of the pool of region 0.
    first: usize,
    /// Number of regions; `None` if the umem is not sound.
    regions: Option<usize>,
    rx_desc: u32,
    tx_desc: u32,
    shared: bool,
    used: bool,
}

/// What an lport takes from its umem.
pub(super) struct Memory {
    pub(super) pool: Option<PoolIndex>,
    pub(super) rx_desc: u32,
    pub(super) tx_desc: u32,
    pub(super) shared: bool,
}

pub(super) fn build(
    sections: &Sections,
    lports: &[Lport],
    drivers: Option<&dyn DriverCheck>,
    problems: &mut Problems,
) -> Pools {
    let defaults = &sections.defaults;
    let mut pools = Pools {
        specs: Vec::new(),
        places: Vec::new(),
        umems: Vec::new(),
        by_name: HashMap::new(),
        default_rx: descriptors(defaults.sizes.rxdesc, DESCRIPTORS),
        default_tx: descriptors(defaults.sizes.txdesc, DESCRIPTORS),
        incomplete: !sections.is_whole("umems"),
        unclear: !sections.is_whole("lports") || !sections.is_whole("lport-groups"),
    };
    for umem in &sections.umems {
        pools.add(umem, defaults, problems);
    }
    if !pools.by_name.contains_key(COMMON) {
        let users: Vec<_> = lports.iter().filter(|lport| shares_common(lport, drivers)).collect();
        if let Some(first) = users.first() {
            pools.add_common(first.name.span, users.len(), defaults, problems);
        }
    }
    check_names(&pools, problems);
    pools
}

/// Whether the lport takes its buffers from the umem that lport-groups share.
fn shares_common(lport: &Lport, drivers: Option<&dyn DriverCheck>) -> bool {
    let driver = lport.pmd.as_ref().map_or("", |pmd| &pmd.driver.value);
    match &lport.umem {
        UmemRef::Common => drivers.is_none_or(|drivers| drivers.needs_umem(driver)),
        UmemRef::Named(name) => lport.of_group && name.value == COMMON,
        UmemRef::Missing | UmemRef::Unsound => false,
    }
}

impl Pools {
    fn add(&mut self, umem: &Umem, defaults: &Defaults, problems: &mut Problems) {
        let regions = self.add_regions(umem, defaults, problems);
        let pools = UmemPools {
            name: umem.name.clone(),
            first: self.specs.len() - regions.unwrap_or(0),
            regions,
            rx_desc: descriptors(umem.sizes.rxdesc, self.default_rx),
            tx_desc: descriptors(umem.sizes.txdesc, self.default_tx),
            shared: umem.shared,
            used: false,
        };
        self.by_name.insert(umem.name.value.clone(), self.umems.len());
        self.umems.push(pools);
    }

    /// Adds a pool for each region and returns how many; `None` if the umem's sizes are not sound.
    fn add_regions(&mut self, umem: &Umem, defaults: &Defaults, problems: &mut Problems) -> Option<usize> {
        let own = &umem.sizes;
        let bufcnt = size(umem, "bufcnt", &own.bufcnt, &defaults.sizes.bufcnt, problems);
        let bufsz = size(umem, "bufsz", &own.bufsz, &defaults.sizes.bufsz, problems);
        let (bufcnt, bufsz) = (bufcnt?, bufsz?);
        let whole = vec![Spanned::new(bufcnt.value, umem.name.span)];
        let regions = match &umem.regions {
            Given::Sound(regions) => regions,
            Given::Unsound => return None,
            Given::Absent => &whole,
        };
        check_sum(umem, regions, &bufcnt, problems)?;
        for (index, region) in regions.iter().enumerate() {
            let name =
                if regions.len() == 1 { umem.name.value.clone() } else { format!("{}.{index}", umem.name.value) };
            self.specs.push(PoolSpec {
                name,
                size: scaled(region.value),
                data_room: scaled(bufsz.value),
                cache: defaults.cache.unwrap_or(CACHE),
                page: own.page.or(defaults.sizes.page).unwrap_or_default(),
            });
            self.places.push(region.span);
        }
        Some(regions.len())
    }

    /// Adds the umem of `lports` lports of groups that name none.
    fn add_common(&mut self, place: Span, lports: usize, defaults: &Defaults, problems: &mut Problems) {
        let Sizes { bufcnt, bufsz, rxdesc, txdesc, page } = &defaults.sizes;
        let (rx_desc, tx_desc) = (descriptors(*rxdesc, DESCRIPTORS), descriptors(*txdesc, COMMON_TX));
        let estimate = COMMON_FACTOR * (rx_desc as usize + tx_desc as usize) * lports;
        let size = bufcnt.sound().map_or(estimate, |bufcnt| scaled(bufcnt.value));
        if size > POOL_MAX {
            problems.push(common_too_large(place, lports, size));
        }
        let name = Spanned::new(COMMON.to_owned(), place);
        let first = self.specs.len();
        self.specs.push(PoolSpec {
            name: COMMON.to_owned(),
            size,
            data_room: bufsz.sound().map_or(COMMON_BUFFER, |bufsz| scaled(bufsz.value)),
            cache: defaults.cache.unwrap_or(CACHE),
            page: page.unwrap_or(PageSize::Small),
        });
        self.places.push(place);
        self.by_name.insert(COMMON.to_owned(), self.umems.len());
        self.umems.push(UmemPools { name, first, regions: Some(1), rx_desc, tx_desc, shared: false, used: true });
    }

    /// The pool and ring sizes of an lport. `needed` says whether its driver cannot do without a umem.
    pub(super) fn of(&mut self, lport: &Lport, needed: bool, problems: &mut Problems) -> Memory {
        let none = Memory { pool: None, rx_desc: self.default_rx, tx_desc: self.default_tx, shared: false };
        let umem = match &lport.umem {
            UmemRef::Named(name) => match self.by_name.get(&name.value) {
                Some(umem) => *umem,
                None => {
                    self.unclear = true;
                    if !self.incomplete {
                        let known = self.umems.iter().map(|umem| &umem.name);
                        problems.push(unknown_umem(lport, name, known, problems));
                    }
                    return none;
                }
            },
            UmemRef::Common => match self.by_name.get(COMMON) {
                Some(umem) => *umem,
                None => return none,
            },
            UmemRef::Missing => {
                if needed {
                    self.unclear = true;
                    problems.push(missing_umem(lport, self));
                }
                return none;
            }
            UmemRef::Unsound => {
                self.unclear = true;
                return none;
            }
        };
        self.region(umem, lport, problems)
    }

    fn region(&mut self, umem: usize, lport: &Lport, problems: &mut Problems) -> Memory {
        let umem = &mut self.umems[umem];
        umem.used = true;
        let wanted = lport.region.as_ref().map_or(Some(0), |region| usize::try_from(region.value).ok());
        let region = wanted.filter(|wanted| umem.regions.is_some_and(|regions| *wanted < regions));
        if let (None, Some(regions), Some(asked)) = (region, umem.regions, &lport.region) {
            problems.push(unknown_region(lport, &umem.name, regions, asked));
        }
        let pool = region.map(|region| PoolIndex(umem.first + region));
        Memory { pool, rx_desc: umem.rx_desc, tx_desc: umem.tx_desc, shared: umem.shared }
    }

    /// Warns of every umem that no lport has asked for.
    pub(super) fn report_unused(&self, problems: &mut Problems) {
        let unused = |umem: &&UmemPools| !umem.used && !umem.name.value.is_empty();
        for umem in self.umems.iter().filter(unused).filter(|_| !self.unclear) {
            let message = format!("no lport uses umem {}", quoted(&umem.name.value));
            let problem = Problem::new(codes::UNUSED_UMEM, umem.name.span, message).label("never used");
            problems.push(problem.help("remove it, or name it in `umem` of an lport"));
        }
    }
}

fn scaled(units: u64) -> usize {
    usize::try_from(units).unwrap_or(usize::MAX).saturating_mul(UNIT)
}

fn descriptors(units: Option<u64>, default: u32) -> u32 {
    units.and_then(|units| u32::try_from(scaled(units)).ok()).unwrap_or(default)
}

/// A size of the umem, or that of `defaults`.
fn size(
    umem: &Umem,
    key: &str,
    own: &Given<Spanned<u64>>,
    default: &Given<Spanned<u64>>,
    problems: &mut Problems,
) -> Option<Spanned<u64>> {
    match (own, default) {
        (Given::Sound(size), _) | (Given::Absent, Given::Sound(size)) => Some(size.clone()),
        (Given::Unsound, _) | (Given::Absent, Given::Unsound) => None,
        (Given::Absent, Given::Absent) => {
            let message = format!("umem {} has no `{key}`, and `defaults` has none either", quoted(&umem.name.value));
            let problem = Problem::new(codes::MISSING_KEY, umem.name.span, message);
            let problem = problem.label(format!("`{key}` is missing"));
            problems.push(problem.help(format!("add `{key}` to the umem, or to `defaults` for all umems")));
            None
        }
    }
}

/// `None` if the regions do not fit into the umem.
fn check_sum(umem: &Umem, regions: &[Spanned<u64>], bufcnt: &Spanned<u64>, problems: &mut Problems) -> Option<()> {
    let sum: u64 = regions.iter().map(|region| region.value).sum();
    if sum <= bufcnt.value {
        return Some(());
    }
    let message = format!(
        "the regions of umem {} have {sum} x1024 buffers, but the umem has {} x1024",
        quoted(&umem.name.value),
        bufcnt.value
    );
    let span = Span::new(regions.first()?.span.start, regions.last()?.span.end);
    problems.push(
        Problem::new(codes::REGIONS_TOO_LARGE, span, message)
            .label(format!("{sum} together"))
            .also(bufcnt.span, format!("only {}", bufcnt.value))
            .help(format!("make `bufcnt` at least {sum}, or the regions smaller")),
    );
    None
}

fn check_names(pools: &Pools, problems: &mut Problems) {
    let mut seen: HashMap<&str, Span> = HashMap::new();
    for (pool, place) in pools.specs.iter().zip(&pools.places) {
        if let Some(first) = seen.insert(&pool.name, *place) {
            let message = format!("two pools are called {}", quoted(&pool.name));
            problems.push(
                Problem::new(codes::SAME_POOL, *place, message)
                    .label("this is one")
                    .also(first, "this is the other")
                    .help("region N of a umem is the pool `umem.N`: give one of the umems another name"),
            );
        }
    }
}

fn unknown_umem<'n>(
    lport: &Lport,
    name: &Spanned<String>,
    known: impl IntoIterator<Item = &'n Spanned<String>>,
    problems: &Problems,
) -> Problem {
    let owner =
        if lport.of_group { "the lport-group".to_owned() } else { format!("lport {}", quoted(&lport.name.value)) };
    let message = format!("{owner} names the umem {}, which does not exist", quoted(&name.value));
    let problem = Problem::new(codes::UNKNOWN_UMEM, name.span, message).label("no such umem");
    unknown(problem, name, "umem", known, problems)
}

fn unknown_region(lport: &Lport, umem: &Spanned<String>, regions: usize, asked: &Spanned<u64>) -> Problem {
    let name = quoted(&umem.value);
    let message = format!(
        "lport {} wants region {} of umem {name}, which has {regions} in all",
        quoted(&lport.name.value),
        asked.value
    );
    let help = match regions {
        1 => "its only region is 0".to_owned(),
        _ => format!("its regions are 0 to {}", regions - 1),
    };
    Problem::new(codes::UNKNOWN_REGION, asked.span, message)
        .label("no such region")
        .also(umem.span, format!("regions: {regions}"))
        .help(help)
}

fn missing_umem(lport: &Lport, pools: &Pools) -> Problem {
    let driver = lport.pmd.as_ref().map_or(String::new(), |pmd| quoted(&pmd.driver.value));
    let message = format!("lport {} has no umem, but its driver {driver} needs one", quoted(&lport.name.value));
    let help = match pools.umems.first() {
        Some(umem) => format!("add \"umem\": \"{}\"", shown(&umem.name.value)),
        None => "add a section `umems`, and \"umem\" to the lport".to_owned(),
    };
    Problem::new(codes::MISSING_UMEM, lport.name.span, message).label("`umem` is missing").help(help)
}

fn common_too_large(place: Span, lports: usize, size: usize) -> Problem {
    let message = format!("the umem of {lports} lports without `umem` would have {size} buffers, more than {POOL_MAX}");
    Problem::new(codes::POOL_TOO_LARGE, place, message)
        .label("has no `umem`")
        .help("set `bufcnt` in `defaults`, or name a umem in the lport-groups")
}
