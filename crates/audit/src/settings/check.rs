//! What can be wrong with the audit log's settings, each by itself and together with the routes'.

use tidegate_core::SettingsError;

use super::{AuditSettings, Durable, OnFailure, Redaction, RouteAuditSettings};
use crate::redact::SHORTEST_KEY;

/// A pattern of names that JSON, metrics and command lines all take.
const MAX_NAME: usize = 64;
/// More fields than this are not looked at by anybody.
const MAX_FIELDS: usize = 64;

/// Notes what is wrong with the log's own settings, apart from its files.
pub fn check(settings: &AuditSettings, errors: &mut Vec<SettingsError>) {
    let mut wrong = |path: &[&str], message: &str, hint: &str| {
        let error = SettingsError::new(path.iter().copied(), message);
        errors.push(if hint.is_empty() { error } else { error.with_hint(hint) });
    };
    let origin = &settings.origin;
    if origin.is_empty() || origin.chars().any(|c| c.is_whitespace() || c.is_control() || c == '+')
    {
        let hint = "write a name without spaces and plus signs, such as edge-1.example.com/audit";
        wrong(&["origin"], "this cannot be the name of a key", hint);
    }
    if settings.redaction.key.as_ref().is_some_and(|key| key.reveal().len() < SHORTEST_KEY) {
        wrong(&["redaction", "key"], "the key is shorter than 16 bytes", "openssl rand -hex 32");
    }
    if settings.checkpoint_every.0.is_zero() {
        wrong(&["checkpoint_every"], "no time is between two checkpoints", "write 2s");
    }
    if settings.max_pending.0 < 1 << 20 {
        wrong(&["max_pending"], "less than 1MiB leaves no room for a burst", "write 64MiB");
    }
    for (index, anchor) in settings.anchors.iter().enumerate() {
        if let Err(error) = anchor.anchor() {
            errors.push(error.under(["anchors", &index.to_string()]));
        }
    }
}

impl RouteAuditSettings {
    /// Notes what is wrong with them, given the log that they need.
    pub fn check(&self, log: Option<&AuditSettings>, errors: &mut Vec<SettingsError>) {
        let Some(log) = log else {
            errors.push(
                SettingsError::new([""; 0], "there is no audit log")
                    .with_hint("add `audit` at the top level, with `path`, `origin` and `key`"),
            );
            return;
        };
        if !self.event.as_deref().is_some_and(is_name) {
            errors.push(
                SettingsError::new(["event"], "the event needs a name of a-z, 0-9, `_`, `-`, `.`")
                    .with_hint("write `event: payment`"),
            );
        }
        let promise = self.durable.unwrap_or_default();
        if promise == Durable::No && self.on_failure == Some(OnFailure::Refuse) {
            let message = "with `durable: no` nothing is promised that could fail";
            errors.push(SettingsError::new(["on_failure"], message));
        }
        if self.subject.as_ref().is_some_and(|subject| !subject.is_request()) {
            let message = "whom a request concerns is to be known before it is sent on";
            errors.push(SettingsError::new(["subject"], message));
        }
        if self.fields.len() > MAX_FIELDS {
            let message = format!("more than {MAX_FIELDS} fields");
            errors.push(SettingsError::new(["fields"], message));
        }
        if self.subject.is_some() {
            need_key(log, &["subject"], errors);
        }
        for name in self.fields.keys() {
            self.check_field(name, log, errors);
        }
    }

    fn check_field(&self, name: &str, log: &AuditSettings, errors: &mut Vec<SettingsError>) {
        if !is_name(name) {
            let message = "a field's name is made of a-z, 0-9, `_`, `-`, `.`";
            errors.push(SettingsError::new(["fields", name], message));
        }
        let redact = self.fields.get(name).map(|field| field.redact);
        let path = ["fields", name, "redact"];
        match redact {
            Some(Redaction::Hash) => need_key(log, &path, errors),
            Some(Redaction::Encrypt) if self.subject.is_none() => errors.push(
                SettingsError::new(path, "whose key encrypts it is not known")
                    .with_hint("add `subject` beside `fields`"),
            ),
            Some(Redaction::Encrypt) if log.redaction.subjects.is_none() => errors.push(
                SettingsError::new(path, "there is no store of subjects' keys")
                    .with_hint("add `audit.redaction.subjects`, a folder"),
            ),
            _ => {}
        }
    }
}

fn need_key(log: &AuditSettings, path: &[&str], errors: &mut Vec<SettingsError>) {
    if log.redaction.key.is_none() {
        errors.push(
            SettingsError::new(path.iter().copied(), "there is no key to hash it with").with_hint(
                "add `audit.redaction.key: \"${file:...}\"`, such as from openssl rand -hex 32",
            ),
        );
    }
}

fn is_name(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_-.".contains(&b);
    (1..=MAX_NAME).contains(&text.len()) && text.bytes().all(plain)
}
