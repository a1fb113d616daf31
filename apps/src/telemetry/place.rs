//! Where the sockets of telemetry are, by DPDK's rules: `<rundir>/dpdk/<file-prefix>/dpdk_telemetry.v2`, and the same with
//! `:1`, `:2` ... for further processes with one prefix.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use nix::unistd::Uid;

/// The socket of the first process with a prefix.
const SOCKET: &str = "dpdk_telemetry.v2";

/// What tells groups of processes apart: a directory's name, `rte` unless another is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FilePrefix(String);

impl FilePrefix {
    /// The prefix that DPDK's clients take when none is given.
    pub(crate) const DEFAULT: &str = "rte";

    /// The directory of its sockets.
    pub(crate) fn directory(&self) -> PathBuf {
        runtime_directory(|name| std::env::var_os(name), Uid::current().is_root()).join("dpdk").join(&self.0)
    }
}

impl FromStr for FilePrefix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_name = !matches!(text, "" | "." | "..") && !text.contains(['/', '\0']);
        let refused = || format!("`{text}` is no name of a directory: use a word without `/`, such as `rte`");
        if is_name { Ok(Self(text.to_owned())) } else { Err(refused()) }
    }
}

impl std::fmt::Display for FilePrefix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// The socket of process number `instance` with the prefix of `directory`.
pub(crate) fn socket(directory: &Path, instance: u16) -> PathBuf {
    match instance {
        0 => directory.join(SOCKET),
        _ => directory.join(format!("{SOCKET}:{instance}")),
    }
}

/// What stands in the environment wins, if anything does.
fn runtime_directory(environment: impl Fn(&str) -> Option<OsString>, is_root: bool) -> PathBuf {
    let set = |name| environment(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let of_user = || set("XDG_RUNTIME_DIR").unwrap_or_else(|| PathBuf::from("/tmp"));
    set("RUNTIME_DIRECTORY").unwrap_or_else(|| if is_root { PathBuf::from("/var/run") } else { of_user() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runtime_directory_is_found_as_dpdk_finds_it() {
        let find = |set: &[(&str, &str)], is_root| {
            let of = |name: &str| set.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into());
            runtime_directory(of, is_root).display().to_string()
        };
        let (service, user) = (("RUNTIME_DIRECTORY", "/run/x"), ("XDG_RUNTIME_DIR", "/run/user/7"));
        assert_eq!(find(&[service, user], true), "/run/x");
        assert_eq!(find(&[user], true), "/var/run");
        assert_eq!(find(&[user], false), "/run/user/7");
        assert_eq!(find(&[("RUNTIME_DIRECTORY", "")], false), "/tmp");
    }

    #[test]
    fn a_prefix_is_one_name() {
        assert_eq!("left".parse(), Ok(FilePrefix("left".into())));
        for bad in ["", ".", "..", "a/b", "/"] {
            assert!(bad.parse::<FilePrefix>().unwrap_err().contains(&format!("`{bad}`")));
        }
        let directory = Path::new("/run/dpdk/rte");
        assert_eq!(socket(directory, 0), Path::new("/run/dpdk/rte/dpdk_telemetry.v2"));
        assert_eq!(socket(directory, 2), Path::new("/run/dpdk/rte/dpdk_telemetry.v2:2"));
    }
}
