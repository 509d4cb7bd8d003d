//! API keys: a file says which SHA-256 is whose. The keys themselves stand nowhere. They are to be
//! random, so that a fast hash is enough; `openssl rand -base64 32` makes one.

use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use http::{HeaderMap, HeaderName};
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use tidegate_core::SettingsError;

use crate::identity::{Identity, Method};
use crate::issuer::read_file;
use crate::jose::sha256;
use crate::json::{self, Json, Object};
use crate::settings::ApiKeySettings;

/// Shorter keys can be guessed.
const MIN_KEY: usize = 16;
const MAX_KEY: usize = 512;

/// A list of API keys, which may change while it is used.
#[derive(Debug)]
pub struct ApiKeys {
    name: Arc<str>,
    settings: ApiKeySettings,
    header: HeaderName,
    known: ArcSwap<Known>,
    /// One reading at a time, so that an older one does not come last.
    reading: Mutex<()>,
}

/// Whose each key is, by the first bytes of its SHA-256.
#[derive(Debug, Default)]
struct Known {
    by_prefix: FxHashMap<[u8; 8], Vec<Entry>>,
}

/// A key's SHA-256, and whose it is.
type Entry = ([u8; 32], Arc<Identity>);

/// What a request shows.
#[derive(Debug)]
pub(crate) enum Shown {
    /// No key.
    Nothing,
    /// A key, and whose it is.
    Known(Arc<Identity>),
    /// Something that is no key, or nobody's, or whose time is over.
    Wrong(&'static str),
}

impl ApiKeys {
    /// Compiles a list, and reads its file.
    ///
    /// # Errors
    /// Everything that is wrong with settings or file, with paths relative to them.
    pub fn compile(name: &str, settings: &ApiKeySettings) -> Result<Self, Vec<SettingsError>> {
        let mut errors = Vec::new();
        let header = HeaderName::from_bytes(settings.header.as_bytes()).map_err(|_invalid| {
            let message = format!("`{}` is no field name", settings.header);
            errors.push(SettingsError::new(["header"], message));
        });
        let name: Arc<str> = name.into();
        let known = read(&name, &settings.file);
        let known = known.map_err(|message| errors.push(SettingsError::new(["file"], message)));
        match (header, known) {
            (Ok(header), Ok(known)) => {
                let known = ArcSwap::from_pointee(known);
                let reading = Mutex::new(());
                Ok(Self { name, settings: settings.clone(), header, known, reading })
            }
            _ => Err(errors),
        }
    }

    /// The name in the configuration.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The file.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.settings.file
    }

    /// The field that keys come in.
    #[must_use]
    pub fn header(&self) -> &HeaderName {
        &self.header
    }

    /// Reads the file again; returns how many keys there are.
    ///
    /// # Errors
    /// One sentence about the file; the keys stay what they were.
    pub fn read_again(&self) -> Result<usize, String> {
        let _reading = self.reading.lock();
        let known = read(&self.name, &self.settings.file)?;
        let count = known.count();
        self.known.store(Arc::new(known));
        Ok(count)
    }

    /// How many keys there are.
    #[must_use]
    pub fn entries(&self) -> usize {
        self.known.load().count()
    }

    /// Looks for a key in a request.
    pub(crate) fn check(&self, headers: &HeaderMap, now: u64) -> Shown {
        let mut values = headers.get_all(&self.header).iter();
        let Some(value) = values.next() else { return Shown::Nothing };
        if values.next().is_some() {
            return Shown::Wrong("several API keys");
        }
        if !(MIN_KEY..=MAX_KEY).contains(&value.len()) {
            return Shown::Wrong("no API key is so long or short");
        }
        let digest = sha256(value.as_bytes());
        let known = self.known.load();
        let Some(candidates) = known.by_prefix.get(&prefix(&digest)) else {
            return Shown::Wrong("an unknown API key");
        };
        let same = |(own, _): &&Entry| verify_slices_are_equal(own, &digest).is_ok();
        match candidates.iter().find(same) {
            Some((_, owner)) if owner.expires_at.is_some_and(|ends| now >= ends) => {
                Shown::Wrong("the API key's time is over")
            }
            Some((_, owner)) => Shown::Known(Arc::clone(owner)),
            None => Shown::Wrong("an unknown API key"),
        }
    }
}

impl Known {
    fn count(&self) -> usize {
        self.by_prefix.values().map(Vec::len).sum()
    }
}

fn prefix(digest: &[u8; 32]) -> [u8; 8] {
    let mut prefix = [0; 8];
    prefix.iter_mut().zip(digest).for_each(|(to, from)| *to = *from);
    prefix
}

fn read(name: &Arc<str>, path: &Path) -> Result<Known, String> {
    let told = |what: &dyn std::fmt::Display| format!("`{}`: {what}", path.display());
    let file = json::object(&read_file(path)?).map_err(|error| told(&error))?;
    let Some(Json::List(entries)) = file.member("keys") else {
        return Err(told(&"`keys` is no list"));
    };
    let mut known = Known::default();
    for (index, entry) in entries.iter().enumerate() {
        let entry =
            entry.as_object().ok_or_else(|| told(&format!("keys[{index}] is no object")))?;
        let (digest, owner) =
            owner(name, entry).map_err(|what| told(&format!("keys[{index}]: {what}")))?;
        known.by_prefix.entry(prefix(&digest)).or_default().push((digest, Arc::new(owner)));
    }
    Ok(known)
}

fn owner(name: &Arc<str>, entry: &Object) -> Result<([u8; 32], Identity), String> {
    const KNOWN: [&str; 6] = ["claims", "expires", "id", "roles", "scopes", "sha256"];
    if let Some((unknown, _)) = entry.members().find(|(member, _)| !KNOWN.contains(member)) {
        return Err(format!("unknown member `{unknown}`"));
    }
    let id = entry.text("id").filter(|id| !id.is_empty()).ok_or("no usable `id`")?;
    let digest = entry.text("sha256").and_then(unhex).ok_or("`sha256` is not 64 hex digits")?;
    let list = |member: &str| -> Result<Box<[Box<str>]>, String> {
        let Some(list) = entry.member(member) else { return Ok(Box::default()) };
        let texts = list.strings().ok_or_else(|| format!("`{member}` is no list of strings"))?;
        let mut texts: Vec<Box<str>> = texts.into_iter().map(Into::into).collect();
        texts.sort_unstable();
        Ok(texts.into())
    };
    let expires_at = match entry.member("expires") {
        None => None,
        Some(time) => Some(time.as_seconds().ok_or("`expires` is no number of seconds")?),
    };
    let claims = entry.member("claims").and_then(Json::as_object).cloned().unwrap_or_default();
    let identity = Identity {
        method: Method::ApiKey,
        provider: Arc::clone(name),
        subject: Some(id.into()),
        client: Some(id.into()),
        scopes: list("scopes")?,
        roles: list("roles")?,
        claims,
        token_id: None,
        issued_at: None,
        expires_at,
        confirmation: None,
    };
    Ok((digest, identity))
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let digits: Option<Vec<u8>> = text
        .chars()
        .map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect();
    let bytes: Vec<u8> = digits?
        .chunks_exact(2)
        .map(|pair| pair.iter().fold(0, |sum, digit| sum * 16 + digit))
        .collect();
    (text.len() == 64).then(|| bytes.try_into().ok()).flatten()
}
