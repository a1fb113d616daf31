//! How the program ends: its exit codes, and the one error type that carries them.

use std::io;
use std::process::ExitCode;

use pmd_core::RuntimeError;

/// Why a command did not succeed, with what is to be said about it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The configuration is at fault. Exit code 3.
    #[error("{0}")]
    Configuration(String),
    /// A configured lport could not be opened. Exit code 4.
    #[error("{0}")]
    NotOpened(String),
    /// Something failed while running. Exit code 5.
    #[error("{0}")]
    Running(String),
    /// Nobody reads our output any more: no fault of ours. Exit code 0, and nothing to say.
    #[error("the reader of the output is gone")]
    ReaderGone,
}

impl Failure {
    /// Says what there is to say on standard error, and gives the exit code. (2, wrong usage, is clap's.)
    pub(crate) fn report(&self) -> ExitCode {
        let code = match self {
            Self::ReaderGone => return ExitCode::SUCCESS,
            Self::Configuration(_) => 3,
            Self::NotOpened(_) => 4,
            Self::Running(_) => 5,
        };
        for line in self.to_string().lines() {
            eprintln!("error: {line}");
        }
        ExitCode::from(code)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::ReaderGone,
            _ => Self::Running(error.to_string()),
        }
    }
}

impl From<RuntimeError> for Failure {
    fn from(error: RuntimeError) -> Self {
        if error.is_configuration() {
            Self::Configuration(error.to_string())
        } else {
            Self::NotOpened(error.to_string())
        }
    }
}
