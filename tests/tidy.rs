//! The repository's own rules, run as a test: who may depend on whom, how long a file may grow,
//! what every file and manifest must carry. Each failure names the file and what to do.
//!
//! Style that the compiler, clippy or rustfmt can check is their business, not this file's.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

/// A file longer than this has lost its reader. Tables of data belong into `config/`.
const MAX_LINES: usize = 600;

/// Our rooms, and which of our rooms each may use (`docs/architecture.md`).
const ROOMS: &[(&str, &[&str])] = &[
    ("tidegate-core", &[]),
    ("tidegate-waf", &["tidegate-core"]),
    ("tidegate-guard", &["tidegate-core"]),
    ("tidegate-traffic", &["tidegate-core"]),
    ("tidegate-observe", &["tidegate-core"]),
    (
        "tidegate-engine",
        &[
            "tidegate-core",
            "tidegate-guard",
            "tidegate-observe",
            "tidegate-traffic",
            "tidegate-waf",
        ],
    ),
    (
        "tidegate-proxy",
        &[
            "tidegate-core",
            "tidegate-engine",
            "tidegate-guard",
            "tidegate-observe",
            "tidegate-traffic",
            "tidegate-waf",
        ],
    ),
    ("tidegate", &["tidegate-core", "tidegate-engine", "tidegate-proxy"]),
    ("tidegate-testkit", &["tidegate-core"]),
];

/// Rooms that are tested, fuzzed and benchmarked without a server: synchronous, no network.
const PURE: &[&str] = &[
    "tidegate-core",
    "tidegate-waf",
    "tidegate-guard",
    "tidegate-traffic",
    "tidegate-observe",
    "tidegate-engine",
];

/// Leaves of Pingora that know nothing of its server and may be used anywhere.
const PINGORA_LEAVES: &[&str] = &["pingora-limits", "pingora-ketama"];

#[test]
fn a_room_uses_only_the_rooms_below_it() -> Result<()> {
    let graph = Graph::read()?;
    let table: BTreeMap<_, _> = ROOMS.iter().copied().collect();
    for name in graph.members.iter().filter(|name| is_library_or_binary(name)) {
        let allowed = table
            .get(name.as_str())
            .with_context(|| format!("{name} is a new room: add it to ROOMS in tests/tidy.rs"))?;
        let ours = graph.direct(name).filter(|used| graph.members.contains(*used));
        let wrong: Vec<_> = ours.filter(|used| !allowed.contains(used)).collect();
        ensure!(wrong.is_empty(), "{name} may not use {wrong:?} (docs/architecture.md)");
    }
    Ok(())
}

#[test]
fn pure_rooms_reach_neither_pingora_nor_a_runtime() -> Result<()> {
    let graph = Graph::read()?;
    for room in PURE {
        let mut seen = BTreeSet::new();
        graph.reach(room, &mut seen);
        let wrong: Vec<_> = seen
            .iter()
            .filter(|name| name.starts_with("pingora") || name.as_str() == "tokio")
            .filter(|name| !PINGORA_LEAVES.contains(&name.as_str()))
            .collect();
        ensure!(wrong.is_empty(), "{room} reaches {wrong:?}; only proxy and server may");
    }
    Ok(())
}

#[test]
fn no_file_outgrows_its_reader() -> Result<()> {
    for file in files("rs")? {
        let lines = fs::read_to_string(&file)?.lines().count();
        ensure!(
            lines <= MAX_LINES,
            "{} has {lines} lines, more than {MAX_LINES}: split it where a name helps",
            short(&file)
        );
    }
    Ok(())
}

#[test]
fn every_source_file_says_what_it_is() -> Result<()> {
    for file in files("rs")? {
        let text = fs::read_to_string(&file)?;
        // A fuzz target opens with `#![no_main]`, which must come first.
        let first = text.lines().find(|line| !line.starts_with("#![") && !line.is_empty());
        ensure!(
            first.is_some_and(|line| line.starts_with("//! ")),
            "{} does not open with `//!`: what it is, and what it deliberately does not do",
            short(&file)
        );
    }
    Ok(())
}

#[test]
fn nothing_is_left_half_done() -> Result<()> {
    // Put together here, so that this file does not find itself.
    let words = [["to", "do!("], ["unimple", "mented!("], ["FIX", "ME"], ["XX", "X"]]
        .map(|halves| halves.concat());
    for extension in ["rs", "md", "yaml", "toml", "sh"] {
        for file in files(extension)? {
            let text = fs::read_to_string(&file)?;
            for (number, line) in text.lines().enumerate() {
                let found = words.iter().find(|word| line.contains(word.as_str()));
                ensure!(found.is_none(), "{}:{}: {found:?}", short(&file), number + 1);
            }
        }
    }
    Ok(())
}

#[test]
fn every_manifest_takes_lints_and_versions_from_the_workspace() -> Result<()> {
    for file in files("toml")?.iter().filter(|file| is_member_manifest(file)) {
        let text = fs::read_to_string(file)?;
        ensure!(
            text.contains("[lints]\nworkspace = true"),
            "{}: add `[lints] workspace = true`",
            short(file)
        );
        for (number, line) in dependency_lines(&text) {
            ensure!(
                line.contains("workspace = true"),
                "{}:{number}: `{line}`: versions stand in the workspace's table only",
                short(file)
            );
        }
    }
    Ok(())
}

