//! The binary `tidegate` as a child process: started with a configuration, watched through its
//! admin listener and its logs, and ended with the test.
//!
//! Listeners use port 0; the binary says on standard error which ports these became, one JSON
//! line per listener: `{"message":"listening","listener":"127.0.0.1:41234","kind":"http"}`, where
//! `kind` is `http` or `admin`.

use std::fmt::Display;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use rustix::process::{Pid, Signal};
use serde_json::Value;
use tempfile::TempDir;

use crate::client::{self, Ask};
use crate::{programs, wait};

/// What a configuration gets when it does not say otherwise: port 0, logs in the test's folder.
const DEFAULTS: &[(&str, &str)] = &[
    ("access_log", "access_log: { path: <dir>/access.log }\n"),
    ("admin", "admin: { address: 127.0.0.1:0 }\n"),
    ("listeners", "listeners: [{ address: 127.0.0.1:0 }]\n"),
    ("server", "server: { threads: 2, drain_timeout: 10s }\n"),
];

/// A gateway that is being put together.
#[derive(Debug)]
pub struct Builder {
    config: String,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    folder: TempDir,
    values: Vec<(String, String)>,
}

impl Builder {
    /// Replaces `<name>` in the configuration.
    #[must_use]
    pub fn set(mut self, name: &str, value: impl Display) -> Self {
        self.values.push((format!("<{name}>"), value.to_string()));
        self
    }

    /// Puts a file into `<dir>`, the folder of the configuration.
    #[track_caller]
    #[must_use]
    pub fn file(self, name: &str, text: &str) -> Self {
        let path = self.folder.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("makes the folder");
        fs::write(path, text).expect("writes");
        self
    }

    /// Sets a variable of the environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds an argument after `run -c FILE`.
    #[must_use]
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Starts it and waits until it is ready.
    #[track_caller]
    #[must_use]
    pub fn start(self) -> Gateway {
        self.try_start().unwrap_or_else(|failed| panic!("tidegate does not start: {failed:?}"))
    }

    /// Starts it and waits until it is ready, or gone.
    ///
    /// # Errors
    /// When it ends before it is ready, which some tests want.
    #[track_caller]
    pub fn try_start(self) -> Result<Gateway, Failed> {
        let file = self.folder.path().join("tidegate.yaml");
        let expected_listeners = count_listeners(&self.text());
        let mut gateway = Gateway {
            child: spawn(&self, &file),
            folder: self.folder,
            values: self.values,
            stdout: Lines::default(),
            stderr: Lines::default(),
            admin: SocketAddr::from(([0; 4], 0)),
            listeners: Vec::new(),
            exited: None,
            expected_listeners,
        };
        gateway.stdout.follow(gateway.child.stdout.take().expect("a pipe"));
        gateway.stderr.follow(gateway.child.stderr.take().expect("a pipe"));
        gateway.become_ready()?;
        Ok(gateway)
    }

    fn text(&self) -> String {
        complete(&self.config, self.folder.path(), &self.values)
    }
}

