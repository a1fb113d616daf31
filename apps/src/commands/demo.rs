//! demo
use crate::failure::Failure;
pub(crate) fn demo(_: &crate::cli::DemoArgs) -> Result<(), Failure> {
    Ok(())
}
