//! bench
use crate::failure::Failure;
#[derive(Debug, clap::Args)]
pub(crate) struct BenchArgs {}
pub(crate) fn bench(_: &BenchArgs) -> Result<(), Failure> {
    Ok(())
}
