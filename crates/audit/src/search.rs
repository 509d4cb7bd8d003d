//! Which records somebody looks for. Every condition that is set has to hold.

use jiff::Timestamp;
use jiff::civil::Date;

use crate::record::{Kind, Record, timestamp};

/// What the records that are looked for have. To add a condition: a field, and its line in
/// [`Query::texts`] or [`Query::matches`].
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// Not before this time, in a record's form: see [`time`].
    pub from: Option<String>,
    /// Before this time, in a record's form.
    pub to: Option<String>,
    /// What sort of thing happened.
    pub kind: Option<Kind>,
    /// What happened.
    pub event: Option<String>,
    /// Whom it concerns: a pseudonym.
    pub subject: Option<String>,
    /// The request's id.
    pub request_id: Option<String>,
    /// Why it was refused or failed.
    pub reason: Option<String>,
    /// The route's id.
    pub route: Option<String>,
    /// The client's address.
    pub client: Option<String>,
}

impl Query {
    /// The record in an entry, if it is one that is looked for.
    #[must_use]
    pub fn find(&self, entry: &[u8]) -> Option<Record> {
        // Most entries are no match, and reading JSON costs more than looking for a text in it.
        let may_match = self.texts().all(|(wanted, _)| {
            wanted.is_none_or(|text| !is_plain(text) || contains(entry, text.as_bytes()))
        });
        let record = may_match.then(|| Record::decode(entry).ok()).flatten()?;
        self.matches(&record).then_some(record)
    }

    /// Whether a record has everything that is looked for.
    #[must_use]
    pub fn matches(&self, record: &Record) -> bool {
        let same = self.texts().all(|(wanted, of)| {
            wanted.is_none_or(|wanted| of(record).is_some_and(|found| found == wanted))
        });
        same && self.kind.is_none_or(|kind| kind == record.kind)
            && self.from.as_ref().is_none_or(|from| record.time >= *from)
            && self.to.as_ref().is_none_or(|to| record.time < *to)
    }

    fn texts(&self) -> impl Iterator<Item = (Option<&str>, Member)> {
        let texts: [(&Option<String>, Member); 6] = [
            (&self.event, |record| Some(&record.event)),
            (&self.subject, |record| record.subject.as_deref()),
            (&self.request_id, |record| record.request_id.as_deref()),
            (&self.reason, |record| record.reason.as_deref()),
            (&self.route, |record| record.route.as_deref()),
            (&self.client, |record| record.client.as_deref()),
        ];
        texts.into_iter().map(|(wanted, of)| (wanted.as_deref(), of))
    }
}

type Member = fn(&Record) -> Option<&str>;

/// A time as records have it, from RFC 3339 (`2026-11-23T12:00:00+01:00`) or from a date, whose
/// first moment in UTC is meant.
#[must_use]
pub fn time(text: &str) -> Option<String> {
    let date = || text.parse::<Date>().ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok();
    let parsed = text.parse::<Timestamp>().ok().or_else(|| Some(date()?.timestamp()))?;
    Some(timestamp(parsed.into()))
}

/// Whether JSON has the text as it is, without escapes.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\')
}

fn contains(entry: &[u8], wanted: &[u8]) -> bool {
    wanted.is_empty() || memchr::memmem::find(entry, wanted).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        let mut record = Record::new(std::time::UNIX_EPOCH, "edge-1", Kind::Outcome, "payment");
        record.request_id = Some("r-1".to_owned());
        record.subject = Some("a \"b\"".to_owned());
        record
    }

    #[track_caller]
    fn check(query: &Query, found: bool) {
        assert_eq!(query.find(&record().encode()).is_some(), found, "{query:?}");
    }

    #[test]
    fn a_record_has_to_have_everything() {
        let some = |text: &str| Some(text.to_owned());
        let is_payment = Query { event: some("payment"), ..Query::default() };
        check(&Query::default(), true);
        check(&is_payment, true);
        check(&Query { event: some("pay"), ..Query::default() }, false);
        check(&Query { request_id: some("r-1"), ..is_payment.clone() }, true);
        check(&Query { request_id: some("r-2"), ..is_payment.clone() }, false);
        check(&Query { reason: some("payment"), ..is_payment.clone() }, false);
        check(&Query { subject: some("a \"b\""), ..is_payment.clone() }, true);
        check(&Query { kind: Some(Kind::Outcome), ..is_payment.clone() }, true);
        check(&Query { kind: Some(Kind::Start), ..is_payment }, false);
        check(
            &Query { from: time("1970-01-01"), to: time("1970-01-02"), ..Query::default() },
            true,
        );
        check(&Query { from: time("1970-01-02"), ..Query::default() }, false);
        check(&Query { to: time("1970-01-01"), ..Query::default() }, false);
    }

    #[test]
    fn times_are_read_as_people_write_them() {
        let noon = Some("2026-11-23T12:00:00.000000Z".to_owned());
        assert_eq!(time("2026-11-23T12:00:00Z"), noon);
        assert_eq!(time("2026-11-23T13:00:00+01:00"), noon);
        assert_eq!(time("2026-11-23"), Some("2026-11-23T00:00:00.000000Z".to_owned()));
        assert_eq!(time("yesterday"), None);
    }
}
