//! `tidegate audit search`: the records that have all of what is asked for.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Result, bail};
use tidegate_audit::Kind;
use tidegate_audit::scan::Scan;
use tidegate_audit::search::Query;

use super::args::SearchArgs;
use super::source::{Source, print, pseudonym};
use crate::terminal;

/// The exit code is 1 if nothing was found or something could not be read, as with `grep`.
pub(crate) fn execute(args: SearchArgs) -> Result<ExitCode> {
    let source = Source::find(&args.which)?;
    let range = args.range.clone().unwrap_or(0..u64::MAX);
    let range = range.start.max(source.minimum())..range.end;
    let limit = args.limit.unwrap_or(usize::MAX);
    let query = query(args, &source)?;
    let mut output = terminal::lines();
    let (mut found, mut damaged) = (0, false);
    for entry in Scan::new(&source.directory, range, source.size()?) {
        if found >= limit {
            break;
        }
        match entry {
            Ok((index, entry)) if query.find(&entry).is_some() => {
                print(&mut output, index, &entry)?;
                found += 1;
            }
            Ok(_) => {}
            Err(error) => {
                terminal::complain(&format!("tidegate: {error}"));
                damaged = true;
            }
        }
    }
    output.flush()?;
    Ok(if found > 0 && !damaged { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn query(args: SearchArgs, source: &Source) -> Result<Query> {
    let subject = args.subject.as_deref();
    let subject =
        subject.map(|subject| pseudonym(subject, source.settings.as_ref())).transpose()?;
    Ok(Query {
        from: args.from,
        to: args.to,
        kind: args.kind.as_deref().map(kind).transpose()?,
        event: args.event,
        subject,
        request_id: args.request_id,
        reason: args.reason,
        route: args.route,
        client: args.client,
    })
}

fn kind(word: &str) -> Result<Kind> {
    let known = Kind::ALL.into_iter().find(|kind| kind.as_str() == word);
    let Some(kind) = known else {
        let words: Vec<_> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
        bail!("`{word}` is no kind of record; there are {}", words.join(", "));
    };
    Ok(kind)
}
