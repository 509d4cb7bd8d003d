//! Bans in the running binary: by the command line, by lists, over restarts and reloads, and never
//! those who are protected. Clients stand behind a trusted proxy, since loopback is never banned.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use tidegate_testkit::client::{Ask, Response};
use tidegate_testkit::gateway::binary;
use tidegate_testkit::{Connection, Gateway, Origin, Reply, wait};

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
fn a_name_that_nobody_has_is_told() {
    let (_origin, gateway) = gateway(CONFIG);
    let (code, text) = bans(&gateway, &["add", "--route", "pai", "--for", "1h"]);
    assert_eq!((code, &*text), (0, "banned route pai; the configuration has no such route\n"));
    assert_eq!(bans(&gateway, &["lift", "--route", "pai"]).0, 0);
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

#[test]
fn what_one_decided_is_lifted_without_the_others() {
    let (_origin, gateway) = gateway(CONFIG);
    let alert = r#"{"alerts":[{"status":"firing","labels":{"alertname":"Flood","tidegate_network":"203.0.113.9"}}]}"#;
    let hook = |body: &str| Ask::new("POST", "/alertmanager").body(body).send(gateway.admin());
    assert_eq!(hook(alert).status, 200);
    assert_eq!(bans(&gateway, &["add", "203.0.113.9", "--for", "5m"]).0, 0);
    let sources = |gateway: &Gateway| {
        let (_, list) = bans(gateway, &["list"]);
        let word = |line: &str| line.split('\t').nth(3).unwrap_or_default().to_owned();
        list.lines().map(word).collect::<Vec<_>>()
    };
    assert_eq!(sources(&gateway), ["admin", "alertmanager/Flood"]);
    assert_eq!(gateway.metric("tidegate_bans", &[("origin", "added")]), Some(2.0));
    // The alert is over, and the administrator's ban is not.
    assert_eq!(hook(&alert.replace("firing", "resolved")).json()["lifted"], 1);
    assert_eq!(sources(&gateway), ["admin"]);
    assert_eq!(as_client(&gateway, "203.0.113.9", "/pay").status, 403);
    // The other way round, by hand.
    assert_eq!(hook(alert).status, 200);
    let (code, text) = bans(&gateway, &["lift", "203.0.113.9", "--source", "admin"]);
    assert_eq!((code, &*text), (0, "lifted 203.0.113.9\nstill banned by alertmanager/Flood\n"));
    let (code, text) = bans(&gateway, &["lift", "203.0.113.9", "--source", "admin"]);
    assert!(code == 1 && text.contains("no ban by admin names exactly"), "{code} {text}");
    assert_eq!(as_client(&gateway, "203.0.113.9", "/pay").status, 403);
    assert_eq!(bans(&gateway, &["lift", "203.0.113.9"]), (0, "lifted 203.0.113.9\n".to_owned()));
    assert_eq!(as_client(&gateway, "203.0.113.9", "/pay").status, 200);
}

#[test]
fn all_that_a_source_decided_is_lifted_at_once() {
    let (_origin, gateway) = gateway(CONFIG);
    for low in 1..=3 {
        assert_eq!(bans(&gateway, &["add", &format!("203.0.113.{low}")]).0, 0);
    }
    let lift = |source| bans(&gateway, &["lift", "--source", source]);
    assert_eq!(lift("admin"), (0, "lifted 3 bans by admin\n".to_owned()));
    assert_eq!(as_client(&gateway, "203.0.113.1", "/pay").status, 200);
    assert_eq!(lift("admin").0, 1);
}

#[test]
fn a_slip_of_the_prefix_bans_nobody() {
    let (_origin, gateway) = gateway(CONFIG);
    let (code, text) = bans(&gateway, &["add", "192.0.0.0/2"]);
    assert!(code == 1 && text.contains("--wide"), "{code} {text}");
    assert_eq!(as_client(&gateway, "203.0.113.9", "/pay").status, 200);
    assert_eq!(bans(&gateway, &["add", "192.0.0.0/2", "--wide"]).0, 0);
    assert_eq!(as_client(&gateway, "203.0.113.9", "/pay").status, 403);
}

/// Adds and lifts until it is told to stop; answers what has to be there then, and what must not.
fn change_until(stop: &AtomicBool, admin: SocketAddr) -> (Vec<String>, Vec<String>, usize) {
    let (mut there, mut gone, mut refused) = (Vec::new(), Vec::new(), 0);
    for n in 0..60_000_u32 {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let network = format!("198.18.{}.{}", n / 250, n % 250 + 1);
        let call = |method| {
            let mut connection = Connection::open(admin);
            connection.try_send(&Ask::new(method, &format!("/bans?network={network}")).bytes())?;
            connection.try_response()
        };
        let done = |method| match call(method) {
            Ok(answer) if answer.status == 503 => {
                assert!(answer.text().contains("another process takes over"), "{}", answer.text());
                false
            }
            Ok(answer) => answer.status == 200,
            Err(_gone) => false,
        };
        if !done("POST") {
            refused += 1;
        } else if n % 3 == 0 && done("DELETE") {
            gone.push(network);
        } else if n % 3 != 0 {
            there.push(network);
        }
    }
    (there, gone, refused)
}

#[test]
fn a_hand_over_loses_no_ban_and_brings_none_back() {
    // So many that the new process has something to read.
    let line = |n: u32| {
        format!(
            r#"{{"v":2,"network":"10.{}.{}.{}","measure":"block","until":null,"since":1,"source":"old","reason":""}}"#,
            n / 40_000,
            n / 200 % 200,
            n % 200 + 1
        ) + "\n"
    };
    let old: String = (0..20_000).map(line).collect();
    let origin = Origin::start(Reply::ok("paid"));
    let builder = Gateway::builder(CONFIG).file("bans.jsonl", &old);
    let mut gateway = builder.set("origin", origin.address()).start();
    let (stop, admin) = (Arc::new(AtomicBool::new(false)), gateway.admin());
    let changing = {
        let stop = Arc::clone(&stop);
        std::thread::spawn(move || change_until(&stop, admin))
    };
    let file = gateway.folder().join("bans.jsonl");
    let text = || fs::read_to_string(&file).unwrap_or_default();
    wait::until("changes", || text().contains("198.18."));
    gateway.signal(Signal::QUIT);
    assert!(gateway.wait_exit(Duration::from_secs(30)).success(), "{}", gateway.stderr());
    stop.store(true, Ordering::Relaxed);
    let (there, gone, refused) = changing.join().expect("the thread ends");
    assert!(there.len() > 20 && gone.len() > 10, "{} {} {refused}", there.len(), gone.len());
    let (_, list) = bans(&gateway, &["list"]);
    let listed: BTreeSet<&str> = list.lines().filter_map(|line| line.split('\t').next()).collect();
    let lost: Vec<_> = there.iter().filter(|network| !listed.contains(network.as_str())).collect();
    let back: Vec<_> = gone.iter().filter(|network| listed.contains(network.as_str())).collect();
    assert_eq!((lost, back), (vec![], vec![]), "{} and {refused} refused", there.len());
    // The new process writes what it has.
    let last = there.last().expect("there are some");
    wait::until("the file", || text().contains(&format!("\"{last}\"")));
    assert_eq!(bans(&gateway, &["add", "203.0.113.9"]).0, 0);
    wait::until("the new one's", || text().contains("203.0.113.9"));
}

#[test]
fn who_is_banned_is_told_so_whatever_they_send() {
    let origin = Origin::start(Reply::ok("paid"));
    let config = "
listeners: [{ address: 127.0.0.1:0, proxy_protocol: { from: [127.0.0.0/8] } }]
auth:
  issuers: { corp: { issuer: https://id.example.com, audience: [pay], keys: <keys> } }
  resource: { identifier: https://api.example.com }
routes: [{ path: /pay, to: api, auth: { jwt: corp } }]
upstreams: { api: { endpoints: [<origin>] } }
";
    let keys = format!("{{ url: 'http://{}/keys' }}", origin.address());
    let gateway = Gateway::start(config, &[("origin", &origin.address()), ("keys", &keys)]);
    assert_eq!(bans(&gateway, &["add", "203.0.113.9"]).0, 0);
    let ask = |client: &str, request: &str| {
        let mut connection = Connection::open(gateway.address());
        connection.send(format!("PROXY TCP4 {client} 127.0.0.1 1 2\r\n{request}").as_bytes());
        connection.response()
    };
    let document =
        "GET /.well-known/oauth-protected-resource HTTP/1.1\r\nHost: api.example.com\r\n\r\n";
    // Pingora's parser and ours take different things for broken.
    let broken =
        "GET /pay HTTP/1.1\r\nHost: a\r\nUser-Agent: probe\r\nContent-Length: 1, 2\r\n\r\n";
    let folded = "GET /pay HTTP/1.1\r\nHost: a\r\nUser-Agent: probe\r\nA: b\r\n c\r\n\r\n";
    for (request, otherwise) in [(document, 200), (broken, 400), (folded, 400)] {
        assert_eq!(ask("203.0.113.10", request).status, otherwise, "{request}");
        let refused = ask("203.0.113.9", request);
        assert_eq!(refused.status, 403, "{request}");
        assert!(refused.text().contains("banned"), "{request}: {}", refused.text());
    }
    wait::until("the lines", || {
        let lines = gateway.access_log();
        lines.iter().filter(|line| line["measure"]["name"] == "block").count() == 3
    });
}
