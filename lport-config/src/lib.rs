//! lport files: CNDP's JSONC text to a checked [`pmd_core::deployment::Deployment`], with diagnostics as data.
//!
//! The crate knows no driver, prints nothing and touches no device. The life of a file:
//!
//! 1. [`Source`] holds the text and turns byte offsets into lines and columns.
//! 2. `syntax` turns the text into a tree of [`Node`]s, each with its [`Span`]; nothing that is not JSONC comes past it.
//! 3. `sections` reads each section by its table of keys (`keys`): unknown keys, types and ranges are settled here. The
//!    JSON Schema is made from the same tables ([`schema()`]).
//! 4. `resolve` follows the names from section to section, asks the program about drivers ([`DriverCheck`]), and builds
//!    the deployment together with [`Places`], which remembers where in the text everything was said.
//! 5. All problems on the way are collected as [`Problem`]s and come out as [`Diagnostic`]s, in the order of the text;
//!    [`render()`] draws one for people, serde writes it for machines, [`explain`] tells more about its code.
//!
//! ```
//! use lport_config::{Config, Settings};
//!
//! let text = r#"{
//!     "umems": { "umem0": { "bufcnt": 4, "bufsz": 2 } },
//!     "lports": { "null0": { "pmd": "net_null", "umem": "umem0" } },
//!     "lcore-groups": { "default": [0] },
//!     "threads": { "fwd": { "lports": ["null0"] } },
//! }"#;
//! let outcome = Config::parse("example.jsonc", text, &Settings::default());
//! assert!(outcome.diagnostics.is_empty());
//! assert_eq!(outcome.config.unwrap().deployment.pools[0].size, 4096);
//! ```

#![forbid(unsafe_code)]

mod codes;
mod config;
mod diagnostic;
mod drivers;
mod keys;
mod load;
mod nearest;
mod node;
mod options;
mod places;
mod render;
mod resolve;
mod schema;
mod sections;
mod source;
mod syntax;

pub use codes::{RULES, Rule, Severity, explain};
pub use config::{Config, Outcome, Settings};
pub use diagnostic::{Diagnostic, Label, Problem};
pub use drivers::DriverCheck;
pub use nearest::nearest;
pub use node::{Member, Node, Text, Value};
pub use options::OptionsReader;
pub use places::Places;
pub use render::render;
pub use schema::schema;
pub use sections::application::Application;
pub use source::{Position, Source, Span, Spanned};
