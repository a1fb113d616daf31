//! Options of `net_memif`: DPDK's names and defaults, and our own; and the one word of CNDP's `net_memif_socket`.

mod machine;
mod socket;

use std::time::Duration;

use pmd_core::{OptionError, OptionKind, OptionSpec, Options};

use crate::address::Address;
use crate::control::{ClientConfig, InterfaceConfig, Role, ServerConfig};
use crate::device::Settings;
use crate::handshake::{Mode, SealPolicy};
use crate::link::Exports;
use crate::listener::FileOptions;
use crate::queue::RxMode;
use crate::secret::Secret;
use crate::shm::CacheLine;

pub(crate) use machine::check_machine;

/// Most queue pairs of a device.
pub(crate) const QUEUES_MAX: usize = 255;

/// The socket that DPDK takes when none is named.
const DEFAULT_SOCKET: &str = "/run/memif.sock";

/// The abstract name that CNDP always uses.
const CNDP_SOCKET: &str = "/var/run/memif.sock";

/// The table of `net_memif`.
pub(crate) const OPTIONS: &[OptionSpec] = &[
    OptionSpec::choice(
        "role",
        &["client", "server", "slave", "master"],
        "client connects and owns the memory, server listens",
    ),
    OptionSpec::int(
        "id",
        0,
        u32::MAX as u64,
        "0",
        "interface id; tells the interfaces of one socket apart, equal on both sides",
    ),
    OptionSpec::text("socket", 107, DEFAULT_SOCKET, "path of the socket file, or its abstract name"),
    OptionSpec::flag("socket-abstract", "yes", "whether `socket` is an abstract name instead of a file"),
    OptionSpec::flag("socket-padded", "no", "abstract name padded with NULs, as CNDP and DPDK up to 21.05 do"),
    OptionSpec::int("rsize", 1, 14, "10", "log2 of the descriptors of each ring (client)"),
    OptionSpec::int("bsize", 1, 65535, "2048", "bytes of each buffer (client)"),
    OptionSpec::mac("mac", "Ethernet address of the interface (default: random)"),
    OptionSpec::text("secret", Secret::MAX_LEN, "", "what a client must know to connect, equal on both sides"),
    OptionSpec::choice(
        "mode",
        &["ethernet", "ip", "punt-inject"],
        "what packets are, equal on both sides; punt-inject is refused",
    ),
    OptionSpec::flag(
        "zero-copy",
        "no",
        "share packets with the peer instead of copying them; trusts it not to write into them while they are read",
    ),
    OptionSpec::int("owner-uid", 0, u32::MAX as u64, "", "user that is to own the socket file (server)"),
    OptionSpec::int("owner-gid", 0, u32::MAX as u64, "", "group that is to own the socket file (server)"),
    OptionSpec::text("socket-mode", 255, "", "permissions of the socket file, octal, such as 660 (server)"),
    OptionSpec::flag("mkdir", "no", "make the directory of the socket file when it is not there (server)"),
    OptionSpec::text(
        "netns",
        255,
        "",
        "network namespace of an abstract socket: a name of `ip netns`, or the number of a process",
    ),
    OptionSpec::text(
        "allowed-uids",
        255,
        "",
        "users that may connect, by number, separated by `:` or `,` (server; default: all)",
    ),
    OptionSpec::text(
        "listener-fd",
        255,
        "",
        "listening socket to take over: a descriptor, or a name in systemd's LISTEN_FDNAMES (server)",
    ),
    OptionSpec::int(
        "segment-max",
        64,
        9216,
        "2048",
        "bytes put into one descriptor at most; larger packets become chains",
    ),
    OptionSpec::choice(
        "rx-mode",
        &["adaptive", "polling", "interrupt"],
        "when the peer interrupts us: while a thread sleeps; never; always, for an event loop that polls when woken",
    ),
    OptionSpec::choice("cache-line", &["64", "128"], "cache line that lays out the ring headers, equal on both sides"),
    OptionSpec::choice(
        "seals",
        &["require", "warn"],
        "whether a client's memory must be sealed against shrinking, or may be unsealed, as of zero-copy peers (server)",
    ),
    OptionSpec::int(
        "handshake-timeout",
        10,
        60_000,
        "",
        "milliseconds that a handshake may take (default: server 2000, client 10000)",
    ),
];

