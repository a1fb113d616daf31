//! A file, read and checked.

use std::path::Path;

use pmd_core::deployment::Deployment;

use crate::diagnostic::{Diagnostic, Problems};
use crate::drivers::DriverCheck;
use crate::load::{self, Unreadable, read_source};
use crate::node::Node;
use crate::options::OptionsReader;
use crate::places::Places;
use crate::sections::{self, Sections, application::Application};
use crate::source::Source;
use crate::{resolve, syntax};

/// What the program brings to the reading of a file.
#[derive(Clone, Default)]
pub struct Settings<'a> {
    drivers: Option<&'a dyn DriverCheck>,
    sections: Vec<String>,
}

impl<'a> Settings<'a> {
    /// Drivers are checked by `drivers`. Without this every driver and every option is taken to be right, and every
    /// lport-group without `umem` gets one.
    #[must_use]
    pub fn drivers(mut self, drivers: &'a dyn DriverCheck) -> Self {
        self.drivers = Some(drivers);
        self
    }

    /// The application has a section of its own, free in form, called `name`.
    #[must_use]
    pub fn section(mut self, name: impl Into<String>) -> Self {
        self.sections.push(name.into());
        self
    }
}

impl std::fmt::Debug for Settings<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let drivers = self.drivers.map(DriverCheck::driver_names);
        f.debug_struct("Settings").field("drivers", &drivers).field("sections", &self.sections).finish()
    }
}

/// What became of a file.
#[derive(Debug)]
pub struct Outcome {
    /// The text, for [`crate::render()`] and for problems that later layers find.
    pub source: Source,
    /// The configuration, if the file has no errors.
    pub config: Option<Config>,
    /// What can be made of a file with errors whose text is JSONC at least. Never to be run: it serves applications that
    /// want to check their own sections too, so that one run reports everything.
    pub incomplete: Option<Config>,
    /// Everything found, in the order of the text.
    pub diagnostics: Vec<Diagnostic>,
}

impl Outcome {
    fn unreadable(unreadable: Unreadable) -> Self {
        let Unreadable { source, diagnostic } = unreadable;
        Self { source, config: None, incomplete: None, diagnostics: vec![diagnostic] }
    }

    /// The configuration, complete or not.
    pub fn readable(&self) -> Option<&Config> {
        self.config.as_ref().or(self.incomplete.as_ref())
    }

    /// Whether the file cannot be used.
    pub fn has_errors(&self) -> bool {
        self.config.is_none()
    }
}

/// What a file says.
#[derive(Debug)]
pub struct Config {
    /// What is to be run.
    pub deployment: Deployment,
    /// Where everything in the deployment was said.
    pub places: Places,
    /// The section `application`.
    pub application: Application,
    /// The section `user-data`.
    pub user_data: Option<Node>,
    options: Option<Node>,
    registered: Vec<(String, Node)>,
}

impl Config {
    /// Reads a text. `name` is what messages call it.
    pub fn parse(name: &str, text: &str, settings: &Settings<'_>) -> Outcome {
        if text.len() > load::MAX_BYTES {
            return Outcome::unreadable(*load::too_large(name));
        }
        Self::parse_source(Source::new(name, text), settings)
    }

    /// Reads a file; `-` is the standard input.
    pub fn load(path: &Path, settings: &Settings<'_>) -> Outcome {
        match read_source(path) {
            Ok(source) => Self::parse_source(source, settings),
            Err(unreadable) => Outcome::unreadable(*unreadable),
        }
    }

    fn parse_source(source: Source, settings: &Settings<'_>) -> Outcome {
        let mut problems = Problems::default();
        let config = syntax::parse(&source, &mut problems).map(|root| {
            let sections = sections::read(&root, &settings.sections, &mut problems);
            let (deployment, places) = resolve::resolve(&sections, &root, settings.drivers, &mut problems);
            Self::new(deployment, places, sections)
        });
        let (config, incomplete) = if problems.any_error() { (None, config) } else { (config, None) };
        let diagnostics = problems.locate(&source);
        Outcome { source, config, incomplete, diagnostics }
    }

    fn new(deployment: Deployment, mut places: Places, sections: Sections) -> Self {
        let options = sections.options.as_ref().and_then(Node::as_object).unwrap_or_default();
        places.options = options.iter().map(|m| (m.key.value.clone(), (m.key.span, m.node.span))).collect();
        Self {
            deployment,
            places,
            application: sections.application,
            user_data: sections.user_data,
            options: sections.options,
            registered: sections.registered,
        }
    }

    /// Typed access to the section `options`; all keys are absent if the file has none.
    pub fn options(&self) -> OptionsReader<'_> {
        OptionsReader::new(self.options.as_ref())
    }

    /// The section `options` as it stands.
    pub fn options_node(&self) -> Option<&Node> {
        self.options.as_ref()
    }

    /// A section that was registered with [`Settings::section`].
    pub fn section(&self, name: &str) -> Option<&Node> {
        self.registered.iter().find(|(known, _)| known == name).map(|(_, node)| node)
    }
}
