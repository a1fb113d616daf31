//! placeholder
use crate::cli::ShowArgs;
use crate::failure::Failure;
use crate::telemetry::client::Client;

pub(crate) fn show(args: &ShowArgs) -> Result<(), Failure> {
    let client = Client::connect(&args.prefix.file_prefix, args.instance)?;
    crate::output::print_json(&client.ask("/lport/pools")?)
}
