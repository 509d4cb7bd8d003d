//! `tidegate policy test`: a recorded event log through a configuration's response policy, without a
//! server: what it would have done, to whom, when.

mod report;

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use tidegate_engine::Config;
use tidegate_engine::trial::policy::Replay;

use crate::cli::{PolicyCommand, PolicyTestArgs};
use crate::commands::check;
use crate::terminal;

/// Something could not be read.
const UNTRIED: u8 = 2;

/// Bad lines are told up to here; the rest are counted.
const TOLD: usize = 10;

/// A line of ours has at most some 100 KB.
const LONGEST: u64 = 1024 * 1024;

pub(crate) fn execute(command: PolicyCommand) -> Result<ExitCode> {
    let PolicyCommand::Test(args) = command;
    match test(&args) {
        Ok(code) => Ok(code),
        Err(error) => {
            terminal::complain(&format!("tidegate: {error:#}"));
            Ok(ExitCode::from(UNTRIED))
        }
    }
}

fn test(args: &PolicyTestArgs) -> Result<ExitCode> {
    let mut replay = Config::load(&args.config)
        .and_then(|config| Replay::new(&config, args.as_configured))
        .map_err(|errors| anyhow::anyhow!("{}", check::report(&args.config, &errors)))?;
    let mut bad = 0;
    for file in &args.events {
        let name = file.display().to_string();
        bad += read(file, &name, &mut replay).with_context(|| name.clone())?;
    }
    if bad > TOLD {
        terminal::complain(&format!("tidegate: {bad} bad lines in all"));
    }
    report::tell(args, &replay, bad)?;
    Ok(match (bad, replay.decided()) {
        (1.., _) => ExitCode::from(UNTRIED),
        (0, []) => ExitCode::SUCCESS,
        (0, _) => ExitCode::FAILURE,
    })
}

/// Takes a file's lines; answers how many of them were bad.
fn read(file: &Path, name: &str, replay: &mut Replay) -> Result<usize> {
    let mut input: Box<dyn BufRead> = if file == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        Box::new(BufReader::new(File::open(file)?))
    };
    let (mut bad, mut line) = (0, Vec::new());
    for number in 1_u64.. {
        line.clear();
        if io::Read::take(&mut input, LONGEST).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        let taken = match std::str::from_utf8(&line) {
            Ok(text) => replay.line(text).map_err(|error| error.to_string()),
            Err(_) => Err("not UTF-8 text".to_owned()),
        };
        if let Err(what) = taken {
            bad += 1;
            if bad <= TOLD {
                terminal::complain(&format!("{name}:{number}: {what}"));
            }
        }
    }
    Ok(bad)
}
