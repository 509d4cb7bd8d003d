//! The commands, a file each. To add one: a variant of `cli::Command`, a file here, a line below.

mod admin_client;
mod audit;
mod bans;
mod check;
mod completions;
mod demo;
mod policy;
mod reload;
mod report;
mod response;
mod run;
mod schema;
mod version;
mod waf;

use std::process::ExitCode;

use anyhow::Result;

pub(crate) use self::audit::AuditCommand;
use crate::cli::Command;

/// Does what was asked for.
///
/// # Errors
/// When it cannot be done; a bad configuration found by `check` is an exit code, not an error.
pub(crate) fn execute(command: Command) -> Result<ExitCode> {
    match command {
        Command::Audit { command } => audit::execute(command),
        Command::Bans { command } => bans::execute(&command),
        Command::Check(args) => check::execute(&args),
        Command::Completions(args) => completions::execute(&args),
        Command::Demo(args) => demo::execute(&args),
        Command::Policy(command) => policy::execute(command),
        Command::Reload(args) => reload::execute(&args),
        Command::Report(command) => report::execute(&command),
        Command::Response(command) => response::execute(&command),
        Command::Run(args) => run::execute(&args),
        Command::Schema => schema::execute(),
        Command::Version => version::execute(),
        Command::Waf(command) => waf::execute(command),
    }
}
