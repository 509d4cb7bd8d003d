//! `tidegate version`: one line, with the revision if the build knows it.

use std::process::ExitCode;

use anyhow::Result;

use crate::commands::run::BUILD;
use crate::terminal;

pub(crate) fn execute() -> Result<ExitCode> {
    terminal::say(&match BUILD.revision {
        "unknown" => format!("tidegate {}", BUILD.version),
        revision => format!("tidegate {} ({revision})", BUILD.version),
    })?;
    Ok(ExitCode::SUCCESS)
}
