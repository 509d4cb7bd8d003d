//! `tidegate demo`: Tidegate in front of two origins of its own, with `config/demo.yaml`, and a
//! list of what to try. The configuration is written to a file of its own, so that it can be
//! edited and reloaded.

use std::env;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{self, ExitCode};

use anyhow::{Context as _, Result};
use tidegate_proxy::Ready;

use crate::cli::{DemoArgs, LogArgs};
use crate::commands::run;
use crate::demo::origin;
use crate::terminal;

/// The configuration as it stands in the repository, and what in it is replaced.
const CONFIG: &str = include_str!("../../../../config/demo.yaml");
const LISTEN: &str = "127.0.0.1:8080";
const ADMIN: &str = "127.0.0.1:9900";
const ORIGINS: [&str; 2] = ["127.0.0.1:9001", "127.0.0.1:9002"];

pub(crate) fn execute(args: &DemoArgs) -> Result<ExitCode> {
    let origins = [start_origin("demo-1")?, start_origin("demo-2")?];
    let file = write_config(&config(args, origins))?;
    let log = LogArgs { log: "warn".to_owned(), log_format: None };
    let shown = file.clone();
    let on_ready = move |ready: &Ready| {
        // If nobody reads the guide, the demo serves all the same.
        terminal::say(&guide(ready, &shown)).ok();
    };
    let ended = run::serve(&file, &log, Some(Box::new(on_ready)));
    fs::remove_file(&file).ok();
    ended.context("the demo (--listen and --admin choose other ports)")
}

fn start_origin(name: &'static str) -> Result<SocketAddr> {
    origin::start(name).with_context(|| format!("cannot start the origin {name}"))
}

/// The demo's configuration with the addresses that this run uses.
fn config(args: &DemoArgs, origins: [SocketAddr; 2]) -> String {
    let mut text =
        CONFIG.replace(LISTEN, &args.listen.to_string()).replace(ADMIN, &args.admin.to_string());
    for (written, started) in ORIGINS.iter().zip(origins) {
        text = text.replace(written, &started.to_string());
    }
    text
}

/// Writes a file that nobody else owns into the folder for temporary files.
fn write_config(text: &str) -> Result<PathBuf> {
    let name = format!("tidegate-demo-{}.yaml", process::id());
    let path = env::temp_dir().join(name);
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

fn guide(ready: &Ready, file: &Path) -> String {
    let listener = ready.listeners.first().map(SocketAddr::to_string).unwrap_or_default();
    let program = env::args().next().unwrap_or_else(|| "tidegate".to_owned());
    GUIDE
        .replace("<url>", &format!("http://{listener}"))
        .replace("<admin>", &ready.admin.to_string())
        .replace("<file>", &file.display().to_string())
        .replace("<program>", &program)
}

const GUIDE: &str = r#"
Tidegate serves <url> in front of two origins. Try in another terminal:

A call that passes, balanced over both origins:
  curl -i '<url>/hello?name=tide'

An attack that is blocked with 403:
  curl -i '<url>/items?id=1%27%20OR%20%271%27=%271'

A client that is limited with 429 after its burst of 40:
  curl -s -o /dev/null -w '%{http_code}\n' '<url>/limited/[1-100]' | sort | uniq -c

What it counted, and the state of the origins:
  curl -s http://<admin>/metrics | grep ^tidegate_requests
  curl -s http://<admin>/upstreams

Its configuration, to edit and reload:
  <file>
  <program> reload --admin <admin>

Ctrl-C ends the demo. Below, a line of the access log for each request:
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_of_the_example_is_replaced() {
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let args = DemoArgs { listen: address(1), admin: address(2) };
        let text = config(&args, [address(3), address(4)]);
        for written in [LISTEN, ADMIN].iter().chain(&ORIGINS) {
            assert!(CONFIG.contains(written) && !text.contains(written), "{written}");
        }
        for used in ["127.0.0.1:1\n", "127.0.0.1:2\n", "[127.0.0.1:3, 127.0.0.1:4]"] {
            assert!(text.contains(used), "{used}");
        }
    }
}
