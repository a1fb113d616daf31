//! Programs of this workspace, built on demand in the profile of the tests, so that no test ever runs a stale one.

use std::env;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Where the running test program lies: `target/<profile>/deps`.
pub(crate) fn program_directory() -> Result<PathBuf> {
    let program = env::current_exe().context("cannot find the test program")?;
    Ok(program.parent().context("the test program lies nowhere")?.to_owned())
}

/// Builds what `arguments` tell cargo, and gives `target/<profile>`, where it puts programs (and, in `examples`,
/// examples).
///
/// # Errors
/// When it cannot be built; the error shows the compiler's.
pub fn build(arguments: &[&str]) -> Result<PathBuf> {
    // Test programs lie in target/<profile>/deps, the harness' own programs in target/<profile>.
    let programs = program_directory()?;
    let profile = if programs.ends_with("deps") { programs.parent().context("no profile")? } else { &programs };
    let target = profile.parent().context("no target directory")?;
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet"]).args(arguments).arg("--target-dir").arg(target);
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    let built = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).output().context("cannot start cargo")?;
    ensure!(built.status.success(), "cannot build {arguments:?}:\n{}", String::from_utf8_lossy(&built.stderr));
    Ok(profile.to_owned())
}

/// Builds a bench with the optimisations of a release, whatever the tests' profile, and gives its path.
///
/// # Errors
/// When it cannot be built; the error shows the compiler's.
pub fn build_bench(package: &str, bench: &str) -> Result<PathBuf> {
    let arguments = ["bench", "--no-run", "--package", package, "--bench", bench, "--message-format=json"];
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let built = cargo.args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output().context("cannot start cargo")?;
    ensure!(built.status.success(), "cannot build {bench}:\n{}", String::from_utf8_lossy(&built.stderr));
    let messages = String::from_utf8_lossy(&built.stdout);
    let mut executables = messages.lines().filter_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        Some(PathBuf::from(message.get("executable")?.as_str()?))
    });
    executables.next_back().with_context(|| format!("cargo names no program for {bench}"))
}
