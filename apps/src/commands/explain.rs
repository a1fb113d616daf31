//! `lport explain CODE`: what is behind a problem's code.

use crate::failure::Failure;
use crate::output::print;
use crate::rules;

/// Runs the command.
///
/// # Errors
/// When there is no such code.
pub(crate) fn explain(code: &str) -> Result<(), Failure> {
    let ours = rules::ALL.iter().find(|rule| rule.code.eq_ignore_ascii_case(code)).map(|rule| rule.explanation);
    match lport_config::explain(code).or(ours) {
        Some(explanation) => print(explanation),
        None => Err(Failure::Configuration(format!("there is no code `{code}`; codes look like E0204 or W0201"))),
    }
}
