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
    ("tidegate-audit", &["tidegate-core"]),
    ("tidegate-auth", &["tidegate-core"]),
    ("tidegate-waf", &["tidegate-core"]),
    ("tidegate-guard", &["tidegate-core"]),
    ("tidegate-traffic", &["tidegate-core"]),
    ("tidegate-observe", &["tidegate-core"]),
    ("tidegate-siem", &["tidegate-core"]),
    (
        "tidegate-engine",
        &[
            "tidegate-audit",
            "tidegate-auth",
            "tidegate-core",
            "tidegate-guard",
            "tidegate-observe",
            "tidegate-siem",
            "tidegate-traffic",
            "tidegate-waf",
        ],
    ),
    (
        "tidegate-proxy",
        &[
            "tidegate-audit",
            "tidegate-auth",
            "tidegate-core",
            "tidegate-engine",
            "tidegate-guard",
            "tidegate-observe",
            "tidegate-siem",
            "tidegate-traffic",
            "tidegate-waf",
        ],
    ),
    ("tidegate", &["tidegate-audit", "tidegate-core", "tidegate-engine", "tidegate-proxy"]),
    ("tidegate-testkit", &["tidegate-core"]),
];

/// Rooms that are tested, fuzzed and benchmarked without a server: synchronous, no network.
const PURE: &[&str] = &[
    "tidegate-core",
    "tidegate-audit",
    "tidegate-auth",
    "tidegate-waf",
    "tidegate-guard",
    "tidegate-traffic",
    "tidegate-observe",
    "tidegate-engine",
];

/// What the engine may know although it delivers on a runtime: its settings are compiled with all
/// others, and nothing of it runs before the proxy starts it.
const KNOWN_FOR_ITS_SETTINGS: &str = "tidegate-siem";

/// Leaves of Pingora that know nothing of its server and may be used anywhere.
const PINGORA_LEAVES: &[&str] = &["pingora-limits", "pingora-ketama"];

#[test]
fn a_room_uses_only_the_rooms_below_it() -> Result<()> {
    let graph = Graph::read()?;
    let table: BTreeMap<_, _> = ROOMS.iter().copied().collect();
    let mut wrong = Vec::new();
    for name in graph.members.iter().filter(|name| is_library_or_binary(name)) {
        let Some(allowed) = table.get(name.as_str()) else {
            wrong.push(format!("{name} is a new room: add it to ROOMS in tests/tidy.rs"));
            continue;
        };
        for used in graph.direct(name).filter(|used| graph.members.contains(*used)) {
            if !allowed.contains(&used) {
                wrong.push(format!("{name} may not use {used} (docs/architecture.md)"));
            }
        }
    }
    none(&wrong)
}

#[test]
fn pure_rooms_reach_neither_pingora_nor_a_runtime() -> Result<()> {
    let graph = Graph::read()?;
    let mut wrong = Vec::new();
    for room in PURE {
        let mut seen = BTreeSet::from([KNOWN_FOR_ITS_SETTINGS.to_owned()]);
        graph.reach(room, &mut seen);
        for name in seen {
            let outside = name.starts_with("pingora") || name == "tokio";
            if outside && !PINGORA_LEAVES.contains(&name.as_str()) {
                wrong.push(format!("{room} reaches {name}; only proxy and server may"));
            }
        }
    }
    none(&wrong)
}

#[test]
fn no_file_outgrows_its_reader() -> Result<()> {
    let mut wrong = Vec::new();
    for file in files("rs")? {
        let lines = fs::read_to_string(&file)?.lines().count();
        if lines > MAX_LINES {
            let file = short(&file);
            wrong
                .push(format!("{file}: {lines} of {MAX_LINES} lines: split it where a name helps"));
        }
    }
    none(&wrong)
}

#[test]
fn every_source_file_says_what_it_is() -> Result<()> {
    let mut wrong = Vec::new();
    for file in files("rs")? {
        let text = fs::read_to_string(&file)?;
        // A fuzz target opens with `#![no_main]`, which must come first.
        let first = text.lines().find(|line| !line.starts_with("#![") && !line.is_empty());
        if !first.is_some_and(|line| line.starts_with("//! ")) {
            wrong.push(format!("{} does not open with `//!` and what it is", short(&file)));
        }
    }
    none(&wrong)
}

#[test]
fn nothing_is_left_half_done() -> Result<()> {
    // Put together here, so that this file does not find itself.
    let words =
        [["to", "do!("], ["unimple", "mented!("], ["FIX", "ME"]].map(|halves| halves.concat());
    let mut wrong = Vec::new();
    for extension in ["rs", "md", "yaml", "toml", "sh"] {
        for file in files(extension)? {
            let text = fs::read_to_string(&file)?;
            for (index, line) in text.lines().enumerate() {
                if let Some(word) = words.iter().find(|word| line.contains(word.as_str())) {
                    wrong.push(format!("{}:{}: {word}", short(&file), index + 1));
                }
            }
        }
    }
    none(&wrong)
}

