//! The worker's rounds, to be counted: runs a thread with a number of lports for a given number of rounds.
//!
//! ```text
//! cargo bench --package pmd-core --bench rounds -- CASE LPORTS ROUNDS
//! ```
//!
//! Case `idle`: nothing moves. Case `busy`: one lport moves bursts of 32 packets, the others have nothing. The lports are
//! rings joined to themselves. Run it under callgrind with two numbers of rounds; the difference is what rounds cost.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pmd_core::deployment::PoolSpec;
use pmd_core::{Burst, Deployment, Pool, Ports, Registry, Runtime, Settings, Task};

const BURST: usize = 32;

/// Sends everything back where it came from, for a number of rounds.
struct Reflect {
    burst: Burst,
    /// What the first lport is sent at the beginning.
    first: Option<Pool>,
    rounds: usize,
    done: Arc<AtomicBool>,
}

impl Task for Reflect {
    fn poll(&mut self, ports: &mut Ports) -> usize {
        if let Some(pool) = self.first.take() {
            pool.alloc_bulk(&mut self.burst, BURST);
            ports.transmit(ports.id(0), &mut self.burst);
        }
        if self.rounds == 0 {
            // Asleep rather than spinning: how long the main thread takes must not show in the count.
            self.done.store(true, Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(100));
            return 0;
        }
        self.rounds -= 1;
        let mut moved = 0;
        while let Some(position) = ports.rx_next(&mut self.burst) {
            moved += self.burst.len();
            ports.transmit(ports.id(position), &mut self.burst);
        }
        moved
    }
}

fn main() -> ExitCode {
    // `cargo bench` adds an argument of its own.
    let arguments: Vec<_> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let [case, lports, rounds] = arguments.as_slice() else { return usage() };
    let (Ok(lports), Ok(rounds)) = (lports.parse::<usize>(), rounds.parse()) else { return usage() };
    let busy = match case.as_str() {
        "idle" => false,
        "busy" => true,
        _ => return usage(),
    };
    run(busy, lports, rounds);
    ExitCode::SUCCESS
}

fn usage() -> ExitCode {
    eprintln!("usage: rounds idle|busy LPORTS ROUNDS");
    ExitCode::from(2)
}

fn run(busy: bool, lports: usize, rounds: usize) {
    let mut deployment = Deployment::default();
    let pool = deployment.add_pool(PoolSpec::new("packets", 1024, 2048));
    let ids: Vec<_> =
        (0..lports).map(|n| deployment.add_lport(&format!("r{n}"), "net_ring", Vec::new(), Some(pool))).collect();
    deployment.add_thread("rounds", &ids);
    let done = Arc::new(AtomicBool::new(false));
    let runtime = Runtime::start(&deployment, &Registry::with_reference_drivers(), Settings::default(), |context| {
        let first = ids.first().filter(|_| busy).and_then(|id| context.pool(*id)).cloned();
        let (burst, done) = (Burst::with_limit(context.burst), Arc::clone(&done));
        Ok(Box::new(Reflect { burst, first, rounds, done }))
    });
    let runtime = runtime.expect("rings can always be opened");
    while !done.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(1));
    }
    runtime.stop();
}
