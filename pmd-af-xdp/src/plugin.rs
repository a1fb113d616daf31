//! The device plugin that hands the map of sockets to programs without privileges (`uds_path`).
//!
//! The AF_XDP device plugin of Kubernetes loads the XDP program and offers a `SOCK_SEQPACKET` socket to the container. A
//! request and its answer are one datagram each:
//!
//! | request | answer | |
//! |---|---|---|
//! | `/connect,HOSTNAME` | `/host_ok` | once, first |
//! | `/xsk_map_fd,INTERFACE` | `/fd_ack`, with the map's descriptor | for each interface |
//! | `/config_busy_poll,TIMEOUT,BUDGET`, with a socket's descriptor | `/config_busy_poll_ack` | for each socket with `busy_poll` |
//! | `/fin` | `/fin_ack` | last |
//!
//! The plugin serves one connection, so all devices of a process with one `uds_path` share it; the last of them to close
//! says `/fin`. Whatever else it answers refuses the request, and is shown.

use std::collections::HashMap;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use crate::sys::passing::Passing;

/// How long the plugin may take for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// A connection to a plugin, past its greeting.
#[derive(Debug)]
pub(crate) struct Plugin {
    path: PathBuf,
    connection: Mutex<Passing>,
}

/// The connections of a driver, by their paths.
#[derive(Debug, Default)]
pub(crate) struct Plugins(Mutex<HashMap<PathBuf, Weak<Plugin>>>);

impl Plugins {
    /// The connection to the plugin at `path`.
    ///
    /// # Errors
    /// When there is none, or it does not know us.
    pub(crate) fn connect(&self, path: &Path) -> Result<Arc<Plugin>, String> {
        let mut plugins = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(plugin) = plugins.get(path).and_then(Weak::upgrade) {
            return Ok(plugin);
        }
        let connection = Passing::connect(path, PATIENCE).map_err(|error| {
            let place = path.display();
            format!("cannot connect to the device plugin at `uds_path` {place}: {error}; is the socket mounted here?")
        })?;
        let plugin = Plugin { path: path.to_owned(), connection: Mutex::new(connection) };
        plugin.ask(&format!("/connect,{}", host_name()), None, "/host_ok")?;
        let plugin = Arc::new(plugin);
        plugins.insert(path.to_owned(), Arc::downgrade(&plugin));
        Ok(plugin)
    }
}

impl Plugin {
    /// The map of sockets of an interface.
    ///
    /// # Errors
    /// When the plugin does not have it.
    pub(crate) fn map_of(&self, interface: &str) -> Result<OwnedFd, String> {
        let fd = self.ask(&format!("/xsk_map_fd,{interface}"), None, "/fd_ack")?;
        fd.ok_or_else(|| format!("{}: it sent `/fd_ack` without a descriptor", self.name()))
    }

    /// Has the plugin set up busy polling for a socket, which needs a privilege.
    ///
    /// # Errors
    /// When it will not.
    pub(crate) fn busy_poll(&self, socket: BorrowedFd<'_>, microseconds: u32, budget: u32) -> Result<(), String> {
        let request = format!("/config_busy_poll,{microseconds},{budget}");
        self.ask(&request, Some(socket), "/config_busy_poll_ack").map(drop)
    }

    /// Sends a request and takes its answer.
    fn ask(&self, request: &str, fd: Option<BorrowedFd<'_>>, good: &str) -> Result<Option<OwnedFd>, String> {
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let exchanged = connection.send(request, fd).and_then(|()| connection.receive());
        match exchanged {
            Ok((answer, fd)) if answer == good => Ok(fd),
            Ok((answer, _)) if answer.is_empty() => Err(format!("{}: it hung up at `{request}`", self.name())),
            Ok((answer, _)) => Err(format!("{}: it answered `{request}` with `{answer}`, not `{good}`", self.name())),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let seconds = PATIENCE.as_secs();
                Err(format!("{}: no answer to `{request}` within {seconds} seconds", self.name()))
            }
            Err(error) => Err(format!("{}: `{request}` failed: {error}", self.name())),
        }
    }

    fn name(&self) -> String {
        format!("device plugin at `uds_path` {}", self.path.display())
    }
}

impl Drop for Plugin {
    fn drop(&mut self) {
        // It may be gone already, or leave without a word.
        if let Err(error) = self.ask("/fin", None, "/fin_ack") {
            tracing::debug!("{error}");
        }
    }
}

/// The name by which a plugin knows our pod.
fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned()
}
