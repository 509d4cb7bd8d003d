//! `tidegate response`: the panic switch of a running Tidegate.

use std::process::ExitCode;

use anyhow::Result;

use super::admin_client::ask;
use crate::cli::{PanicTurn, ResponseCommand};

pub(crate) fn execute(command: &ResponseCommand) -> Result<ExitCode> {
    let ResponseCommand::Panic { turn, admin } = command;
    let (method, target) = match turn {
        PanicTurn::On => ("POST", "/response/panic?on=true"),
        PanicTurn::Off => ("POST", "/response/panic?on=false"),
        PanicTurn::Status => ("GET", "/response/panic"),
    };
    ask(admin, method, target)?.print("the panic switch was not turned")
}
