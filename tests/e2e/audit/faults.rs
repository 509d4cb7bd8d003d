//! A disk that fails or stalls under the running gateway: what each route's settings say, and
//! bounded memory. The faults are injected into the process by strace.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tidegate_testkit::{Ask, Gateway, Origin, Reply, needs, wait};

use super::{recorded, with_log};
use crate::assert_problem;

const ROUTES: &str = "
routes:
  - { id: strict, path: /strict, to: api, audit: { event: payment, durable: before_response } }
  - { id: lenient, path: /lenient, to: api, audit: { event: payment, durable: before_response, on_failure: continue } }
  - { id: grouped, path: /grouped, to: api, audit: { event: payment, fields: { body: request.body:/x } } }
  - { id: grouped_on, path: /group-on, to: api, audit: { event: payment, on_failure: continue, fields: { body: request.body:/x } } }
  - { id: best, path: /best, to: api, audit: { event: payment, durable: no } }
  - { id: plain, path: /, to: api }
upstreams: { api: { endpoints: [<origin>] } }
";

/// strace, injecting faults into a running gateway until it is dropped.
pub(crate) struct Injected(Child);

impl Injected {
    /// The disk has no room for what the log writes next.
    #[track_caller]
    pub(crate) fn full_disk(gateway: &Gateway) -> Self {
        let segment = newest(&gateway.folder().join("audit/wal"));
        let mut strace = Command::new("strace");
        strace.args(["-f", "-qq", "-o", "/dev/null", "-P"]).arg(&segment);
        strace.args(["-e", "inject=write,pwrite64,writev:error=ENOSPC"]);
        strace.args(["-p", &gateway.pid().to_string()]);
        Self(strace.stdin(Stdio::null()).spawn().expect("strace"))
    }

    #[track_caller]
    fn into(gateway: &Gateway, what: &str) -> Self {
        let mut strace = Command::new("strace");
        strace.args(["-f", "-qq", "-o", "/dev/null", "-e", what]);
        strace.args(["-p", &gateway.pid().to_string()]);
        let child = strace.stdin(Stdio::null()).spawn().expect("strace");
        let status = format!("/proc/{}/status", gateway.pid());
        wait::until("strace is attached", || {
            let status = std::fs::read_to_string(&status).unwrap_or_default();
            status.lines().any(|line| line.starts_with("TracerPid") && !line.ends_with("\t0"))
        });
        // It attaches to one thread after the other.
        let tasks = format!("/proc/{}/task", gateway.pid());
        wait::until("all threads are traced", || {
            std::fs::read_dir(&tasks).expect("reads").filter_map(Result::ok).all(|task| {
                let status =
                    std::fs::read_to_string(task.path().join("status")).unwrap_or_default();
                !status.lines().any(|line| line == "TracerPid:\t0")
            })
        });
        Self(child)
    }
}

impl Drop for Injected {
    fn drop(&mut self) {
        // SIGTERM lets strace detach; SIGKILL would leave the gateway stopped.
        let strace = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(strace, rustix::process::Signal::TERM).ok();
        self.0.wait().ok();
    }
}

fn gateway(more: &str, origin: &Origin) -> Gateway {
    with_log(more, ROUTES).set("origin", origin.address()).start()
}

#[test]
fn a_failed_fsync_refuses_durable_routes_and_lets_the_others_go_on() {
    needs!("strace");
    let origin = Origin::start(Reply::ok("ok"));
    let gateway = gateway("", &origin);
    assert_eq!(Ask::new("GET", "/strict").send(gateway.address()).status, 200);
    let injected = Injected::into(&gateway, "inject=fdatasync,fsync:error=EIO");
    let before = origin.received().len();
    let answer = Ask::new("GET", "/strict").send(gateway.address());
    assert_problem(&answer, 503, "audit_unavailable");
    assert!(answer.header("retry-after").is_some());
    assert_eq!(origin.received().len(), before, "what is not recorded is not sent on");
    drop(injected);
    // The log does not trust a disk that failed a sync, even if it seems well again.
    assert_problem(&Ask::new("GET", "/strict").send(gateway.address()), 503, "audit_unavailable");
    assert_problem(&Ask::new("GET", "/grouped").send(gateway.address()), 503, "audit_unavailable");
    for path in ["/lenient", "/group-on", "/best", "/"] {
        assert_eq!(Ask::new("GET", path).send(gateway.address()).status, 200, "{path}");
    }
    let metric = |name: &str| gateway.metric(name, &[]).unwrap_or_default();
    assert_eq!(metric("tidegate_audit_healthy"), 0.0);
    assert_eq!(metric("tidegate_audit_requests_refused_total"), 3.0);
    // Of each of the three that went on, request and outcome are missing.
    assert!(metric("tidegate_audit_lost_total") >= 6.0);
    wait::until("it is told", || gateway.stderr().contains("\"notice\":\"audit_failing\""));
}

