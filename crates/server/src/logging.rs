//! What a running Tidegate tells on standard error: its own events and, through the `log` crate,
//! those of Pingora. Requests go to the access log instead.

use std::io::{self, IsTerminal as _};

use anyhow::{Context as _, Result};
use tracing_subscriber::EnvFilter;

use crate::cli::{LogArgs, LogFormat};

/// Pingora reports each failed request and handshake as an error, rustls each odd client as a
/// warning: a stranger could fill the disk. Ours are the access log's line and the metrics.
const QUIET: &[&str] = &[
    "pingora_core=error",
    "pingora_core::apps=off",
    "pingora_core::protocols=off",
    "pingora_pool=error",
    "pingora_proxy=off",
    "rustls=error",
];

/// Starts logging for the whole process.
///
/// # Errors
/// When the filter cannot be parsed, or logging was started before.
pub(crate) fn start(args: &LogArgs) -> Result<()> {
    let filter = format!("{},{}", QUIET.join(","), args.log);
    let filter = EnvFilter::try_new(filter).with_context(|| format!("--log {}", args.log))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let started = match args.log_format.unwrap_or_else(usual_format) {
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(false).try_init(),
        LogFormat::Text => builder.with_target(false).try_init(),
    };
    started.map_err(|error| anyhow::anyhow!(error)).context("cannot start logging")
}

fn usual_format() -> LogFormat {
    if io::stderr().is_terminal() { LogFormat::Text } else { LogFormat::Json }
}
