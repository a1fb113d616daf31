//! What is being measured, on one line of the terminal, rewritten as it goes on; nothing where nobody watches.

use std::io::{IsTerminal, Write, stderr};

/// The line.
#[derive(Debug)]
pub(super) struct Progress {
    watched: bool,
}

impl Progress {
    /// A line on standard error, if that is a terminal.
    pub(super) fn new() -> Self {
        Self { watched: stderr().is_terminal() }
    }

    /// Shows `text` in the place of what was shown before.
    pub(super) fn show(&self, text: &str) {
        if self.watched {
            // Erases what an earlier, longer text left. Nobody minds when it cannot be written.
            let _ = write!(stderr(), "\r\x1b[K{text}");
            let _ = stderr().flush();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.show("");
    }
}
