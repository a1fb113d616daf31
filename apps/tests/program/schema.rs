//! `lport schema`: the copy in the repository is current, and an independent validator accepts what we accept.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::configs::all;
use crate::support::{config, lport, lport_with_input};

/// Validates files, given as JSON texts on lines of the standard input, by the schema named as its argument; prints one
/// line for each: empty, or what is wrong.
const VALIDATOR: &str = r"
import json, sys
import jsonschema
schema = json.load(open(sys.argv[1]))
jsonschema.Draft202012Validator.check_schema(schema)
validator = jsonschema.Draft202012Validator(schema)
for line in sys.stdin:
    print('; '.join(error.message for error in validator.iter_errors(json.loads(line))))
";

/// What the validator says about each of `files`.
fn validate(files: &[Value]) -> Vec<String> {
    let mut python = Command::new("/usr/bin/python3")
        .args(["-c", VALIDATOR])
        .arg(config("lport.schema.json"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("python3 is missing; install it with: sudo apt-get install python3-jsonschema");
    let lines: String = files.iter().map(|file| format!("{file}\n")).collect();
    // It ends without reading when a module is missing.
    let _ = python.stdin.take().expect("asked for").write_all(lines.as_bytes());
    let output = python.wait_with_output().expect("it ends");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        !stderr.contains("ModuleNotFoundError"),
        "the validator is missing; install it with: sudo apt-get install python3-jsonschema"
    );
    assert!(output.status.success(), "{stderr}");
    String::from_utf8_lossy(&output.stdout).lines().map(ToOwned::to_owned).collect()
}

/// A file of `configs/` as plain JSON.
fn plain(path: &str) -> Value {
    let text = std::fs::read_to_string(path).unwrap();
    jsonc_parser::parse_to_serde_value(&text, &jsonc_parser::ParseOptions::default()).unwrap()
}

#[test]
fn the_copy_in_the_repository_is_current() {
    let printed = lport(&["schema"]);
    let copy = std::fs::read_to_string(config("lport.schema.json")).unwrap_or_default();
    assert!(printed.stdout == copy, "configs/lport.schema.json is not what `lport schema` prints: run `make schema`");
}

#[test]
fn an_independent_validator_accepts_every_example() {
    let paths = all();
    let files: Vec<_> = paths.iter().map(|path| plain(path)).collect();
    for (path, verdict) in paths.iter().zip(validate(&files)) {
        assert_eq!(verdict, "", "{path}");
    }
    assert!(files.iter().all(|file| file["$schema"] == "lport.schema.json"), "editors find the schema by this key");
}

#[test]
fn an_independent_validator_refuses_what_we_refuse() {
    let good = plain(config("l3fwd.jsonc").to_str().unwrap());
    let changed = |place: &[&str], value: Value| {
        let mut file = good.clone();
        *place.iter().fold(&mut file, |value, key| &mut value[*key]) = value;
        file
    };
    let bad = [
        changed(&["umems", "packets", "bufcnt"], "4".into()),
        changed(&["umems", "packets", "bufsz"], 65.into()),
        changed(&["lports", "left:0"], json!({ "pmb": "net_ring" })),
        changed(&["lports", "left:0", "pmd"], "net_rong:ring=wire".into()),
        changed(&["lports", "left:0", "wrap"], json!(["faults"])),
        changed(&["lports", "left:0", "wrap"], json!([{ "fault": { "rx-drop": 1_000_001 } }])),
        changed(&["lports", "left:0", "wrap"], json!([{ "fault": {}, "trace": {} }])),
        changed(&["lcore-groups", "default"], "0-".into()),
        changed(&["options", "mode"], "l3".into()),
        changed(&["options", "acl-rules"], json!([{ "action": "drop" }])),
        changed(&["options", "tx-first"], (-1).into()),
    ];
    for (file, verdict) in bad.iter().zip(validate(&bad)) {
        assert_ne!(verdict, "", "{file}");
        assert_eq!(lport_with_input(&["check", "--deny-warnings", "-"], &file.to_string()).code, Some(3), "{file}");
    }
}
