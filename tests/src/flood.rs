//! Peers that send to us as fast as they can, to be killed and frozen.

use std::io;

use anyhow::Result;

use crate::LportFile;
use crate::memif::{Memif, Role};
use crate::process::Process;
use crate::testbed::Testbed;
use crate::testpmd::Forward;

/// How often a testpmd server is started before its failure counts.
const SERVER_ATTEMPTS: u32 = 5;

/// Which program the peer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// dpdk-testpmd.
    Testpmd,
    /// Another process of ours.
    Lport,
}

/// Starts a peer that sends into the link, and receives what comes back. Its end is `theirs`.
///
/// # Errors
/// When it does not start, or a testpmd gets no link.
pub fn start(testbed: &Testbed, program: Program, theirs: &Memif) -> Result<Process> {
    match program {
        Program::Testpmd => start_testpmd(testbed, theirs, Forward::FlowGen),
        Program::Lport => {
            let file = LportFile::new("tx-only-rx").memif("flood", theirs, 1);
            Ok(testbed.run("flood", &file)?.into_process())
        }
    }
}

/// Starts a testpmd that forwards in its way into the link `theirs`.
///
/// A testpmd server does not survive every client that connects while it starts, as ours does; so it is started again.
///
/// # Errors
/// When it does not start or gets no link.
pub fn start_testpmd(testbed: &Testbed, theirs: &Memif, forward: Forward) -> Result<Process> {
    let attempt = || {
        if theirs.role() == Role::Server {
            remove_socket_file(theirs)?;
        }
        let mut peer = testbed.testpmd("flood").forward(forward).memif(theirs).start()?;
        peer.wait_for_link(0, true)?;
        peer.start_forwarding()?;
        Ok(peer.into_process())
    };
    let attempts = if theirs.role() == Role::Server { SERVER_ATTEMPTS } else { 1 };
    (1..attempts).find_map(|_| attempt().ok()).map_or_else(attempt, Ok)
}

/// Testpmd does not bind over the socket file that a killed one left behind.
fn remove_socket_file(theirs: &Memif) -> io::Result<()> {
    match theirs.socket().path().map(std::fs::remove_file) {
        Some(Err(error)) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
