//! The collector that takes spans: OTLP over HTTP with protobuf bodies.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use tidegate_core::SettingsError;

use super::batch;
use super::settings::OtlpSettings;
use crate::address::Address;
use crate::http::{HttpAnswer, HttpCall, HttpClient};
use crate::otlp;
use crate::tls::TlsMaterial;

/// An answer says little.
const MAX_ANSWER: usize = 64 * 1024;

/// Where spans go.
#[derive(Debug)]
pub(super) struct Target {
    url: Arc<str>,
    headers: HeaderMap,
    tls: Option<Arc<TlsMaterial>>,
    timeout: Duration,
}

/// What became of a call.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// It was taken, but for so many spans.
    Taken { rejected: u64, why: Option<String> },
    /// To be sent again, at the earliest after what the collector says.
    Later { after: Option<Duration>, why: String },
    /// It is never taken.
    Refused { why: String },
}

impl Target {
    /// # Errors
    /// All that is wrong with the settings.
    pub(super) fn new(settings: &OtlpSettings) -> Result<Self, Vec<SettingsError>> {
        let mut errors = Vec::new();
        if let Err((message, hint)) = check_url(&settings.url, settings.insecure_http) {
            errors.push(SettingsError::new(["url"], message).with_hint(hint));
        }
        let mut headers = HeaderMap::new();
        for (name, value) in &settings.headers {
            let field = HeaderName::try_from(&**name).ok().zip(value.reveal().parse().ok());
            match field {
                Some((name, value)) => drop(headers.insert(name, value)),
                None => errors.push(SettingsError::new(["headers", name], "not a header field")),
            }
        }
        let protobuf = HeaderValue::from_static("application/x-protobuf");
        headers.insert(header::CONTENT_TYPE, protobuf);
        let mut own = Vec::new();
        let material = TlsMaterial::load(settings.tls.as_ref(), &mut own);
        errors.extend(own.into_iter().map(|error| error.under(["tls"])));
        let tls = settings.tls.as_ref().map(|_| Arc::new(material));
        let (url, timeout) = (Arc::from(&*settings.url), settings.timeout.0);
        if errors.is_empty() { Ok(Self { url, headers, tls, timeout }) } else { Err(errors) }
    }

    /// Sends one batch.
    pub(super) async fn send(&self, client: &dyn HttpClient, body: Bytes) -> Sent {
        let call = HttpCall {
            method: Method::POST,
            url: Arc::clone(&self.url),
            headers: self.headers.clone(),
            body,
            tls: self.tls.clone(),
            timeout: self.timeout,
            max_answer: MAX_ANSWER,
        };
        match client.call(call).await {
            Ok(answer) => verdict(&answer),
            Err(error) => Sent::Later { after: None, why: error.to_string() },
        }
    }
}

/// What an answer means.
fn verdict(answer: &HttpAnswer) -> Sent {
    let why = || format!("the collector answers {}", answer.status);
    match answer.status {
        status if status.is_success() => match batch::rejected(&answer.body) {
            Some((rejected, why)) => Sent::Taken { rejected, why: Some(why) },
            None => Sent::Taken { rejected: 0, why: None },
        },
        status if otlp::may_repeat(status) => {
            Sent::Later { after: retry_after(&answer.headers), why: why() }
        }
        _ => Sent::Refused { why: why() },
    }
}

/// `Retry-After` in seconds (RFC 9110 §10.2.3); a date is not waited for.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// Whether spans may be sent there.
fn check_url(url: &str, insecure: bool) -> Result<(), (String, &'static str)> {
    let example = "such as `https://otel.example.com/v1/traces`";
    let address = Address::parse(url, &["https", "http"]).map_err(|why| (why, example))?;
    if address.scheme == "http" && !address.is_here() && !insecure {
        let message = "spans would leave this machine without TLS".to_owned();
        return Err((message, "write `https://`, or `insecure_http: true`"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use prost::Message;

    use super::*;

    fn accepts(url: &str, insecure: bool) -> bool {
        check_url(url, insecure).is_ok()
    }

    #[test]
    fn spans_leave_the_machine_encrypted() {
        assert!(accepts("https://otel.example.com/v1/traces", false));
        assert!(accepts("http://127.0.0.1:4318/v1/traces", false));
        assert!(accepts("http://[::1]:4318/v1/traces", false));
        assert!(accepts("http://localhost:4318/v1/traces", false));
        assert!(!accepts("http://otel.example.com/v1/traces", false));
        assert!(accepts("http://otel.example.com/v1/traces", true));
        assert!(!accepts("https://edge:secret@otel.example.com/v1/traces", false));
        assert!(!accepts("grpc://127.0.0.1:4317", false));
        assert!(!accepts("/v1/traces", false));
        assert!(!accepts("", false));
    }

    fn answered(status: u16, headers: &[(&'static str, &'static str)], body: Vec<u8>) -> Sent {
        let fields = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        let status = StatusCode::from_u16(status).unwrap();
        verdict(&HttpAnswer { status, headers: fields.collect(), body: body.into() })
    }

    #[test]
    fn answers_mean_what_otlp_says() {
        use opentelemetry_proto::tonic::collector::trace::v1::{
            ExportTracePartialSuccess, ExportTraceServiceResponse,
        };
        assert_eq!(answered(200, &[], vec![]), Sent::Taken { rejected: 0, why: None });
        let partial = ExportTracePartialSuccess { rejected_spans: 3, error_message: "old".into() };
        let body = ExportTraceServiceResponse { partial_success: Some(partial) }.encode_to_vec();
        let taken = Sent::Taken { rejected: 3, why: Some("old".to_owned()) };
        assert_eq!(answered(200, &[], body), taken);
        let later = answered(503, &[("retry-after", "7")], vec![]);
        assert!(matches!(later, Sent::Later { after: Some(after), .. } if after.as_secs() == 7));
        assert!(matches!(answered(429, &[], vec![]), Sent::Later { after: None, .. }));
        for status in [400, 401, 408, 500, 302] {
            assert!(matches!(answered(status, &[], vec![]), Sent::Refused { .. }), "{status}");
        }
    }
}
