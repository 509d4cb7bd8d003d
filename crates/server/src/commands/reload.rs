//! `tidegate reload`: asks the admin listener of a running Tidegate to read its configuration
//! again, and tells what came of it. A signal (SIGHUP) does the same, but cannot answer.

use std::process::ExitCode;

use anyhow::Result;

use super::admin_client::ask;
use crate::cli::AdminArgs;

pub(crate) fn execute(args: &AdminArgs) -> Result<ExitCode> {
    ask(args, "POST", "/reload")?.print("not reloaded")
}
