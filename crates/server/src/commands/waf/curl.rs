//! One request by the flags that curl has for it.

use std::path::Path;

use anyhow::{Result, bail};
use tidegate_engine::trial::Sample;

use super::read;
use crate::cli::WafTestArgs;

const FORM: &str = "application/x-www-form-urlencoded";

pub(super) fn sample(args: &WafTestArgs) -> Result<Sample> {
    let (secure, host, target) = parse(args.url.as_deref().unwrap_or("/"))?;
    let body = body(args)?;
    let method = args.request.as_deref().unwrap_or(if body.is_some() { "POST" } else { "GET" });
    let mut fields = vec![
        ("Host".to_owned(), host.to_owned()),
        ("User-Agent".to_owned(), concat!("tidegate/", env!("CARGO_PKG_VERSION")).to_owned()),
        ("Accept".to_owned(), "*/*".to_owned()),
    ];
    if let Some(body) = &body {
        fields.push(("Content-Type".to_owned(), FORM.to_owned()));
        fields.push(("Content-Length".to_owned(), body.len().to_string()));
    }
    for field in &args.header {
        give(field, &mut fields)?;
    }
    let mut sample = Sample::new(method, target, &fields, body.unwrap_or_default());
    sample.secure = secure;
    Ok(sample)
}

/// Whether it is encrypted, the host, and the path with the query.
fn parse(url: &str) -> Result<(bool, &str, &str)> {
    if url.starts_with('/') || url == "*" {
        return Ok((true, "localhost", url));
    }
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    let secure = match scheme {
        "http" => false,
        "https" => true,
        _ => bail!("`{url}` is neither http nor https"),
    };
    let rest = rest.split('#').next().unwrap_or_default();
    match rest.find(['/', '?']) {
        None => Ok((secure, rest, "/")),
        Some(at) if rest.get(at..).is_some_and(|rest| rest.starts_with('?')) => {
            bail!("`{url}` has no path: write a slash before the question mark")
        }
        Some(at) => {
            let (host, target) = rest.split_at(at);
            Ok((secure, host, target))
        }
    }
}

/// The last one of a name counts; one without a value takes it out.
fn give(field: &str, fields: &mut Vec<(String, String)>) -> Result<()> {
    let Some((name, value)) = field.split_once(':') else {
        bail!("`{field}` is no field: write `Name: value`");
    };
    let (name, value) = (name.trim(), value.trim());
    let defaults = ["host", "user-agent", "accept", "content-type", "content-length"];
    let known = fields.iter().position(|(known, _)| known.eq_ignore_ascii_case(name));
    if let Some(at) = known.filter(|_| defaults.contains(&name.to_ascii_lowercase().as_str())) {
        fields.remove(at);
    }
    if !value.is_empty() {
        fields.push((name.to_owned(), value.to_owned()));
    }
    Ok(())
}

fn body(args: &WafTestArgs) -> Result<Option<Vec<u8>>> {
    if let Some(data) = &args.data_binary {
        return data_of(data).map(Some);
    }
    if args.data.is_empty() {
        return Ok(None);
    }
    let mut body = Vec::new();
    for (index, data) in args.data.iter().enumerate() {
        if index > 0 {
            body.push(b'&');
        }
        let data_is_file = data.starts_with('@');
        let bytes = data_of(data)?;
        // As curl does: lines' ends of a file are no part of a form.
        body.extend(bytes.into_iter().filter(|byte| !data_is_file || !b"\r\n".contains(byte)));
    }
    Ok(Some(body))
}

fn data_of(data: &str) -> Result<Vec<u8>> {
    data.strip_prefix('@')
        .map_or_else(|| Ok(data.as_bytes().to_vec()), |file| read(Path::new(file)))
}
