//! `tidegate audit check-receipt`: without the log, without a network.

use std::fs;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use tidegate_audit::checkpoint::Signed;
use tidegate_audit::note::VerifyingKey;
use tidegate_audit::receipt::{Consistency, Inclusion};

use super::args::CheckReceiptArgs;
use crate::terminal;

pub(crate) fn execute(args: &CheckReceiptArgs) -> Result<ExitCode> {
    let file = args.receipt.display();
    let bytes = fs::read(&args.receipt).with_context(|| format!("cannot read {file}"))?;
    let (told, signed) =
        if bytes.starts_with(b"old ") { appended(args, &bytes)? } else { logged(args, &bytes)? };
    for witness in &args.witness {
        check_witness(&signed, witness)?;
    }
    terminal::say(&told)?;
    Ok(ExitCode::SUCCESS)
}

fn logged(args: &CheckReceiptArgs, bytes: &[u8]) -> Result<(String, Signed)> {
    let file = args.receipt.display().to_string();
    let receipt = Inclusion::parse(bytes).with_context(|| file.clone())?;
    let record = match &args.record {
        Some(path) => fs::read(path).with_context(|| format!("cannot read {}", path.display()))?,
        None => match &receipt.extra {
            Some(record) => record.clone(),
            None => bail!("{file} does not hold the record: name it with --record"),
        },
    };
    let signed = receipt.verify(&record, &args.key).context(file)?;
    let checkpoint = signed.checkpoint();
    let told = format!(
        "{}\nok: record {} of {}, among the {} that were signed",
        String::from_utf8_lossy(&record),
        receipt.index,
        checkpoint.origin,
        checkpoint.size
    );
    Ok((told, signed))
}

fn appended(args: &CheckReceiptArgs, bytes: &[u8]) -> Result<(String, Signed)> {
    let file = args.receipt.display().to_string();
    let receipt = Consistency::parse(bytes).with_context(|| file.clone())?;
    let Some(since) = &args.since else {
        bail!("{file} speaks of an earlier checkpoint: name it with --since");
    };
    let earlier = fs::read(since).with_context(|| format!("cannot read {}", since.display()))?;
    let earlier = Signed::open(&earlier, &args.key);
    let earlier = earlier.with_context(|| since.display().to_string())?;
    let signed = receipt.verify(&earlier, &args.key).context(file)?;
    let checkpoint = signed.checkpoint();
    let told = format!(
        "ok: {} only appended, from {} to {} records",
        checkpoint.origin, receipt.old, checkpoint.size
    );
    Ok((told, signed))
}

fn check_witness(signed: &Signed, witness: &VerifyingKey) -> Result<()> {
    let verified = signed.note().verify(witness);
    verified.with_context(|| format!("the checkpoint and the witness {}", witness.name()))
}