#[test]
fn a_stalled_disk_holds_requests_no_longer_than_the_setting_and_takes_no_more_memory() {
    needs!("strace");
    let origin = Origin::start(Reply::ok("ok"));
    let more = ", commit_timeout: 300ms, max_pending: 1MiB";
    let gateway = gateway(more, &origin);
    assert_eq!(Ask::new("GET", "/strict").send(gateway.address()).status, 200);
    let injected = Injected::into(&gateway, "inject=fdatasync:delay_enter=20000000");
    let (took, answer) = wait::timed(|| Ask::new("GET", "/strict").send(gateway.address()));
    assert_problem(&answer, 503, "audit_unavailable");
    assert!(took >= Duration::from_millis(300), "{took:?}");
    assert_eq!(Ask::new("GET", "/lenient").send(gateway.address()).status, 200);

    let body = format!("{{\"x\":\"{}\"}}", "y".repeat(4_000));
    let ask = |path: &str| {
        let ask = Ask::new("POST", path).field("content-type", "application/json");
        ask.body(body.clone()).send(gateway.address())
    };
    let mut taken = 0;
    let full = loop {
        match ask("/grouped") {
            answer if answer.status == 200 => taken += 1,
            answer => break answer,
        }
        assert!(taken < 1_000, "1 MiB never fills");
    };
    assert_problem(&full, 503, "audit_unavailable");
    assert!((150..=260).contains(&taken), "{taken} records of 4 kB in 1 MiB");
    let memory = || gateway.metric("process_resident_memory_bytes", &[]).unwrap_or_default();
    let before = memory();
    for _ in 0..300 {
        assert_eq!(ask("/group-on").status, 200);
    }
    let pending = gateway.metric("tidegate_audit_pending_bytes", &[]).unwrap_or_default();
    assert!(pending <= f64::from(1 << 20), "{pending} bytes wait");
    assert!(memory() - before < f64::from(8 << 20), "{before} → {}", memory());
    assert!(gateway.metric("tidegate_audit_late_total", &[]).is_some_and(|late| late >= 2.0));
    assert!(gateway.metric("tidegate_audit_oldest_pending_seconds", &[]).unwrap_or_default() > 0.3);
    drop(injected);
    wait::until("the disk goes on", || {
        Ask::new("GET", "/strict").send(gateway.address()).status == 200
    });
    recorded(&gateway, |record| record["route"] == "grouped" && record["kind"] == "request");
}

#[test]
fn a_full_disk_refuses_until_there_is_room_again() {
    needs!("strace");
    let origin = Origin::start(Reply::ok("ok"));
    let gateway = gateway("", &origin);
    let injected = Injected::full_disk(&gateway);
    wait::until("the disk is full", || {
        Ask::new("GET", "/strict").send(gateway.address()).status == 503
    });
    assert_eq!(Ask::new("GET", "/lenient").send(gateway.address()).status, 200);
    assert!(gateway.metric("tidegate_audit_no_space_total", &[]).is_some_and(|full| full >= 1.0));
    drop(injected);
    wait::until("there is room again", || {
        Ask::new("GET", "/strict").send(gateway.address()).status == 200
    });
    super::assert_verifies(gateway.folder());
}

fn newest(folder: &std::path::Path) -> std::path::PathBuf {
    let files = std::fs::read_dir(folder).expect("the WAL").filter_map(Result::ok);
    files.map(|file| file.path()).max().expect("a segment")
}
