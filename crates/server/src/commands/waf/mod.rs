//! `tidegate waf test`: requests through a configuration's firewall, without a server. Addresses,
//! rate limits and upstreams have no part in it.

mod access_log;
mod curl;
mod har;
mod report;

use std::fs;
use std::io::{self, Read as _};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use tidegate_engine::trial::Sample;
use tidegate_engine::{Config, Snapshot, Trial};

use self::report::Report;
use crate::cli::{WafCommand, WafTestArgs};
use crate::commands::check;
use crate::terminal;

/// What could not be tried is neither passed nor refused.
const UNTRIED: u8 = 2;

pub(crate) fn execute(command: WafCommand) -> Result<ExitCode> {
    let WafCommand::Test(args) = command;
    match test(&args) {
        Ok(code) => Ok(code),
        Err(error) => {
            terminal::complain(&format!("tidegate: {error:#}"));
            Ok(ExitCode::from(UNTRIED))
        }
    }
}

fn test(args: &WafTestArgs) -> Result<ExitCode> {
    let compiled = Config::load(&args.config)
        .and_then(|config| Snapshot::compile(&config, None))
        .map_err(|errors| anyhow::anyhow!("{}", check::report(&args.config, &errors)))?;
    let samples = samples(args)?;
    let mut report = Report::new(args, samples.len());
    for mut sample in samples {
        if let Some(client) = args.client {
            sample.client = client;
        }
        let trial = Trial::run(&compiled, &sample);
        report.add(&sample, &trial)?;
    }
    report.end()
}

fn samples(args: &WafTestArgs) -> Result<Vec<Sample>> {
    let files = (&args.raw, &args.har, &args.access_log);
    match files {
        (Some(file), _, _) => {
            let sample = Sample::from_wire(&read(file)?);
            Ok(vec![sample.with_context(|| file.display().to_string())?])
        }
        (_, Some(file), _) => {
            har::samples(&read(file)?).with_context(|| file.display().to_string())
        }
        (_, _, Some(file)) => {
            access_log::samples(&read(file)?).with_context(|| file.display().to_string())
        }
        _ => Ok(vec![curl::sample(args)?]),
    }
}

/// A file's bytes; `-` is standard input.
fn read(file: &Path) -> Result<Vec<u8>> {
    if file == Path::new("-") {
        let mut bytes = Vec::new();
        io::stdin().lock().read_to_end(&mut bytes)?;
        return Ok(bytes);
    }
    fs::read(file).with_context(|| file.display().to_string())
}
