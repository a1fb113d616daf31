//! The keys of every section: the one table that the parser, the lists in messages and the JSON Schema are made from.

use Kind::{Bool, Choice, Descriptors, Driver, Ignored, Int, Ints, Name, Names, Options, Queues, Text};

/// A section of the file.
pub(crate) struct Section {
    /// Its name; matched without case.
    pub(crate) name: &'static str,
    /// What it holds.
    pub(crate) shape: Shape,
    /// One or two lines for people.
    pub(crate) help: &'static str,
}

/// What a section holds.
pub(crate) enum Shape {
    /// One object with these keys.
    Record(&'static [Key]),
    /// One object with these keys and scalars of any other name.
    OpenRecord(&'static [Key]),
    /// Named objects, each with these keys.
    Named(&'static [Key]),
    /// Named lists of CPUs.
    CpuLists,
    /// One object with whatever keys, for the application.
    Object,
    /// Anything, for the application.
    Free,
}

/// A key of a section or of one of its entries.
pub(crate) struct Key {
    /// The name, exactly spelt.
    pub(crate) name: &'static str,
    /// A second name for the same thing.
    pub(crate) alias: Option<&'static str>,
    /// Type and range.
    pub(crate) kind: Kind,
    /// Whether it must be there.
    pub(crate) required: bool,
    /// What holds without it, in words; empty for nothing.
    pub(crate) default: &'static str,
    /// One line for people.
    pub(crate) help: &'static str,
}

/// Type and range of a value.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    Bool,
    /// A whole number, both ends included.
    Int {
        min: u64,
        max: u64,
        unit: &'static str,
    },
    /// Descriptors of a ring, counted in 1024: 0 (the default) or a power of two up to 32.
    Descriptors,
    Text,
    /// A driver, perhaps with options behind a colon.
    Driver,
    /// The name of something else in the file; not empty.
    Name,
    /// One of a few words, in any case. The empty string is the first of them, as in CNDP.
    Choice(&'static [&'static str]),
    /// An array of whole numbers.
    Ints {
        min: u64,
        max: u64,
        unit: &'static str,
    },
    /// An array of names; one name alone may do without the brackets if `or_one`.
    Names {
        or_one: bool,
    },
    /// Queue numbers: a number, `"all"`, ranges, or an array of those.
    Queues,
    /// Driver options as an object.
    Options,
    /// Whatever it is, it has no effect.
    Ignored,
}

/// Largest number of 1024 buffers: [`pmd_core::pool::POOL_MAX`].
const BUFCNT_MAX: u64 = (pmd_core::pool::POOL_MAX / 1024) as u64;

/// Largest CPU number: as many as the Linux kernel can be built for.
pub(crate) const CPU_MAX: u64 = 8191;

/// How the units of numbers begin that count in 1024.
pub(crate) const UNITS: &str = "x1024";

const BUFCNT: Kind = Int { min: 1, max: BUFCNT_MAX, unit: "x1024 buffers" };
const BUFSZ: Kind = Int { min: 1, max: 64, unit: "x1024 bytes" };
const PAGES: Kind = Choice(&["4KB", "2MB", "1GB", "default"]);

impl Key {
    const fn new(name: &'static str, kind: Kind, help: &'static str) -> Self {
        Self { name, alias: None, kind, required: false, default: "", help }
    }

    const fn alias(mut self, alias: &'static str) -> Self {
        self.alias = Some(alias);
        self
    }

    const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    const fn default(mut self, default: &'static str) -> Self {
        self.default = default;
        self
    }

    /// Both of its names.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.name).chain(self.alias)
    }
}

