//! Rules by country and by autonomous system, with databases of a real writer: read at start and by a
//! reload, and a broken one keeps what was there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tidegate_testkit::{Connection, Gateway, Origin, Reply, wait};

use crate::response::{as_client, probe_until_blocked};

const CONFIG: &str = "
trusted_proxies: [127.0.0.1]
response:
  builtin: off
  geo: { country: <dir>/country.mmdb, asn: <dir>/asn.mmdb }
  rules:
    abroad: { when: { status: [404], countries: [NO] }, leaky: { capacity: 3, leak: 1/h }, ladder: [block], enforce: true }
    hoster: { when: { status: [404], asns: [64500] }, leaky: { capacity: 3, leak: 1/h }, ladder: [block], enforce: true }
routes: [{ id: pay, path: /pay, to: api }]
upstreams: { api: { endpoints: [<origin>] } }
";

/// Writes databases that know some networks; false if there is no writer.
fn write(folder: &Path, network: &str, country: &str, asn: u32) -> bool {
    let suite = Path::new(env!("CARGO_MANIFEST_DIR")).join("suites/siem");
    let python: PathBuf = suite.join("venv/bin/python");
    let run = Command::new(&python)
        .arg(suite.join("mmdb.py"))
        .args([folder.join("country.mmdb"), folder.join("asn.mmdb")])
        .args([network, country, &asn.to_string()])
        .output();
    let written = run.as_ref().is_ok_and(|run| run.status.success());
    if !written {
        eprintln!("skipped: `scripts/setup --tests` installs mmdb-writer: {run:?}");
    }
    written
}

fn probe(gateway: &Gateway, address: &str) -> u16 {
    (0..20).for_each(|_| drop(as_client(gateway, address, "/nothing")));
    as_client(gateway, address, "/pay").status
}

#[test]
fn rules_by_country_and_network_follow_the_databases() {
    let databases = tempfile::tempdir().expect("a folder");
    let folder = databases.path();
    if !write(folder, "203.0.113.0/24,127.0.0.0/8", "NO", 64_496) {
        return;
    }
    let origin = Origin::start(Reply::ok("paid"));
    let config = CONFIG.replace("<dir>", &folder.display().to_string());
    let gateway = Gateway::start(&config, &[("origin", &origin.address())]);
    probe_until_blocked(&gateway, "203.0.113.9");
    assert_eq!(probe(&gateway, "198.51.100.9"), 200);
    let line = gateway.logged(|line| line["client"] == "203.0.113.9");
    assert_eq!((&line["country"], &line["asn"]), (&"NO".into(), &64_496.into()));
    // A head that cannot be read comes from somewhere, too.
    let mut connection = Connection::open(gateway.address());
    connection.send(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n");
    assert_eq!(connection.response().status, 400);
    let line = gateway.logged(|line| line["status"] == 400);
    assert_eq!((&line["country"], &line["asn"]), (&"NO".into(), &64_496.into()));

    // Other databases, by a reload.
    assert!(write(folder, "198.51.100.0/24", "SE", 64_500));
    assert_eq!(gateway.reload().status, 200);
    probe_until_blocked(&gateway, "198.51.100.9");
    assert_eq!(probe(&gateway, "203.0.113.10"), 200);

    // What cannot be read is refused with its place, and what was there stays.
    let whole = fs::read(folder.join("asn.mmdb")).expect("reads");
    for (bytes, why) in [
        (Some(&whole[..whole.len() / 2]), "not a database in MaxMind's format"),
        (Some(&b""[..]), "not a database in MaxMind's format"),
        (None, "cannot read"),
    ] {
        match bytes {
            Some(bytes) => fs::write(folder.join("asn.mmdb"), bytes).expect("writes"),
            None => fs::remove_file(folder.join("asn.mmdb")).expect("removes"),
        }
        let refused = gateway.reload();
        let text = refused.text();
        assert_ne!(refused.status, 200, "{text}");
        assert!(text.contains("response.geo.asn") && text.contains(why), "{text}");
    }
    probe_until_blocked(&gateway, "198.51.100.10");
    let by_network = [("rule", "hoster"), ("measure", "block"), ("standing", "enforced")];
    wait::until("the second", || {
        gateway.metric("tidegate_decisions_total", &by_network) == Some(2.0)
    });
}
