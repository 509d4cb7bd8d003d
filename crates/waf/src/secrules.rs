//! SecLang's operators and transformations against the vectors of secrules-language-tests, read
//! from the directory that `TIDEGATE_SECRULES_TESTS` names; without it there is nothing to do.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::mask::ByteMask;
use crate::operators::seclang::{Argument, operator};
use crate::operators::{Captures, Operator};
use crate::seclang::ast::Item;
use crate::seclang::{CrsSource, SecLangSources, load};
use crate::transformations::seclang::{Step, step};

/// What is refused here, or is no name to libmodsecurity either.
const NOT_APPLICABLE: &[&str] = &["geoLookup", "phpArgsNames"];

/// Arguments that are refused when they are read: lookaround, and what is no range of bytes.
const REFUSED: &[(&str, &str)] = &[
    ("rx", "<\\?(?!xml)"),
    ("rxGlobal", "<\\?(?!xml)"),
    ("validateByteRange", ""),
    ("validateByteRange", "xxx"),
];

/// Vectors whose bytes were lost when they became JSON, told by a part of their input; the
/// transformations' own tests have these cases.
const DAMAGED: &[(&str, &[u8])] = &[("cssDecode", b"\\ff5e"), ("escapeSeqDecode", b"\\xag")];

/// One vector.
struct Vector {
    name: String,
    param: String,
    input: Vec<u8>,
    output: Vec<u8>,
    matches: bool,
    groups: Option<Vec<String>>,
}

fn vectors(directory: &str) -> Option<Vec<(PathBuf, Vector)>> {
    let root = std::env::var_os("TIDEGATE_SECRULES_TESTS")?;
    let mut files: Vec<PathBuf> = std::fs::read_dir(Path::new(&root).join(directory))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    files.sort_unstable();
    let mut all = Vec::new();
    for path in files {
        let rows: Vec<Value> = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        for row in rows {
            let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
            let groups = row["re_groups"].as_array().map(|groups| {
                groups.iter().map(|group| group.as_str().unwrap().to_owned()).collect()
            });
            let vector = Vector {
                name: text("name").replace("cmd_line", "cmdLine"),
                param: text("param"),
                input: bytes(&text("input")),
                output: bytes(&text("output")),
                matches: row["ret"] == 1 || row["ret"] == "1",
                groups,
            };
            if !NOT_APPLICABLE.contains(&vector.name.as_str()) {
                all.push((path.clone(), vector));
            }
        }
    }
    Some(all)
}

/// The vectors write bytes that JSON cannot hold as `\xHH` and `\u00HH`, behind a backslash more.
fn bytes(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let digits = match rest {
            [b'\\', b'x', ..] => rest.get(2..4),
            [b'\\', b'u', b'0', b'0', ..] => rest.get(4..6),
            _ => None,
        };
        let value = digits
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        rest = if let Some(value) = value {
            out.push(value);
            if rest[1] == b'x' { &rest[4..] } else { &rest[6..] }
        } else {
            out.push(byte);
            tail
        };
    }
    out
}

fn built(path: &Path, vector: &Vector) -> Result<Box<dyn Operator>, String> {
    let row = operator(&vector.name).ok_or_else(|| "is unknown".to_owned())?;
    let base = path.parent().unwrap();
    // Files are named from the root of ModSecurity's source.
    let param = vector.param.replace("test-cases/secrules-language-tests/operators/", "");
    let read = |file: &Path| std::fs::read(file);
    row.build(&Argument { text: param.as_bytes(), base, read: &read })
}

#[test]
fn operators_agree_with_the_vectors() {
    let Some(vectors) = vectors("operators") else { return };
    let mut failures = String::new();
    for (path, vector) in &vectors {
        let mut fail = |what: String| {
            let Vector { name, param, input, matches, .. } = vector;
            let input = input.escape_ascii();
            let _written = writeln!(failures, "@{name} {param:?} {input} {matches}: {what}");
        };
        let operator = match built(path, vector) {
            Ok(operator) => operator,
            // An argument that is refused at load cannot match.
            Err(_) if !vector.matches => continue,
            Err(_) if REFUSED.contains(&(&vector.name, &vector.param)) => continue,
            Err(error) => {
                fail(error);
                continue;
            }
        };
        let matches = operator.matches(&vector.input);
        let mut captures = Captures::default();
        let captured = operator.capture(&vector.input, &mut captures);
        if matches != vector.matches || captured.is_some() != matches {
            fail(format!("matches: {matches}, captures: {}", captured.is_some()));
        }
        let mask = ByteMask::of(&vector.input);
        if matches && !operator.required().classes.iter().all(|class| class.intersects(&mask)) {
            fail("the prefilter would lose it".to_owned());
        }
        let Some(groups) = &vector.groups else { continue };
        let found: Vec<String> = captures
            .iter(&vector.input)
            .map(|(_, group)| String::from_utf8_lossy(group).into_owned())
            .collect();
        // Some vectors name only the first match's groups of many.
        let agrees =
            if vector.name == "rxGlobal" { found.starts_with(groups) } else { found == *groups };
        if !agrees {
            fail(format!("captures {found:?}, not {groups:?}"));
        }
    }
    println!("{} vectors of operators", vectors.len());
    assert!(failures.is_empty() && !vectors.is_empty(), "{failures}");
}

