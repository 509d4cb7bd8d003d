//! `tidegate audit prove`: writes a receipt, after checking it as its receiver will.

use std::fs;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use tidegate_audit::checkpoint::Signed;
use tidegate_audit::proof::Prover;
use tidegate_audit::receipt::{Consistency, Inclusion};
use tidegate_audit::tiles::entry;

use super::args::ProveArgs;
use super::source::{Source, put};

/// What a log says whose tiles do not lead to its own checkpoint.
const DAMAGED: &str =
    "the log is damaged, so that it proves nothing; `tidegate audit verify` says where";

pub(crate) fn execute(args: &ProveArgs) -> Result<ExitCode> {
    let source = Source::find(&args.which)?;
    let signed = match &args.witness {
        Some(witness) => source.witnessed(witness)?,
        None => source.signed()?,
    };
    let receipt = match (args.index, &args.since) {
        (Some(index), _) => inclusion(&source, &signed, index)?.to_string(),
        (None, Some(file)) => {
            let bytes =
                fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
            let earlier = Signed::open(&bytes, source.key()?);
            let earlier = earlier.with_context(|| file.display().to_string())?;
            consistency(&source, &signed, &earlier)?.to_string()
        }
        (None, None) => bail!("a record's index or --since is missing"),
    };
    put(args.output.as_ref(), &receipt)?;
    Ok(ExitCode::SUCCESS)
}

fn inclusion(source: &Source, signed: &Signed, index: u64) -> Result<Inclusion> {
    let size = signed.checkpoint().size;
    let prover = Prover::new(&source.directory, size);
    let Some(proof) = prover.inclusion(index)? else {
        bail!("the log has signed {size} records so far, 0 to {}", size.saturating_sub(1));
    };
    let record = entry(&source.directory, index, size)?;
    let checkpoint = signed.to_string();
    let receipt = Inclusion { extra: Some(record.clone()), index, proof, checkpoint };
    receipt.verify(&record, source.key()?).context(DAMAGED)?;
    Ok(receipt)
}

fn consistency(source: &Source, signed: &Signed, earlier: &Signed) -> Result<Consistency> {
    let (size, old) = (signed.checkpoint().size, earlier.checkpoint().size);
    let Some(proof) = Prover::new(&source.directory, size).consistency(old)? else {
        bail!("the log has {size} records, fewer than the {old} of the earlier checkpoint");
    };
    let receipt = Consistency { old, proof, checkpoint: signed.to_string() };
    let forked =
        "the log does not begin with what the earlier checkpoint stands for, or is damaged";
    receipt.verify(earlier, source.key()?).context(forked)?;
    Ok(receipt)
}
