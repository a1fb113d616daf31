//! `lport schema`: the JSON Schema of lport files, with the options of our drivers, wrappers and forwarder.

use pmd_core::OptionSpec;

use crate::cli::DriverFiles;
use crate::drivers::registry_with;
use crate::failure::Failure;
use crate::file::options_schema;
use crate::output::print;

/// Runs the command.
///
/// # Errors
/// When a driver cannot be loaded, or it cannot print.
pub(crate) fn schema(drivers: &DriverFiles) -> Result<(), Failure> {
    let registry = registry_with(drivers)?;
    let drivers: Vec<(&str, &[OptionSpec])> = registry.iter().map(|driver| (driver.name(), driver.options())).collect();
    let wrappers: Vec<(&str, &[OptionSpec])> =
        registry.wrappers().map(|wrapper| (wrapper.name(), wrapper.options())).collect();
    let mut schema = lport_config::schema(&drivers, &wrappers);
    schema["properties"]["options"]["properties"] = options_schema();
    print(&serde_json::to_string_pretty(&schema).map_err(|error| Failure::Running(error.to_string()))?)
}
