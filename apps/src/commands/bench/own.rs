//! Lport files run in our own process.

use lport_config::{Config, Settings, render};
use pmd_core::{Deployment, Registry, Report};
use serde_json::Value;

use crate::driver_check::Drivers;
use crate::failure::Failure;

/// What `file` describes.
///
/// # Errors
/// Everything that is wrong with it, such as options that a driver refuses together.
pub(super) fn deployment(file: &Value, registry: &Registry) -> Result<Deployment, Failure> {
    let outcome = Config::parse("bench", &file.to_string(), &Settings::default().drivers(&Drivers(registry)));
    outcome.config.map(|config| config.deployment).ok_or_else(|| {
        let errors = outcome.diagnostics.iter().filter(|diagnostic| diagnostic.is_error());
        let drawn: Vec<_> = errors.map(|diagnostic| render(&outcome.source, diagnostic, false)).collect();
        Failure::Configuration(drawn.join("\n"))
    })
}

/// Checks that every mbuf has come home.
///
/// # Errors
/// Names the pool that lacks some.
pub(super) fn whole(report: &Report) -> Result<(), Failure> {
    match report.pools.iter().find(|pool| pool.available != pool.size) {
        None => Ok(()),
        Some(pool) => {
            let (name, missing) = (&pool.name, pool.size.abs_diff(pool.available));
            Err(Failure::Running(format!("pool `{name}` misses {missing} of {} mbufs: this is a bug", pool.size)))
        }
    }
}