fn spawn(builder: &Builder, file: &Path) -> Child {
    fs::write(file, builder.text()).expect("writes");
    Command::new(binary())
        .arg("run")
        .arg("-c")
        .arg(file)
        .args(&builder.arguments)
        .envs(builder.environment.iter().map(|(name, value)| (name, value)))
        .current_dir(builder.folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .expect("tidegate starts")
}

/// How a start failed.
#[derive(Clone, Debug)]
pub struct Failed {
    /// How the process ended; `None` if it lived and did not get ready in time.
    pub status: Option<ExitStatus>,
    /// What it wrote to standard error.
    pub stderr: String,
}

/// A running `tidegate`. Dropping it kills its process group, so that binaries it handed over to
/// end as well.
#[derive(Debug)]
pub struct Gateway {
    child: Child,
    folder: TempDir,
    values: Vec<(String, String)>,
    stdout: Lines,
    stderr: Lines,
    admin: SocketAddr,
    listeners: Vec<SocketAddr>,
    exited: Option<ExitStatus>,
    expected_listeners: usize,
}

impl Gateway {
    /// Starts a gateway with a configuration in which `<name>` stands for the named values; see
    /// [`Builder`] for more.
    #[track_caller]
    #[must_use]
    pub fn start(config: &str, values: &[(&str, &dyn Display)]) -> Self {
        let builder = Self::builder(config);
        values.iter().fold(builder, |builder, (name, value)| builder.set(name, value)).start()
    }

    /// A gateway with this configuration.
    #[track_caller]
    #[must_use]
    pub fn builder(config: &str) -> Builder {
        Builder {
            config: config.to_owned(),
            arguments: Vec::new(),
            environment: Vec::new(),
            folder: tempfile::tempdir().expect("a folder"),
            values: Vec::new(),
        }
    }

    /// The first listener.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.listeners[0]
    }

    /// All listeners, in the order of the configuration.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.listeners
    }

    /// The admin listener.
    #[must_use]
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// The folder `<dir>`.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The process that was started; after an upgrade, another one serves.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What came on standard error so far.
    #[must_use]
    pub fn stderr(&self) -> String {
        self.stderr.lines.lock().join("\n")
    }

    /// What came on standard output so far.
    #[must_use]
    pub fn stdout(&self) -> String {
        self.stdout.lines.lock().join("\n")
    }

    /// The page `/metrics`.
    #[track_caller]
    #[must_use]
    pub fn metrics(&self) -> String {
        let response = client::get(self.admin, "/metrics");
        assert_eq!(response.status, 200, "{}", response.text());
        response.text()
    }

    /// The sum of the samples of one metric that have these labels; `None` if there is none.
    #[track_caller]
    #[must_use]
    pub fn metric(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        sum_of_samples(&self.metrics(), name, labels)
    }

    /// The access log so far.
    #[track_caller]
    #[must_use]
    pub fn access_log(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.folder.path().join("access.log")).unwrap_or_default();
        let complete = text.lines().filter(|line| line.ends_with('}'));
        complete.map(|line| serde_json::from_str(line).expect("a JSON line")).collect()
    }

    /// Waits for a line of the access log.
    #[track_caller]
    pub fn logged(&self, is_wanted: impl Fn(&Value) -> bool) -> Value {
        let mut found = None;
        let seen = wait::holds_within(wait::PATIENCE, || {
            found = self.access_log().into_iter().find(|line| is_wanted(line));
            found.is_some()
        });
        assert!(seen, "no such line in the access log: {:#?}", self.access_log());
        found.expect("found")
    }

    /// Writes another configuration over the first; `<name>` and defaults work as before, and
    /// listeners keep the ports they have.
    #[track_caller]
    pub fn write_config(&self, config: &str) {
        let text = complete(config, self.folder.path(), &self.values);
        fs::write(self.folder.path().join("tidegate.yaml"), text).expect("writes");
    }

    /// Reloads through the admin listener; the answer says how it went.
    #[track_caller]
    #[must_use]
    pub fn reload(&self) -> client::Response {
        Ask::new("POST", "/reload").body("").send(self.admin)
    }

    /// Sends a signal to the process that was started.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        rustix::process::kill_process(Pid::from_child(&self.child), signal).expect("signals");
    }

    /// Asks it to drain and leave.
    #[track_caller]
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait_exit(&mut self, limit: Duration) -> ExitStatus {
        let status = self.exit_within(limit);
        status.unwrap_or_else(|| panic!("still running after {limit:?}: {}", self.stderr()))
    }

    /// Whether the process that was started still runs.
    #[must_use]
    pub fn is_running(&mut self) -> bool {
        self.exit_within(Duration::ZERO).is_none()
    }

    fn exit_within(&mut self, limit: Duration) -> Option<ExitStatus> {
        if self.exited.is_none() {
            self.exited = programs::exit_within(&mut self.child, limit);
        }
        self.exited
    }

    fn become_ready(&mut self) -> Result<(), Failed> {
        let ready = wait::holds_within(wait::PATIENCE, || {
            self.read_addresses();
            let announced = self.listeners.len() >= self.expected_listeners;
            let serves = announced && self.admin.port() != 0 && is_ready(self.admin);
            serves || self.exit_within(Duration::ZERO).is_some()
        });
        self.read_addresses();
        if ready && self.exited.is_none() {
            return Ok(());
        }
        // What it wrote last is still on its way through the pipe.
        self.stderr.wait_for_end(self.exited.is_some());
        Err(Failed { status: self.exited, stderr: self.stderr() })
    }

    fn read_addresses(&mut self) {
        let lines = self.stderr.lines.lock();
        let announced: Vec<_> = lines.iter().filter_map(|line| announcement(line)).collect();
        drop(lines);
        self.listeners =
            announced.iter().filter(|(kind, _)| kind != "admin").map(|l| l.1).collect();
        if let Some((_, admin)) = announced.iter().rev().find(|(kind, _)| kind == "admin") {
            self.admin = *admin;
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        rustix::process::kill_process_group(Pid::from_child(&self.child), Signal::KILL).ok();
        self.child.wait().ok();
        if thread::panicking() {
            eprintln!("tidegate's standard error:\n{}", self.stderr());
        }
    }
}

/// The path of the binary: `TIDEGATE_BIN` if that is set, else the one of this test's profile. It
/// is built when it is missing; a test run over the whole workspace has built it anew already,
/// while `cargo test -p tidegate-tests` alone uses the one that is there.
#[track_caller]
#[must_use]
pub fn binary() -> PathBuf {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(find_binary).clone()
}

