//! Clients that stay where they were: sticky sessions and splits.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_testkit::{Ask, Gateway, Origin, Reply, Response, wait};

/// Three origins that say who they are.
fn origins() -> [Origin; 3] {
    ["a", "b", "c"].map(|name| Origin::start(Reply::ok(name)))
}

/// The cookie that a response sets, as the client sends it back.
fn cookie(response: &Response) -> Option<String> {
    let (pair, _attributes) = response.header("set-cookie")?.split_once(';')?;
    Some(pair.to_owned())
}

fn ask(gateway: &Gateway, cookie: &str) -> Response {
    let response = Ask::new("GET", "/").field("Cookie", cookie).send(gateway.address());
    assert_eq!(response.status, 200);
    response
}

const STICKY: &str = "
routes: [{ path: /, to: api }]
upstreams:
  api:
    endpoints: [<a>, <b>, <c>]
    balance: random
    sticky: { cookie: tg, ttl: 1h, secret: '${env:STICKY}' }
";

fn sticky([a, b, c]: &[Origin; 3]) -> Gateway {
    Gateway::builder(STICKY)
        .set("a", a.address())
        .set("b", b.address())
        .set("c", c.address())
        .env("STICKY", "a secret of at least thirty-two bytes")
        .start()
}

#[test]
fn a_client_stays_with_its_endpoint() {
    let origins = origins();
    let gateway = sticky(&origins);
    let mut seen = BTreeSet::new();
    for _client in 0..20 {
        let first = ask(&gateway, "theme=dark");
        let cookie = cookie(&first).expect("a cookie is set");
        assert!(cookie.starts_with("tg="), "{cookie}");
        for _request in 0..5 {
            let next = ask(&gateway, &format!("theme=dark; {cookie}"));
            assert_eq!(next.text(), first.text());
            assert_eq!(next.header("set-cookie"), None, "the cookie is fresh");
        }
        seen.insert(first.text());
    }
    assert_eq!(seen.len(), 3, "clients are spread: {seen:?}");
}

#[test]
fn a_forged_cookie_is_as_good_as_none() {
    let origins = origins();
    let gateway = sticky(&origins);
    let good = cookie(&ask(&gateway, "")).expect("a cookie is set");
    let mut forged = good.clone();
    let last = if forged.pop() == Some('A') { 'B' } else { 'A' };
    forged.insert(3, last);
    for bad in [forged.as_str(), "tg=", "tg=a", "tg=../../etc/passwd", "tg=\u{1}"] {
        let ask = Ask::new("GET", "/").field("Cookie", bad).send(gateway.address());
        if ask.status == 200 {
            assert!(cookie(&ask).is_some(), "{bad} is replaced");
        } else {
            assert_eq!(ask.status, 400, "{bad}");
        }
    }
}

#[test]
fn a_client_whose_endpoint_dies_is_bound_to_another() {
    let origins = origins();
    let gateway = sticky(&origins);
    let first = ask(&gateway, "");
    let old = cookie(&first).expect("a cookie is set");
    let place = ["a", "b", "c"].iter().position(|name| *name == first.text()).expect("one of them");
    let rest: Vec<_> =
        origins.into_iter().enumerate().filter(|(at, _)| *at != place).map(|(_, o)| o).collect();
    let moved = ask(&gateway, &old);
    assert_ne!(moved.text(), first.text());
    let new = cookie(&moved).expect("a new cookie is set");
    for _request in 0..5 {
        assert_eq!(ask(&gateway, &new).text(), moved.text());
    }
    gateway.write_config(STICKY);
    assert!(gateway.reload().status < 300);
    assert_eq!(ask(&gateway, &new).text(), moved.text(), "a reload does not move clients");
    drop(rest);
}

/// A gateway that splits its clients over two upstreams.
fn split(by: &str, [a, b, _]: &[Origin; 3]) -> Gateway {
    let config = format!(
        "
routes: [{{ id: pay, path: /, to: {{ split: {{ pay-v1: 80, pay-v2: 20 }}, by: {by} }} }}]
upstreams:
  pay-v1: {{ endpoints: [<a>] }}
  pay-v2: {{ endpoints: [<b>] }}
"
    );
    let builder = Gateway::builder(&config).set("a", a.address()).set("b", b.address());
    builder.env("SPLIT", "a secret of at least thirty-two bytes").start()
}

#[test]
fn a_split_keeps_its_weights_and_its_clients() {
    let origins = origins();
    let gateway = split("{ header: x-user }", &origins);
    let mut tally = BTreeMap::<String, usize>::new();
    for user in 0..300 {
        let ask = Ask::new("GET", "/").field("X-User", &format!("user-{user}"));
        let side = ask.clone().send(gateway.address()).text();
        assert_eq!(ask.send(gateway.address()).text(), side);
        *tally.entry(side).or_default() += 1;
    }
    assert!((30..=95).contains(&tally["b"]), "a fifth goes to the second: {tally:?}");
    let line = gateway.logged(|line| line["upstream"] == "pay-v2");
    assert_eq!((line["route"].as_str(), line["status"].as_u64()), (Some("pay"), Some(200)));
}

#[test]
fn a_split_by_cookie_tells_a_client_its_side() {
    let origins = origins();
    let gateway = split("{ cookie: side, secret: '${env:SPLIT}' }", &origins);
    let mut seen = BTreeSet::new();
    for _client in 0..40 {
        let first = ask(&gateway, "");
        let cookie = cookie(&first).expect("a cookie is set");
        for _request in 0..3 {
            assert_eq!(ask(&gateway, &cookie).text(), first.text());
        }
        seen.insert(first.text());
    }
    assert_eq!(seen.len(), 2, "40 draws of 80 to 20 reach both sides: {seen:?}");
}

#[test]
fn clients_of_a_side_that_cannot_serve_go_to_the_other_one() {
    let origins = origins();
    let config = "
routes: [{ path: /, to: { split: { v1: 1, v2: 1 }, by: { header: x-user } } }]
upstreams:
  v1: { endpoints: [<a>] }
  v2: { endpoints: [<b>], health: { type: tcp, interval: 100ms, fall: 1, rise: 1 } }
";
    let [a, b, _c] = origins;
    let gateway = Gateway::start(config, &[("a", &a.address()), ("b", &b.address())]);
    let of = |user: usize| {
        let ask = Ask::new("GET", "/").field("X-User", &user.to_string());
        ask.send(gateway.address()).text()
    };
    let user = (0..100).find(|user| of(*user) == "b").expect("a client of the second side");
    drop(b);
    wait::until("the side is out", || of(user) == "a");
}
