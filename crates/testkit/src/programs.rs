//! Programs from packages that tests put in front of and behind the gateway.

use std::env;
use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal};

use crate::wait;

/// How long a program may run before it fails the test.
const LIMIT: Duration = Duration::from_secs(90);

/// Returns from the test, with a printed line, when one of the programs is not installed. With
/// `CI` set in the environment that fails the test instead: there, all of them are installed.
#[macro_export]
macro_rules! needs {
    ($($program:literal),+ $(,)?) => {
        if !$crate::programs::are_installed(&[$($program),+]) {
            return;
        }
    };
}

/// Whether all programs are on the path; see [`needs!`].
#[track_caller]
#[must_use]
pub fn are_installed(programs: &[&str]) -> bool {
    let absent: Vec<_> = programs.iter().filter(|program| !is_installed(program)).collect();
    if absent.is_empty() {
        return true;
    }
    assert!(env::var_os("CI").is_none(), "these programs are not installed: {absent:?}");
    eprintln!("skipped: these programs are not installed: {absent:?}");
    false
}

fn is_installed(program: &str) -> bool {
    // System daemons live in sbin, which is not on every user's path.
    let path = env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/sbin", "/usr/local/sbin"].map(Into::into);
    env::split_paths(&path).chain(usual).any(|folder| folder.join(program).is_file())
}

/// A command for a program that may live in sbin.
#[must_use]
pub fn command(program: &str) -> Command {
    let system = std::path::Path::new("/usr/sbin").join(program);
    if system.is_file() { Command::new(system) } else { Command::new(program) }
}

/// What a program did.
#[derive(Clone, Debug)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// Runs a program to its end, with nothing on its standard input.
#[track_caller]
pub fn output(command: &mut Command) -> Output {
    output_of(command, "")
}

/// Runs a program to its end, with `input` on its standard input.
#[track_caller]
pub fn output_of(command: &mut Command, input: &str) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut stdin = child.stdin.take().expect("a pipe");
    let input = input.to_owned();
    thread::spawn(move || std::io::Write::write_all(&mut stdin, input.as_bytes()).ok());
    let stdout = collect(child.stdout.take().expect("a pipe"));
    let stderr = collect(child.stderr.take().expect("a pipe"));
    let Some(status) = exit_within(&mut child, LIMIT) else {
        child.kill().ok();
        child.wait().ok();
        panic!("{command:?} did not end within {LIMIT:?}");
    };
    let stdout = stdout.join().expect("reads");
    let stderr = stderr.join().expect("reads");
    Output { status, stdout, stderr }
}

/// Waits for a child's end, not longer than `limit`.
pub(crate) fn exit_within(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let mut status = None;
    wait::holds_within(limit, || {
        status = child.try_wait().expect("a child of ours");
        status.is_some()
    });
    status
}

fn collect(mut pipe: impl Read + Send + 'static) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).ok();
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// A program that runs until the test ends.
#[derive(Debug)]
pub struct Running(Child);

/// Starts a program in the background; it writes to the test's standard error only what it must.
#[track_caller]
#[must_use]
pub fn start(command: &mut Command) -> Running {
    command.stdin(Stdio::null()).stdout(Stdio::null());
    Running(command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}")))
}

impl Running {
    /// Asks it to end, and waits until it has.
    #[track_caller]
    pub fn terminate(mut self) {
        rustix::process::kill_process(Pid::from_child(&self.0), Signal::TERM).expect("signals");
        assert!(exit_within(&mut self.0, LIMIT).is_some(), "the program does not end");
    }

    /// Waits until it accepts connections.
    #[track_caller]
    #[must_use]
    pub fn accepting(mut self, address: SocketAddr) -> Self {
        wait::until("the program accepts connections", || {
            let ended = self.0.try_wait().expect("a child of ours");
            assert!(ended.is_none(), "the program ended: {ended:?}");
            TcpStream::connect(address).is_ok()
        });
        self
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}