#[test]
fn every_manifest_takes_lints_and_versions_from_the_workspace() -> Result<()> {
    let mut wrong = Vec::new();
    for file in files("toml")?.iter().filter(|file| is_member_manifest(file)) {
        let text = fs::read_to_string(file)?;
        let file = short(file);
        if !text.contains("[lints]\nworkspace = true") {
            wrong.push(format!("{file}: add `[lints] workspace = true`"));
        }
        for (number, line) in dependency_lines(&text) {
            if !line.contains("workspace = true") {
                wrong.push(format!("{file}:{number}: `{line}`: versions stand in the workspace"));
            }
        }
    }
    none(&wrong)
}

#[test]
fn unsafe_code_is_forbidden() -> Result<()> {
    let manifest = fs::read_to_string(root().join("Cargo.toml"))?;
    ensure!(manifest.contains("\nunsafe_code = \"forbid\"\n"), "Cargo.toml: forbid unsafe_code");
    Ok(())
}

#[test]
fn a_refusal_becomes_a_response_in_one_place() -> Result<()> {
    let place = root().join("crates/proxy/src/respond.rs");
    let mut wrong = Vec::new();
    for file in files("rs")?.iter().filter(|file| file.starts_with(root().join("crates"))) {
        let is_source = file.components().any(|part| part.as_os_str() == "src");
        let text = fs::read_to_string(file)?;
        if is_source && *file != place && text.contains("application/problem+json") {
            wrong.push(format!("{}: only {} makes problem bodies", short(file), short(&place)));
        }
    }
    none(&wrong)
}

/// A process that systemd confines sees nothing of `/proc` but processes (`ProcSubset=pid`).
#[test]
fn only_our_own_part_of_proc_is_read() -> Result<()> {
    let mut wrong = Vec::new();
    for file in files("rs")?.iter().filter(|file| file.starts_with(root().join("crates"))) {
        let text = fs::read_to_string(file)?;
        let mut reads = text.split("\"/proc/").skip(1);
        if reads.any(|rest| !rest.starts_with("self/")) {
            wrong.push(format!("{}: reads more of /proc than /proc/self", short(file)));
        }
    }
    none(&wrong)
}

#[test]
fn links_between_documents_lead_somewhere() -> Result<()> {
    let mut wrong = Vec::new();
    for file in files("md")? {
        let text = fs::read_to_string(&file)?;
        let folder = file.parent().context("a file stands in a folder")?;
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = target.split('#').next().unwrap_or_default();
            if !path.contains("://") && !folder.join(path).exists() {
                wrong.push(format!("{}: no such file: {target}", short(&file)));
            }
        }
    }
    none(&wrong)
}

#[test]
fn every_decision_record_has_its_parts() -> Result<()> {
    let mut records = list(&root().join("docs/adr"))?;
    records.sort();
    let mut wrong = Vec::new();
    for (index, file) in records.iter().enumerate() {
        let number = format!("{:04}-", index + 1);
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        if !name.starts_with(&number) {
            wrong.push(format!("{}: the next record's name starts with {number}", short(file)));
        }
        let text = fs::read_to_string(file)?;
        for part in ["## Context", "## Decision", "## Consequences"] {
            if !text.contains(part) {
                wrong.push(format!("{} lacks `{part}`", short(file)));
            }
        }
    }
    none(&wrong)
}

/// Passes if there is nothing to complain about; tells all of it otherwise.
fn none(complaints: &[String]) -> Result<()> {
    ensure!(complaints.is_empty(), "{} to mend:\n{}", complaints.len(), complaints.join("\n"));
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
        let names: BTreeMap<_, _> = array(&metadata, "/packages")
            .map(|package| (text(package, "/id"), text(package, "/name")))
            .collect();
        let name = |id: &str| names.get(id).map_or_else(String::new, |name| (*name).to_owned());
        let members = array(&metadata, "/workspace_members").map(|id| name(text(id, "")));
        let edges = array(&metadata, "/resolve/nodes").map(|node| {
            let used = array(node, "/deps")
                .filter(|dep| array(dep, "/dep_kinds").any(|kind| text(kind, "/kind").is_empty()))
                .map(|dep| name(text(dep, "/pkg")));
            (name(text(node, "/id")), used.collect())
        });
        let graph = Self { members: members.collect(), edges: edges.collect() };
        // A graph that was misread would let everything pass.
        let mut seen = BTreeSet::new();
        graph.reach("tidegate", &mut seen);
        ensure!(seen.contains("tidegate-core") && seen.contains("pingora-core"), "misread graph");
        Ok(graph)
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

/// The elements of the array at a JSON pointer; none if it is no array.
fn array<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    value.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

/// The string at a JSON pointer; empty if it is no string.
fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
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
            let generated =
                ["target", "corpus", "artifacts", "node_modules", "venv"].contains(&name);
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
