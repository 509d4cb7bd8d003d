//! The configuration: from files to typed [`Settings`], with every error at once.
//!
//! 1. [`include`] reads the files into one tree ([`parse`]) and puts secrets in ([`secrets`]).
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
mod file;
mod include;
mod parse;
mod path;
mod paths;
mod policy;
mod problem;
mod reference;
mod scalar;
mod schema;
mod secrets;
mod sources;
mod tree;
mod tree_error;

use std::fmt;
use std::path::Path as FilePath;

use tidegate_core::SettingsError;

pub use self::errors::{ConfigError, ConfigErrors};
pub(crate) use self::file::read as read_file;
use self::path::{Path, Segment};
use self::problem::Problem;
pub use self::reference::reference;
pub use self::schema::schema;
use self::sources::Sources;
use self::tree::{Mark, Node, Value};
use crate::settings::Settings;

/// A configuration whose settings all have the right shape, policies merged into the routes.
#[derive(Clone)]
pub struct Config {
    /// The settings; each route has the policy fields that it inherits.
    pub settings: Settings,
    tree: Node,
    sources: Sources,
    /// Whether nothing was taken out of the tree.
    whole: bool,
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
        if tree.value == Value::Empty {
            problems.push(Problem::at(tree.mark, "the file is empty").with_hint(MINIMAL));
        }
        policy::split(&mut tree, &mut problems);
        let readable = !matches!(tree.value, Value::Empty | Value::Pruned);
        let read = readable.then(|| collect::collect::<Settings>(&mut tree, &mut problems));
        paths::resolve(&mut tree, &sources);
        policy::merge(&mut tree, &mut problems);
        let settings = read.flatten().map(|_unmerged| de::from_tree(&tree));
        let config = match settings {
            Some(Ok(settings)) => Self { settings, tree, sources, whole: problems.is_empty() },
            Some(Err(error)) => {
                problems.push(error.into_problem());
                return Err(ConfigErrors::new(problems, &sources));
            }
            None => return Err(ConfigErrors::new(problems, &sources)),
        };
        if problems.is_empty() {
            return Ok(config);
        }
        problems.extend(config.problems_in_the_rest());
        Err(ConfigErrors::new(problems, &config.sources))
    }

    /// What makes no sense in the parts that could be read, so that one run shows everything.
    fn problems_in_the_rest(&self) -> impl Iterator<Item = Problem> {
        let errors = crate::Snapshot::errors_in(self).into_iter();
        errors.map(|error| self.problem(error)).filter(|problem| !self.is_affected(&problem.path))
    }

    /// Whether what is at a path, or what stands beside it, was of the wrong shape: whatever else
    /// is wrong there may only follow from that. Limits do not depend on each other.
    fn is_affected(&self, path: &Path) -> bool {
        let (mut around, mut node) = (&self.tree, &self.tree);
        for segment in &path.0 {
            match collect::step(node, segment) {
                Some((map, child)) => (around, node) = (map, child),
                None => return node.has_pruned_child(),
            }
        }
        let limits = path.0.first() == Some(&Segment::Key("limits".to_owned()));
        node.has_pruned() || (around.has_pruned_child() && !limits)
    }

    /// Whether a list or map is there and has elements, readable or not.
    pub(crate) fn has_elements(&self, key: &str) -> bool {
        match self.tree.get(key).map(|node| &node.value) {
            Some(Value::Map(entries)) => !entries.is_empty(),
            Some(Value::Seq(items)) => !items.is_empty(),
            Some(Value::Pruned) => true,
            _ => false,
        }
    }

    /// Whether something of the wrong shape was taken out below a path.
    pub(crate) fn has_pruned(&self, path: &[&str]) -> bool {
        let path = Path(path.iter().map(|key| Segment::Key((*key).to_owned())).collect());
        collect::find(&self.tree, &path).is_some_and(Node::has_pruned)
    }

    /// The keys of a map, those of unreadable values included.
    pub(crate) fn keys(&self, key: &str) -> Vec<&str> {
        let entries = self.tree.get(key).map(Node::entries).unwrap_or_default();
        entries.iter().map(|entry| entry.key.as_str()).collect()
    }

    /// Adds files and lines to what is wrong with the settings.
    #[must_use]
    pub fn errors(&self, errors: Vec<SettingsError>) -> ConfigErrors {
        let problems = errors.into_iter().map(|error| self.problem(error)).collect();
        ConfigErrors::new(problems, &self.sources)
    }

    /// Whether the setting, or each of a list, came from the environment or a file of its own.
    pub(crate) fn is_secret(&self, path: &[&str]) -> bool {
        let node = path.iter().try_fold(&self.tree, |node, step| {
            let segment = match (&node.value, step.parse()) {
                (Value::Seq(items), Ok(index)) => Segment::Index(self.position(items, index)),
                _ => Segment::Key((*step).to_owned()),
            };
            collect::step(node, &segment).map(|(_, child)| child)
        });
        node.is_some_and(|node| match &node.value {
            Value::Seq(items) => items.iter().all(|item| item.secret),
            _ => node.secret,
        })
    }

    /// The place of a setting as users wrote it: file and line, and a path that leads to the
    /// policy where the setting was inherited from.
    pub(crate) fn origin(&self, path: &[String]) -> String {
        self.locate(path).1.to_string()
    }

    fn problem(&self, error: SettingsError) -> Problem {
        let (mark, path) = self.locate(&error.path);
        let mut message = one_line(error.message);
        if let Some(secret) = self.secret_at(&error.path) {
            message = message.replace(secret, "<secret>");
        }
        Problem { mark, path, message, hint: error.hint }
    }

    /// The text of a setting, if it came from the environment or a file of its own.
    fn secret_at(&self, steps: &[String]) -> Option<&str> {
        let mut node = &self.tree;
        for step in steps {
            let key = collect::step(node, &Segment::Key(step.clone()));
            let index = || collect::step(node, &Segment::Index(step.parse().ok()?));
            (_, node) = key.or_else(index)?;
        }
        match &node.value {
            Value::String(text) if node.secret && !text.is_empty() => Some(text),
            _ => None,
        }
    }

    /// The file and line of a setting.
    pub(crate) fn place(&self, path: &[&str]) -> String {
        let path: Vec<String> = path.iter().map(|step| (*step).to_owned()).collect();
        let (mark, _) = self.locate(&path);
        format!("{}:{}", self.sources.name(mark), mark.line)
    }

    /// Follows a path as far as the file has it.
    fn locate(&self, steps: &[String]) -> (Mark, Path) {
        let (mut node, mut path) = (Some(&self.tree), Path::default());
        let mut mark = self.tree.mark;
        for step in steps {
            let index = step.parse::<usize>().ok();
            let segment = match (node.map(|node| &node.value), index) {
                (Some(Value::Seq(items)), Some(index)) => {
                    Segment::Index(self.position(items, index))
                }
                // A single one that stands for a list of one.
                (Some(Value::Map(_)), Some(_)) if node.is_some_and(|n| n.get(step).is_none()) => {
                    continue;
                }
                (None, Some(index)) => Segment::Index(index),
                _ => Segment::Key(step.clone()),
            };
            node = node.and_then(|node| collect::step(node, &segment)).map(|(_, child)| child);
            path = path.join(segment);
            if let Some(found) = node {
                mark = found.mark;
                if let Some(origin) = &found.origin {
                    path = origin.path.clone();
                }
            }
        }
        (mark, path)
    }

    /// Where the element stands that readers count as number `index`.
    fn position(&self, items: &[Node], index: usize) -> usize {
        if self.whole {
            return index;
        }
        let live = items.iter().enumerate().filter(|(_, item)| item.value != Value::Pruned);
        live.map(|(position, _)| position).nth(index).unwrap_or(index)
    }
}

/// Without the settings, which may hold secrets.
impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config").field("file", &self.place(&[])).finish_non_exhaustive()
    }
}

/// An error of the regex crate draws the pattern in lines of its own; the last line says it all.
fn one_line(message: String) -> String {
    match (message.split_once(" regex parse error:\n"), message.lines().last()) {
        (Some((what, _)), Some(last)) => {
            format!("{what} {}", last.strip_prefix("error: ").unwrap_or(last))
        }
        _ => message,
    }
}

/// A YAML text as JSON, without includes and secrets, to compare it with the schema.
///
/// # Errors
///
/// What is not YAML, or goes beyond what a configuration may be.
pub fn yaml_to_json(text: &str) -> Result<serde_json::Value, ConfigErrors> {
    let mut sources = Sources::default();
    let file = sources::Source { name: "text".into(), path: None, text: text.to_owned() };
    let file = sources.add(file);
    parse::parse(text, file)
        .map(|node| node.to_json())
        .map_err(|problem| ConfigErrors::new(vec![problem], &sources))
}

const MINIMAL: &str = "a configuration needs listeners, routes and upstreams";
