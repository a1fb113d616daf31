//! The section `application`.

use super::fields::{Fields, wrong_type};
use super::object;
use crate::diagnostic::Problems;
use crate::keys::keys_of;
use crate::nearest::quoted;
use crate::node::{Member, Value};

/// What a file says about its application.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Application {
    /// `name`.
    pub name: Option<String>,
    /// `description` or `desc`.
    pub description: Option<String>,
    /// Other scalars, which files in the field have, in the order of the file.
    pub others: Vec<(String, serde_json::Value)>,
}

pub(super) fn read(member: &Member, problems: &mut Problems) -> Application {
    let Some(members) = object(member, problems) else { return Application::default() };
    let (fields, unknown) = Fields::read_open(keys_of("application"), "`application`", members, problems);
    let mut others = Vec::new();
    for own in unknown {
        match own.node.value {
            Value::Array(_) | Value::Object(_) => {
                let what = format!("{} of `application`", quoted(&own.key.value));
                problems.push(
                    wrong_type("a string, a number, true, false or null", &what, &own.node)
                        .help("free data belongs into `user-data`"),
                );
            }
            _ => others.push((own.key.value.clone(), own.node.to_json())),
        }
    }
    let text = |name| fields.text(name).map(|text| text.value);
    Application { name: text("name"), description: text("description"), others }
}
