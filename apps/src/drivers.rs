//! The drivers this program has: the one place that names them all, and adds those that its user names.

use std::sync::Arc;

use pmd_core::Registry;
use pmd_dso::Checking;
use pmd_memif::{CndpMemifDriver, MemifDriver};

use crate::cli::DriverFiles;
use crate::failure::Failure;

/// All of them, with those of the shared objects that the command line names.
///
/// # Errors
/// [`Failure::Configuration`] when one cannot be loaded.
pub(crate) fn registry_with(files: &DriverFiles) -> Result<Registry, Failure> {
    let mut registry = registry();
    let checking = if files.check_drivers { Checking::On } else { Checking::Off };
    for path in &files.paths {
        pmd_dso::load(path, checking, &mut registry).map_err(|error| Failure::Configuration(error.to_string()))?;
    }
    Ok(registry)
}

/// All that are compiled in.
pub(crate) fn registry() -> Registry {
    let mut registry = Registry::with_reference_drivers();
    registry.add(Arc::new(MemifDriver));
    registry.add(Arc::new(CndpMemifDriver));
    registry
}
