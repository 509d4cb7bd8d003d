//! The demo keeps what it promises: each command that its guide prints is run as printed, by a
//! shell.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};

use tidegate_testkit::needs;

/// A running demo, and what it printed.
struct Demo {
    child: Child,
    guide: String,
}

impl Demo {
    fn start() -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .args(["demo", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut guide = String::new();
        for line in stdout.lines().map_while(Result::ok) {
            guide.push_str(&line);
            guide.push('\n');
            if line.starts_with("Ctrl-C") {
                break;
            }
        }
        Self { child, guide }
    }

    /// What the guide's command with this word in it prints.
    #[track_caller]
    fn run(&self, word: &str) -> String {
        let mut commands = self.guide.lines().filter_map(|line| line.strip_prefix("  "));
        let command = commands.find(|command| command.contains(word)).expect("it is proposed");
        shell(command)
    }

    /// Ends it as Ctrl-C does.
    fn interrupt(&mut self) -> ExitStatus {
        shell(&format!("kill -INT {}", self.child.id()));
        self.child.wait().expect("it ends")
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.interrupt();
        }
    }
}

#[track_caller]
fn shell(command: &str) -> String {
    let output = Command::new("bash").args(["-c", command]).output().expect("bash");
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

#[test]
fn everything_that_the_demo_proposes_works() {
    needs!("bash", "curl");
    let demo = Demo::start();

    let calls: String = (0..4).map(|_| demo.run("/hello")).collect();
    assert!(calls.contains("HTTP/1.1 200"), "{calls}");
    assert!(calls.contains("\"target\": \"/hello?name=tide\""), "{calls}");
    assert!(calls.contains("demo-1") && calls.contains("demo-2"), "balanced:\n{calls}");

    let attack = demo.run("/items");
    assert!(attack.starts_with("HTTP/1.1 403"), "{attack}");
    assert!(attack.contains("application/problem+json"), "{attack}");
    assert!(attack.contains("waf_blocked"), "{attack}");

    let limited = demo.run("/limited/");
    assert!(limited.contains(" 200\n") && limited.contains(" 429\n"), "{limited}");

    assert!(demo.run("/metrics").contains("tidegate_requests_total{"));
    assert!(demo.run("/upstreams").contains("\"healthy\": true"));
    assert_eq!(demo.run(" reload "), "reloaded\n");
}

#[test]
fn the_demo_cleans_up_when_it_is_interrupted() {
    needs!("bash");
    let mut demo = Demo::start();
    let config = demo.guide.lines().map(str::trim).find(|line| line.ends_with(".yaml"));
    let config = config.expect("it names its configuration").to_owned();
    assert!(shell(&format!("cat {config}")).contains("listeners:"));
    assert!(demo.interrupt().success());
    assert!(!std::path::Path::new(&config).exists(), "{config} is left behind");
}
