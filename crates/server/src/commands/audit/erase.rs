//! `tidegate audit erase`: destroys a subject's key, and has that recorded. A running gateway is
//! asked to do it, since a log has one writer.

use std::process::ExitCode;

use anyhow::Result;

use super::args::EraseArgs;
use super::source::{pseudonym, settings};
use crate::commands::admin_client::ask;

pub(crate) fn execute(args: &EraseArgs) -> Result<ExitCode> {
    let subject = if args.subject.starts_with("hmac:") {
        args.subject.clone()
    } else {
        pseudonym(&args.subject, Some(&settings(&args.config)?))?
    };
    ask(&args.admin, "POST", &format!("/audit/erase?subject={subject}"))?.print("not erased")
}
