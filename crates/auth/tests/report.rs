//! The report of scopes: who was granted and used what, in bounds, over restarts.

#![cfg(test)]

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, SystemTime};

use http::Method;
use serde_json::{Value, json};
use tidegate_auth::settings::{AccessSettings, AuthSettings, ReportSettings};
use tidegate_auth::{Access, Auth, Authenticated, Caller, ScopeReport, Verdict, Waited};
use tidegate_core::units::Span;
use tidegate_core::{Clock, Request};
use tidegate_testkit::tokens::{Signer, key_set};

const NOW: u64 = 1_800_000_000;

struct Rig {
    auth: Auth,
    signer: Signer,
}

impl Rig {
    fn new() -> Self {
        let signer = Signer::new("k1");
        let settings: AuthSettings = serde_json::from_value(json!({
            "issuers": { "corp": {
                "issuer": "https://id.example.com", "audience": ["api"],
                "keys": { "inline": key_set(&[signer.jwk()]) },
            } },
            "log_key": "a-key-of-sufficient-length",
        }))
        .unwrap();
        Self { auth: Auth::compile(&settings, None, &mut Vec::new()), signer }
    }

    fn access(&self, demands: &Value) -> Access {
        let mut settings = json!({ "jwt": "corp" });
        settings.as_object_mut().unwrap().extend(demands.as_object().unwrap().clone());
        let settings: AccessSettings = serde_json::from_value(settings).unwrap();
        Access::compile(&settings, &self.auth).unwrap()
    }

    /// Somebody, as a route without demands lets them pass.
    fn who(&self, claims: &Value) -> Authenticated {
        let mut all = json!({
            "iss": "https://id.example.com", "aud": "api", "exp": NOW + 1_000, "sub": "ann",
        });
        all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
        let token = format!("Bearer {}", self.signer.token(&all));
        let request = http::Request::get("/").header("authorization", token);
        let (head, ()) = request.body(()).unwrap().into_parts();
        let request = Request {
            head: &head,
            host: "api.example.com",
            path: "/",
            client: IpAddr::V4(Ipv4Addr::LOCALHOST),
            secure: true,
            received_at: Clock::System.now(),
        };
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(NOW);
        let caller = Caller { time, certificate: None };
        match self.access(&json!({})).check(&request, &caller, &Waited::default()) {
            Verdict::Permitted(permitted) => permitted.who().clone(),
            other => panic!("{other:?}"),
        }
    }

    fn shop(&self, scopes: &str) -> Authenticated {
        self.who(&json!({ "client_id": "shop", "scope": scopes }))
    }
}

fn told(report: &ScopeReport, routes: &[(&str, &Access)]) -> Value {
    report.view(routes.iter().copied(), NOW + 100)
}

#[test]
fn a_scope_is_used_by_who_would_not_have_passed_without_it() {
    let rig = Rig::new();
    let report = ScopeReport::new(&ReportSettings::default(), NOW);
    let money = rig.access(&json!({
        "scopes": ["pay:read"],
        "methods": { "GET": {}, "POST": { "scopes": { "any": ["pay:write", "pay:admin"] } } },
    }));
    let audit = rig.access(&json!({ "scopes": ["audit"] }));
    let shop = rig.shop("pay:read pay:write pay:admin never");
    for (method, at) in [(Method::GET, 1), (Method::HEAD, 2), (Method::POST, 9)] {
        report.passed(("money", &money), &method, &shop, NOW + at);
    }
    report.gather(&rig.auth, NOW + 10);
    let report = told(&report, &[("money", &money), ("audit", &audit)]);
    let time =
        |first, last, passes| json!({ "first": NOW + first, "last": NOW + last, "passes": passes });
    let client = &report["clients"][0];
    assert_eq!((&client["client"], &client["passes"]), (&json!("shop"), &json!(3)));
    // Of alternatives the first that they have lets them pass.
    assert_eq!(client["unused"], json!(["never", "pay:admin"]));
    let scope = |name: &str| {
        let scopes = client["scopes"].as_array().unwrap();
        scopes.iter().find(|scope| scope["scope"] == name).unwrap().clone()
    };
    assert_eq!(scope("pay:read")["used"], time(1, 9, 3));
    assert_eq!(scope("pay:write")["used"], time(9, 9, 1));
    assert_eq!(scope("pay:write")["routes"][0]["route"], "money");
    assert_eq!(scope("never")["granted"], time(1, 9, 3));
    assert_eq!(scope("never")["used"], Value::Null);

    let [money, audit] = report["routes"].as_array().unwrap().as_slice() else { panic!() };
    assert_eq!(money["never"], json!(["pay:admin"]));
    assert_eq!(money["needs"][0], json!({ "method": "*", "all": ["pay:read"], "any": [] }));
    assert_eq!(money["passed"][0]["clients"][0]["passes"], 3);
    assert_eq!((&audit["passed"], &audit["never"]), (&json!([]), &json!(["audit"])));
}

