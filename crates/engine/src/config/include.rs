//! Files that include files: `include` lists globs relative to the file that has it.
//!
//! At the top level lists append and maps merge, in the order of the files; what is given twice is
//! an error that names both places. A file is read once, and a cycle is an error.

use std::fs;
use std::path::{Path as FilePath, PathBuf};

use tidegate_core::units::ByteSize;

use super::file;
use super::parse;
use super::path::Path;
use super::problem::Problem;
use super::secrets;
use super::sources::{Source, Sources};
use super::tree::{Entry, Mark, Node, Value};

/// Larger files are refused.
const MAX_FILE: ByteSize = ByteSize::mib(64);
const MAX_FILES: usize = 10_000;

/// Reads a file and all that it includes into one tree.
pub(crate) fn load(path: &FilePath, sources: &mut Sources, problems: &mut Vec<Problem>) -> Node {
    let mut loader = Loader { sources, problems, open: Vec::new() };
    loader.file(path, None)
}

/// Reads a text that is no file; its relative paths start at the current folder.
pub(crate) fn load_text(
    name: &str,
    text: &str,
    sources: &mut Sources,
    problems: &mut Vec<Problem>,
) -> Node {
    let file = sources.add(Source { name: name.to_owned(), path: None, text: text.to_owned() });
    let mut loader = Loader { sources, problems, open: Vec::new() };
    loader.text(file, FilePath::new("."), text)
}

struct Loader<'l> {
    sources: &'l mut Sources,
    problems: &'l mut Vec<Problem>,
    /// The files that are being read, outermost first.
    open: Vec<PathBuf>,
}

impl Loader<'_> {
    /// Reads one file; `from` is where it was included.
    fn file(&mut self, path: &FilePath, from: Option<(Mark, Path)>) -> Node {
        let (canonical, text) = match read(path) {
            Ok(read) => read,
            Err(message) => return self.unreadable(path, from, message),
        };
        if self.open.contains(&canonical) {
            let message = format!("`{}` includes itself", path.display());
            return self.unreadable(path, from, message);
        }
        if self.sources.position(&canonical).is_some() {
            let message = format!("`{}` is included twice", path.display());
            return self.unreadable(path, from, message);
        }
        let base = path.parent().map(FilePath::to_path_buf).unwrap_or_default();
        let file = self.sources.add(Source {
            name: path.display().to_string(),
            path: Some(canonical.clone()),
            text: text.clone(),
        });
        self.open.push(canonical);
        let node = self.text(file, &base, &text);
        self.open.pop();
        node
    }

    fn unreadable(&mut self, path: &FilePath, from: Option<(Mark, Path)>, message: String) -> Node {
        let (mark, at) = from.unwrap_or_else(|| {
            let name = path.display().to_string();
            let file = self.sources.add(Source { name, path: None, text: String::new() });
            (Mark { file, line: 0, column: 0 }, Path::default())
        });
        self.problems.push(Problem::at(mark, message).with_path(at));
        Node::new(Value::Pruned, mark)
    }

    fn text(&mut self, file: u32, base: &FilePath, text: &str) -> Node {
        let mut node = match parse::parse(text, file) {
            Ok(node) => node,
            Err(problem) => {
                let mark = problem.mark;
                self.problems.push(problem);
                return Node::new(Value::Pruned, mark);
            }
        };
        secrets::substitute(&mut node, base, self.problems);
        for (path, from) in self.included(&node, base) {
            let part = self.file(&path, Some(from));
            merge(&mut node, part, self.sources, self.problems);
        }
        node
    }

    /// The files that a node includes, each with the place that says so.
    fn included(&mut self, node: &Node, base: &FilePath) -> Vec<(PathBuf, (Mark, Path))> {
        let mut files = Vec::new();
        let Some(Value::Seq(items)) = node.get("include").map(|node| &node.value) else {
            return files;
        };
        for (index, item) in items.iter().enumerate() {
            let Value::String(pattern) = &item.value else { continue };
            let at = (item.mark, Path::default().key("include").index(index));
            match matches(base, pattern) {
                Ok(found) => files.extend(found.into_iter().map(|path| (path, at.clone()))),
                Err(message) => {
                    self.problems.push(Problem::at(at.0, message).with_path(at.1));
                }
            }
            if files.len() > MAX_FILES {
                let problem = Problem::at(item.mark, "more than 10000 files are included");
                self.problems.push(problem);
                break;
            }
        }
        files
    }
}

fn read(path: &FilePath) -> Result<(PathBuf, String), String> {
    let text = file::read(path, MAX_FILE)?;
    let canonical = fs::canonicalize(path)
        .map_err(|error| format!("cannot read `{}`: {error}", path.display()))?;
    Ok((canonical, text))
}

