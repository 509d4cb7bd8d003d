//! The binary `tidegate`: command line, logging, wiring. What it serves and decides stands in the
//! library crates; this one only calls them.

mod cli;
mod commands;
mod demo;
mod logging;
mod terminal;

use std::process::ExitCode;

use clap::Parser as _;

/// Pingora makes about 90 small allocations a request: the allocator is a fifth of their cost.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let command = cli::Cli::parse().into_command();
    commands::execute(command).unwrap_or_else(|error| {
        terminal::complain(&format!("tidegate: {error:#}"));
        ExitCode::FAILURE
    })
}
