//! `tidegate schema`: the JSON Schema of the configuration, which editors check and complete by.

use std::process::ExitCode;

use anyhow::Result;
use tidegate_engine::config;

use crate::terminal;

pub(crate) fn execute() -> Result<ExitCode> {
    terminal::say(&format!("{:#}", config::schema()))?;
    Ok(ExitCode::SUCCESS)
}
