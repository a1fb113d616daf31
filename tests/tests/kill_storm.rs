//! Peers that are killed and frozen at random instants under load cost us nothing but their link: see
//! [`lport_tests::storm`]. `make soak` runs hundreds of rounds of each.
//!
//! With `zero-copy=yes` a client shares its pool, and a server borrows what it receives.

use anyhow::Result;
use lport_tests::flood::Program;
use lport_tests::memif::{Memif, Role};
use lport_tests::{Testbed, storm};

fn outlives(role: Role, program: Program, options: impl Fn(Memif) -> Memif) -> Result<()> {
    let testbed = Testbed::new()?;
    let ours = options(Memif::new(role, &testbed.path_socket("sock")));
    storm::rage(&testbed, program, &ours)
}

fn we_share(ours: Memif) -> Memif {
    ours.here("zero-copy", "yes")
}

fn they_share(ours: Memif) -> Memif {
    ours.there("zero-copy", "yes")
}

/// DPDK cannot seal the memory that its zero-copy client shares.
fn dpdk_shares(ours: Memif) -> Memif {
    they_share(ours.here("seals", "warn"))
}

#[test]
fn our_copying_server_outlives_testpmds() -> Result<()> {
    outlives(Role::Server, Program::Testpmd, |ours| ours)
}

#[test]
fn our_borrowing_server_outlives_testpmds() -> Result<()> {
    outlives(Role::Server, Program::Testpmd, we_share)
}

#[test]
fn our_copying_server_outlives_testpmds_that_share() -> Result<()> {
    outlives(Role::Server, Program::Testpmd, dpdk_shares)
}

#[test]
fn our_borrowing_server_outlives_testpmds_that_share() -> Result<()> {
    outlives(Role::Server, Program::Testpmd, |ours| we_share(dpdk_shares(ours)))
}

#[test]
fn our_copying_client_outlives_testpmds() -> Result<()> {
    outlives(Role::Client, Program::Testpmd, |ours| ours)
}

#[test]
fn our_sharing_client_outlives_testpmds() -> Result<()> {
    outlives(Role::Client, Program::Testpmd, we_share)
}

#[test]
fn our_copying_server_outlives_lports() -> Result<()> {
    outlives(Role::Server, Program::Lport, |ours| ours)
}

#[test]
fn our_borrowing_server_outlives_lports_that_share() -> Result<()> {
    outlives(Role::Server, Program::Lport, |ours| they_share(we_share(ours)))
}

#[test]
fn our_copying_client_outlives_lports() -> Result<()> {
    outlives(Role::Client, Program::Lport, |ours| ours)
}

#[test]
fn our_sharing_client_outlives_lports_that_borrow() -> Result<()> {
    outlives(Role::Client, Program::Lport, |ours| they_share(we_share(ours)))
}
