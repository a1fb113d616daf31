//! `lport show`: what a running `lport run` does, asked through its telemetry.
//!
//! With `--json` the answers are printed as they came; for people [`tables`] and [`memif`] set them.

mod memif;
mod tables;

use serde_json::{Map, Value};

use crate::cli::{ShowArgs, Shown};
use crate::failure::Failure;
use crate::output::{print, print_json};
use crate::telemetry::client::Client;

/// What is shown when nothing is chosen, with its key.
const OVERVIEW: [(&str, Shown); 3] = [("ports", Shown::Ports), ("threads", Shown::Threads), ("pools", Shown::Pools)];

/// Runs the command.
///
/// # Errors
/// When no such process runs, or it ends meanwhile.
pub(crate) fn show(args: &ShowArgs) -> Result<(), Failure> {
    let client = Client::connect(&args.prefix.file_prefix, args.instance)?;
    if let Some(what) = args.what {
        let answer = ask(&client, what)?;
        return if args.format.json { print_json(&answer) } else { print(&for_people(what, &answer)) };
    }
    let answers = OVERVIEW.map(|(key, what)| Ok((key, what, ask(&client, what)?)));
    let answers = answers.into_iter().collect::<Result<Vec<_>, Failure>>()?;
    if args.format.json {
        let members = answers.into_iter().map(|(key, _, answer)| (key.to_owned(), answer));
        return print_json(&members.collect::<Map<_, _>>());
    }
    print(&answers.iter().map(|(_, what, answer)| for_people(*what, answer)).collect::<Vec<_>>().join("\n\n"))
}

/// A list, whatever is asked for.
fn ask(client: &Client, what: Shown) -> Result<Value, Failure> {
    match what {
        Shown::Ports => each(client, "/lport/list", "/lport/info"),
        Shown::Memif => each(client, "/memif/list", "/memif/info"),
        Shown::Pools => client.ask("/lport/pools"),
        Shown::Threads => client.ask("/lport/threads"),
    }
}

/// Asks about everything that a list names: one by one, because an answer has a largest size.
fn each(client: &Client, list: &str, info: &str) -> Result<Value, Failure> {
    let names = client.ask(list)?;
    let names = names.as_array().map_or(&[][..], Vec::as_slice);
    let parameter = |name: &Value| name.as_str().map_or_else(|| name.to_string(), str::to_owned);
    names
        .iter()
        .map(|name| client.ask(&format!("{info},{}", parameter(name))))
        .collect::<Result<Vec<_>, _>>()
        .map(Value::Array)
}

fn for_people(what: Shown, answer: &Value) -> String {
    let items = answer.as_array().map_or(&[][..], Vec::as_slice);
    match what {
        Shown::Ports => tables::ports(items),
        Shown::Memif => memif::interfaces(items),
        Shown::Pools => tables::pools(items),
        Shown::Threads => tables::threads(items),
    }
}