#[test]
fn transformations_agree_with_the_vectors() {
    let Some(vectors) = vectors("transformations") else { return };
    let mut failures = String::new();
    for (_, vector) in &vectors {
        let Vector { name, input, output, .. } = vector;
        let damaged =
            |(of, part): &(&str, &[u8])| of == name && memchr::memmem::find(input, part).is_some();
        if DAMAGED.iter().any(damaged) {
            continue;
        }
        let mut out = Vec::new();
        match step(name) {
            Some(Step::Apply(row)) => (row.apply)(input, &mut out),
            _ => out.extend_from_slice(b"(unknown)"),
        }
        if out != *output {
            let (input, out) = (input.escape_ascii(), out.escape_ascii());
            let _written =
                writeln!(failures, "t:{name} {input}: {out}, not {}", output.escape_ascii());
        }
    }
    println!("{} vectors of transformations", vectors.len());
    assert!(failures.is_empty() && !vectors.is_empty(), "{failures}");
}

/// Every operator and transformation of the Core Rule Set in the folder that `TIDEGATE_CRS` names
/// is built, and the prefilter loses none of their matches on the lines of its own tests.
#[test]
fn the_core_rule_set_is_built() {
    let Some(root) = std::env::var_os("TIDEGATE_CRS").map(PathBuf::from) else { return };
    let crs = Some(CrsSource { path: root.clone(), setup: None });
    let loaded = load(&SecLangSources { crs, ..SecLangSources::default() });
    let rules = loaded.unwrap_or_else(|errors| panic!("{errors}")).rules;
    let mut operators: Vec<(u32, Box<dyn Operator>)> = Vec::new();
    let mut failures = String::new();
    for item in &rules.items {
        let Item::Rule(rule) = item else { continue };
        for link in &rule.links {
            for name in &link.transformations {
                assert!(matches!(step(name), Some(Step::Apply(_))), "t:{name} of {}", rule.id);
            }
            let Some(condition) = &link.condition else { continue };
            let asked = &condition.operator;
            let row = operator(&asked.name).unwrap();
            let Some(text) = asked.argument.literal() else {
                assert!(row.dynamic().is_some(), "@{} of {}", asked.name, rule.id);
                continue;
            };
            let read = |file: &Path| std::fs::read(file);
            let text = text.as_bytes();
            match row.build(&Argument { text, base: &asked.folder, read: &read }) {
                Ok(built) => operators.push((rule.id, built)),
                Err(error) => writeln!(failures, "{} @{}: {error}", rule.id, asked.name).unwrap(),
            }
        }
    }
    let lines = lines_of_tests(&root.join("tests/regression/tests"));
    let mut hits = 0_usize;
    for line in &lines {
        let mask = ByteMask::of(line);
        let lower = line.to_ascii_lowercase();
        for (id, operator) in &operators {
            if !operator.matches(line) {
                continue;
            }
            hits += 1;
            let needs = operator.required();
            let literal = |literals: &Vec<Vec<u8>>| {
                literals.iter().any(|literal| memchr::memmem::find(&lower, literal).is_some())
            };
            let passes = needs.classes.iter().all(|class| class.intersects(&mask))
                && needs.literals.as_ref().is_none_or(literal);
            if !passes {
                writeln!(failures, "{id} is lost: {}", line.escape_ascii()).unwrap();
            }
        }
    }
    println!("{} operators, {} lines, {hits} matches", operators.len(), lines.len());
    assert!(failures.is_empty() && !operators.is_empty(), "{failures}");
}

/// One of ten lines of the YAML files below the folder, as they are and decoded.
fn lines_of_tests(folder: &Path) -> Vec<Vec<u8>> {
    let mut lines = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            lines.extend(lines_of_tests(&path));
        } else if let Ok(text) = std::fs::read_to_string(&path) {
            for line in text.lines().step_by(10) {
                let mut decoded = Vec::new();
                if let Some(Step::Apply(row)) = step("urlDecodeUni") {
                    (row.apply)(line.as_bytes(), &mut decoded);
                }
                lines.extend([line.as_bytes().to_vec(), decoded]);
            }
        }
    }
    lines.sort_unstable();
    lines.dedup();
    lines
}
