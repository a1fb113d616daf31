//! Network namespaces: interfaces live in one, and so do abstract names of sockets.
//!
//! A socket belongs for ever to the namespace of the thread that made it. So a socket of another namespace is made on a
//! thread of its own, which enters the namespace and ends with it: no other thread ever changes its namespace.

use std::fs::File;
use std::io;
use std::path::PathBuf;

use nix::sched::{CloneFlags, setns};

use crate::options::{OptionError, OptionSpec, Options};
use crate::privileges::{self, Capability};

/// Where `ip netns add` keeps named namespaces.
const NAMED: &str = "/run/netns";

/// A network namespace, as people name it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Netns {
    /// A name of `ip netns`.
    Name(String),
    /// That of a process.
    Process(u32),
}

/// Why a text names no network namespace.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no network namespace: give a name that `ip netns list` shows, or the number of a process")]
pub struct NetnsError(pub String);

/// A number is a process, everything else a name.
impl std::str::FromStr for Netns {
    type Err = NetnsError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            let pid = text.parse().ok().filter(|pid| *pid > 0);
            return pid.map(Self::Process).ok_or_else(|| NetnsError(text.to_owned()));
        }
        let is_name = !matches!(text, "." | "..") && !text.contains(['/', '\0']);
        if is_name { Ok(Self::Name(text.to_owned())) } else { Err(NetnsError(text.to_owned())) }
    }
}

impl std::fmt::Display for Netns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Process(pid) => write!(f, "process {pid}"),
        }
    }
}

/// The option `netns` of drivers whose devices live in a namespace.
pub const NETNS_OPTION: OptionSpec = OptionSpec::text(
    "netns",
    255,
    "",
    "network namespace of the interface: a name of `ip netns`, or the number of a process",
);

impl Netns {
    /// The namespace that [`NETNS_OPTION`] names; `None`: that of the process.
    ///
    /// # Errors
    /// When it names none.
    pub fn of(options: &Options) -> Result<Option<Self>, OptionError> {
        let text = options.text(NETNS_OPTION.name);
        let parsed = (!text.is_empty()).then(|| text.parse()).transpose();
        parsed.map_err(|error| OptionError::value(NETNS_OPTION.name, format!("option `netns`: {error}")))
    }

    /// Makes something, a socket or an interface, in the namespace.
    ///
    /// # Errors
    /// The namespace does not exist, or we may not enter it; and those of `make`.
    pub fn make<T: Send>(&self, make: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
        let enter_and_make = || {
            self.enter()?;
            make()
        };
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().name("netns".into()).spawn_scoped(scope, enter_and_make)?;
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Moves the calling thread into the namespace, for the rest of its life.
    fn enter(&self) -> io::Result<()> {
        let path = self.path();
        let named = |what: String| io::Error::other(format!("network namespace {self}: {what}"));
        let file = File::open(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => named(format!("there is none ({} is missing)", path.display())),
            _ => named(format!("cannot open {}: {error}", path.display())),
        })?;
        setns(&file, CloneFlags::CLONE_NEWNET).map_err(|errno| match errno {
            nix::errno::Errno::EPERM => {
                named(format!("{}, or in that namespace", privileges::refusal("entering it", &[Capability::SysAdmin])))
            }
            nix::errno::Errno::EINVAL => named(format!("{} is no network namespace", path.display())),
            _ => named(format!("cannot enter: {errno}")),
        })
    }

    fn path(&self) -> PathBuf {
        match self {
            Self::Name(name) => PathBuf::from(NAMED).join(name),
            Self::Process(pid) => PathBuf::from(format!("/proc/{pid}/ns/net")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_a_process_and_a_path_is_nothing() {
        assert_eq!("12".parse(), Ok(Netns::Process(12)));
        assert_eq!("blue-1".parse(), Ok(Netns::Name("blue-1".into())));
        for bad in ["", "0", "99999999999", "a/b", "..", "/proc/1/ns/net"] {
            assert_eq!(bad.parse::<Netns>(), Err(NetnsError(bad.into())));
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "miri has no namespaces")]
    fn a_namespace_that_is_not_there_is_named_with_its_place() {
        let error = Netns::Name("no-such-namespace".into()).make(|| Ok(())).unwrap_err().to_string();
        assert_eq!(
            error,
            "network namespace no-such-namespace: there is none (/run/netns/no-such-namespace is missing)"
        );
    }
}
