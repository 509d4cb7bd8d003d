//! `tidegate audit keygen`: the key that signs a log's checkpoints. The secret goes to a file
//! that only its owner can read, the public key to standard output.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use tidegate_audit::note::SigningKey;

use super::args::KeygenArgs;
use super::source::read_key;
use crate::terminal;

pub(crate) fn execute(args: &KeygenArgs) -> Result<ExitCode> {
    let public = match (&args.origin, &args.output, &args.of) {
        (_, _, Some(file)) => read_key(file)?,
        (Some(origin), Some(output), None) => {
            let key = SigningKey::generate(origin).context("cannot make a key")?;
            write(output, &key.to_secret_text())?;
            key.verifying_key().clone()
        }
        _ => bail!("the log's name and --output are missing"),
    };
    terminal::say(&public.to_string())?;
    Ok(ExitCode::SUCCESS)
}

/// Writes the secret, once: a key that is in use is never overwritten.
fn write(file: &Path, secret: &str) -> Result<()> {
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
    let written = opened.and_then(|mut opened| {
        opened.write_all(format!("{secret}\n").as_bytes())?;
        opened.sync_all()
    });
    written.with_context(|| format!("cannot write {}", file.display()))
}
