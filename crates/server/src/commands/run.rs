//! `tidegate run -c FILE`: serve until told to stop.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use tidegate_proxy::{BuildInfo, ConfigSource, OnReady, ServeError, ServeOptions};

use crate::cli::{LogArgs, RunArgs};
use crate::commands::check;
use crate::{logging, terminal};

/// What was built. A packager sets `TIDEGATE_REVISION` while building.
pub(crate) const BUILD: BuildInfo = BuildInfo {
    version: env!("CARGO_PKG_VERSION"),
    revision: match option_env!("TIDEGATE_REVISION") {
        Some(revision) => revision,
        None => "unknown",
    },
};

pub(crate) fn execute(args: &RunArgs) -> Result<ExitCode> {
    serve(&args.config, &args.log, None)
}

/// Serves with the configuration in `file`.
///
/// # Errors
/// When logging or serving cannot be started; a bad configuration is an exit code, as in `check`.
pub(crate) fn serve(file: &Path, log: &LogArgs, on_ready: Option<OnReady>) -> Result<ExitCode> {
    logging::start(log)?;
    let source = ConfigSource::File(file.to_owned());
    match tidegate_proxy::serve(ServeOptions { source, build: BUILD, on_ready }) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(ServeError::Config(errors)) => {
            terminal::complain(&check::report(file, &errors));
            Ok(ExitCode::FAILURE)
        }
        // Its text names the cause already; a chain would name it twice.
        Err(error) => anyhow::bail!("{error}"),
    }
}
