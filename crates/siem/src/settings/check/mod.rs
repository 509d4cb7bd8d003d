//! What can be wrong with sinks, each by itself and together; what is particular to a kind stands
//! in `kinds`.

mod kinds;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::Path;

use tidegate_core::notice::NoticeKind;
use tidegate_core::units::ByteSize;
use tidegate_core::{Reason, SettingsError};

use super::{EventsSettings, Kind, SinkSettings, WebhookBody};

/// How much a batch may hold. It is in memory as records and once more in the form in which it is
/// sent, and all of it is sent again when its receiver fails.
const RECORDS: RangeInclusive<u32> = 1..=10_000;
const BYTES: RangeInclusive<ByteSize> = ByteSize::kib(4)..=ByteSize::mib(16);

/// Notes what is wrong with the settings of all sinks, apart from the files that they name; paths
/// begin with the sink's name.
pub fn check(sinks: &BTreeMap<String, SinkSettings>, errors: &mut Vec<SettingsError>) {
    let mut spools: BTreeMap<&Path, &str> = BTreeMap::new();
    let mut files: BTreeMap<&Path, &str> = BTreeMap::new();
    let mut stdout: Option<&str> = None;
    for (name, sink) in sinks {
        let mut own = Errors::default();
        sink.check(&mut own);
        if let Some(spool) = &sink.spool
            && let Some(other) = spools.insert(&spool.path, name)
        {
            own.add(&["spool", "path"], format!("`{other}` has the same folder"), "one for each");
        }
        if let Some(file) = &sink.file
            && let Some(other) = files.insert(&file.path, name)
        {
            own.add(&["file", "path"], format!("`{other}` writes the same file"), "one for each");
        }
        if sink.stdout.is_some()
            && let Some(other) = stdout.replace(name)
        {
            own.add(&["stdout"], format!("`{other}` writes there"), "their lines would mix");
        }
        errors.extend(own.0.into_iter().map(|error| error.under([name])));
    }
}

/// Where reasons and kinds of notices are listed.
const LISTED: &str = "docs/reference/events.md has all of them";

#[derive(Default)]
struct Errors(Vec<SettingsError>);

impl Errors {
    fn add(&mut self, path: &[&str], message: impl Into<String>, hint: &str) {
        let error = SettingsError::new(path.iter().copied(), message);
        self.0.push(if hint.is_empty() { error } else { error.with_hint(hint) });
    }
}

impl SinkSettings {
    fn check(&self, errors: &mut Errors) {
        self.check_numbers(errors);
        self.check_events(errors);
        let kinds = self.kinds();
        match &*kinds {
            [] => errors.add(
                &[],
                "this sink goes nowhere",
                "add one of `file`, `stdout`, `syslog`, `splunk_hec`, `elastic`, `loki`, `otlp`, \
                 `webhook`, `kafka`, `nats`, `redis`",
            ),
            [kind] => {
                kind.check(errors);
                self.check_format(kind, errors);
            }
            [_, second, ..] => {
                let hint = "write one sink for each: they may have the same filters";
                errors.add(&[second.name()], "a sink goes to one receiver only", hint);
            }
        }
    }

    fn check_numbers(&self, errors: &mut Errors) {
        if self.queue < ByteSize::kib(64) {
            errors.add(&["queue"], "less than 64KiB leaves no room for a burst", "write 8MiB");
        }
        if self.retry.first.0.is_zero() || self.retry.first > self.retry.max {
            errors.add(&["retry", "first"], "write from 1ms up to `max`", "write 500ms");
        }
        if !RECORDS.contains(&self.batch.records) {
            errors.add(&["batch", "records"], "a batch has from 1 to 10000 records", "write 500");
        }
        if !BYTES.contains(&self.batch.bytes) {
            errors.add(&["batch", "bytes"], "a batch has from 4KiB to 16MiB", "write 1MiB");
        }
        if self.timeout.0.is_zero() {
            errors.add(&["timeout"], "zero would let nothing through", "write 10s");
        }
        if let Some(spool) = &self.spool {
            if spool.max < ByteSize::mib(1) {
                errors.add(&["spool", "max"], "a spool has at least 1MiB", "write 1GiB");
            }
            if spool.path.exists() && !spool.path.is_dir() {
                let message = format!("`{}` is no folder", spool.path.display());
                errors.add(&["spool", "path"], message, "");
            }
        }
    }

    fn check_events(&self, errors: &mut Errors) {
        let EventsSettings::Chosen(chosen) = &self.events else { return };
        for (index, name) in chosen.reasons.iter().flatten().enumerate() {
            if !Reason::ALL.iter().any(|reason| reason.code() == name) {
                let path = ["events", "reasons", &index.to_string()];
                let error = SettingsError::new(path, format!("`{name}` is no reason"));
                let known = Reason::ALL.iter().map(|reason| reason.code());
                errors.0.push(error.with_hint(LISTED).meaning(name, known));
            }
        }
        for (index, name) in chosen.notices.iter().flatten().enumerate() {
            if !NoticeKind::ALL.iter().any(|kind| kind.code() == name) {
                let path = ["events", "notices", &index.to_string()];
                let error = SettingsError::new(path, format!("`{name}` is no kind of notice"));
                let known = NoticeKind::ALL.iter().map(|kind| kind.code());
                errors.0.push(error.with_hint(LISTED).meaning(name, known));
            }
        }
    }

    fn check_format(&self, kind: &Kind, errors: &mut Errors) {
        let needs_json = match kind {
            Kind::Elastic(_) => true,
            Kind::Webhook(webhook) => webhook.body == WebhookBody::Array,
            _ => false,
        };
        if needs_json && !self.format.is_json() {
            let message = format!("`{}` takes JSON only", kind.name());
            errors.add(&["format"], message, "write `json`, `ecs` or `ocsf`");
        }
    }
}
