//! The one place where a refusal or a fault becomes a response: problem+json (RFC 9457) with the
//! reason's code and the request's id. Evidence never comes here.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header};
use pingora_error::Result;
use pingora_http::ResponseHeader;
use pingora_proxy::Session;
use tidegate_core::{Denial, Reason};

use crate::request_id::RequestId;

/// What a response says about itself wherever it is made.
const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
/// When to come back if nobody knows better (RFC 9110 §10.2.3: 429 and 503 should say).
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Answers a refused request. The connection stays open if the request's body is done.
///
/// # Errors
/// The client is gone.
pub(crate) async fn deny(
    session: &mut Session,
    denial: &Denial,
    request_id: &RequestId,
) -> Result<()> {
    let body = problem(denial.reason, denial.status, request_id.as_str());
    let mut response = ResponseHeader::build(denial.status, Some(8))?;
    response.insert_header(header::CONTENT_TYPE, PROBLEM_JSON)?;
    response.insert_header(header::CACHE_CONTROL, NO_STORE)?;
    response.insert_header(header::CONTENT_LENGTH, body.len())?;
    response.insert_header("x-request-id", request_id.as_str())?;
    if let Some(seconds) = retry_after(denial) {
        response.insert_header(header::RETRY_AFTER, seconds)?;
    }
    for (name, value) in &denial.headers {
        response.append_header(name, value)?;
    }
    send(session, response, body).await
}

/// Answers with a JSON document of our own.
///
/// # Errors
/// The client is gone.
pub(crate) async fn document(
    session: &mut Session,
    document: String,
    request_id: &RequestId,
) -> Result<()> {
    let mut response = ResponseHeader::build(StatusCode::OK, Some(3))?;
    response.insert_header(header::CONTENT_TYPE, "application/json")?;
    response.insert_header(header::CONTENT_LENGTH, document.len())?;
    response.insert_header("x-request-id", request_id.as_str())?;
    send(session, response, document.into()).await
}

/// Answers with a redirect.
///
/// # Errors
/// The client is gone.
pub(crate) async fn redirect(
    session: &mut Session,
    status: StatusCode,
    location: HeaderValue,
    request_id: &RequestId,
) -> Result<()> {
    let mut response = ResponseHeader::build(status, Some(3))?;
    response.insert_header(header::LOCATION, location)?;
    response.insert_header(header::CONTENT_LENGTH, 0)?;
    response.insert_header("x-request-id", request_id.as_str())?;
    send(session, response, Bytes::new()).await
}

/// Sends a whole response that we made.
///
/// # Errors
/// The client is gone.
pub(crate) async fn send(
    session: &mut Session,
    response: ResponseHeader,
    body: Bytes,
) -> Result<()> {
    if !session.is_body_done() {
        // What is left of the body would be read as the next request, or has to be waited for.
        session.set_keepalive(None);
    }
    let without_body = session.req_header().method == Method::HEAD || body.is_empty();
    session.write_response_header(Box::new(response), without_body).await?;
    if without_body {
        return Ok(());
    }
    session.write_response_body(Some(body), true).await
}

/// The same answer as bytes, for a request that nobody could read. It ends the connection.
pub(crate) fn unread(denial: &Denial, request_id: &str) -> Vec<u8> {
    let body = problem(denial.reason, denial.status, request_id);
    let mut response = format!(
        "HTTP/1.1 {}\r\ncontent-type: application/problem+json\r\ncache-control: no-store\r\n\
         content-length: {}\r\nx-request-id: {request_id}\r\nconnection: close\r\n",
        denial.status,
        body.len(),
    );
    if let Some(seconds) = retry_after(denial) {
        response.push_str(&format!("retry-after: {seconds}\r\n"));
    }
    response.push_str("\r\n");
    [response.as_bytes(), &body].concat()
}

fn retry_after(denial: &Denial) -> Option<u64> {
    let owed =
        matches!(denial.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
    let after = denial.retry_after.or(owed.then_some(RETRY_AFTER))?;
    Some(after.as_secs() + u64::from(after.subsec_nanos() > 0))
}

fn problem(reason: Reason, status: StatusCode, request_id: &str) -> Bytes {
    // Codes, titles and request ids hold nothing that JSON would escape.
    let mut body = format!(
        "{{\"type\":\"urn:tidegate:problem:{code}\",\"title\":\"{title}\",\"status\":{status},\
         \"reason\":\"{code}\",\"request_id\":\"{request_id}\"}}",
        code = reason.code(),
        title = reason.title(),
        status = status.as_u16(),
    );
    body.push('\n');
    body.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_names_its_reason_and_request() {
        let body = problem(Reason::RateLimited, StatusCode::TOO_MANY_REQUESTS, "abc");
        let json: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(json["type"], "urn:tidegate:problem:rate_limited");
        assert_eq!(json["status"], 429);
        assert_eq!(json["reason"], "rate_limited");
        assert_eq!(json["request_id"], "abc");
    }

    #[test]
    fn titles_need_no_escaping() {
        for reason in Reason::ALL {
            assert!(reason.title().bytes().all(|b| b != b'"' && b != b'\\' && b >= b' '));
        }
    }

    #[test]
    fn a_client_is_told_when_to_come_back_in_whole_seconds() {
        let limited = Denial::new(Reason::RateLimited);
        assert_eq!(retry_after(&limited), Some(1));
        let precise = limited.with_retry_after(Duration::from_millis(1200));
        assert_eq!(retry_after(&precise), Some(2));
        assert_eq!(retry_after(&Denial::new(Reason::NoRoute)), None);
    }

    #[test]
    fn an_unread_request_is_answered_in_plain_bytes() {
        let bytes = unread(&Denial::new(Reason::RequestTimeout), "abc");
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{text}");
        assert!(text.contains("\r\nconnection: close\r\n"), "{text}");
        assert!(text.ends_with("\"request_id\":\"abc\"}\n"), "{text}");
    }
}