fn find_binary() -> PathBuf {
    if let Some(path) = std::env::var_os("TIDEGATE_BIN") {
        return path.into();
    }
    // target/debug/deps/e2e-0123 → target/debug
    let test = std::env::current_exe().expect("the test's own path");
    let folder = test.parent().and_then(Path::parent).expect("target/<profile>/deps");
    let path = folder.join("tidegate");
    if !path.is_file() {
        let profile = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let profile = if profile == "debug" { "dev" } else { profile };
        let status = Command::new(env!("CARGO"))
            .args(["build", "-p", "tidegate", "--profile", profile])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status();
        assert!(status.is_ok_and(|status| status.success()), "cannot build {}", path.display());
    }
    path
}

/// Lines that a pipe brought so far.
#[derive(Clone, Debug, Default)]
struct Lines {
    lines: Arc<Mutex<Vec<String>>>,
    ended: Arc<OnceLock<()>>,
}

impl Lines {
    fn follow(&self, pipe: impl Read + Send + 'static) {
        let into = self.clone();
        thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                into.lines.lock().push(line);
            }
            into.ended.set(()).ok();
        });
    }

    fn wait_for_end(&self, exited: bool) {
        let limit = if exited { wait::PATIENCE } else { Duration::ZERO };
        wait::holds_within(limit, || self.ended.get().is_some());
    }
}

fn is_ready(admin: SocketAddr) -> bool {
    std::net::TcpStream::connect(admin).is_ok() && client::get(admin, "/readyz").status == 200
}

/// `kind` and address of a line that announces a listener.
fn announcement(line: &str) -> Option<(String, SocketAddr)> {
    let value: Value = serde_json::from_str(line).ok()?;
    // Fields may stand beside the message or below `fields`, as the subscriber likes.
    let fields = value.get("fields").unwrap_or(&value);
    if fields.get("message")?.as_str()? != "listening" {
        return None;
    }
    let kind = fields.get("kind")?.as_str()?.to_owned();
    Some((kind, fields.get("listener")?.as_str()?.parse().ok()?))
}

/// The configuration with the test defaults for what it does not mention.
fn complete(config: &str, folder: &Path, values: &[(String, String)]) -> String {
    let mut text = String::new();
    for (key, default) in DEFAULTS {
        if !config.lines().any(|line| line.starts_with(&format!("{key}:"))) {
            text.push_str(default);
        }
    }
    text.push_str(config);
    for (name, value) in values {
        text = text.replace(name, value);
    }
    text.replace("<dir>", &folder.display().to_string())
}

/// How many listeners a configuration has: what is ready has announced them, but their lines may
/// still be on their way to us.
fn count_listeners(config: &str) -> usize {
    let section = config.lines().skip_while(|line| !line.starts_with("listeners:"));
    let other_key = |line: &&str| line.starts_with(|first: char| first.is_ascii_alphabetic());
    let below = section.clone().skip(1).take_while(|line| !other_key(line));
    section.take(1).chain(below).map(|line| line.matches("address:").count()).sum()
}

fn sum_of_samples(page: &str, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let wanted: Vec<_> =
        labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
    let samples = page.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
        let (series, value) = line.rsplit_once(' ')?;
        let (metric, set) = series.split_once('{').unwrap_or((series, ""));
        let matches = metric == name && wanted.iter().all(|label| set.contains(label.as_str()));
        matches.then(|| value.parse::<f64>().ok())?
    });
    samples.reduce(|sum, value| sum + value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_gets_only_the_defaults_that_it_lacks() {
        let values = [("<origin>".to_owned(), "127.0.0.1:1".to_owned())];
        let text = complete("admin: { address: <origin> }\n", Path::new("/d"), &values);
        assert!(text.contains("admin: { address: 127.0.0.1:1 }"));
        assert!(!text.contains("127.0.0.1:0 }\nadmin"));
        assert!(text.contains("access_log: { path: /d/access.log }"));
    }

    #[test]
    fn listeners_are_counted_in_both_styles() {
        assert_eq!(count_listeners("listeners: [{ address: a }]\nadmin: { address: b }"), 1);
        assert_eq!(count_listeners("a: b\nlisteners:\n  - address: a\n- { address: b }\nc: d"), 2);
    }

    #[test]
    fn samples_are_summed_over_the_labels_that_were_not_named() {
        let page = "# TYPE a counter\na{x=\"1\",y=\"2\"} 3\na{x=\"1\",y=\"3\"} 4\nab 9\n";
        assert_eq!(sum_of_samples(page, "a", &[("x", "1")]), Some(7.0));
        assert_eq!(sum_of_samples(page, "a", &[("y", "3")]), Some(4.0));
        assert_eq!(sum_of_samples(page, "a", &[("y", "4")]), None);
    }

    #[test]
    fn both_shapes_of_an_announcement_are_read() {
        let flat = r#"{"message":"listening","listener":"127.0.0.1:80","kind":"http"}"#;
        let nested = r#"{"level":"INFO","fields":{"message":"listening","listener":"127.0.0.1:81","kind":"admin"}}"#;
        assert_eq!(announcement(flat).unwrap().1.port(), 80);
        assert_eq!(announcement(nested).unwrap().0, "admin");
        assert!(announcement("plain text").is_none());
    }
}
