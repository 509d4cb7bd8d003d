//! Requests of our own access log. It holds no bodies and few fields, and masks secrets: what was
//! refused over these is not found again.

use anyhow::{Context as _, Result};
use serde_json::Value;
use tidegate_engine::trial::Sample;

pub(super) fn samples(text: &[u8]) -> Result<Vec<Sample>> {
    let lines = text.split(|byte| *byte == b'\n').enumerate();
    let mut samples = Vec::new();
    for (index, line) in lines.filter(|(_, line)| !line.trim_ascii().is_empty()) {
        let event: Value = serde_json::from_slice(line)
            .with_context(|| format!("line {} is no JSON", index + 1))?;
        samples.extend(sample(&event));
    }
    Ok(samples)
}

/// The request, unless its head could not be read.
fn sample(event: &Value) -> Option<Sample> {
    let (method, path) = (event["method"].as_str()?, event["path"].as_str()?);
    let target = match event["query"].as_str() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let mut fields = vec![("Accept".to_owned(), "*/*".to_owned())];
    for (name, key) in [("Host", "host"), ("User-Agent", "user_agent"), ("Referer", "referer")] {
        fields.extend(event[key].as_str().map(|value| (name.to_owned(), value.to_owned())));
    }
    // What carries a body says so; its content is unknown.
    if ["PATCH", "POST", "PUT"].contains(&method) {
        fields.push(("Content-Length".to_owned(), "0".to_owned()));
    }
    let mut sample = Sample::new(method, &target, &fields, Vec::new());
    sample.secure = event["scheme"] == "https";
    if let Some(client) = event["client"].as_str().and_then(|client| client.parse().ok()) {
        sample.client = client;
    }
    Some(sample)
}