#[test]
fn a_subject_without_a_client_is_named_as_the_log_names_it_or_not_at_all() {
    let rig = Rig::new();
    let route = rig.access(&json!({ "scopes": ["a"] }));
    let check = |subjects: bool, expected: Vec<Value>| {
        let settings = ReportSettings { subjects, ..ReportSettings::default() };
        let report = ScopeReport::new(&settings, NOW);
        for subject in ["ann", "bob"] {
            let who = rig.who(&json!({ "scope": "a", "sub": subject }));
            report.passed(("r", &route), &Method::GET, &who, NOW);
        }
        report.gather(&rig.auth, NOW);
        let kept = report.changes().unwrap();
        for report in [report, ScopeReport::read(&settings, &kept, NOW).unwrap()] {
            let told = told(&report, &[]);
            let rows = told["clients"].as_array().unwrap().iter();
            let names: Vec<Value> = rows.map(|row| row["subject"].clone()).collect();
            assert_eq!(names, expected);
            assert!(told["clients"][0].get("client").is_none(), "it is no client: {told}");
        }
        let kept = String::from_utf8(kept).unwrap();
        assert!(!kept.contains("ann") && !kept.contains("bob"), "{kept}");
    };
    let mut shown = ["ann", "bob"].map(|name| rig.auth.shown_subject(name).unwrap());
    shown.sort();
    check(true, shown.map(|name| json!(name)).to_vec());
    check(false, vec![Value::Null]);
}

#[test]
fn a_long_name_is_counted_and_takes_no_room() {
    let rig = Rig::new();
    let report = ScopeReport::new(&ReportSettings::default(), NOW);
    let route = rig.access(&json!({ "scopes": ["a"] }));
    let long = "x".repeat(300);
    let scopes = rig.who(&json!({ "client_id": "shop", "scope": format!("a {long}") }));
    report.passed(("r", &route), &Method::GET, &scopes, NOW);
    let client = rig.who(&json!({ "client_id": long, "scope": "a" }));
    report.passed(("r", &route), &Method::GET, &client, NOW);
    report.gather(&rig.auth, NOW);
    let told = told(&report, &[]);
    assert_eq!(
        (&told["left_out"]["of_clients"], &told["left_out"]["of_scopes"]),
        (&json!(1), &json!(1))
    );
    assert!(!told.to_string().contains(&long));
}

#[test]
fn it_outlives_a_reload_and_a_restart() {
    let rig = Rig::new();
    let settings = ReportSettings::default();
    let report = ScopeReport::new(&settings, NOW);
    let demands = json!({ "scopes": ["a"] });
    let (before, after) = (rig.access(&demands), rig.access(&demands));
    report.passed(("r", &before), &Method::GET, &rig.shop("a b"), NOW + 1);
    report.passed(("r", &after), &Method::GET, &rig.shop("a b"), NOW + 2);
    report.gather(&rig.auth, NOW + 2);
    let kept = report.changes().unwrap();
    assert!(report.changes().is_none(), "nothing changed since");
    let again = ScopeReport::read(&settings, &kept, NOW + 3).unwrap();
    let routes = [("r", &after)];
    assert_eq!(told(&again, &routes), told(&report, &routes));
    again.passed(("r", &after), &Method::GET, &rig.shop("a b"), NOW + 4);
    again.gather(&rig.auth, NOW + 4);
    let told = told(&again, &[]);
    assert_eq!((&told["since"], &told["clients"][0]["passes"]), (&json!(NOW), &json!(3)));
    assert_eq!(
        (&told["routes"][0]["route"], &told["routes"][0]["gone"]),
        (&json!("r"), &json!(true))
    );
    for wrong in
        ["", "{}", "{\"version\":2,\"since\":1,\"left_out\":{},\"clients\":{},\"subjects\":{}}"]
    {
        assert!(ScopeReport::read(&settings, wrong.as_bytes(), NOW).is_err(), "{wrong}");
    }
}