/// The files that a pattern names, by name; a plain name must exist.
fn matches(base: &FilePath, pattern: &str) -> Result<Vec<PathBuf>, String> {
    if !pattern.contains(['*', '?', '[']) {
        return Ok(vec![base.join(pattern)]);
    }
    let folder = glob::Pattern::escape(&base.to_string_lossy());
    let whole = FilePath::new(&folder).join(pattern);
    let paths = glob::glob(&whole.to_string_lossy())
        .map_err(|error| format!("not a pattern for files: {error}"))?;
    let mut files = Vec::new();
    for path in paths.take(MAX_FILES + 1) {
        let path = path.map_err(|error| format!("cannot read `{}`", error.path().display()))?;
        if path.is_file() {
            files.push(path);
        }
    }
    Ok(files)
}

/// Adds an included file's keys.
fn merge(whole: &mut Node, part: Node, sources: &Sources, problems: &mut Vec<Problem>) {
    if whole.value == Value::Empty {
        whole.value = Value::Map(Vec::new());
    }
    match (&mut whole.value, part.value) {
        (Value::Map(entries), Value::Map(added)) => {
            for entry in added {
                merge_key(entries, entry, sources, problems);
            }
        }
        (Value::Map(_), Value::Empty | Value::Pruned) => {}
        (Value::Map(_), _) => problems.push(Problem::at(part.mark, "expected a map")),
        _ => {}
    }
}

fn merge_key(
    entries: &mut Vec<Entry>,
    added: Entry,
    sources: &Sources,
    problems: &mut Vec<Problem>,
) {
    if added.key == "include" {
        return;
    }
    let Some(known) = entries.iter_mut().find(|entry| entry.key == added.key) else {
        entries.push(added);
        return;
    };
    let path = Path::default().key(&added.key);
    match (&mut known.value.value, added.value.value) {
        (Value::Seq(items), Value::Seq(more)) => items.extend(more),
        (Value::Map(map), Value::Map(more)) => {
            for entry in more {
                match map.iter().find(|known| known.key == entry.key) {
                    Some(first) => {
                        let path = path.key(&entry.key);
                        problems.push(twice(first.key_mark, &entry, sources).with_path(path));
                    }
                    None => map.push(entry),
                }
            }
        }
        (Value::Empty, value) => known.value.value = value,
        (_, Value::Empty) => {}
        (_, value) => {
            let added = Entry { value: Node::new(value, added.value.mark), ..added };
            problems.push(twice(known.key_mark, &added, sources).with_path(path));
        }
    }
}

fn twice(first: Mark, second: &Entry, sources: &Sources) -> Problem {
    let message = format!("`{}` is given twice", second.key);
    let hint = format!("it is first given in {}:{}", sources.name(first), first.line);
    Problem::at(second.key_mark, message).with_hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes the files and loads the first: its tree, and the problems as text.
    fn load_files(files: &[(&str, &str)]) -> (Node, Vec<String>) {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let (mut sources, mut problems) = (Sources::default(), Vec::new());
        let node = load(&folder.path().join(files[0].0), &mut sources, &mut problems);
        let folder = folder.path().display().to_string() + "/";
        let show = |problem: &Problem| {
            let (name, mark) = (sources.name(problem.mark), problem.mark);
            let hint = problem.hint.as_deref().unwrap_or_default();
            format!("{name}:{}: {} {hint}", mark.line, problem.message).replace(&folder, "")
        };
        let problems = problems.iter().map(show).collect();
        (node, problems)
    }

    #[test]
    fn lists_append_and_maps_merge() {
        let (node, problems) = load_files(&[
            ("main.yaml", "include: [routes.d/*.yaml]\nroutes: [1]\nupstreams: { a: 1 }\n"),
            ("routes.d/2.yaml", "routes: [3]\nupstreams: { c: 1 }\n"),
            ("routes.d/1.yaml", "routes: [2]\nupstreams: { b: 1 }\nserver: {}\n"),
        ]);
        assert_eq!(problems, [""; 0]);
        let expected = parse::parse(
            "{include: ['routes.d/*.yaml'], routes: [1, 2, 3], upstreams: {a: 1, b: 1, c: 1}, server: {}}",
            0,
        );
        assert_eq!(node, expected.unwrap());
    }

    #[track_caller]
    fn check_error(files: &[(&str, &str)], expected: &str) {
        assert_eq!(load_files(files).1, [expected]);
    }

    #[test]
    fn duplicates_cycles_and_missing_files_are_errors() {
        check_error(
            &[
                ("main.yaml", "include: [more.yaml]\nupstreams:\n  a: 1\n"),
                ("more.yaml", "upstreams:\n  a: 2\n"),
            ],
            "more.yaml:2: `a` is given twice it is first given in main.yaml:3",
        );
        check_error(
            &[("main.yaml", "include: [more.yaml]\n"), ("more.yaml", "\ninclude: [main.yaml]\n")],
            "more.yaml:2: `main.yaml` includes itself ",
        );
        check_error(
            &[("main.yaml", "include: [none.yaml]\n")],
            "main.yaml:1: no such file `none.yaml` ",
        );
        check_error(
            &[("main.yaml", "include: [more.yaml]\n"), ("more.yaml", "- 1\n")],
            "more.yaml:1: expected a map ",
        );
    }
}
