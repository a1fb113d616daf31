//! What the README shows is true: its commands are taken from its text and run as they stand.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use lport_tests::process::{Process, wait_until};
use lport_tests::{Testbed, lport};
use nix::sys::signal::Signal;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The lines of all blocks that begin with "```sh".
fn commands() -> Result<Vec<String>> {
    let readme = fs::read_to_string(root().join("README.md"))?;
    let blocks = readme.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    Ok(blocks.flat_map(str::lines).map(ToOwned::to_owned).collect())
}

/// The one command that contains `text`.
fn command_with(text: &str) -> Result<String> {
    let found: Vec<_> = commands()?.into_iter().filter(|command| command.contains(text)).collect();
    ensure!(found.len() == 1, "{} commands of the README contain {text:?}", found.len());
    Ok(found[0].clone())
}

/// Starts a command of the README in the root of the repository.
fn start(testbed: &Testbed, name: &str, command: &str) -> Result<Process> {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("exec {command}")]).current_dir(root());
    Process::spawn(name, shell.env("RUNTIME_DIRECTORY", testbed.directory()))
}

#[test]
fn every_make_target_that_the_readme_names_exists() -> Result<()> {
    let _testbed = Testbed::new()?;
    for target in ["demo", "test"] {
        let command = command_with(&format!("make {target}"))?;
        let dry_run = Command::new("sh").args(["-c", &format!("{command} --dry-run")]).current_dir(root()).output()?;
        ensure!(dry_run.status.success(), "{command}: {}", String::from_utf8_lossy(&dry_run.stderr));
    }
    Ok(())
}

#[test]
fn the_real_thing_forwards_between_two_testpmd() -> Result<()> {
    let testbed = Testbed::new()?;
    let (left, right) = (command_with("role=client")?, command_with("role=server")?);
    let run = command_with("lport run")?.replace("target/release/lport", &lport::program()?.display().to_string());
    // A testpmd that was killed leaves its socket file behind and does not bind over it.
    for socket in ["/tmp/lport-left.sock", "/tmp/lport-right.sock"] {
        if Path::new(socket).exists() {
            fs::remove_file(socket)?;
        }
    }
    let mut right = start(&testbed, "right", &format!("stdbuf -oL {right}"))?;
    right.explain(right.stdout().wait_for("Port statistics", 0))?;
    let mut lport = start(&testbed, "lport", &run)?;
    wait_until("our server's socket", || Ok(Path::new("/tmp/lport-left.sock").exists().then_some(())))?;
    let mut left = start(&testbed, "left", &format!("stdbuf -oL {left}"))?;

    let received = wait_until("packets at the right end", || {
        Ok(last_count(&right.stdout().text(), "RX-packets:").filter(|&packets| packets > 10_000))
    });
    let received = right.explain(received)?;
    for peer in [&mut left, &mut right] {
        peer.signal(Signal::SIGINT)?;
        peer.wait_for_exit()?;
    }
    lport.signal(Signal::SIGINT)?;
    let (status, stdout, stderr) = lport.wait_with_output()?;
    ensure!(status.code() == Some(0), "{status}\n{stderr}");
    ensure!(stdout.contains("left:0") && stdout.contains("right:0"), "no summary after {received} packets:\n{stdout}");
    Ok(())
}

/// The number behind the last `label`.
fn last_count(text: &str, label: &str) -> Option<u64> {
    let (_, rest) = text.rsplit_once(label)?;
    rest.split_whitespace().next()?.parse().ok()
}

#[test]
fn every_file_that_the_readme_links_to_is_there() -> Result<()> {
    let readme = fs::read_to_string(root().join("README.md"))?;
    let links = readme.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    for link in links {
        ensure!(root().join(link).exists(), "the README links to {link}, which is not there");
    }
    Ok(())
}

#[test]
fn every_lport_file_of_the_repository_is_good() -> Result<()> {
    let testbed = Testbed::new()?;
    for entry in fs::read_dir(root().join("configs")).context("no configs")? {
        let path = entry?.path().canonicalize()?;
        if path.extension().is_none_or(|extension| extension != "jsonc") {
            continue;
        }
        let checked = testbed.lport(&["check", &path.display().to_string()])?.wait()?;
        ensure!(checked.code() == Some(0), "{}:\n{}{}", path.display(), checked.stdout, checked.stderr);
    }
    Ok(())
}
