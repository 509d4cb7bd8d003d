//! The loop through a real Prometheus and a real Alertmanager, under the rules and the configuration
//! that are shipped: the firewall finds an attack, an alert fires, its webhook has the route
//! throttled, and with the attack's end that is over.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tidegate_testkit::nginx::free_port;
use tidegate_testkit::programs::{self, Running};
use tidegate_testkit::{Gateway, Origin, Reply, needs, wait};

use super::{Prometheus, deploy};
use crate::response::{as_client, tidegate};

const TOKEN: &str = "s3cr3t-t0ken-0f-the-t3st";

const CONFIG: &str = "
trusted_proxies: [127.0.0.1]
admin: { address: 127.0.0.1:0, token: '${env:ADMIN_TOKEN}' }
sinks: { soc: { file: { path: <dir>/soc } } }
response: { builtin: off, throttle: { rate: 1/h, burst: 1 } }
routes:
  - { id: shop, path: /shop, to: api, waf: { mode: block } }
  - { id: other, path: /other, to: api }
upstreams: { api: { endpoints: [<origin>] } }
";

/// How long the way of an alert may take, in either direction.
const PATIENCE: Duration = Duration::from_secs(60);

struct Alertmanager {
    address: SocketAddr,
    _running: Running,
    _folder: tempfile::TempDir,
}

impl Alertmanager {
    /// One that posts to the gateway, under the shipped configuration with a shorter interval.
    fn in_front_of(gateway: &Gateway) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name: &str| folder.path().join(name);
        let config = deploy().join("prometheus/alertmanager.yml");
        let config = fs::read_to_string(config).expect("is there");
        let config = config
            .replace("group_interval: 10s", "group_interval: 1s")
            .replace("127.0.0.1:9900", &gateway.admin().to_string())
            .replace("/etc/alertmanager/tidegate.token", &file("token").display().to_string());
        fs::write(file("token"), TOKEN).expect("is written");
        fs::write(file("alertmanager.yml"), config).expect("is written");
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let mut command = Command::new("prometheus-alertmanager");
        command
            .arg(format!("--config.file={}", file("alertmanager.yml").display()))
            .arg(format!("--storage.path={}", file("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--cluster.listen-address=")
            .arg("--log.level=warn");
        let running = programs::start(&mut command).accepting(address);
        Self { address, _running: running, _folder: folder }
    }
}

/// What the sink has of decisions and of their end.
fn notices(gateway: &Gateway, kind: &str) -> Vec<Value> {
    let text = fs::read_to_string(gateway.folder().join("soc")).unwrap_or_default();
    let records = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    records.filter(|record| record["notice"] == kind).collect()
}

#[test]
fn an_alert_of_a_real_alertmanager_acts_and_its_end_ends_that() {
    needs!("prometheus", "prometheus-alertmanager");
    let origin = Origin::start(Reply::ok("ok"));
    let builder = Gateway::builder(CONFIG).env("ADMIN_TOKEN", TOKEN);
    let gateway = builder.set("origin", origin.address()).start();
    let alertmanager = Alertmanager::in_front_of(&gateway);
    let prometheus = Prometheus::watching(&gateway, alertmanager.address, "15s");
    let status = |client: &str, path: &str| as_client(&gateway, client, path).status;
    let attack = || status("203.0.113.9", "/shop?id=1'%20OR%20'1'='1'%20--%20");

    // The attack, until those who did nothing are throttled on its route.
    let (took, ()) = wait::timed(|| {
        wait::until_within(PATIENCE, "the throttle", || {
            for _ in 0..10 {
                assert!([403, 429].contains(&attack()));
            }
            status("203.0.113.10", "/shop") == 429
        });
    });
    eprintln!("throttled {took:?} after the first attack");
    assert_eq!(status("203.0.113.10", "/other"), 200);
    assert!(prometheus.firing("TidegateThrottlesRoute").is_some());
    let line = gateway.logged(|line| line["reason"] == "throttled" && line["route"] == "shop");
    assert_eq!(line["measure"]["rule"], "alertmanager/TidegateThrottlesRoute");
    let list = tidegate(&gateway, &["bans", "list", "--token", TOKEN]).1;
    assert!(list.contains("route shop\tthrottle\t"), "{list}");
    let labels = [("rule", "alertmanager/TidegateThrottlesRoute"), ("standing", "enforced")];
    assert!(gateway.metric("tidegate_decisions_total", &labels) >= Some(1.0));
    wait::until("the sink has it", || {
        notices(&gateway, "decided").iter().any(|told| {
            let decision = &told["decision"];
            decision["measure"] == "throttle" && decision["target"] == "route shop"
        })
    });

    // The attack is over, and so is the alert.
    let (took, ()) = wait::timed(|| {
        wait::until_within(PATIENCE, "its end", || {
            !tidegate(&gateway, &["bans", "list", "--token", TOKEN]).1.contains("route shop")
        });
    });
    eprintln!("lifted {took:?} after the last attack");
    assert_eq!([(); 3].map(|()| status("203.0.113.10", "/shop")), [200; 3]);
    wait::until("the sink has it", || !notices(&gateway, "ban_lifted").is_empty());
}
