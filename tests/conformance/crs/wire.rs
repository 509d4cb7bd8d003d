//! A test's request as bytes, completed as go-ftw completes it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::suite::Input;

/// What goes on the wire.
///
/// # Errors
/// Base64 that is none, or a template that is not known here.
pub(crate) fn request(input: &Input) -> Result<Vec<u8>, String> {
    // Folded over lines in the files.
    let decode = |text: &str| {
        STANDARD.decode(text.replace(['\r', '\n'], "")).map_err(|error| error.to_string())
    };
    if let Some(encoded) = input.encoded_request.as_deref().filter(|it| !it.is_empty()) {
        return decode(encoded);
    }
    let mut data = match (&input.data, &input.encoded_data) {
        (Some(data), _) => expand(data)?.into_bytes(),
        (None, Some(encoded)) => decode(encoded)?,
        (None, None) => Vec::new(),
    };
    let method = input.method.as_deref().unwrap_or("GET");
    let mut headers = input.headers.clone();
    if !data.is_empty() && !input.plain_headers {
        if !has(&headers, "content-type") {
            headers.push(("Content-Type".into(), FORM.into()));
        }
        if any(&headers, "content-type", |value| value.eq_ignore_ascii_case(FORM)) {
            data = encode_form(data);
        }
    }
    let multipart = |value: &str| value.to_ascii_lowercase().contains("multipart/form-data;");
    if any(&headers, "content-type", multipart) {
        data = String::from_utf8_lossy(&data).replace('\n', "\r\n").into_bytes();
    }
    if !input.plain_headers {
        complete(&mut headers, method, data.len());
    }
    let uri = input.uri.as_deref().unwrap_or("/");
    let version = input.version.as_deref().unwrap_or("HTTP/1.1");
    let mut bytes = format!("{method} {uri} {version}\r\n").into_bytes();
    for (name, value) in &headers {
        bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(&data);
    Ok(bytes)
}

const FORM: &str = "application/x-www-form-urlencoded";

fn complete(headers: &mut Vec<(String, String)>, method: &str, length: usize) {
    if !has(headers, "connection") {
        headers.push(("Connection".into(), "close".into()));
    }
    let takes_body = method.starts_with("POST")
        || method.contains("PUT")
        || method.contains("PATCH")
        || method.ends_with("DELETE");
    if !has(headers, "content-length") && (length > 0 || takes_body) {
        headers.push(("Content-Length".into(), length.to_string()));
    }
}

fn has(headers: &[(String, String)], name: &str) -> bool {
    any(headers, name, |_value| true)
}

fn any(headers: &[(String, String)], name: &str, test: impl Fn(&str) -> bool) -> bool {
    headers.iter().any(|(known, value)| known.eq_ignore_ascii_case(name) && test(value))
}

/// Of the templates that go-ftw expands, the suite uses one: `{{ "1" | repeat 64200 }}`.
fn expand(data: &str) -> Result<String, String> {
    let Some((before, rest)) = data.split_once("{{") else { return Ok(data.to_owned()) };
    let unknown = || format!("not a template that is known here: {rest}");
    let (template, after) = rest.split_once("}}").ok_or_else(unknown)?;
    let (piece, times) = template.split_once("| repeat ").ok_or_else(unknown)?;
    let piece = piece.trim().trim_matches('"');
    let times = times.trim().parse().map_err(|_not_a_number| unknown())?;
    Ok(format!("{before}{}{}", piece.repeat(times), expand(after)?))
}

/// Encodes a form's names and values, unless they look encoded already.
fn encode_form(data: Vec<u8>) -> Vec<u8> {
    if data.iter().any(|byte| matches!(byte, b'%' | b'+')) {
        // Either decoding it changes it, or it cannot be decoded; it stays in both cases.
        return data;
    }
    let pair = |pair: &[u8]| match pair.iter().position(|byte| *byte == b'=') {
        Some(at) => format!("{}={}", escape(&pair[..at]), escape(&pair[at + 1..])),
        None => escape(pair),
    };
    let pieces = data.split(|byte| *byte == b'&').map(pair).collect::<Vec<_>>().join("&");
    // A trailing ampersand is lost on the way, as there.
    pieces.strip_suffix('&').map_or(pieces.clone(), str::to_owned).into_bytes()
}

fn escape(bytes: &[u8]) -> String {
    let mut out = String::new();
    for byte in bytes {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(*byte));
            }
            b' ' => out.push('+'),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[test]
fn requests_are_completed() {
    let check = |input: &Input, expect: &str| {
        let bytes = request(input).expect("a request");
        assert_eq!(String::from_utf8_lossy(&bytes), expect);
    };
    check(&Input::default(), "GET / HTTP/1.1\r\nConnection: close\r\n\r\n");
    let post =
        Input {
            method: Some("POST".into()), data: Some("a=b c&<d>=é".into()), ..Input::default()
        };
    check(
        &post,
        "POST / HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Connection: close\r\nContent-Length: 20\r\n\r\na=b+c&%3Cd%3E=%C3%A9",
    );
    let plain = Input { plain_headers: true, data: Some("a=%20b +".into()), ..post };
    check(&plain, "POST / HTTP/1.1\r\n\r\na=%20b +");
    assert_eq!(expand("<{{ \"ab\" | repeat 3 }}>").as_deref(), Ok("<ababab>"));
    assert!(expand("{{ env \"HOME\" }}").is_err());
}