const DESCRIPTION: Key = Key::new("description", Text, "For people.").alias("desc");
const PMD: Key = Key::new("pmd", Driver, "The driver, `name` or `name:key=value,key=value`.");
const PMD_OPTS: Key = Key::new("pmd_opts", Options, "Options of the driver as an object.");
const UMEM: Key = Key::new("umem", Name, "The umem whose buffers hold the received packets.");
const BUSY_POLL: Key = Key::new("busy_poll", Bool, "AF_XDP: busy polling.").alias("busy_polling").default("false");
const BUSY_TIMEOUT: Key = Key::new(
    "busy_timeout",
    Int { min: 0, max: 65535, unit: "us" },
    "AF_XDP: busy poll timeout; 0 is 20 us, as in CNDP.",
)
.default("0");
const BUSY_BUDGET: Key = Key::new(
    "busy_budget",
    Int { min: 0, max: 65535, unit: "packets" },
    "AF_XDP: busy poll budget; 0 is 64 packets, as in CNDP.",
)
.default("0");
const FORCE_WAKEUP: Key =
    Key::new("force_wakeup", Bool, "AF_XDP: wake the kernel for every transmission.").default("false");
const SKB_MODE: Key = Key::new("skb_mode", Bool, "AF_XDP: the generic path, which copies.").default("false");
const UNALIGNED: Key = Key::new(
    "unaligned_buffers",
    Bool,
    "AF_XDP: buffers anywhere in the umem, packed, instead of in chunks of a power of two.",
)
.default("false");
const PIN_PATH: Key =
    Key::new("xsk_pin_path", Text, "AF_XDP: where the map of sockets is pinned; the program is then somebody else's.");
const UDS_PATH: Key =
    Key::new("uds_path", Text, "AF_XDP: the socket of a device plugin that hands out the map of sockets.");
const INHIBIT: Key = Key::new("inhibit_prog_load", Ignored, "Of older files; has no effect.");

const APPLICATION: &[Key] = &[Key::new("name", Text, "Name of the application."), DESCRIPTION];

const DEFAULTS: &[Key] = &[
    Key::new("bufcnt", BUFCNT, "Buffers of a umem, in units of 1024."),
    Key::new("bufsz", BUFSZ, "Size of a buffer, in units of 1024 bytes."),
    Key::new("rxdesc", Descriptors, "Receive descriptors, in units of 1024.").default("2"),
    Key::new("txdesc", Descriptors, "Transmit descriptors, in units of 1024.").default("2"),
    Key::new("cache", Int { min: 0, max: 4096, unit: "mbufs" }, "Mbufs that a thread keeps in its cache.")
        .default("256"),
    Key::new("mtype", PAGES, "Page size of the memory.").default("4KB"),
];

const UMEMS: &[Key] = &[
    Key::new("bufcnt", BUFCNT, "Buffers of this umem, in units of 1024.").default("`defaults`"),
    Key::new("bufsz", BUFSZ, "Size of a buffer, in units of 1024 bytes.").default("`defaults`"),
    Key::new("mtype", PAGES, "Page size of the memory.").default("`defaults`, or 4KB"),
    Key::new(
        "regions",
        Ints { min: 1, max: BUFCNT_MAX, unit: "x1024 buffers" },
        "Sizes of the pools this umem is divided into, in units of 1024 buffers; their sum is at most bufcnt.",
    )
    .default("one region of all buffers"),
    Key::new("rxdesc", Descriptors, "Receive descriptors of its lports, in units of 1024; 0 takes `defaults`.")
        .default("`defaults`, or 2"),
    Key::new("txdesc", Descriptors, "Transmit descriptors of its lports, in units of 1024; 0 takes `defaults`.")
        .default("`defaults`, or 2"),
    Key::new(
        "shared_umem",
        Bool,
        "AF_XDP: sockets whose lports name one region share one umem, instead of registering it once each.",
    )
    .default("false"),
    DESCRIPTION,
];

const LPORTS: &[Key] = &[
    PMD.required(),
    PMD_OPTS,
    Key::new("netdev", Name, "The device.").default("the name of the lport before its colon"),
    Key::new("qid", Int { min: 0, max: 65535, unit: "" }, "Queue of the device.").default("0"),
    UMEM,
    Key::new("region", Int { min: 0, max: 65535, unit: "" }, "Region of the umem, from 0.").default("0"),
    BUSY_POLL,
    BUSY_TIMEOUT,
    BUSY_BUDGET,
    FORCE_WAKEUP,
    SKB_MODE,
    UNALIGNED,
    PIN_PATH,
    UDS_PATH,
    INHIBIT,
    DESCRIPTION,
];

