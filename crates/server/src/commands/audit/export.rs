//! `tidegate audit export`: records with their indexes, as lines of JSON. The record's bytes are
//! those that were logged, so that its hash can be computed from the line.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Result;
use tidegate_audit::scan::Scan;

use super::args::ExportArgs;
use super::source::{Source, print};
use crate::terminal;

pub(crate) fn execute(args: &ExportArgs) -> Result<ExitCode> {
    let source = Source::find(&args.which)?;
    let range = args.range.clone().unwrap_or(0..u64::MAX);
    let mut output = terminal::lines();
    let range = range.start.max(source.minimum())..range.end;
    for entry in Scan::new(&source.directory, range, source.size()?) {
        let (index, entry) = entry?;
        print(&mut output, index, &entry)?;
    }
    output.flush()?;
    Ok(ExitCode::SUCCESS)
}
