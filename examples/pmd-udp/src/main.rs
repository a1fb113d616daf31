//! Runs the threads of an lport file that may name net_udp: each sends back what its lports receive, until the standard
//! input ends.

use std::path::Path;
use std::sync::Arc;

use lport_config::Config;
use pmd_core::{Burst, Ports, Registry, Runtime, Settings, Task};
use pmd_udp::UdpDriver;

/// Sends everything back where it came from.
struct Reflect(Burst);

impl Task for Reflect {
    fn poll(&mut self, ports: &mut Ports) -> usize {
        let mut moved = 0;
        while let Some(position) = ports.rx_next(&mut self.0) {
            moved += self.0.len();
            ports.transmit(ports.id(position), &mut self.0);
        }
        moved
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("usage: pmd-udp FILE")?;
    let outcome = Config::load(Path::new(&path), &lport_config::Settings::default());
    for diagnostic in &outcome.diagnostics {
        eprintln!("{}", lport_config::render(&outcome.source, diagnostic, false));
    }
    let config = outcome.config.ok_or("the file has errors")?;
    let mut registry = Registry::with_reference_drivers();
    registry.add(Arc::new(UdpDriver));
    let runtime = Runtime::start(&config.deployment, &registry, Settings::default(), |context| {
        Ok(Box::new(Reflect(Burst::with_limit(context.burst))))
    })?;
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    for lport in runtime.stop().lports {
        println!("{}: {} packets in, {} out", lport.name, lport.stats.ipackets, lport.stats.opackets);
    }
    Ok(())
}
