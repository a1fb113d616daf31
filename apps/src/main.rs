//! The program `lport`: the only place where drivers, configuration and forwarding meet.
//!
//! 1. The command line (`cli`) names a command; each is one file of `commands`.
//! 2. A command prints data on standard output (`output`, `summary`) and logs on standard error (`logging`).
//! 3. What fails is a [`failure::Failure`], which becomes the exit code: 0 good, 2 usage, 3 configuration, 4 a configured
//!    lport could not be opened, 5 failed while running, or nothing runs that could be shown.

#![forbid(unsafe_code)]

mod child;
mod cli;
mod commands;
mod description;
mod driver_check;
mod drivers;
mod failure;
mod file;
mod logging;
mod machine;
mod modes;
mod output;
mod reload;
mod rules;
mod signals;
mod summary;
mod telemetry;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command};

fn main() -> ExitCode {
    let cli = Cli::parse();
    // A benchmark brings links up and down by the dozen: that is no news.
    logging::start(if matches!(cli.command, Command::Bench(_)) { "warn" } else { "info" });
    let result = match &cli.command {
        Command::Demo(args) => commands::demo::demo(args),
        Command::Run(args) => commands::run::run(args),
        Command::Check(args) => commands::check::check(args),
        Command::Explain { code } => commands::explain::explain(code),
        Command::Schema(drivers) => commands::schema::schema(drivers),
        Command::Drivers(args) => commands::drivers::drivers(args),
        Command::Topology(format) => commands::topology::topology(*format),
        Command::Show(args) => commands::show::show(args),
        Command::Bench(args) => commands::bench::bench(args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
