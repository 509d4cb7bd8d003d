//! `tidegate completions SHELL`: the completion script, on standard output.

use std::process::ExitCode;

use anyhow::Result;
use clap::CommandFactory as _;

use crate::cli::{Cli, CompletionsArgs};
use crate::terminal;

pub(crate) fn execute(args: &CompletionsArgs) -> Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "tidegate", &mut script);
    terminal::say(&String::from_utf8_lossy(&script))?;
    Ok(ExitCode::SUCCESS)
}
