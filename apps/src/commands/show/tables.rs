//! Answers of telemetry as tables. What an answer lacks, as that of another version may, and what is
//! empty, is shown as `-`: the lcores of a thread that is not pinned.

use serde_json::Value;

use crate::output::{Align, Table, grouped};

/// A value for people.
pub(super) fn word(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::Bool(flag) => if *flag { "yes" } else { "no" }.to_owned(),
        Value::Number(number) => number.as_u64().map_or_else(|| number.to_string(), grouped),
        Value::String(text) => text.clone(),
        Value::Array(list) if list.is_empty() => "-".to_owned(),
        Value::Array(list) => list.iter().map(word).collect::<Vec<_>>().join(","),
        Value::Object(_) => value.to_string(),
    }
}

/// A table of objects: a column has a heading, and a path of keys to its value.
pub(super) fn table(items: &[Value], columns: &[(&str, Align, &str)]) -> Table {
    let headings: Vec<_> = columns.iter().map(|(heading, align, _)| (*heading, *align)).collect();
    let mut table = Table::new(&headings);
    for item in items {
        table.row(columns.iter().map(|(_, _, path)| word(item.pointer(path).unwrap_or(&Value::Null))));
    }
    table
}

/// All lports; why one is down stands below.
pub(super) fn ports(items: &[Value]) -> String {
    use Align::{Left, Right};
    let columns = [
        ("id", Right, "/id"),
        ("lport", Left, "/name"),
        ("driver", Left, "/driver"),
        ("link", Left, "/link"),
        ("thread", Left, "/thread"),
        ("rx packets", Right, "/stats/ipackets"),
        ("rx bytes", Right, "/stats/ibytes"),
        ("rx missed", Right, "/stats/imissed"),
        ("rx errors", Right, "/stats/ierrors"),
        ("tx packets", Right, "/stats/opackets"),
        ("tx bytes", Right, "/stats/obytes"),
        ("tx errors", Right, "/stats/oerrors"),
    ];
    let reasons = items.iter().filter(|item| item["down_because"].is_string());
    let reasons = reasons.map(|item| format!("{} is down: {}", word(&item["name"]), word(&item["down_because"])));
    [table(items, &columns).to_string()].into_iter().chain(reasons).collect::<Vec<_>>().join("\n")
}

/// All polling threads; why one has failed stands below.
pub(super) fn threads(items: &[Value]) -> String {
    use Align::{Left, Right};
    let columns = [
        ("thread", Left, "/name"),
        ("lcores", Left, "/lcores"),
        ("polls", Right, "/polls"),
        ("busy %", Right, "/busy_percent"),
        ("sleeps", Right, "/sleeps"),
        ("wakeups", Right, "/wakeups"),
        ("lports", Left, "/lports"),
    ];
    let failures = items.iter().filter(|item| item["failure"].is_string());
    let failures = failures.map(|item| format!("{} has failed: {}", word(&item["name"]), word(&item["failure"])));
    [table(items, &columns).to_string()].into_iter().chain(failures).collect::<Vec<_>>().join("\n")
}

/// All pools.
pub(super) fn pools(items: &[Value]) -> String {
    use Align::{Left, Right};
    let columns = [
        ("pool", Left, "/name"),
        ("mbufs", Right, "/size"),
        ("available", Right, "/available"),
        ("in use", Right, "/in_use"),
        ("cached", Right, "/cached"),
        ("data room", Right, "/data_room"),
        ("memory", Right, "/memory"),
        ("pages", Left, "/page"),
    ];
    table(items, &columns).to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_table_says_why_an_lport_is_down_and_shows_what_is_missing() {
        let up =
            json!({ "id": 0, "name": "a:0", "link": "up", "down_because": null, "stats": { "ipackets": 1_234_567 } });
        let down = json!({ "id": 1, "name": "b:0", "link": "down", "down_because": "waiting for a client" });
        let text = ports(&[up, down]);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 4, "{text}");
        assert!(lines[1].contains("1 234 567") && lines[1].contains("up"), "{text}");
        assert!(lines[2].split_whitespace().filter(|word| *word == "-").count() > 5, "{text}");
        assert_eq!(lines[3], "b:0 is down: waiting for a client");
    }
}