#[test]
fn unsafe_code_is_forbidden() -> Result<()> {
    let manifest = fs::read_to_string(root().join("Cargo.toml"))?;
    ensure!(manifest.contains("\nunsafe_code = \"forbid\"\n"), "Cargo.toml: forbid unsafe_code");
    Ok(())
}

#[test]
fn every_example_config_is_named_by_a_test() -> Result<()> {
    let tests: String = files("rs")?
        .iter()
        .filter(|file| file.starts_with(root().join("tests")))
        .map(fs::read_to_string)
        .collect::<Result<_, _>>()?;
    for file in list(&root().join("config"))? {
        let Some(name) = file.file_name().and_then(|name| name.to_str()) else { continue };
        if file.extension().is_some_and(|extension| extension == "yaml") {
            ensure!(tests.contains(name), "config/{name} is started by no test under tests/");
        }
    }
    Ok(())
}

#[test]
fn links_between_documents_lead_somewhere() -> Result<()> {
    for file in files("md")? {
        let text = fs::read_to_string(&file)?;
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = target.split('#').next().unwrap_or_default();
            if path.is_empty() || path.contains("://") {
                continue;
            }
            let folder = file.parent().context("a file stands in a folder")?;
            ensure!(folder.join(path).exists(), "{}: no such file: {target}", short(&file));
        }
    }
    Ok(())
}

#[test]
fn every_decision_record_has_its_parts() -> Result<()> {
    let mut records = list(&root().join("docs/adr"))?;
    records.sort();
    for (index, file) in records.iter().enumerate() {
        let number = format!("{:04}-", index + 1);
        ensure!(
            file.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&number)),
            "{}: the next record's name starts with {number}",
            short(file)
        );
        let text = fs::read_to_string(file)?;
        for part in ["## Context", "## Decision", "## Consequences"] {
            ensure!(text.contains(part), "{} lacks `{part}`", short(file));
        }
    }
    Ok(())
}

/// Which crate uses which, ours and everybody else's; development dependencies left out.
struct Graph {
    /// The workspace's own packages.
    members: BTreeSet<String>,
    edges: BTreeMap<String, BTreeSet<String>>,
}

impl Graph {
    fn read() -> Result<Self> {
        let output = Command::new(env!("CARGO"))
            .args(["metadata", "--offline", "--locked", "--format-version", "1"])
            .args(["--filter-platform", &host()?])
            .current_dir(root())
            .output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let metadata: Value = serde_json::from_slice(&output.stdout)?;
        let names: BTreeMap<_, _> = array(&metadata["packages"])
            .map(|package| (text(&package["id"]), text(&package["name"])))
            .collect();
        let name = |id: &Value| names.get(&text(id)).cloned().unwrap_or_default();
        let members = array(&metadata["workspace_members"]).map(name).collect();
        let edges = array(&metadata["resolve"]["nodes"])
            .map(|node| {
                let used = array(&node["deps"])
                    .filter(|dep| array(&dep["dep_kinds"]).any(|kind| kind["kind"].is_null()))
                    .map(|dep| name(&dep["pkg"]));
                (name(&node["id"]), used.collect())
            })
            .collect();
        Ok(Self { members, edges })
    }

    /// What a crate names in its manifest.
    fn direct(&self, name: &str) -> impl Iterator<Item = &str> {
        self.edges.get(name).into_iter().flatten().map(String::as_str)
    }

    /// Adds to `seen` all that a crate ends up linking.
    fn reach(&self, name: &str, seen: &mut BTreeSet<String>) {
        for used in self.direct(name) {
            if seen.insert(used.to_owned()) {
                self.reach(used, seen);
            }
        }
    }
}

fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The target triple that this test was built on, as `rustc -vV` prints it.
fn host() -> Result<String> {
    let output = Command::new("rustc").arg("-vV").current_dir(root()).output()?;
    let printed = String::from_utf8(output.stdout)?;
    let host = printed.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc -vV names its host")
}

/// Tests and benchmarks may use every room.
fn is_library_or_binary(member: &str) -> bool {
    !["tidegate-tests", "tidegate-benches"].contains(&member)
}

/// The fuzz targets are a workspace of their own, since they need a nightly compiler.
fn is_member_manifest(file: &Path) -> bool {
    file.ends_with("Cargo.toml")
        && file != root().join("Cargo.toml")
        && !file.starts_with(root().join("tests/fuzz"))
}

/// The lines of a manifest's dependency tables, with their numbers.
fn dependency_lines(manifest: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut inside = false;
    manifest.lines().enumerate().filter_map(move |(index, line)| {
        if line.starts_with('[') {
            inside = line.ends_with("dependencies]");
            return None;
        }
        let is_entry = inside && !line.is_empty() && !line.starts_with('#');
        is_entry.then_some((index + 1, line))
    })
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap_or_default()
}

/// A path as a reader of the message types it.
fn short(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

/// All files of ours with this extension, without what tools generate.
fn files(extension: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for path in list(&folder)? {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let generated = ["target", "corpus", "artifacts", "node_modules"].contains(&name);
            if path.is_dir() && !generated && !name.starts_with('.') {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    entries.map(|entry| Ok(entry?.path())).collect()
}
