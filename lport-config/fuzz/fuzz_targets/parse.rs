//! Any bytes as a file: reading them and drawing what is found neither panics nor hangs.
//!
//! `cargo +nightly fuzz run parse` in this crate's parent directory; `tests/golden` is a good corpus to begin with.

#![no_main]

use libfuzzer_sys::fuzz_target;
use lport_config::{Config, Settings, render};

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    let outcome = Config::parse("fuzz", &text, &Settings::default());
    for diagnostic in &outcome.diagnostics {
        let drawn = render(&outcome.source, diagnostic, false);
        assert!(drawn.lines().all(|line| line.chars().all(|c| !c.is_control())), "{drawn:?}");
    }
    if let Some(config) = outcome.readable() {
        config.options().finish(&outcome.source);
    }
});
