//! The machine, for one test at a time.
//!
//! Poll loops of two tests on the same cores would slow each other down beyond any deadline. So a [`Testbed`] holds a
//! lock on a file beside the test programs, from its making until it is dropped: tests of one build tree run one after
//! the other, whatever runner starts them and in however many processes.

use std::cell::Cell;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::cargo::program_directory;
use crate::lport::Lport;
use crate::lport_file::LportFile;
use crate::memif::{Memif, Role, Socket};
use crate::testpmd::{Builder, Testpmd};

/// Exclusive use of the machine and a directory of its own. Processes must be dropped before it.
#[derive(Debug)]
pub struct Testbed {
    directory: TempDir,
    peers: Cell<u32>,
    _lock: File,
}

impl Testbed {
    /// Waits for its turn.
    ///
    /// # Errors
    /// When the lock or the directory cannot be made.
    pub fn new() -> Result<Self> {
        let lock = program_directory()?.join("lport-tests.lock");
        let file = File::options().create(true).append(true).open(&lock);
        let file = file.with_context(|| format!("cannot open {}", lock.display()))?;
        file.lock().with_context(|| format!("cannot lock {}", lock.display()))?;
        let directory = tempfile::Builder::new().prefix("lport-test-").tempdir()?;
        Ok(Self { directory, peers: Cell::new(0), _lock: file })
    }

    /// The directory of this test, gone afterwards.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// A path in the directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory().join(name)
    }

    /// A socket file in the directory.
    pub fn path_socket(&self, name: &str) -> Socket {
        Socket::Path(self.path(name))
    }

    /// An abstract socket name that no other test uses.
    pub fn abstract_socket(&self, name: &str) -> Socket {
        Socket::Abstract(self.path(name).display().to_string())
    }

    /// Writes an lport file (or any other) into the directory.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.path(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    /// A testpmd yet to be started; `name` is how messages call it.
    pub fn testpmd(&self, name: &str) -> Builder<'_> {
        self.peers.set(self.peers.get() + 1);
        Builder::new(self, &format!("{name}-{}", self.peers.get()))
    }

    /// Starts our program with these arguments, in the directory.
    ///
    /// # Errors
    /// When it cannot be built or started.
    pub fn lport(&self, arguments: &[&str]) -> Result<Lport> {
        Lport::start(self.directory(), arguments)
    }

    /// The same through `starter`, a command that runs the program in its last argument in its own place: `env`, `setpriv`.
    ///
    /// # Errors
    /// When it cannot be built or started.
    pub fn lport_by(&self, starter: Command, arguments: &[&str]) -> Result<Lport> {
        Lport::start_by(self.directory(), starter, arguments)
    }

    /// Runs a file of ours with live counters ten times a second, and waits for the first.
    ///
    /// # Errors
    /// When the file cannot be written, or our program cannot be built or ends at once.
    pub fn run(&self, name: &str, file: &LportFile) -> Result<Lport> {
        self.run_with(name, file, &[])
    }

    /// As [`Self::run`], with further arguments.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn run_with(&self, name: &str, file: &LportFile, arguments: &[&str]) -> Result<Lport> {
        let path = self.write(&format!("{name}.jsonc"), &file.text())?.display().to_string();
        let lport = self.lport(&[&["run", &*path, "--json", "--stats-period", "0.1"], arguments].concat())?;
        lport.wait_for_first_counters()?;
        Ok(lport)
    }

    /// Runs a file with one end of a link and starts `peer`, a testpmd with the other end as its first port: the server
    /// of the two first, because testpmd's client connects only once. Waits for the link.
    ///
    /// # Errors
    /// When one of them does not start or the link does not come up.
    pub fn run_with_peer(&self, file: &LportFile, ours: &Memif, peer: Builder<'_>) -> Result<(Lport, Testpmd)> {
        let run = || self.run("lport", file);
        let start_peer = || peer.memif(&ours.peer()).start();
        let (lport, mut peer) = match ours.role() {
            Role::Server => {
                let lport = run()?;
                (lport, start_peer()?)
            }
            Role::Client => {
                let peer = start_peer()?;
                (run()?, peer)
            }
        };
        peer.wait_for_link(0, true)?;
        Ok((lport, peer))
    }

    /// Where testpmd's EAL may put its files.
    pub(crate) fn runtime_directory(&self) -> Result<PathBuf> {
        let path = self.path("run");
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(path)
    }
}

/// The CPUs we may run on, ascending.
///
/// # Errors
/// When the kernel does not say.
pub fn allowed_cpus() -> Result<Vec<usize>> {
    let allowed = sched_getaffinity(Pid::from_raw(0)).context("cannot ask for the allowed CPUs")?;
    let cpus: Vec<_> = (0..CpuSet::count()).filter(|&cpu| allowed.is_set(cpu).unwrap_or(false)).collect();
    ensure!(!cpus.is_empty(), "the kernel allows no CPU at all");
    Ok(cpus)
}
