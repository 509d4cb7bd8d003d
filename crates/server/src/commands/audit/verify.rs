//! `tidegate audit verify`: everything is computed again. The exit code is 0 if the log is what
//! it signed, and 1 if not.

use std::fs;
use std::process::ExitCode;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Result, bail};
use serde_json::json;
use tidegate_audit::checkpoint::Signed;
use tidegate_audit::note::appended;
use tidegate_audit::record::timestamp;
use tidegate_audit::verify::{Claim, Cosigned, Finding, Report, verify};

use super::args::VerifyArgs;
use super::source::{Source, put, read_if_there};
use crate::cli::Format;
use crate::terminal;

/// A log that is just signing has written its head file and not yet its checkpoint.
const TRIES: u32 = 10;
const BETWEEN_TRIES: Duration = Duration::from_millis(200);

/// Records between two lines of progress.
const STEP: u64 = 1_000_000;

pub(crate) fn execute(args: VerifyArgs) -> Result<ExitCode> {
    let source = Source::find(&args.which)?;
    let key = source.key()?.clone();
    let saved = args.save.clone();
    let (format, witnesses) = (args.format, args.witness.clone());
    let claim = claim(args, &source)?;
    let mut next = STEP;
    let report = verify(&source.directory, &key, &claim, &mut |done, total| {
        if done >= next {
            terminal::complain(&format!("{done} of {total} records"));
            next = done + STEP;
        }
    });
    let unsigned: Vec<_> = witnesses.iter().map(|witness| witness.name().to_owned()).collect();
    let unsigned = unsigned.into_iter().filter(|n| !report.cosigned.iter().any(|c| c.name == *n));
    let unsigned: Vec<_> = unsigned.collect();
    match format {
        Format::Human => tell_people(&report, &unsigned)?,
        Format::Json => tell_programs(&report, &unsigned)?,
    }
    if !report.holds() || !unsigned.is_empty() {
        return Ok(ExitCode::FAILURE);
    }
    if let (Some(file), Some(checkpoint)) = (saved, &claim.checkpoint) {
        put(Some(&file), &String::from_utf8_lossy(checkpoint))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn claim(args: VerifyArgs, source: &Source) -> Result<Claim> {
    let head_file = args.head.or_else(|| source.head());
    let mut claim = Claim {
        range: args.range,
        kept: args.kept_from,
        witnesses: args.witness,
        former_keys: args.former_key,
        ..Claim::default()
    };
    for file in &args.since {
        let Some(bytes) = read_if_there(file)? else { bail!("{} is not there", file.display()) };
        claim.earlier.extend(appended(&bytes));
    }
    claim.cosigned = source.cosigned()?;
    for _ in 0..TRIES {
        claim.head = head_file.as_deref().map(read_if_there).transpose()?;
        let path = source.directory.path();
        claim.minimum = read_if_there(&path.join("minimum"))?;
        claim.checkpoint = read_if_there(&path.join("checkpoint"))?;
        let size = |bytes: &Option<Vec<u8>>| {
            let signed = Signed::open(bytes.as_deref()?, source.key().ok()?).ok()?;
            Some(signed.checkpoint().size)
        };
        if size(&claim.head.clone().flatten()) <= size(&claim.checkpoint) {
            break;
        }
        std::thread::sleep(BETWEEN_TRIES);
    }
    if !source.directory.path().is_dir() {
        let error = fs::read_dir(source.directory.path()).err();
        let why = error.map_or_else(String::new, |error| format!(": {error}"));
        bail!("{} is no directory{why}", source.directory.path().display());
    }
    Ok(claim)
}

fn tell_people(report: &Report, unsigned: &[String]) -> Result<()> {
    for finding in &report.findings {
        terminal::complain(&format!("{}: {finding}", finding.kind()));
    }
    for witness in unsigned {
        terminal::complain(&format!("not_cosigned: no signature by {witness}"));
    }
    let Some(checkpoint) = &report.checkpoint else {
        terminal::complain("not verified: without a checkpoint there is nothing to compare with");
        return Ok(());
    };
    let verdict = if report.holds() && unsigned.is_empty() { "ok" } else { "NOT what was signed" };
    let (origin, size) = (&checkpoint.origin, checkpoint.size);
    let verified = &report.verified;
    terminal::say(&format!(
        "{origin}: {verdict}, {size} records signed, root {}",
        checkpoint.root
    ))?;
    terminal::say(&format!("computed again: records {} to {}", verified.start, verified.end))?;
    if report.compared > 0 {
        terminal::say(&format!("begins with {} earlier checkpoints", report.compared))?;
    }
    if report.minimum > 0 {
        terminal::say(&format!("pruned: records before {} are gone", report.minimum))?;
    }
    for Cosigned { name, size, time } in &report.cosigned {
        let time = timestamp(UNIX_EPOCH + Duration::from_secs(*time));
        terminal::say(&format!("cosigned by {name} at {time}, {size} records"))?;
    }
    Ok(())
}

fn tell_programs(report: &Report, unsigned: &[String]) -> Result<()> {
    let finding = |f: &Finding| json!({ "kind": f.kind(), "text": f.to_string() });
    let checkpoint = report.checkpoint.as_ref().map(|checkpoint| {
        let root = checkpoint.root.to_string();
        json!({ "origin": checkpoint.origin, "size": checkpoint.size, "root": root })
    });
    let cosigned =
        report.cosigned.iter().map(|c| json!({ "name": c.name, "size": c.size, "time": c.time }));
    let told = json!({
        "ok": report.holds() && unsigned.is_empty(),
        "checkpoint": checkpoint,
        "verified": { "from": report.verified.start, "to": report.verified.end },
        "compared": report.compared,
        "minimum": report.minimum,
        "cosigned": cosigned.collect::<Vec<_>>(),
        "not_cosigned": unsigned,
        "findings": report.findings.iter().map(finding).collect::<Vec<_>>(),
    });
    terminal::say(&format!("{told:#}"))?;
    Ok(())
}
