//! The process whose latency is compared: it sends back what comes over one memif, untouched, on a CPU of its own.
//!
//! testpmd does so in its mode `io` with a single port, `lport run` in its mode `fwd` with an lport that is mapped to itself.
//! Both are the memif's server, so that either takes one tester after the other; neither prints counters meanwhile.

use anyhow::Result;
use serde_json::json;

use super::processes::{Program, Running};
use crate::lport_file::LportFile;
use crate::memif::{Memif, Role};
use crate::process::Process;
use crate::testbed::Testbed;
use crate::testpmd::Forward;

/// A running one.
#[derive(Debug)]
pub(super) struct Reflector {
    running: Running,
    server: Memif,
}

impl Reflector {
    /// Starts `program` on a CPU.
    ///
    /// # Errors
    /// When it does not start.
    pub(super) fn start(testbed: &Testbed, program: Program, cpu: usize, burst: u16) -> Result<Self> {
        let name = format!("reflect-{}", program.word());
        let server = Memif::new(Role::Server, &testbed.abstract_socket(&name));
        let running = match program {
            Program::Testpmd => {
                let builder = testbed.testpmd(&name).cpu(cpu).burst(burst).memif(&server).forward(Forward::Io);
                let mut testpmd = builder.start()?;
                testpmd.start_forwarding()?;
                Running::Testpmd(testpmd)
            }
            Program::Lport => {
                let file = LportFile::new("fwd").cpu(cpu).memif("link", &server, 1);
                let file = file.option("port-map", json!({ "link:0": "link:0" }));
                let path = testbed.write(&format!("{name}.jsonc"), &file.text())?.display().to_string();
                let lport = testbed.lport(&["run", &path, "--burst", &burst.to_string(), "--no-telemetry"])?;
                lport.wait_for_log("running in mode", 0)?;
                Running::Lport(lport)
            }
        };
        Ok(Self { running, server })
    }

    /// What `lport bench --attach` is to be told.
    pub(super) fn attach(&self) -> String {
        format!("net_memif:{}", self.server.peer())
    }

    /// Its process.
    pub(super) fn process(&self) -> &Process {
        self.running.process()
    }
}
