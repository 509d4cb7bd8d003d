//! The life of the process: start, log rotation, draining, handing over to a new binary.

use std::fs;
use std::net::TcpStream;
use std::time::Duration;

use rustix::process::Signal;
use tidegate_testkit::client::get;
use tidegate_testkit::{Ask, Connection, Gateway, Load, Nginx, Origin, Reply, needs, wait};

use crate::{ALL_TO_API, in_front_of};

#[test]
fn sigterm_finishes_what_runs_and_leaves() {
    let slow = Reply::Delayed(Duration::from_millis(1_500), Box::new(Reply::ok("late")));
    let origin = Origin::start(slow);
    let mut gateway = in_front_of(origin.address());
    let mut running = Connection::open(gateway.address());
    running.send(&Ask::new("GET", "/").bytes());
    let mut idle = Connection::open(gateway.address());
    wait::until("the request runs", || origin.received().len() == 1);
    gateway.terminate();
    assert_eq!(running.response().text(), "late");
    let (took, status) = wait::timed(|| gateway.wait_exit(Duration::from_secs(8)));
    assert!(status.success(), "{status:?}");
    assert!(took < Duration::from_secs(5), "it leaves as soon as it is idle, not after {took:?}");
    assert!(idle.is_closed_within(Duration::from_secs(1)));
}

#[test]
fn sigterm_under_load_breaks_no_request_that_it_took() {
    needs!("nginx");
    let pod = Nginx::pod("ok");
    let mut gateway = in_front_of(pod.address());
    let load = Load::start(gateway.address(), 4);
    load.wait_for(300);
    gateway.terminate();
    assert!(gateway.wait_exit(Duration::from_secs(12)).success());
    let tally = load.stop();
    let broken = tally.failures.iter().filter(|failure| !failure.contains("refused"));
    assert_eq!(broken.count(), 0, "{:?} {:?}", tally.statuses, tally.failures.first());
}

#[test]
fn sigterm_without_traffic_ends_at_once() {
    let origin = Origin::start(Reply::ok("ok"));
    let mut gateway = in_front_of(origin.address());
    let mut idle = Connection::open(gateway.address());
    assert_eq!(Ask::new("GET", "/").send_on(&mut idle).status, 200);
    gateway.terminate();
    let (took, status) = wait::timed(|| gateway.wait_exit(Duration::from_secs(8)));
    assert!(status.success() && took < Duration::from_secs(5), "{status:?} after {took:?}");
}

#[test]
fn while_draining_it_is_unready_and_still_serves() {
    let origin = Origin::start(Reply::ok("ok"));
    let config = format!("server: {{ unready_delay: 2s, drain_timeout: 5s }}\n{ALL_TO_API}");
    let mut gateway = Gateway::start(&config, &[("origin", &origin.address())]);
    gateway.terminate();
    wait::until_within(Duration::from_secs(1), "it is unready", || {
        get(gateway.admin(), "/readyz").status == 503
    });
    assert_eq!(get(gateway.admin(), "/healthz").status, 200);
    assert_eq!(get(gateway.address(), "/").status, 200, "until the load balancer has noticed");
    assert!(gateway.wait_exit(Duration::from_secs(10)).success());
}

#[test]
fn the_drain_ends_at_its_timeout() {
    let origin = Origin::start(Reply::Hang);
    let config = format!("server: {{ drain_timeout: 1s }}\n{ALL_TO_API}");
    let mut gateway = Gateway::start(&config, &[("origin", &origin.address())]);
    let mut stuck = Connection::open(gateway.address());
    stuck.send(&Ask::new("GET", "/").bytes());
    wait::until("the request runs", || origin.received().len() == 1);
    gateway.terminate();
    let (took, _status) = wait::timed(|| gateway.wait_exit(Duration::from_secs(8)));
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn sigusr1_reopens_the_access_log() {
    let origin = Origin::start(Reply::ok("ok"));
    let gateway = in_front_of(origin.address());
    assert_eq!(get(gateway.address(), "/before").status, 200);
    gateway.logged(|line| line["path"] == "/before");
    let log = gateway.folder().join("access.log");
    let rotated = gateway.folder().join("access.log.1");
    fs::rename(&log, &rotated).expect("renames");
    gateway.signal(Signal::USR1);
    wait::until("the new file", || log.exists());
    assert_eq!(get(gateway.address(), "/after").status, 200);
    gateway.logged(|line| line["path"] == "/after");
    assert!(!fs::read_to_string(&rotated).expect("reads").contains("/after"));
}

#[test]
fn sigquit_hands_over_without_a_failed_request() {
    needs!("nginx");
    let pod = Nginx::pod("ok");
    let mut gateway = in_front_of(pod.address());
    let load = Load::start(gateway.address(), 4);
    load.wait_for(200);
    gateway.signal(Signal::QUIT);
    let status = gateway.wait_exit(Duration::from_secs(20));
    assert!(status.success(), "{status:?}: {}", gateway.stderr());
    load.wait_for(200);
    load.stop().assert_unharmed();
    assert_eq!(get(gateway.address(), "/").status, 200, "the new process serves");
}

#[test]
fn a_port_in_use_is_a_clear_error() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address");
    let config = format!("listeners: [{{ address: {address} }}]\n{ALL_TO_API}");
    let failed = Gateway::builder(&config).set("origin", "127.0.0.1:1").try_start();
    let failed = failed.expect_err("does not start");
    assert!(failed.status.is_some_and(|status| !status.success()), "{failed:?}");
    assert!(failed.stderr.contains(&address.to_string()), "{}", failed.stderr);
    assert!(!failed.stderr.contains("panicked"), "{}", failed.stderr);
}

#[test]
fn a_name_that_does_not_resolve_does_not_keep_it_from_starting() {
    let origin = Origin::start(Reply::ok("ok"));
    let gateway = Gateway::start(
        "
routes: [{ path: /, to: api }, { path: /lost/, to: lost }]
upstreams:
  api: { endpoints: [<origin>] }
  lost: { endpoints: ['pods.invalid:8080'] }
",
        &[("origin", &origin.address())],
    );
    assert_eq!(get(gateway.address(), "/").status, 200);
    let response = get(gateway.address(), "/lost/x");
    assert!(matches!(response.status, 502 | 503), "{}", response.text());
    assert!(TcpStream::connect(gateway.address()).is_ok());
}