#[test]
fn what_is_too_old_is_forgotten_and_makes_room() {
    let rig = Rig::new();
    let keep = Span::seconds(10_000);
    let settings = ReportSettings { keep, max_clients: 1, ..ReportSettings::default() };
    let report = ScopeReport::new(&settings, NOW);
    let route = rig.access(&json!({ "scopes": ["a"] }));
    let pass = |client: &str, at| {
        let who = rig.who(&json!({ "client_id": client, "scope": "a" }));
        report.passed(("r", &route), &Method::GET, &who, at);
        report.gather(&rig.auth, at);
    };
    let names = || {
        let told = told(&report, &[]);
        let clients = told["clients"].as_array().unwrap().clone();
        clients.iter().map(|client| client["client"].to_string()).collect::<Vec<_>>()
    };
    pass("old", NOW);
    pass("other", NOW + 1);
    assert_eq!(names(), ["\"old\""]);
    assert_eq!(told(&report, &[])["left_out"]["of_clients"], 1);
    report.gather(&rig.auth, NOW + 20_000);
    assert_eq!(names(), [""; 0]);
    pass("other", NOW + 20_001);
    assert_eq!(names(), ["\"other\""]);
}

#[test]
fn every_list_is_bounded_and_what_is_left_out_is_counted() {
    let rig = Rig::new();
    let check = |settings: ReportSettings, expected: [u64; 4], unused: &Value| {
        let report = ScopeReport::new(&settings, NOW);
        for route in ["r1", "r2", "r3"] {
            let access = rig.access(&json!({ "scopes": ["a"] }));
            report.passed((route, &access), &Method::GET, &rig.shop("a b c"), NOW);
            report.gather(&rig.auth, NOW);
        }
        // What a file brings is held to the same bounds.
        let kept = report.changes().unwrap();
        for report in [report, ScopeReport::read(&settings, &kept, NOW).unwrap()] {
            let told = told(&report, &[]);
            let left = &told["left_out"];
            let names = ["passes", "of_clients", "of_scopes", "of_routes"];
            assert_eq!(names.map(|name| left[name].as_u64().unwrap()), expected);
            assert_eq!(told["clients"][0]["unused"], *unused);
        }
    };
    let all = ReportSettings::default;
    check(all(), [0; 4], &json!(["b", "c"]));
    check(ReportSettings { max_clients: 0, ..all() }, [0, 3, 0, 0], &Value::Null);
    check(ReportSettings { max_scopes: 2, ..all() }, [0, 0, 3, 0], &json!(["b"]));
    check(ReportSettings { max_routes: 1, ..all() }, [0, 0, 0, 2], &json!(["b", "c"]));
    // A scope whose use found no room is not called unused.
    check(ReportSettings { max_routes: 0, ..all() }, [0, 0, 0, 3], &json!(["b", "c"]));
    check(ReportSettings { max_entries: 3, ..all() }, [0, 0, 3, 2], &json!(["b"]));
}

#[test]
fn what_comes_too_fast_is_counted_and_threads_do_not_wait_for_each_other() {
    let rig = Rig::new();
    let report = ScopeReport::new(&ReportSettings::default(), NOW);
    let route = rig.access(&json!({ "scopes": ["a"] }));
    let clients: Vec<Authenticated> = (0..5_000)
        .map(|index| rig.who(&json!({ "client_id": format!("c{index}"), "scope": "a" })))
        .collect();
    std::thread::scope(|threads| {
        for _ in 0..4 {
            threads.spawn(|| {
                for who in &clients {
                    report.passed(("r", &route), &Method::GET, who, NOW);
                }
            });
        }
    });
    report.gather(&rig.auth, NOW);
    let told = told(&report, &[]);
    let noted = told["clients"].as_array().unwrap().iter();
    let noted: u64 = noted.map(|client| client["passes"].as_u64().unwrap()).sum();
    let left_out = told["left_out"]["passes"].as_u64().unwrap();
    assert!(left_out > 0, "more than a table takes");
    assert_eq!(noted + left_out, 20_000);
}

#[test]
fn a_use_that_is_too_old_makes_a_scope_unused_in_the_time_that_is_known() {
    let rig = Rig::new();
    let settings = ReportSettings { keep: Span::seconds(10_000), ..ReportSettings::default() };
    // One use finds a place, the other is known to be somewhere.
    for max_routes in [1, 0] {
        let settings = ReportSettings { max_routes, ..settings.clone() };
        let report = ScopeReport::new(&settings, NOW);
        let used = rig.access(&json!({ "scopes": ["a"] }));
        let other = rig.access(&json!({ "scopes": ["b"] }));
        report.passed(("used", &used), &Method::GET, &rig.shop("a b"), NOW);
        report.gather(&rig.auth, NOW);
        assert_eq!(told(&report, &[])["clients"][0]["unused"], json!(["b"]));
        report.passed(("other", &other), &Method::GET, &rig.shop("a b"), NOW + 19_000);
        report.gather(&rig.auth, NOW + 20_000);
        let told = report.view(std::iter::empty(), NOW + 20_000);
        assert_eq!(told["clients"][0]["unused"], json!(["a"]), "{told}");
        assert_eq!(told["known_since"], NOW + 10_000);
    }
}
