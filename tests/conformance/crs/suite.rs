//! The tests of a CRS checkout, in go-ftw's format (github.com/coreruleset/ftw-tests-schema): a
//! file per rule, its tests, their stages, each a request and what must come of it.
//!
//! A field that is not known here fails the run: a test must not pass because part of it was not
//! understood.

use std::fs;
use std::path::{Path, PathBuf};

use crate::yaml::Node;

/// One test, named like `942100-3`.
#[derive(Clone, Debug)]
pub(crate) struct Test {
    pub(crate) id: String,
    /// The file, below the folder of the suite.
    pub(crate) file: PathBuf,
    pub(crate) stages: Vec<Stage>,
}

/// One request and what must come of it.
#[derive(Clone, Debug)]
pub(crate) struct Stage {
    pub(crate) input: Input,
    pub(crate) expect: Expect,
}

/// A request, as the file puts it; see `wire.rs` for what goes on the wire.
#[derive(Clone, Debug, Default)]
pub(crate) struct Input {
    pub(crate) method: Option<String>,
    pub(crate) uri: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) data: Option<String>,
    pub(crate) encoded_data: Option<String>,
    pub(crate) encoded_request: Option<String>,
    pub(crate) plain_headers: bool,
}

/// What must come of a request; what is empty is not looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Expect {
    pub(crate) status: Option<u16>,
    pub(crate) response_contains: Option<String>,
    pub(crate) no_answer: bool,
    pub(crate) ids: Vec<u32>,
    pub(crate) no_ids: Vec<u32>,
    pub(crate) isolated: bool,
    pub(crate) log: Option<String>,
    pub(crate) no_log: Option<String>,
}

/// A test whose expectation is another one here, and why.
#[derive(Clone, Debug)]
pub(crate) struct Override {
    pub(crate) test: String,
    pub(crate) reason: String,
    pub(crate) expect: Expect,
}

/// Every test below `folder`, in the order of the files.
///
/// # Errors
/// A file that cannot be read, with its name.
pub(crate) fn read(folder: &Path) -> Result<Vec<Test>, String> {
    let mut files = Vec::new();
    find(folder, &mut files).map_err(|error| format!("{}: {error}", folder.display()))?;
    files.sort();
    let mut tests = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).map_err(|error| error.to_string());
        let short = file.strip_prefix(folder).unwrap_or(&file);
        let read = text.and_then(|text| read_file(short, &text));
        tests.extend(read.map_err(|error| format!("{}: {error}", file.display()))?);
    }
    Ok(tests)
}

/// The overrides, from a file of our own.
///
/// # Errors
/// The file is not what it should be.
pub(crate) fn overrides(text: &str) -> Result<Vec<Override>, String> {
    let Some(tree) = Node::parse(text)? else { return Ok(Vec::new()) };
    let read = |node: &Node| {
        let text = |key| node.get(key).and_then(Node::text).map(str::to_owned);
        let output = node.get("output").ok_or("an override without output")?;
        Ok(Override {
            test: text("test").ok_or("an override without test")?,
            reason: text("reason").ok_or("an override without reason")?,
            expect: read_expect(output)?,
        })
    };
    tree.items().iter().map(read).collect()
}

fn find(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            find(&path, files)?;
        } else if path.extension().is_some_and(|it| it == "yaml" || it == "yml") {
            files.push(path);
        }
    }
    Ok(())
}

fn read_file(file: &Path, text: &str) -> Result<Vec<Test>, String> {
    let Some(tree) = Node::parse(text)? else { return Ok(Vec::new()) };
    let stem = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let rule = tree.get("rule_id").and_then(Node::text).unwrap_or(stem);
    let tests = tree.get("tests").ok_or("no tests")?.items();
    let read = |(index, test): (usize, &Node)| {
        let number = test.get("test_id").and_then(Node::text);
        let id = format!("{rule}-{}", number.map_or((index + 1).to_string(), str::to_owned));
        let stages = test.get("stages").map(Node::items).unwrap_or_default();
        let stages: Result<Vec<_>, String> = stages.iter().map(read_stage).collect();
        let stages = stages.map_err(|error| format!("{id}: {error}"))?;
        Ok(Test { id, file: file.to_owned(), stages })
    };
    tests.iter().enumerate().map(read).collect()
}

