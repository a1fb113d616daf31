//! The program as a user sees it: arguments in, data and exit codes out. Real peers are the business of the tests crate.

mod bench;
mod capture_files;
mod check;
mod commands;
mod configs;
mod rules;
mod run;
mod schema;
mod shared_objects;
mod support;
mod wrappers;
