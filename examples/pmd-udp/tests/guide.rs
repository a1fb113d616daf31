//! The guide "Write a PMD" shows what is compiled and tested here, and nothing else; its file and its program work.

use std::io::Read;
use std::net::UdpSocket;
use std::process::{Command, Stdio};

const GUIDE: &str = include_str!("../../../docs/write-a-driver.md");

/// The text of the guide's code blocks in this language, in their order.
fn blocks(language: &str) -> Vec<String> {
    let opening = format!("```{language}\n");
    let of_one = |block: &str| block.split("```").next().expect("split yields at least one part").to_owned();
    GUIDE.split(&opening).skip(1).map(of_one).collect()
}

/// Fails at the first line that the guide has and the file has not, or the other way round.
fn assert_shown(file: &str, text: &str, shown: &str) {
    let lines = |text: &str| text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect::<Vec<_>>();
    let (text, shown) = (lines(text), lines(shown));
    let first = text.iter().zip(&shown).position(|(one, other)| one != other);
    let at = first.unwrap_or(text.len().min(shown.len()));
    assert_eq!(text.get(at), shown.get(at), "line {at} (blank ones not counted) of {file} and of the guide differ");
}

#[test]
fn the_guide_shows_the_whole_driver_in_less_than_150_lines() {
    let driver = include_str!("../src/lib.rs");
    assert_shown("src/lib.rs", driver, &blocks("rust").concat());
    assert!(driver.lines().count() < 150, "the driver has {} lines", driver.lines().count());
}

#[test]
fn the_guide_shows_the_test_the_file_and_the_program_as_they_are() {
    assert_shown("tests/conformance.rs", include_str!("conformance.rs"), &blocks("rust,test").concat());
    assert_shown("udp.jsonc", include_str!("../udp.jsonc"), &blocks("jsonc").concat());
    let program = include_str!("../src/main.rs");
    for shown in blocks("rust,program") {
        assert!(program.contains(&shown), "the program has not:\n{shown}");
    }
    for command in ["cargo run -p pmd-udp -- examples/pmd-udp/udp.jsonc", "cargo test -p pmd-udp"] {
        assert!(GUIDE.contains(command), "the guide does not say how to run it: {command}");
    }
}

#[test]
fn the_file_and_the_program_send_back_what_arrives() {
    let here = UdpSocket::bind("127.0.0.1:0").unwrap();
    // The program's address: chosen by the system, and free again a moment before the program takes it.
    let there = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let text = include_str!("../udp.jsonc")
        .replace("127.0.0.1:4000", &there.to_string())
        .replace("127.0.0.1:4001", &here.local_addr().unwrap().to_string());
    let file = std::env::temp_dir().join(format!("pmd-udp-{}.jsonc", std::process::id()));
    std::fs::write(&file, text).unwrap();
    let program = env!("CARGO_BIN_EXE_pmd-udp");
    let mut child = Command::new(program).arg(&file).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    // What is sent before the program listens is lost: it is sent again until an answer comes.
    here.set_read_timeout(Some(std::time::Duration::from_millis(100))).unwrap();
    let mut answer = [0; 64];
    let answered = (0..300).any(|_| {
        here.send_to(b"there and back again", there).unwrap();
        here.recv(&mut answer).is_ok_and(|len| &answer[..len] == b"there and back again")
    });
    drop(child.stdin.take());
    let mut said = String::new();
    child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    let status = child.wait().unwrap();
    std::fs::remove_file(&file).unwrap();
    assert!(answered && status.success(), "answered: {answered}, {status}, {said}");
    assert!(said.starts_with("udp0: ") && !said.contains(" 0 packets in"), "{said}");
}
