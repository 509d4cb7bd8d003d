//! `tidegate audit tail`: the last records that were signed, and with `-f` those that come.

use std::io::Write as _;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::Result;
use tidegate_audit::scan::Scan;

use super::args::TailArgs;
use super::source::{Source, print};
use crate::terminal;

/// Checkpoints come every few seconds; looking for one costs a small read.
const BETWEEN_LOOKS: Duration = Duration::from_millis(250);

pub(crate) fn execute(args: &TailArgs) -> Result<ExitCode> {
    let source = Source::find(&args.which)?;
    let mut size = source.size()?;
    let first = size.saturating_sub(args.last).max(source.minimum());
    print_all(&source, first, size)?;
    if !args.follow {
        return Ok(ExitCode::SUCCESS);
    }
    loop {
        thread::sleep(BETWEEN_LOOKS);
        let now = source.size()?;
        if now > size {
            print_all(&source, size, now)?;
            size = now;
        }
    }
}

fn print_all(source: &Source, from: u64, size: u64) -> Result<()> {
    let mut output = terminal::lines();
    for entry in Scan::new(&source.directory, from..size, size) {
        let (index, entry) = entry?;
        print(&mut output, index, &entry)?;
    }
    Ok(output.flush()?)
}