fn read_stage(node: &Node) -> Result<Stage, String> {
    let input = read_input(node.get("input").ok_or("no input")?)?;
    let expect = read_expect(node.get("output").ok_or("no output")?)?;
    Ok(Stage { input, expect })
}

fn read_input(node: &Node) -> Result<Input, String> {
    let mut input = Input::default();
    for (key, value) in node.entries() {
        let text = value.text().map(str::to_owned);
        match key.as_str() {
            "method" => input.method = text,
            "uri" => input.uri = text,
            "version" => input.version = text,
            "data" => input.data = text,
            "encoded_data" => input.encoded_data = text,
            "encoded_request" => input.encoded_request = text,
            "autocomplete_headers" => input.plain_headers = !read_bool(value)?,
            "stop_magic" => input.plain_headers = read_bool(value)?,
            "headers" => {
                let named = value.entries().iter();
                let named = named.map(|(name, value)| Some((name.clone(), value.text()?.into())));
                input.headers = named.collect::<Option<_>>().ok_or("a header that is no text")?;
                // go-ftw sends a map in the order of its names.
                input.headers.sort();
            }
            "ordered_headers" => {
                let pairs = value.items().iter();
                let text = |node: &Node, key| node.get(key)?.text().map(str::to_owned);
                let pairs = pairs.map(|pair| Some((text(pair, "name")?, text(pair, "value")?)));
                input.headers = pairs.collect::<Option<_>>().ok_or("a header that is no text")?;
            }
            // Everything goes to the one gateway, over plain TCP.
            "dest_addr" | "port" => {}
            "protocol" if value.text() == Some("http") => {}
            "follow_redirect" | "save_cookie" if !read_bool(value)? => {}
            other => return Err(format!("input.{other} is not supported")),
        }
    }
    Ok(input)
}

fn read_expect(node: &Node) -> Result<Expect, String> {
    let mut expect = Expect::default();
    for (key, value) in node.entries() {
        match key.as_str() {
            "status" => expect.status = Some(read_number(value)?),
            "response_contains" => expect.response_contains = value.text().map(str::to_owned),
            "expect_error" => expect.no_answer = read_bool(value)?,
            "isolated" => expect.isolated = read_bool(value)?,
            "log_contains" => expect.log = value.text().map(str::to_owned),
            "no_log_contains" => expect.no_log = value.text().map(str::to_owned),
            "log" => read_log(value, &mut expect)?,
            // For logs that lag behind; ours is read at the end.
            "retry_once" => {}
            other => return Err(format!("output.{other} is not supported")),
        }
    }
    Ok(expect)
}

fn read_log(node: &Node, expect: &mut Expect) -> Result<(), String> {
    for (key, value) in node.entries() {
        let numbers = || value.items().iter().map(read_number).collect::<Result<Vec<u32>, _>>();
        match key.as_str() {
            "expect_ids" => expect.ids = numbers()?,
            "no_expect_ids" => expect.no_ids = numbers()?,
            "match_regex" => expect.log = value.text().map(str::to_owned),
            "no_match_regex" => expect.no_log = value.text().map(str::to_owned),
            other => return Err(format!("output.log.{other} is not supported")),
        }
    }
    Ok(())
}

fn read_number<T: std::str::FromStr>(node: &Node) -> Result<T, String> {
    node.text().and_then(|text| text.parse().ok()).ok_or_else(|| format!("{node:?}: no number"))
}

fn read_bool(node: &Node) -> Result<bool, String> {
    match node.text().map(str::to_ascii_lowercase).as_deref() {
        Some("true") => Ok(true),
        Some("false") => Ok(false),
        _ => Err(format!("{node:?} is neither true nor false")),
    }
}
