//! [`KeyEvent`]: what a route records of each request, ready to use.

use crate::settings::{AuditSettings, Durable, OnFailure, Redaction, RouteAuditSettings, Source};

/// What a route records of each request, and what it promises about the records.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyEvent {
    /// What the event is called.
    pub name: Box<str>,
    /// What is promised.
    pub durable: Durable,
    /// What happens when a record cannot be kept.
    pub on_failure: OnFailure,
    /// Whom it concerns.
    pub subject: Option<Source>,
    /// The values of the request, in the order of their names.
    pub request_fields: Vec<Field>,
    /// The values of the response.
    pub response_fields: Vec<Field>,
}

/// One value that is recorded.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// Its name in the record.
    pub name: Box<str>,
    /// Where it comes from.
    pub from: Source,
    /// What becomes of it.
    pub redact: Redaction,
}

impl KeyEvent {
    /// Compiles a route's settings, given those of the log.
    ///
    /// # Errors
    /// Everything that makes no sense, such as a route with events and no log.
    pub fn compile(
        settings: &RouteAuditSettings,
        log: Option<&AuditSettings>,
    ) -> Result<Self, Vec<tidegate_core::SettingsError>> {
        let mut errors = Vec::new();
        settings.check(log, &mut errors);
        if !errors.is_empty() {
            return Err(errors);
        }
        let durable = settings.durable.unwrap_or_default();
        let usual = match durable {
            Durable::BeforeResponse | Durable::Grouped => OnFailure::Refuse,
            Durable::No => OnFailure::Continue,
        };
        let field = |(name, field): (&String, &crate::settings::FieldSettings)| Field {
            name: name.as_str().into(),
            from: field.from.clone(),
            redact: field.redact,
        };
        let (request_fields, response_fields) =
            settings.fields.iter().map(field).partition(|field| field.from.is_request());
        Ok(Self {
            name: settings.event.clone().unwrap_or_default().into(),
            durable,
            on_failure: settings.on_failure.unwrap_or(usual),
            subject: settings.subject.clone(),
            request_fields,
            response_fields,
        })
    }

    /// Whether the request waits for its record, and the client for the outcome's.
    #[must_use]
    pub fn waits(&self) -> bool {
        self.durable == Durable::BeforeResponse
    }

    /// Whether a value of the request's body is recorded.
    #[must_use]
    pub fn reads_request_body(&self) -> bool {
        let sources = self.request_fields.iter().map(|field| &field.from).chain(&self.subject);
        sources.into_iter().any(|from| matches!(from, Source::RequestBody(_)))
    }

    /// Whether a value of the response's body is recorded, so that the answer is held until it is
    /// there.
    #[must_use]
    pub fn reads_response_body(&self) -> bool {
        self.response_fields.iter().any(|field| matches!(field.from, Source::ResponseBody(_)))
    }

    /// Whether a value is encrypted, for which a key may have to be made.
    #[must_use]
    pub fn seals(&self) -> bool {
        let mut fields = self.request_fields.iter().chain(&self.response_fields);
        fields.any(|field| field.redact == Redaction::Encrypt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(redaction: &str) -> AuditSettings {
        let text = format!(
            r#"{{"path":"/x","origin":"a.example/audit","key":"/k","redaction":{redaction}}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    #[track_caller]
    fn check(route: &str, redaction: &str, expected: &[&str]) {
        let route: RouteAuditSettings = serde_json::from_str(route).unwrap();
        let found = KeyEvent::compile(&route, Some(&log(redaction))).err().unwrap_or_default();
        let found: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found.len(), expected.len(), "{found:#?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.contains(expected), "{found} lacks {expected}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        check(r#"{"event":"payment"}"#, "{}", &[]);
        check("{}", "{}", &["event: the event needs a name"]);
        check(
            r#"{"event":"a b","durable":"no","on_failure":"refuse","subject":"response.header:a"}"#,
            r#"{"key":"0123456789abcdef"}"#,
            &["event", "on_failure", "subject: whom"],
        );
        check(
            r#"{"event":"p","subject":"claim:sub","fields":{"a":{"from":"claim:a","redact":"encrypt"}}}"#,
            "{}",
            &["subject: there is no key", "fields.a.redact: there is no store"],
        );
        check(
            r#"{"event":"p","fields":{"a":{"from":"claim:a","redact":"encrypt"},"b c":"claim:b"}}"#,
            "{}",
            &["fields.a.redact: whose key", "fields.b c: a field's name"],
        );
    }

    #[test]
    fn without_a_log_nothing_is_recorded() {
        let route: RouteAuditSettings = serde_json::from_str(r#"{"event":"p"}"#).unwrap();
        let errors = KeyEvent::compile(&route, None).unwrap_err();
        assert!(errors[0].message.contains("no audit log"), "{errors:?}");
    }

    #[test]
    fn promises_have_their_defaults() {
        let event = |text: &str| {
            let route: RouteAuditSettings = serde_json::from_str(text).unwrap();
            KeyEvent::compile(&route, Some(&log("{}"))).unwrap()
        };
        let durable = event(
            r#"{"event":"p","durable":"before_response",
                "fields":{"b":"response.body:/id","a":"request.body:/a"}}"#,
        );
        assert_eq!(durable.on_failure, OnFailure::Refuse);
        assert!(durable.waits() && durable.reads_request_body() && durable.reads_response_body());
        assert_eq!(event(r#"{"event":"p"}"#).on_failure, OnFailure::Refuse);
        let none = event(r#"{"event":"p","durable":"no"}"#);
        assert_eq!(none.on_failure, OnFailure::Continue);
        assert!(!none.waits() && !none.reads_request_body());
    }
}
