//! Drivers of the kernel's interfaces without the capability they need: the error names it, and the command that grants it
//! to the very program that ran; and with that command done, it works.

use std::fs;
use std::process::Command;

use anyhow::{Result, ensure};
use lport_tests::namespace::may_make_namespaces;
use lport_tests::process::Process;
use lport_tests::{LportFile, Testbed, lport};
use serde_json::json;

/// How a program ended: its exit code, and what it said.
struct Ended {
    code: Option<i32>,
    said: String,
}

/// Runs a copy of our program in the testbed's directory as `nobody`, after `grant` was done to it.
fn run_as_nobody(testbed: &Testbed, grant: Option<&str>, arguments: &[&str]) -> Result<Ended> {
    let program = testbed.path("lport");
    fs::copy(lport::program()?, &program)?;
    // For `nobody` to get there.
    ensure!(Command::new("chmod").args(["-R", "a+rwX"]).arg(testbed.directory()).status()?.success());
    if let Some(capabilities) = grant {
        ensure!(Command::new("setcap").arg(capabilities).arg(&program).status()?.success(), "setcap");
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&program).args(arguments);
    command.current_dir(testbed.directory()).env("NO_COLOR", "1").env("RUNTIME_DIRECTORY", testbed.directory());
    let (status, stdout, stderr) = Process::spawn("lport as nobody", &mut command)?.wait_with_output()?;
    Ok(Ended { code: status.code(), said: stdout + &stderr })
}

/// A file with one lport of this driver.
fn file(testbed: &Testbed, pmd: &str) -> Result<String> {
    let file = LportFile::new("drop").lport("privileged0", json!({ "pmd": pmd, "umem": "packets" }));
    Ok(testbed.write("file.jsonc", &file.text())?.display().to_string())
}

fn is_refused_until_granted(pmd: &str, capability: &str) -> Result<()> {
    if !may_make_namespaces()? {
        return Ok(());
    }
    let testbed = Testbed::new()?;
    let file = file(&testbed, pmd)?;
    let grant = format!("{}+ep", capability.to_lowercase());
    let command = format!("`sudo setcap {grant} {}`", testbed.path("lport").display());
    for arguments in [&["run", &file][..], &["check", "--machine", &file]] {
        let ended = run_as_nobody(&testbed, None, arguments)?;
        assert_eq!(ended.code, Some(if arguments[0] == "run" { 4 } else { 3 }), "{}", ended.said);
        assert!(ended.said.contains(&format!("needs {capability}")) && ended.said.contains(&command), "{}", ended.said);
    }
    let ended = run_as_nobody(&testbed, Some(&grant), &["run", &file, "--duration", "0.1"])?;
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    Ok(())
}

#[test]
fn a_packet_socket_is_refused_until_the_command_that_the_error_names() -> Result<()> {
    is_refused_until_granted("net_af_packet:iface=lo", "CAP_NET_RAW")
}

#[test]
fn a_tap_is_refused_until_the_command_that_the_error_names() -> Result<()> {
    is_refused_until_granted(&format!("net_tap:iface=t{}", std::process::id()), "CAP_NET_ADMIN")
}

#[test]
fn a_process_that_can_never_have_the_capability_is_told_so() -> Result<()> {
    if !may_make_namespaces()? {
        return Ok(());
    }
    let testbed = Testbed::new()?;
    let file = file(&testbed, "net_af_packet:iface=lo")?;
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set=-net_raw", "--inh-caps=-net_raw"]).arg(lport::program()?).args(["run", &file]);
    let (status, _, said) = Process::spawn("lport without net_raw", &mut command)?.wait_with_output()?;
    assert_eq!(status.code(), Some(4), "{said}");
    assert!(said.contains("needs CAP_NET_RAW") && said.contains("a container or a service, allow it"), "{said}");
    Ok(())
}