/// The table of `net_memif_socket`: one word, the role.
pub(crate) const CNDP_OPTIONS: &[OptionSpec] = &[
    OptionSpec { name: "client", kind: OptionKind::Choice(&[""]), default: "", help: "connect" },
    OptionSpec { name: "server", kind: OptionKind::Choice(&[""]), default: "", help: "listen (default)" },
];

/// What a checked table of options makes of a device.
pub(crate) struct Configured {
    pub(crate) interface: InterfaceConfig,
    pub(crate) settings: Settings,
}

/// Checks what the table of `net_memif` cannot express.
///
/// # Errors
/// Every problem found.
pub(crate) fn check(options: &Options, queues: usize) -> Result<(), Vec<OptionError>> {
    let mut errors = Vec::new();
    errors.extend(socket::address(options).err());
    if options.text("mode") == "punt-inject" {
        errors
            .push(OptionError::value("mode", "option `mode` is punt-inject, which no peer speaks: use ethernet or ip"));
    }
    errors.extend(socket::check(options, is_client(options)));
    if options.bool("socket-padded") && !options.bool("socket-abstract") {
        errors.push(OptionError::value("socket-padded", "option `socket-padded` goes with `socket-abstract` only"));
    }
    if queues > QUEUES_MAX {
        let message =
            format!("the device has {queues} queues, but a memif has {QUEUES_MAX} at most: use a second device");
        errors.push(OptionError::value("id", message));
    }
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

/// The device `name` that the options of `net_memif` describe.
///
/// # Errors
/// As [`check`], the first problem only.
pub(crate) fn configure(name: &str, options: &Options, queues: usize) -> Result<Configured, String> {
    check(options, queues).map_err(|errors| errors[0].to_string())?;
    let is_client = is_client(options);
    let line = if options.text("cache-line") == "128" { CacheLine::B128 } else { CacheLine::B64 };
    let number = |key| options.int(key).unwrap_or_default() as u32;
    let settings = Settings {
        is_client,
        queues,
        buffer_size: number("bsize"),
        segment_max: number("segment-max"),
        line,
        mac: options.mac("mac").unwrap_or_else(random_mac),
        borrows: options.bool("zero-copy") && !is_client,
        rx_mode: match options.text("rx-mode") {
            "polling" => RxMode::Polling,
            "interrupt" => RxMode::Interrupt,
            _ => RxMode::Adaptive,
        },
        exports: Exports::default(),
    };
    let role = if is_client {
        Role::Client(client(queues, number("rsize") as u8))
    } else {
        Role::Server(ServerConfig {
            seals: if options.text("seals") == "warn" { SealPolicy::Waive } else { SealPolicy::Require },
            file: FileOptions {
                owner_uid: options.int("owner-uid").map(|id| id as u32),
                owner_gid: options.int("owner-gid").map(|id| id as u32),
                mode: socket::mode(options).map_err(|error| error.to_string())?,
                make_directory: options.bool("mkdir"),
            },
            inherited: socket::inherited(options)?,
            allowed_uids: socket::allowed_uids(options).map_err(|error| error.to_string())?,
            ..server(line)
        })
    };
    let address = socket::address(options).map_err(|error| error.to_string())?;
    let secret = Secret::new(options.text("secret")).map_err(|error| error.to_string())?;
    let mode = if options.text("mode") == "ip" { Mode::Ip } else { Mode::Ethernet };
    let timeout = options.int("handshake-timeout").map_or(handshake_timeout(is_client), Duration::from_millis);
    let interface = InterfaceConfig {
        id: number("id"),
        mode,
        secret,
        handshake_timeout: timeout,
        ..interface(name, address, role)
    };
    Ok(Configured { interface, settings })
}

/// Checks CNDP's one word.
///
/// # Errors
/// When both words are given.
pub(crate) fn check_cndp(options: &Options) -> Result<(), Vec<OptionError>> {
    if options.is_given("client") && options.is_given("server") {
        return Err(vec![OptionError::value("server", "`client` and `server` exclude each other: keep one")]);
    }
    Ok(())
}

/// The device that CNDP means: everything but the role is fixed.
///
/// # Errors
/// As [`check_cndp`].
pub(crate) fn configure_cndp(name: &str, options: &Options, queues: usize) -> Result<Configured, String> {
    check_cndp(options).map_err(|errors| errors[0].to_string())?;
    let is_client = options.is_given("client");
    let line = CacheLine::B64;
    let role = if is_client { Role::Client(client(queues, 10)) } else { Role::Server(server(line)) };
    let address = Address::abstract_padded(CNDP_SOCKET).map_err(|error| error.to_string())?;
    let settings = Settings {
        is_client,
        queues,
        buffer_size: 2048,
        segment_max: 2048,
        line,
        mac: random_mac(),
        borrows: false,
        rx_mode: RxMode::Adaptive,
        exports: Exports::default(),
    };
    Ok(Configured { interface: interface(name, address, role), settings })
}

/// A server has its id on its socket for itself; clients may be several.
pub(crate) fn claim(options: &Options) -> Option<String> {
    let id = options.int("id").filter(|_| !is_client(options))?;
    Some(claimed(id, &socket::address(options).ok()?))
}

/// The same for CNDP's form.
pub(crate) fn claim_cndp(options: &Options) -> Option<String> {
    let address = Address::abstract_padded(CNDP_SOCKET).ok().filter(|_| !options.is_given("client"))?;
    Some(claimed(0, &address))
}

fn claimed(id: u64, address: &Address) -> String {
    format!("memif id {id} on {address}")
}

/// Whether the device's pools are to be shared with the peer.
pub(crate) fn shares_pools(options: &Options) -> bool {
    options.bool("zero-copy") && is_client(options)
}

fn is_client(options: &Options) -> bool {
    matches!(options.text("role"), "client" | "slave")
}

fn interface(name: &str, address: Address, role: Role) -> InterfaceConfig {
    let handshake_timeout = handshake_timeout(matches!(role, Role::Client(_)));
    InterfaceConfig {
        name: name.to_owned(),
        app_name: concat!("pmd ", env!("CARGO_PKG_VERSION")).to_owned(),
        address,
        id: 0,
        role,
        mode: Mode::Ethernet,
        secret: Secret::NONE,
        handshake_timeout,
    }
}

/// A server drops who does not go on, so that its interface is free again. A client has more patience: DPDK listens before
/// its port has started, and panics when the client that it then meets has given up.
fn handshake_timeout(is_client: bool) -> Duration {
    if is_client { Duration::from_secs(10) } else { InterfaceConfig::HANDSHAKE_TIMEOUT }
}

fn client(queues: usize, log2_ring_size: u8) -> ClientConfig {
    // `check` made sure that the number fits.
    let rings = queues.min(QUEUES_MAX) as u16;
    ClientConfig { s2m_rings: rings, m2s_rings: rings, log2_ring_size }
}

fn server(line: CacheLine) -> ServerConfig {
    ServerConfig {
        seals: SealPolicy::Require,
        max_memory: ServerConfig::MAX_MEMORY,
        cache_line: line,
        file: FileOptions::default(),
        inherited: None,
        allowed_uids: None,
    }
}

/// A random unicast address, locally administered.
fn random_mac() -> [u8; 6] {
    use std::hash::{BuildHasher, RandomState};
    let [a, b, c, d, e, ..] = RandomState::new().hash_one("mac").to_le_bytes();
    [0x02, a, b, c, d, e]
}
