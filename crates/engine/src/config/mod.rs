//! The configuration: from files to typed [`Settings`], with every error at once.
//!
//! 1. [`include`] reads the files into one tree ([`tree`]) and puts secrets in ([`secrets`]).
//! 2. [`collect`] reads the tree as [`Settings`] and notes everything of the wrong shape.
//! 3. [`policy`] merges defaults, named policies and routes, on the tree.
//!
//! Whether the settings make sense together is [`crate::Snapshot::compile`]'s business; it reports
//! through [`Config::errors`], so that its errors have files and lines, too.

mod collect;
mod de;
mod effective;
mod errors;
mod fields;
mod include;
mod path;
mod paths;
mod policy;
mod problem;
mod scalar;
mod schema;
mod secrets;
mod sources;
mod suggest;
mod tree;

use std::path::Path as FilePath;

use tidegate_core::SettingsError;

pub(crate) use self::errors::io_message;
pub use self::errors::{ConfigError, ConfigErrors};
use self::path::{Path, Segment};
use self::problem::Problem;
pub use self::schema::schema;
use self::sources::Sources;
pub(crate) use self::suggest::hint as suggestion;
use self::tree::{Mark, Node, Value};
use crate::settings::Settings;

/// A configuration whose settings all have the right shape, policies merged into the routes.
#[derive(Clone, Debug)]
pub struct Config {
    /// The settings; each route has the policy fields that it inherits.
    pub settings: Settings,
    tree: Node,
    sources: Sources,
}

impl Config {
    /// Reads a configuration file and all that it includes.
    ///
    /// # Errors
    ///
    /// Everything that cannot be read or has the wrong shape.
    pub fn load(path: impl AsRef<FilePath>) -> Result<Self, ConfigErrors> {
        let (mut sources, mut problems) = (Sources::default(), Vec::new());
        let tree = include::load(path.as_ref(), &mut sources, &mut problems);
        Self::from_tree(tree, sources, problems)
    }

    /// Reads a configuration from a text that `name` stands for in errors; what it names is
    /// relative to the current folder.
    ///
    /// # Errors
    ///
    /// As [`Config::load`].
    pub fn from_text(name: &str, text: &str) -> Result<Self, ConfigErrors> {
        let (mut sources, mut problems) = (Sources::default(), Vec::new());
        let tree = include::load_text(name, text, &mut sources, &mut problems);
        Self::from_tree(tree, sources, problems)
    }

    /// The merged configuration as YAML, with where inherited values come from and with
    /// `<secret>` in place of secrets.
    #[must_use]
    pub fn effective(&self) -> String {
        effective::print(&self.tree, &self.sources)
    }

    fn from_tree(
        mut tree: Node,
        sources: Sources,
        mut problems: Vec<Problem>,
    ) -> Result<Self, ConfigErrors> {
        if tree.value == Value::Null {
            problems.push(Problem::at(tree.mark, "the file is empty").with_hint(MINIMAL));
        }
        paths::resolve(&mut tree, &sources);
        policy::split(&mut tree);
        let readable = tree.value != Value::Pruned && tree.value != Value::Null;
        if readable {
            collect::collect::<Settings>(&mut tree, &mut problems);
        }
        policy::merge(&mut tree, &mut problems);
        if !problems.is_empty() {
            return Err(ConfigErrors::new(problems, &sources));
        }
        match de::from_tree(&tree) {
            Ok(settings) => Ok(Self { settings, tree, sources }),
            Err(error) => Err(ConfigErrors::new(vec![error.into_problem()], &sources)),
        }
    }

    /// Adds files and lines to what is wrong with the settings.
    pub(crate) fn errors(&self, errors: Vec<SettingsError>) -> ConfigErrors {
        let problems = errors.into_iter().map(|error| self.problem(error)).collect();
        ConfigErrors::new(problems, &self.sources)
    }

    /// Whether the setting came from the environment or a file of its own.
    pub(crate) fn is_secret(&self, path: &[&str]) -> bool {
        let path = Path(path.iter().map(|key| Segment::Key((*key).to_owned())).collect());
        collect::find(&self.tree, &path).is_some_and(|node| node.secret)
    }

    /// The place of a setting as users wrote it: file and line, and a path that leads to the
    /// policy where the setting was inherited from.
    pub(crate) fn origin(&self, path: &[String]) -> String {
        self.locate(path).1.to_string()
    }

    fn problem(&self, error: SettingsError) -> Problem {
        let (mark, path) = self.locate(&error.path);
        Problem { mark, path, message: error.message, hint: error.hint }
    }

    /// Follows a path as far as the file has it.
    fn locate(&self, steps: &[String]) -> (Mark, Path) {
        let (mut node, mut path) = (Some(&self.tree), Path::default());
        let mut mark = self.tree.mark;
        for step in steps {
            let next = node.map(|node| &node.value);
            let index = step.parse::<usize>().ok();
            match (next, index) {
                (Some(Value::Seq(items)), Some(index)) => {
                    path = path.index(index);
                    node = items.get(index);
                }
                // A single one that stands for a list of one.
                (Some(Value::Map(entries)), Some(_)) if collect::entry(entries, step).is_none() => {
                }
                (Some(Value::Map(entries)), _) => {
                    path = path.key(step);
                    node = collect::entry(entries, step).map(|entry| &entry.value);
                }
                (_, Some(index)) => path = path.index(index),
                (_, None) => {
                    path = path.key(step);
                    node = None;
                }
            }
            if let Some(found) = node {
                mark = found.mark;
                if let Some(origin) = &found.origin {
                    path = origin.path.clone();
                }
            }
        }
        (mark, path)
    }
}

const MINIMAL: &str = "a configuration needs listeners, routes and upstreams";
