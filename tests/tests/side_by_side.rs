//! `make bench` measures testpmd and us at the same work, and both move packets.

use std::time::Duration;

use anyhow::Result;
use lport_tests::comparison::{Arrangement, Case, Conditions, Outcome, run_round};
use lport_tests::{Testbed, testbed};

#[test]
fn a_round_gives_a_rate_of_each_in_every_arrangement() -> Result<()> {
    let testbed = Testbed::new()?;
    let cpus = testbed::allowed_cpus()?;
    let conditions = Conditions { cpus: [cpus[0], cpus[1]], burst: 32, duration: Duration::from_millis(200) };
    for arrangement in Arrangement::ALL {
        let mut outcome = Outcome::new(Case { arrangement, packet_size: 512 });
        run_round(&testbed, &mut outcome, conditions)?;
        assert!(outcome.testpmd[0] > 0.0 && outcome.lport[0] > 0.0, "{outcome:?}");
    }
    Ok(())
}
