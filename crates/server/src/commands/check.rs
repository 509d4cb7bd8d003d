//! `tidegate check` and `tidegate -t`: everything that `run` would refuse, told at once. Nothing
//! is bound, connected or resolved.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use serde_json::json;
use tidegate_engine::{Config, ConfigErrors};
use tidegate_proxy::{ConfigSource, ServeError};

use crate::cli::{CheckArgs, Format};
use crate::terminal;

pub(crate) fn execute(args: &CheckArgs) -> Result<ExitCode> {
    let checked = match tidegate_proxy::check(&ConfigSource::File(args.config.clone())) {
        Ok(config) => Ok(config),
        Err(ServeError::Config(errors)) => Err(errors),
        Err(error) => anyhow::bail!("{error}"),
    };
    match args.format {
        Format::Human => tell_people(args, &checked)?,
        Format::Json => tell_programs(&checked)?,
    }
    Ok(if checked.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn tell_people(args: &CheckArgs, checked: &Result<Config, ConfigErrors>) -> Result<()> {
    let file = args.config.display();
    match checked {
        Ok(config) if args.effective => terminal::say(&config.effective())?,
        Ok(config) => {
            let settings = &config.settings;
            terminal::say(&format!(
                "{file}: ok ({}, {}, {})",
                counted(settings.listeners.len(), "listener"),
                counted(settings.routes.len(), "route"),
                counted(settings.upstreams.len(), "upstream"),
            ))?;
        }
        Err(errors) => terminal::complain(&report(&args.config, errors)),
    }
    Ok(())
}

/// Everything that is wrong with a configuration, for people.
pub(crate) fn report(file: &Path, errors: &ConfigErrors) -> String {
    let count = counted(errors.errors().len(), "error");
    format!("{errors}\n\n{}: {count}", file.display())
}

fn tell_programs(checked: &Result<Config, ConfigErrors>) -> Result<()> {
    let errors = checked.as_ref().err().map_or_else(|| json!([]), ConfigErrors::to_json);
    let report = json!({ "ok": checked.is_ok(), "errors": errors });
    terminal::say(&format!("{report:#}"))?;
    Ok(())
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_are_counted_in_english() {
        assert_eq!(counted(0, "route"), "0 routes");
        assert_eq!(counted(1, "route"), "1 route");
        assert_eq!(counted(2, "route"), "2 routes");
    }
}
