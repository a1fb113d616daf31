//! Privileges: what a driver says when the kernel wants a capability that the process lacks.
//!
//! 1. Before it opens anything, a driver asks [`missing`]: `lport check --machine` shows the answer, and so does open.
//! 2. When a system call is refused all the same (EPERM, EACCES), [`refusal`] explains it.
//!
//! Either text names the capability and the command that grants it to the program that runs, by its real path.

use std::fmt;
use std::path::Path;

/// A capability of Linux that drivers need (capabilities(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Capability {
    /// `CAP_NET_ADMIN`: makes and configures network interfaces, loads XDP programs onto them.
    NetAdmin,
    /// `CAP_NET_RAW`: opens packet and AF_XDP sockets.
    NetRaw,
    /// `CAP_IPC_LOCK`: locks more memory than RLIMIT_MEMLOCK.
    IpcLock,
    /// `CAP_SYS_ADMIN`: enters other namespaces.
    SysAdmin,
    /// `CAP_BPF`: makes BPF maps and programs.
    Bpf,
}

impl Capability {
    const ALL: [Self; 5] = [Self::NetAdmin, Self::NetRaw, Self::IpcLock, Self::SysAdmin, Self::Bpf];

    /// Its name, `CAP_NET_RAW`.
    pub fn name(self) -> &'static str {
        match self {
            Self::NetAdmin => "CAP_NET_ADMIN",
            Self::NetRaw => "CAP_NET_RAW",
            Self::IpcLock => "CAP_IPC_LOCK",
            Self::SysAdmin => "CAP_SYS_ADMIN",
            Self::Bpf => "CAP_BPF",
        }
    }

    /// Its bit in the kernel's sets, from `linux/capability.h`.
    fn bit(self) -> u32 {
        match self {
            Self::NetAdmin => 12,
            Self::NetRaw => 13,
            Self::IpcLock => 14,
            Self::SysAdmin => 21,
            Self::Bpf => 39,
        }
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What is to be said when the calling thread lacks one of `needed`, without which `purpose` is refused; `None` when it
/// has them all. `purpose` begins the sentence: "a packet socket", "making the interface tap0".
///
/// A process in a user namespace of its own may have them all and still be refused: they are good for that namespace only.
pub fn missing(purpose: &str, needed: &[Capability]) -> Option<String> {
    let sets = Sets::of_this_thread();
    (!sets.hold(needed)).then(|| explain(purpose, needed, &sets, &program()))
}

/// What is to be said when the kernel has refused `purpose`, which needs `needed`.
pub fn refusal(purpose: &str, needed: &[Capability]) -> String {
    explain(purpose, needed, &Sets::of_this_thread(), &program())
}

/// The sets of capabilities of a thread that matter here.
#[derive(Debug, Clone, Copy)]
struct Sets {
    effective: u64,
    bounding: u64,
    is_root: bool,
}

impl Sets {
    /// Those of the calling thread. Where /proc cannot be read, everything counts as held: the kernel has the last word.
    fn of_this_thread() -> Self {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
        Self::parse(&status, nix::unistd::geteuid().is_root())
    }

    fn parse(status: &str, is_root: bool) -> Self {
        let set = |key| {
            let mut lines = status.lines();
            let hexadecimal = lines.find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
            hexadecimal.and_then(|text| u64::from_str_radix(text.trim(), 16).ok()).unwrap_or(u64::MAX)
        };
        Self { effective: set("CapEff"), bounding: set("CapBnd"), is_root }
    }

    fn hold(&self, needed: &[Capability]) -> bool {
        needed.iter().all(|capability| self.effective >> capability.bit() & 1 == 1)
    }

    fn may_ever_hold(&self, needed: &[Capability]) -> bool {
        needed.iter().all(|capability| self.bounding >> capability.bit() & 1 == 1)
    }
}

/// The program that runs, as a shell would need it.
fn program() -> String {
    let path = std::env::current_exe().unwrap_or_else(|_| "lport".into());
    shell_word(&path)
}

fn shell_word(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

fn explain(purpose: &str, needed: &[Capability], sets: &Sets, program: &str) -> String {
    let names = needed.iter().map(|capability| capability.name()).collect::<Vec<_>>().join(" and ");
    if sets.hold(needed) {
        return format!(
            "{purpose} needs {names} in the network's own user namespace: this process has it in another one only; run it \
             outside of its user namespace, or make the network namespace inside"
        );
    }
    let or_root = if sets.is_root { "" } else { ", or run as root" };
    let grant = format!("grant it with `sudo setcap {}+ep {program}`{or_root}", setcap_list(needed, sets));
    if sets.may_ever_hold(needed) {
        format!("{purpose} needs {names}: {grant}")
    } else {
        let bounded =
            "what started this process keeps it from ever having it, so let that, a container or a service, allow it";
        format!("{purpose} needs {names}: {grant}; {bounded}")
    }
}

/// The capabilities a program file is to have. `setcap` sets all of a file's at once, so those that an ordinary user's
/// process has already are named again; root's are not the file's.
fn setcap_list(needed: &[Capability], sets: &Sets) -> String {
    let kept = |capability: &Capability| !sets.is_root && sets.hold(&[*capability]);
    let list = Capability::ALL.into_iter().filter(|capability| needed.contains(capability) || kept(capability));
    list.map(|capability| capability.name().to_lowercase()).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NET: &[Capability] = &[Capability::NetRaw];
    const NET_RAW: u64 = 1 << 13;
    const NET_ADMIN: u64 = 1 << 12;

    fn text(effective: u64, bounding: u64, is_root: bool, needed: &[Capability]) -> String {
        explain("a packet socket", needed, &Sets { effective, bounding, is_root }, "/usr/bin/lport")
    }

    #[test]
    fn the_sets_are_read_from_what_the_kernel_says() {
        let status = "Name:\tlport\nCapInh:\t0000000000000000\nCapEff:\t0000000000002000\nCapBnd:\t000001ffffffffff\n";
        let sets = Sets::parse(status, false);
        assert!(sets.hold(NET) && !sets.hold(&[Capability::NetAdmin]) && sets.may_ever_hold(&Capability::ALL));
        assert!(Sets::parse("", false).hold(&Capability::ALL), "unknown: the kernel decides");
    }

    #[test]
    fn the_command_grants_what_is_missing_and_keeps_what_the_file_gave() {
        assert_eq!(
            text(0, u64::MAX, false, NET),
            "a packet socket needs CAP_NET_RAW: grant it with `sudo setcap cap_net_raw+ep /usr/bin/lport`, or run as root"
        );
        let both = [Capability::NetRaw, Capability::Bpf];
        let grown = text(NET_ADMIN | NET_RAW, u64::MAX, false, &both);
        assert!(
            grown.contains("CAP_NET_RAW and CAP_BPF") && grown.contains("cap_net_admin,cap_net_raw,cap_bpf+ep"),
            "{grown}"
        );
        assert!(
            text(NET_ADMIN, u64::MAX, true, NET).contains("setcap cap_net_raw+ep"),
            "root's own are not the file's"
        );
    }

    #[test]
    fn a_process_that_can_never_have_it_is_told_so_and_one_that_has_it_elsewhere_too() {
        assert!(text(0, !NET_RAW, true, NET).ends_with("a container or a service, allow it"));
        assert!(text(NET_RAW, u64::MAX, true, NET).contains("in the network's own user namespace"));
    }

    #[test]
    fn odd_paths_are_quoted_for_the_shell() {
        for (path, word) in [("/opt/lport-1.0_x", "/opt/lport-1.0_x"), ("/a b/c", "'/a b/c'"), ("/it's", r"'/it'\''s'")]
        {
            assert_eq!(shell_word(Path::new(path)), word);
        }
    }
}
