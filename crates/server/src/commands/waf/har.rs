//! Requests and responses of a HAR file (HTTP Archive 1.2), as browsers' developer tools save it.

use anyhow::{Context as _, Result};
use serde_json::Value;
use tidegate_engine::trial::{Answer, Sample, answer_head};

pub(super) fn samples(text: &[u8]) -> Result<Vec<Sample>> {
    let har: Value = serde_json::from_slice(text).context("this is no JSON")?;
    let entries = har.pointer("/log/entries").and_then(Value::as_array);
    let entries = entries.context("this is no HAR: no log.entries")?;
    let entry = |(index, entry): (usize, &Value)| {
        sample(entry).with_context(|| format!("log.entries[{index}]"))
    };
    entries.iter().enumerate().map(entry).collect()
}

fn sample(entry: &Value) -> Result<Sample> {
    let request = &entry["request"];
    let url = request["url"].as_str().context("the request has no url")?;
    let method = request["method"].as_str().context("the request has no method")?;
    let (scheme, rest) = url.split_once("://").context("the url has no scheme")?;
    let rest = rest.split('#').next().unwrap_or_default();
    let (host, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
    let body = body(&request["postData"]);
    let mut fields = vec![("Host".to_owned(), host.to_owned())];
    // What frames the message is made anew; names that begin with a colon are HTTP/2's.
    let given = |name: &str| {
        let name = name.to_ascii_lowercase();
        let framing = ["host", "content-length", "transfer-encoding", "connection"];
        !name.starts_with(':') && !framing.contains(&name.as_str())
    };
    let sent = pairs(&request["headers"]).filter(|(name, _)| given(name));
    fields.extend(sent.map(|(name, value)| (name.to_owned(), value.to_owned())));
    if !body.is_empty() {
        fields.push(("Content-Length".to_owned(), body.len().to_string()));
    }
    let mut sample = Sample::new(method, &target, &fields, body);
    sample.secure = scheme == "https";
    sample.answer = answer(&entry["response"]);
    Ok(sample)
}

fn body(data: &Value) -> Vec<u8> {
    if let Some(text) = data["text"].as_str() {
        return text.as_bytes().to_vec();
    }
    let params: Vec<String> =
        pairs(&data["params"]).map(|(name, value)| format!("{name}={value}")).collect();
    params.join("&").into_bytes()
}

/// The response, unless it was never there. A body that the browser kept as Base64 is binary, and
/// not looked at.
fn answer(response: &Value) -> Option<Answer> {
    let status = u16::try_from(response["status"].as_u64()?).ok()?;
    // Bodies are saved without their coding.
    let kept =
        |name: &str| !name.starts_with(':') && !name.eq_ignore_ascii_case("content-encoding");
    let fields = pairs(&response["headers"]).filter(|(name, _)| kept(name));
    let head = answer_head(status, fields).ok()?;
    let content = &response["content"];
    let text = content["text"].as_str().filter(|_| content["encoding"] != "base64");
    Some(Answer { head, body: text.unwrap_or_default().as_bytes().to_vec() })
}

/// The names and values of a list.
fn pairs(list: &Value) -> impl Iterator<Item = (&str, &str)> {
    list.as_array().into_iter().flatten().filter_map(|item| {
        Some((item["name"].as_str()?, item["value"].as_str().unwrap_or_default()))
    })
}
