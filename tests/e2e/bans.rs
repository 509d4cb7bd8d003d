//! Bans in the running binary: by the command line, by lists, over restarts and reloads, and never
//! those who are protected. Clients stand behind a trusted proxy, since loopback is never banned.

use std::fs;
use std::process::Command;

use tidegate_testkit::client::{Ask, Response};
use tidegate_testkit::gateway::binary;
use tidegate_testkit::{Gateway, Origin, Reply, wait};

const CONFIG: &str = "
trusted_proxies: [127.0.0.1]
bans: { file: bans.jsonl, never: [198.51.100.7] }
routes: [{ path: /pay, to: api }]
upstreams: { api: { endpoints: [<origin>] } }
";

fn gateway(config: &str) -> (Origin, Gateway) {
    let origin = Origin::start(Reply::ok("paid"));
    let gateway = Gateway::start(config, &[("origin", &origin.address())]);
    (origin, gateway)
}

/// What a client at `address` gets.
fn as_client(gateway: &Gateway, address: &str, path: &str) -> Response {
    Ask::new("GET", path).field("X-Forwarded-For", address).send(gateway.address())
}

/// Runs `tidegate bans …` against the gateway; its exit code and what it printed.
fn bans(gateway: &Gateway, args: &[&str]) -> (i32, String) {
    let admin = gateway.admin().to_string();
    let output = Command::new(binary())
        .arg("bans")
        .args(args)
        .args(["--admin", &admin])
        .output()
        .expect("the command runs");
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn a_ban_refuses_everywhere_until_it_is_lifted() {
    let (_origin, gateway) = gateway(CONFIG);
    assert_eq!(as_client(&gateway, "203.0.113.9", "/pay").status, 200);
    let (code, text) =
        bans(&gateway, &["add", "203.0.113.0/24", "--for", "1h", "--reason", "too many logins"]);
    assert_eq!((code, &*text), (0, "banned 203.0.113.0/24\n"));
    let (code, text) = bans(&gateway, &["add", "--route", "pai", "--for", "1h"]);
    assert_eq!((code, &*text), (0, "banned route pai; the configuration has no such route\n"));
    assert_eq!(bans(&gateway, &["lift", "--route", "pai"]).0, 0);
    let refused = as_client(&gateway, "203.0.113.9", "/pay");
    assert_eq!(refused.status, 403);
    assert!(refused.text().contains("banned"), "{}", refused.text());
    // Nor does a banned client learn what is not there.
    assert_eq!(as_client(&gateway, "203.0.113.9", "/nothing").status, 403);
    assert_eq!(as_client(&gateway, "203.0.114.9", "/nothing").status, 404);

    let (_, list) = bans(&gateway, &["list"]);
    assert!(
        list.contains("203.0.113.0/24\t") && list.contains("\tadmin\ttoo many logins"),
        "{list}"
    );
    let (_, explained) = bans(&gateway, &["explain", "203.0.113.9"]);
    assert!(explained.contains("\"banned\": true"), "{explained}");
    let line = gateway.logged(|line| line["reason"] == "banned");
    assert!(line.to_string().contains("banned: 203.0.113.0/24"), "{line}");
    assert_eq!(gateway.metric("tidegate_bans", &[("origin", "added")]), Some(1.0));

    assert_eq!(bans(&gateway, &["lift", "203.0.113.0/24"]).0, 0);
    assert_eq!(as_client(&gateway, "203.0.113.9", "/pay").status, 200);
    let (code, text) = bans(&gateway, &["lift", "203.0.113.0/24"]);
    assert!(code == 1 && text.contains("no ban names exactly 203.0.113.0/24"), "{code} {text}");
}

#[test]
fn the_protected_are_not_banned() {
    let (_origin, gateway) = gateway(CONFIG);
    for address in ["127.0.0.1", "::1", "198.51.100.7"] {
        let (code, text) = bans(&gateway, &["add", address]);
        assert!(code == 1 && text.contains("protected"), "{address}: {code} {text}");
    }
    // A wide ban spares them.
    assert_eq!(bans(&gateway, &["add", "198.51.100.0/24"]).0, 0);
    assert_eq!(as_client(&gateway, "198.51.100.7", "/pay").status, 200);
    assert_eq!(as_client(&gateway, "198.51.100.8", "/pay").status, 403);
    for nonsense in ["10.0.0.1/8", "nobody", "10.0.0.0/40"] {
        assert_eq!(bans(&gateway, &["add", nonsense]).0, 1, "{nonsense}");
    }
    assert_eq!(bans(&gateway, &["add", "192.0.2.1", "--for", "soon"]).0, 1);
}

#[test]
fn bans_outlive_a_restart() {
    let (origin, gateway) = gateway(CONFIG);
    bans(&gateway, &["add", "203.0.113.9"]);
    bans(&gateway, &["add", "203.0.113.10", "--for", "4s"]);
    let file = gateway.folder().join("bans.jsonl");
    wait::until("the file", || fs::read_to_string(&file).is_ok_and(|text| text.contains("113.10")));
    let kept = fs::read_to_string(&file).expect("reads");
    drop(gateway);

    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("bans.jsonl");
    fs::write(&file, kept).expect("writes");
    let config = CONFIG.replace("bans.jsonl", file.to_str().expect("a path"));
    let gateway = Gateway::start(&config, &[("origin", &origin.address())]);
    assert_eq!(as_client(&gateway, "203.0.113.9", "/pay").status, 403);
    wait::until("the short ban's end", || {
        as_client(&gateway, "203.0.113.10", "/pay").status == 200
    });
    wait::until("the sweep", || !bans(&gateway, &["list"]).1.contains("113.10"));
}

#[test]
fn lists_are_read_by_a_reload_all_or_nothing() {
    let (_origin, gateway) = gateway(CONFIG);
    let list = gateway.folder().join("drop.txt");
    let with_list = CONFIG.replace("bans: {", "bans: { lists: [drop.txt],");
    fs::write(&list, "; a list\n203.0.113.0/24 ; SBL1\n").expect("writes");
    gateway.write_config(&with_list);
    assert_eq!(gateway.reload().status, 200);
    assert_eq!(as_client(&gateway, "203.0.113.9", "/pay").status, 403);
    assert_eq!(gateway.metric("tidegate_bans", &[("origin", "list")]), Some(1.0));

    fs::write(&list, "203.0.113.0/33\n").expect("writes");
    let refused = gateway.reload();
    assert_eq!(refused.status, 422);
    assert!(refused.text().contains("drop.txt`, line 1"), "{}", refused.text());
    assert_eq!(as_client(&gateway, "203.0.113.9", "/pay").status, 403);

    fs::write(&list, "").expect("writes");
    assert_eq!(gateway.reload().status, 200);
    assert_eq!(as_client(&gateway, "203.0.113.9", "/pay").status, 200);
}
