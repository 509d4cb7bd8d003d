//! The log that a command is about: its directory, its public key and what else the configuration
//! says of it.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail};
use serde_json::Value;
use tidegate_audit::checkpoint::Signed;
use tidegate_audit::note::{SigningKey, VerifyingKey};
use tidegate_audit::redact::Pseudonyms;
use tidegate_audit::settings::AuditSettings;
use tidegate_audit::tile::decimal;
use tidegate_audit::tiles::Directory;
use tidegate_engine::Config;

use super::args::WhichLog;
use crate::terminal;

/// A log to read.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) directory: Directory,
    key: Option<VerifyingKey>,
    pub(super) settings: Option<AuditSettings>,
}

impl Source {
    /// The log that was named.
    ///
    /// # Errors
    /// The configuration cannot be read or has no audit log.
    pub(super) fn find(which: &WhichLog) -> Result<Self> {
        if let Some(path) = &which.log {
            let directory = Directory::new(path);
            return Ok(Self { directory, key: which.key.clone(), settings: None });
        }
        let settings = settings(&which.config)?;
        // Who may read the log need not be allowed to read its secret key.
        let key = read_key(&settings.key).ok();
        let directory = Directory::new(&settings.path);
        Ok(Self { directory, key, settings: Some(settings) })
    }

    /// The public key, which every proof needs.
    ///
    /// # Errors
    /// It was not given, and is not to be read from the configuration's key.
    pub(super) fn key(&self) -> Result<&VerifyingKey> {
        let key = self.key.as_ref();
        key.ok_or_else(|| match &self.settings {
            Some(settings) => {
                let file = settings.key.display();
                anyhow!("cannot read {file}: name the log with --log and its public key with --key")
            }
            None => anyhow!("--key is missing: the log's public key, as `keygen` printed it"),
        })
    }

    /// What the log has signed last.
    ///
    /// # Errors
    /// There is no checkpoint, or it is not the log's.
    pub(super) fn signed(&self) -> Result<Signed> {
        let path = self.directory.path().join("checkpoint");
        let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Signed::open(&bytes, self.key()?).with_context(|| path.display().to_string())
    }

    /// How many records the log has signed, for commands that only read: without the public key
    /// the checkpoint is believed.
    ///
    /// # Errors
    /// There is no checkpoint, or it is not the log's.
    pub(super) fn size(&self) -> Result<u64> {
        if self.key.is_some() {
            return Ok(self.signed()?.checkpoint().size);
        }
        let path = self.directory.path().join("checkpoint");
        let text = fs::read_to_string(&path);
        let text = text.with_context(|| format!("cannot read {}", path.display()))?;
        let size = text.lines().nth(1).and_then(decimal);
        size.ok_or_else(|| anyhow!("{} is no checkpoint", path.display()))
    }

    /// The head file that the configuration names.
    pub(super) fn head(&self) -> Option<PathBuf> {
        self.settings.as_ref().map(AuditSettings::head_file)
    }

    /// The checkpoints that witnesses signed, as far as the log keeps them.
    ///
    /// # Errors
    /// They are there and cannot be read.
    pub(super) fn cosigned(&self) -> Result<Vec<Vec<u8>>> {
        let folder = self.directory.path().join("cosigned");
        let Ok(files) = fs::read_dir(&folder) else { return Ok(Vec::new()) };
        let mut notes = Vec::new();
        for file in files {
            let path = file.with_context(|| format!("cannot read {}", folder.display()))?.path();
            // What is being written has another name at first.
            if path.extension().is_none_or(|extension| extension != "new") {
                notes.extend(read_if_there(&path)?);
            }
        }
        Ok(notes)
    }

    /// The last checkpoint that a witness signed.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn witnessed(&self, witness: &VerifyingKey) -> Result<Signed> {
        let key = self.key()?;
        let notes = self.cosigned()?;
        let signed = notes.iter().filter_map(|bytes| Signed::open(bytes, key).ok());
        let by_witness = signed.filter(|signed| signed.note().verify(witness).is_ok());
        let last = by_witness.max_by_key(|signed| signed.checkpoint().size);
        last.ok_or_else(|| anyhow!("the log has no checkpoint signed by {}", witness.name()))
    }

    /// The first record that the log still has.
    pub(super) fn minimum(&self) -> u64 {
        let text = fs::read_to_string(self.directory.path().join("minimum"));
        text.ok().and_then(|text| decimal(text.trim_end())).unwrap_or_default()
    }
}

/// The audit section of a configuration.
///
/// # Errors
/// The configuration is bad, or has none.
pub(super) fn settings(file: &Path) -> Result<AuditSettings> {
    let config = Config::load(file).map_err(|errors| anyhow!("{errors}"))?;
    let audit = config.settings.audit.clone();
    audit.ok_or_else(|| anyhow!("{} has no `audit` section", file.display()))
}

/// The public key of the secret one in a file.
///
/// # Errors
/// The file cannot be read or holds no key.
pub(super) fn read_key(file: &Path) -> Result<VerifyingKey> {
    let text = fs::read_to_string(file);
    let text = text.with_context(|| format!("cannot read {}", file.display()))?;
    let key = SigningKey::parse(&text).with_context(|| file.display().to_string())?;
    Ok(key.verifying_key().clone())
}

/// The pseudonym that stands in records for whom it concerns.
///
/// # Errors
/// It is a plain text, and there is no key to make a pseudonym of it.
pub(super) fn pseudonym(subject: &str, settings: Option<&AuditSettings>) -> Result<String> {
    if subject.starts_with("hmac:") {
        return Ok(subject.to_owned());
    }
    let key = settings.and_then(|settings| settings.redaction.key.as_ref());
    let pseudonyms = key.and_then(|key| Pseudonyms::new(key.reveal().as_bytes()));
    let Some(pseudonyms) = pseudonyms else {
        bail!("without the configuration's `audit.redaction.key`, name the pseudonym (hmac:…)");
    };
    Ok(pseudonyms.of(subject))
}

/// A file's bytes, if there is one.
///
/// # Errors
/// It is there and cannot be read.
pub(super) fn read_if_there(file: &Path) -> Result<Option<Vec<u8>>> {
    match fs::read(file) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
    }
}

/// Prints a record with its index as a line of JSON: the entry's own bytes, so that its hash can be
/// computed from what is printed.
///
/// # Errors
/// When nobody reads it any more.
pub(super) fn print(output: &mut impl Write, index: u64, entry: &[u8]) -> io::Result<()> {
    let text = std::str::from_utf8(entry).ok().filter(|text| !text.contains('\n'));
    let record = text.filter(|text| serde_json::from_str::<Value>(text).is_ok());
    match record {
        Some(record) => writeln!(output, "{{\"index\":{index},\"record\":{record}}}"),
        None => {
            let text = Value::from(String::from_utf8_lossy(entry));
            writeln!(output, "{{\"index\":{index},\"damaged\":{text}}}")
        }
    }
}

/// Writes a file, or prints what would be in it.
///
/// # Errors
/// It cannot be written.
pub(super) fn put(output: Option<&PathBuf>, text: &str) -> Result<()> {
    match output {
        Some(file) => {
            fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
        }
        None => Ok(terminal::say(text)?),
    }
}
