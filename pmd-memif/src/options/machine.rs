//! Whether the socket file of a device can be made, or found, on this machine: looked at, not touched.

use std::os::unix::fs::FileTypeExt;

use nix::unistd::{AccessFlags, access};
use pmd_core::{MachineProblem, Options};

use super::{is_client, socket};
use crate::address::{Address, SocketPath};

/// What stands in the way. Abstract names and inherited sockets need nothing.
pub(crate) fn check_machine(options: &Options) -> Vec<MachineProblem> {
    let Ok(Address::Path(path)) = socket::address(options) else { return Vec::new() };
    if !options.text("listener-fd").is_empty() {
        return Vec::new();
    }
    let is_client = is_client(options);
    let found = if is_client { check_client(&path) } else { check_server(&path, options.bool("mkdir")) };
    // A client waits for its server, and with it for the directory.
    found.map(|message| MachineProblem { option: "socket", message, fatal: !is_client }).into_iter().collect()
}

fn check_client(path: &SocketPath) -> Option<String> {
    let directory = path.directory().display();
    let missing = || format!("{}: there is no directory {directory}, so no server yet", path.as_path().display());
    (!path.directory().is_dir()).then(missing)
}

fn check_server(path: &SocketPath, makes_directory: bool) -> Option<String> {
    let (socket, directory) = (path.as_path().display(), path.directory());
    if !directory.is_dir() {
        let missing =
            || format!("{socket}: there is no directory {}; create it, or say mkdir=yes", directory.display());
        return (!makes_directory).then(missing);
    }
    if let Err(errno) = access(directory, AccessFlags::W_OK | AccessFlags::X_OK) {
        let (directory, why) = (directory.display(), errno.desc());
        return Some(format!("{socket}: no socket can be made in {directory}: {why}; choose another directory"));
    }
    let file = path.as_path().symlink_metadata().ok()?;
    let in_the_way = || format!("{socket} exists and is no socket; remove it or choose another path");
    (!file.file_type().is_socket()).then(in_the_way)
}
