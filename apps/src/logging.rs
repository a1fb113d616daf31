//! Logs: on standard error, `RUST_LOG` chooses which, coloured on terminals unless `NO_COLOR` is set.

use std::io::{IsTerminal, stderr};

use tracing_subscriber::EnvFilter;

/// Begins to log. Without `RUST_LOG`, or with one that cannot be read, from `level` on.
pub(crate) fn start(level: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(stderr)
        .with_ansi(is_coloured(&stderr()))
        .with_target(false)
        .without_time()
        .init();
}

/// Whether what is written to `stream` may be coloured.
pub(crate) fn is_coloured(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
