//! What passes no longer although its time is not over: tokens by `jti`, subjects, clients. A file
//! says so, a line each, and it may grow while it is used.

use std::path::{Path, PathBuf};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustc_hash::FxHashMap;

use crate::identity::Identity;
use crate::issuer::read_up_to;
use crate::json::{self, Json, Object};

/// A list that may change while it is used.
#[derive(Debug)]
pub struct Revocations {
    file: PathBuf,
    list: ArcSwap<List>,
    /// One reading at a time, so that an older one does not come last.
    reading: Mutex<()>,
}

#[derive(Debug, Default)]
struct List {
    tokens: FxHashMap<Box<str>, Vec<Entry>>,
    subjects: FxHashMap<Box<str>, Vec<Entry>>,
    clients: FxHashMap<Box<str>, Vec<Entry>>,
}

/// For whom an entry counts.
#[derive(Clone, Copy, Debug)]
struct Entry {
    /// Tokens that were issued until then.
    before: Option<u64>,
    /// The entry's own end.
    until: Option<u64>,
}

impl Revocations {
    /// Reads a list. A file that is not there yet is an empty one.
    ///
    /// # Errors
    /// One sentence about the file.
    pub fn read(file: &Path) -> Result<Self, String> {
        let list = ArcSwap::from_pointee(read(file)?);
        Ok(Self { file: file.to_owned(), list, reading: Mutex::new(()) })
    }

    /// The file.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Reads the file again; returns how many entries there are.
    ///
    /// # Errors
    /// One sentence about the file; the list stays what it was.
    pub fn read_again(&self) -> Result<usize, String> {
        let _reading = self.reading.lock();
        let list = read(&self.file)?;
        let count = list.count();
        self.list.store(list.into());
        Ok(count)
    }

    /// How many tokens, subjects and clients are named.
    #[must_use]
    pub fn entries(&self) -> usize {
        self.list.load().count()
    }

    /// The line for an entry: `kind` is `jti`, `sub` or `client`.
    ///
    /// # Errors
    /// Another kind, or nothing named.
    pub fn line(kind: &str, value: &str, before: Option<u64>) -> Result<String, String> {
        if !["jti", "sub", "client"].contains(&kind) || value.is_empty() {
            return Err("name one of jti, sub, client".to_owned());
        }
        let value = serde_json::Value::from(value);
        let before = before.map(|before| format!(",\"before\":{before}")).unwrap_or_default();
        Ok(format!("{{\"{kind}\":{value}{before}}}\n"))
    }

    /// Why an identity passes no longer, if so.
    pub(crate) fn revoked(&self, who: &Identity, now: u64) -> Option<&'static str> {
        let list = self.list.load();
        let hit = |map: &FxHashMap<Box<str>, Vec<Entry>>, name: &Option<Box<str>>| {
            let entries = name.as_deref().and_then(|name| map.get(name));
            entries.into_iter().flatten().any(|entry| {
                let old = |before| who.issued_at.is_none_or(|issued| issued <= before);
                entry.until.is_none_or(|until| now <= until) && entry.before.is_none_or(old)
            })
        };
        if hit(&list.tokens, &who.token_id) {
            Some("the token is revoked")
        } else if hit(&list.subjects, &who.subject) {
            Some("the subject's tokens are revoked")
        } else if hit(&list.clients, &who.client) {
            Some("the client's tokens are revoked")
        } else {
            None
        }
    }
}

/// A million lines; the list only grows.
const MAX_LIST: u64 = 64 << 20;

fn read(file: &Path) -> Result<List, String> {
    // Only a list that is not there is empty; one that cannot be looked at is an error.
    let there = file.try_exists();
    if !there.map_err(|error| format!("cannot look for `{}`: {error}", file.display()))? {
        return Ok(List::default());
    }
    let bytes = read_up_to(file, MAX_LIST)?;
    let mut list = List::default();
    for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        if line.trim_ascii().is_empty() {
            continue;
        }
        let told = |what: String| format!("`{}`, line {}: {what}", file.display(), index + 1);
        let entry = json::object(line).map_err(|error| told(error.to_string()))?;
        list.add(&entry).map_err(told)?;
    }
    Ok(list)
}

impl List {
    fn count(&self) -> usize {
        self.tokens.len() + self.subjects.len() + self.clients.len()
    }

    fn add(&mut self, entry: &Object) -> Result<(), String> {
        const KNOWN: [&str; 5] = ["before", "client", "jti", "sub", "until"];
        if let Some((unknown, _)) = entry.members().find(|(name, _)| !KNOWN.contains(name)) {
            return Err(format!("unknown member `{unknown}`"));
        }
        let time = |name: &str| match entry.member(name).map(Json::as_seconds) {
            Some(None) => Err(format!("`{name}` is no number of seconds")),
            Some(time) => Ok(time),
            None => Ok(None),
        };
        let limits = Entry { before: time("before")?, until: time("until")? };
        let mut named = 0;
        let maps =
            [("jti", &mut self.tokens), ("sub", &mut self.subjects), ("client", &mut self.clients)];
        for (name, map) in maps {
            if let Some(text) = entry.text(name) {
                map.entry(text.into()).or_default().push(limits);
                named += 1;
            }
        }
        if named == 1 { Ok(()) } else { Err("name one of jti, sub, client".to_owned()) }
    }
}
