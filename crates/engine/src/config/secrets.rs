//! `${env:NAME}` and `${file:path}` inside strings: the only way for a secret into the
//! configuration, and the one place that reads the environment.
//!
//! A string with such a value is marked, so that nothing prints it. `$${` stands for `${`. Other
//! uses of `$`, such as `$1` or `${name}` in a rewrite, are left alone.

use std::path::Path as FilePath;

use tidegate_core::suggest;
use tidegate_core::units::ByteSize;

use super::file;
use super::path::Path;
use super::problem::Problem;
use super::tree::{Node, Value};

/// Larger secrets are a mistake.
const MAX_SECRET: ByteSize = ByteSize::kib(64);

/// Replaces them in the whole tree; `base` is the folder that relative files start from.
pub(crate) fn substitute(node: &mut Node, base: &FilePath, problems: &mut Vec<Problem>) {
    walk(node, &Path::default(), base, problems);
}

fn walk(node: &mut Node, path: &Path, base: &FilePath, problems: &mut Vec<Problem>) {
    let mark = node.mark;
    match &mut node.value {
        Value::Map(entries) => {
            for entry in entries {
                walk(&mut entry.value, &path.key(&entry.key), base, problems);
            }
        }
        Value::Seq(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                walk(item, &path.index(index), base, problems);
            }
        }
        Value::String(text) if text.contains("${") => match expand(text, base) {
            Ok(Expanded { text: expanded, secret }) => {
                *text = expanded;
                node.secret = secret;
            }
            Err((message, hint)) => {
                let problem = Problem::at(mark, message).with_path(path.clone());
                problems.push(Problem { hint, ..problem });
                node.value = Value::Pruned;
            }
        },
        _ => {}
    }
}

struct Expanded {
    text: String,
    secret: bool,
}

type Fault = (String, Option<String>);

fn expand(text: &str, base: &FilePath) -> Result<Expanded, Fault> {
    let mut expanded = Expanded { text: String::with_capacity(text.len()), secret: false };
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        if let Some(before) = before.strip_suffix('$') {
            expanded.text += before;
            expanded.text += "${";
            rest = after;
            continue;
        }
        expanded.text += before;
        let Some((inner, behind)) = after.split_once('}') else {
            return Err((format!("`${{{after}` has no closing brace"), None));
        };
        match inner.split_once(':') {
            Some((source, name)) => {
                expanded.text += &read(source, name, base)?;
                expanded.secret = true;
            }
            None => expanded.text += &format!("${{{inner}}}"),
        }
        rest = behind;
    }
    expanded.text += rest;
    Ok(expanded)
}

fn read(source: &str, name: &str, base: &FilePath) -> Result<String, Fault> {
    match source {
        "env" => environment(name)
            .ok_or_else(|| (format!("the environment variable `{name}` is not set"), None)),
        "file" => secret_file(&base.join(name)).map_err(|fault| (fault, None)),
        _ => {
            let hint = suggest::hint(source, ["env", "file"])
                .or_else(|| Some("write `${env:NAME}`, `${file:path}`, or `$${` for `${`".into()));
            Err((format!("`{source}` is no source of secrets"), hint))
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the environment's one home")]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn secret_file(path: &FilePath) -> Result<String, String> {
    let mut text = file::read(path, MAX_SECRET)?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::config::parse;

    #[track_caller]
    fn check(text: &str, expected: &str, secret: bool) {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("token"), "s3cret\n").unwrap();
        let mut node = parse::parse(&format!("'{text}'"), 0).unwrap();
        let mut problems = Vec::new();
        substitute(&mut node, folder.path(), &mut problems);
        assert_eq!(problems, []);
        assert_eq!(node.value, Value::String(expected.to_owned()));
        assert_eq!(node.secret, secret);
    }

    #[track_caller]
    fn check_error(text: &str, message: &str) {
        let mut node = parse::parse(&format!("a: '{text}'"), 0).unwrap();
        let mut problems = Vec::new();
        substitute(&mut node, FilePath::new("/nonexistent"), &mut problems);
        assert_eq!(problems.len(), 1);
        assert!(problems[0].message.contains(message), "{problems:?}");
        assert_eq!(problems[0].path.to_string(), "a");
    }

    #[test]
    fn secrets_come_from_the_environment_and_files() {
        check("${env:CARGO_PKG_NAME}", "tidegate-engine", true);
        check("Bearer ${file:token}!", "Bearer s3cret!", true);
        check("plain", "plain", false);
        check("$1 ${1} ${name}", "$1 ${1} ${name}", false);
        check("$${env:X}", "${env:X}", false);
    }

    #[test]
    fn a_missing_secret_is_an_error() {
        check_error("${env:TIDEGATE_TEST_UNSET}", "is not set");
        check_error("${file:token}", "no such file");
        check_error("${evn:X}", "`evn` is no source");
        check_error("${env:X", "no closing brace");
    }
}
