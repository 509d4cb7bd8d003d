//! `tidegate check` and `tidegate -t`: everything that `run` would refuse, told at once. Nothing
//! is bound, connected or resolved.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use serde_json::json;
use tidegate_engine::ConfigErrors;
use tidegate_proxy::{Checked, ConfigSource, ServeError};

use crate::cli::{CheckArgs, Format};
use crate::terminal;

pub(crate) fn execute(args: &CheckArgs) -> Result<ExitCode> {
    let checked = match tidegate_proxy::check(&ConfigSource::File(args.config.clone())) {
        Ok(checked) => Ok(checked),
        Err(ServeError::Config(errors)) => Err(errors),
        Err(error) => anyhow::bail!("{error}"),
    };
    match args.format {
        Format::Human => tell_people(args, &checked)?,
        Format::Json => tell_programs(&checked)?,
    }
    Ok(if checked.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn tell_people(args: &CheckArgs, checked: &Result<Checked, ConfigErrors>) -> Result<()> {
    let file = args.config.display();
    match checked {
        Ok(checked) if args.effective => terminal::say(&checked.config.effective())?,
        Ok(Checked { config, notes }) => {
            for note in notes {
                terminal::say(&format!("{note} (note)"))?;
            }
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

fn tell_programs(checked: &Result<Checked, ConfigErrors>) -> Result<()> {
    let errors = checked.as_ref().err().map_or_else(|| json!([]), ConfigErrors::to_json);
    let notes = checked.as_ref().map_or_else(|_errors| json!([]), |checked| json!(checked.notes));
    let report = json!({ "ok": checked.is_ok(), "errors": errors, "notes": notes });
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