const LPORT_GROUPS: &[Key] = &[
    Key::new("netdevs", Names { or_one: false }, "Devices; each gets an lport for every queue.").required(),
    Key::new("queues", Queues, "Queues of every device: 3, \"0-3\", \"0-3,8\", an array of those, or \"all\".")
        .default("\"all\""),
    Key::new("threads", Names { or_one: false }, "Threads that share the lports, dealt in turn.").required(),
    PMD.default("net_af_xdp"),
    PMD_OPTS,
    UMEM.default("a umem made for all lport-groups"),
    BUSY_POLL,
    BUSY_TIMEOUT,
    BUSY_BUDGET,
    FORCE_WAKEUP,
    SKB_MODE,
    UNALIGNED,
    PIN_PATH,
    UDS_PATH,
    INHIBIT,
    DESCRIPTION,
];

const THREADS: &[Key] = &[
    Key::new("group", Name, "The lcore-group it runs on.").default("the group `default`, if there is one"),
    Key::new("lports", Names { or_one: true }, "The lports it polls, in order. An lport has one thread."),
    Key::new(
        "idle_timeout",
        Int { min: 0, max: 300_000, unit: "ms" },
        "How long it polls without traffic before it sleeps, in ms; 0 never sleeps.",
    )
    .default("0"),
    Key::new(
        "intr_timeout",
        Int { min: 0, max: 60_000, unit: "ms" },
        "How long one sleep lasts at most, in ms; 0 is off.",
    )
    .default("1000"),
    DESCRIPTION,
];

/// Every section that this crate reads.
pub(crate) const SECTIONS: &[Section] = &[
    Section { name: "application", shape: Shape::OpenRecord(APPLICATION), help: "About the application." },
    Section { name: "defaults", shape: Shape::Record(DEFAULTS), help: "What umems and lport-groups fall back to." },
    Section { name: "umems", shape: Shape::Named(UMEMS), help: "Memory areas and their pools of buffers." },
    Section {
        name: "lports",
        shape: Shape::Named(LPORTS),
        help: "Logical ports, `netdev[:tag]`: one queue of a device each.",
    },
    Section {
        name: "lport-groups",
        shape: Shape::Named(LPORT_GROUPS),
        help: "Makes an lport `netdev:queue` for every netdev and queue, and deals them over threads.",
    },
    Section { name: "lcore-groups", shape: Shape::CpuLists, help: "Named lists of CPUs for threads." },
    Section { name: "options", shape: Shape::Object, help: "Settings of the application." },
    Section { name: "threads", shape: Shape::Named(THREADS), help: "Polling threads, `type[:tag]`." },
    Section { name: "user-data", shape: Shape::Free, help: "Free form, kept for the application." },
];

/// The keys of a section's object or of its entries.
pub(crate) fn keys_of(section: &str) -> &'static [Key] {
    match SECTIONS.iter().find(|known| known.name == section).map(|known| &known.shape) {
        Some(Shape::Record(keys) | Shape::OpenRecord(keys) | Shape::Named(keys)) => keys,
        _ => &[],
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let counted = |unit: &str| if unit.is_empty() { String::new() } else { format!(" ({unit})") };
        match self {
            Bool => f.write_str("true or false"),
            Int { min, max, unit } => write!(f, "a whole number from {min} to {max}{}", counted(unit)),
            Descriptors => f.write_str("a power of two from 1 to 32 (x1024 descriptors), or 0 for the default"),
            Text => f.write_str("a string"),
            Driver => f.write_str("a driver, \"name\" or \"name:key=value,key=value\""),
            Name => f.write_str("a name in quotes"),
            Choice(words) => write!(f, "one of {}", crate::nearest::list(words.iter().copied())),
            Ints { min, max, unit } => write!(f, "an array of whole numbers from {min} to {max}{}", counted(unit)),
            Names { or_one: false } => f.write_str("an array of names"),
            Names { or_one: true } => f.write_str("an array of names, or one name"),
            Queues => f.write_str("a number, \"0-3\", \"all\", or an array of numbers and ranges"),
            Options => f.write_str("an object of options"),
            Ignored => f.write_str("anything"),
        }
    }
}
