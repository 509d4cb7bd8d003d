//! [`Record`]: what one entry of the log says, as versioned JSON.
//!
//! Every entry is one JSON object with the members of [`Record`], those without a value left out.
//! `docs/reference/audit-records.md` tells them member by member. What a record holds is redacted
//! before it becomes one; this file knows no secrets.
//!
//! To add a member: a field of [`Record`] or, if it belongs to one kind only, a key in `details`,
//! and its line in the reference. A member never changes its meaning within a version.

mod kind;
mod time;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use self::kind::Kind;
pub use self::time::timestamp;

/// The version of the schema that this program writes.
pub const VERSION: u8 = 1;

/// The longest entry that the tiles can hold: its length stands there in 16 bits.
pub const MAX_ENTRY: usize = 65_535;

/// One entry of the log.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Record {
    /// The version of the schema: [`VERSION`].
    pub v: u8,
    /// When it happened, RFC 3339 in UTC with six decimals, so that texts sort as times do.
    pub time: String,
    /// Which gateway wrote it: the log's origin up to its first slash.
    pub node: String,
    /// What sort of thing happened.
    pub kind: Kind,
    /// What happened: the route's name for its key events (`payment`), or one of the words that
    /// the reference lists for the kind.
    pub event: String,
    /// The request's id, the same in the access log and at the upstream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The route's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// The client's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// Whom it concerns: a pseudonym, the keyed hash of what the route's `subject` names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The request's method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// The canonical host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The path as received, without its query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Why it was refused or failed: the code of a reason of the gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The status that the client gets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The route's chosen fields of request and response, redacted.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub fields: Map<String, Value>,
    /// What else is to be said of this kind of record.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub details: Map<String, Value>,
}

impl Record {
    /// A record of this version about something that happened at `time` on `node`.
    #[must_use]
    pub fn new(time: std::time::SystemTime, node: &str, kind: Kind, event: &str) -> Self {
        Self {
            v: VERSION,
            time: timestamp(time),
            node: node.to_owned(),
            kind,
            event: event.to_owned(),
            ..Self::default()
        }
    }

    /// Adds a detail.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.details.insert(name.to_owned(), value.into());
        self
    }

    /// The entry's bytes, at most [`MAX_ENTRY`]: a record that is longer loses its largest chosen
    /// fields and then its details, and says so in `details.omitted`.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let whole = self.bytes();
        if whole.len() <= MAX_ENTRY {
            return whole;
        }
        let mut shorter = self.clone();
        let mut omitted: Vec<Value> = Vec::new();
        while let Some(name) = largest(&shorter.fields) {
            shorter.fields.shift_remove(&name);
            omitted.push(name.into());
            shorter.details.insert("omitted".to_owned(), omitted.clone().into());
            let bytes = shorter.bytes();
            if bytes.len() <= MAX_ENTRY {
                return bytes;
            }
        }
        shorter.details = Map::from_iter([("omitted".to_owned(), "everything".into())]);
        for text in [&mut shorter.path, &mut shorter.host, &mut shorter.route] {
            *text = text.take().filter(|text| text.len() <= 8_192);
        }
        shorter.bytes()
    }

    /// Reads an entry.
    ///
    /// # Errors
    /// It is no record, or of a version that this program does not know.
    pub fn decode(entry: &[u8]) -> Result<Self, DecodeError> {
        let record: Self = serde_json::from_slice(entry)?;
        if record.v == VERSION { Ok(record) } else { Err(DecodeError::Version(record.v)) }
    }

    fn bytes(&self) -> Vec<u8> {
        // Texts, numbers and maps with text keys always have a JSON form.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// Why an entry is no record.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// It is not JSON, or not of the right shape.
    #[error("the entry is no record: {0}")]
    Shape(#[from] serde_json::Error),
    /// A later program wrote it.
    #[error("the record has version {0}, which this program does not know")]
    Version(u8),
}

/// The name of the field that takes the most room.
fn largest(fields: &Map<String, Value>) -> Option<String> {
    let size = |value: &Value| value.to_string().len();
    let sized = fields.iter().map(|(name, value)| (name.len() + size(value), name));
    sized.max_by_key(|(size, _)| *size).map(|(_, name)| name.clone())
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn a_record_reads_back_as_it_was_written() {
        let mut record = Record::new(UNIX_EPOCH, "edge-1", Kind::Outcome, "payment");
        record.request_id = Some("abc".into());
        record.status = Some(201);
        record.fields.insert("amount".into(), serde_json::json!("12.50"));
        let record = record.with("upstream", "api");
        let entry = record.encode();
        assert_eq!(
            String::from_utf8_lossy(&entry),
            "{\"v\":1,\"time\":\"1970-01-01T00:00:00.000000Z\",\"node\":\"edge-1\",\
             \"kind\":\"outcome\",\"event\":\"payment\",\"request_id\":\"abc\",\"status\":201,\
             \"fields\":{\"amount\":\"12.50\"},\"details\":{\"upstream\":\"api\"}}"
        );
        assert_eq!(Record::decode(&entry).unwrap(), record);
    }

    #[test]
    fn an_entry_always_fits_its_tile() {
        let mut record = Record::new(UNIX_EPOCH, "edge-1", Kind::Request, "payment");
        record.fields.insert("small".into(), "kept".into());
        record.fields.insert("large".into(), "x".repeat(MAX_ENTRY).into());
        let shorter = Record::decode(&record.encode()).unwrap();
        assert_eq!(shorter.fields["small"], "kept");
        assert_eq!(shorter.details["omitted"], serde_json::json!(["large"]));
        record.path = Some("/".repeat(MAX_ENTRY));
        assert!(record.encode().len() <= MAX_ENTRY);
        Record::decode(&record.encode()).unwrap();
    }

    #[test]
    fn a_later_version_is_refused() {
        let entry = br#"{"v":2,"time":"","node":"","kind":"start","event":"x"}"#;
        assert!(matches!(Record::decode(entry), Err(DecodeError::Version(2))));
    }
}
