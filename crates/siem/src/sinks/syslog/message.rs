//! Messages of RFC 5424 §6.

use std::fmt::Write as _;
use std::time::SystemTime;

use tidegate_core::notice::Severity;

use crate::formats::Node;
use crate::record::Record;
use crate::settings::SyslogSettings;

/// The name of our structured data: 32473 is the number that RFC 5612 keeps for documents.
const DATA: &str = "tidegate@32473";

/// What is the same in every message.
pub(super) struct Header {
    facility: u8,
    app: String,
    host: String,
    pid: u32,
}

impl Header {
    pub(super) fn new(settings: &SyslogSettings, node: &Node) -> Self {
        Self {
            facility: settings.facility.number(),
            app: settings.app.clone(),
            host: settings.host.clone().unwrap_or_else(|| printable(&node.host)),
            pid: node.pid,
        }
    }

    /// Appends one message, without a byte order mark: receivers keep it as part of the text.
    pub(super) fn write(&self, out: &mut String, record: &Record) {
        let priority = u32::from(self.facility) * 8 + level(record.severity);
        let (host, app, pid, kind) = (&self.host, &self.app, self.pid, record.kind);
        // Writing to a string does not fail.
        let (Ok(()) | Err(_)) = write!(out, "<{priority}>1 ");
        write_time(out, record.time);
        let (Ok(()) | Err(_)) = write!(out, " {host} {app} {pid} {kind} [{DATA}");
        write_param(out, "key", &record.key.to_string());
        write_param(out, "severity", record.severity.name());
        out.push_str("] ");
        out.push_str(&String::from_utf8_lossy(&record.body));
    }
}

/// The level of a severity (RFC 5424 §6.2.1).
fn level(severity: Severity) -> u32 {
    match severity {
        Severity::Informational => 6,
        Severity::Low => 5,
        Severity::Medium => 4,
        Severity::High => 3,
        Severity::Critical => 2,
    }
}

/// Microseconds, in UTC (§6.2.3).
fn write_time(out: &mut String, time: SystemTime) {
    match jiff::Timestamp::try_from(time) {
        Ok(time) => {
            let (Ok(()) | Err(_)) = write!(out, "{time:.6}");
        }
        Err(_beyond) => out.push('-'),
    }
}

/// A parameter of structured data: three characters are escaped (§6.3.3), control characters have
/// no place there.
fn write_param(out: &mut String, name: &str, value: &str) {
    out.push(' ');
    out.push_str(name);
    out.push_str("=\"");
    for c in value.chars() {
        if matches!(c, '"' | '\\' | ']') {
            out.push('\\');
        }
        out.push(if c.is_control() { '?' } else { c });
    }
    out.push('"');
}

/// A host's name as the header may have it.
fn printable(host: &str) -> String {
    let name: String = host.chars().filter(char::is_ascii_graphic).take(255).collect();
    if name.is_empty() { "-".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;
    use crate::record::{Key, REQUEST};

    fn header() -> Header {
        let settings = serde_json::from_str(r#"{"address": "udp://127.0.0.1:514"}"#).unwrap();
        let node = Node { host: "edge 1".into(), version: "1".into(), pid: 7 };
        Header::new(&settings, &node)
    }

    #[test]
    fn a_message_has_the_form_of_rfc_5424_section_6() {
        let record = Record {
            key: Key { origin: 0xab, sequence: 12 },
            time: SystemTime::UNIX_EPOCH + Duration::from_micros(1_700_000_000_000_250),
            severity: Severity::High,
            kind: REQUEST,
            body: Bytes::from_static("{\"path\":\"/\u{e9}\"}".as_bytes()),
        };
        let mut text = String::new();
        header().write(&mut text, &record);
        assert_eq!(
            text,
            "<163>1 2023-11-14T22:13:20.000250Z edge1 tidegate 7 request \
             [tidegate@32473 key=\"00000000000000ab-12\" severity=\"high\"] {\"path\":\"/\u{e9}\"}"
        );
        assert!(!text.contains('\u{feff}'));
    }

    #[test]
    fn structured_data_escapes_what_section_6_3_3_names() {
        let mut out = String::new();
        write_param(&mut out, "x", "a\"b\\c]d\ne");
        assert_eq!(out, " x=\"a\\\"b\\\\c\\]d?e\"");
    }
}
