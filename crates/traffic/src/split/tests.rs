//! Shares, who moves when weights change, cookies, fail-over and refused settings.

use std::time::{Duration, SystemTime};

use http::{HeaderValue, header};
use proptest::prelude::*;

use super::*;
use crate::testing::RequestParts;

fn settings(json: &str) -> SplitSettings {
    serde_json::from_str(json).unwrap()
}

fn by_user(sides: &str) -> Split {
    let json = format!(r#"{{"split":{sides},"by":{{"header":"x-user"}}}}"#);
    Split::compile(&settings(&json)).unwrap()
}

fn wall(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn request(field: &str, value: &str) -> RequestParts {
    RequestParts::new(http::Request::get("https://a.example/").header(field, value))
}

fn side(split: &Split, user: u32, available: impl Fn(usize) -> bool) -> usize {
    let parts = request("x-user", &user.to_string());
    let chosen = split.choose(&parts.request(), 0, wall(0), available);
    assert_eq!(chosen.set_cookie, None);
    chosen.side
}

const USERS: u32 = 40_000;

fn assign(sides: &str) -> Vec<usize> {
    let split = by_user(sides);
    (0..USERS).map(|user| side(&split, user, |_| true)).collect()
}

/// The share of each side.
fn shares(assigned: &[usize]) -> [f64; 4] {
    let count = |side| assigned.iter().filter(|found| **found == side).count();
    [0, 1, 2, 3].map(|side| count(side) as f64 / f64::from(USERS))
}

#[track_caller]
fn check_shares(sides: &str, expected: &[f64]) {
    for (found, expected) in shares(&assign(sides)).iter().zip(expected) {
        assert!((found - expected).abs() < 0.0065, "{sides}: {found} instead of {expected}");
    }
}

#[test]
fn shares_follow_the_weights() {
    check_shares(r#"{"a":1}"#, &[1.0]);
    check_shares(r#"{"a":95,"b":5}"#, &[0.95, 0.05]);
    check_shares(r#"{"b":5,"a":95}"#, &[0.95, 0.05]);
    check_shares(r#"{"a":0,"b":5}"#, &[0.0, 1.0]);
    check_shares(r#"{"a":1,"b":2,"c":3,"d":4}"#, &[0.1, 0.2, 0.3, 0.4]);
    check_shares(r#"{"a":65535,"b":1}"#, &[1.0, 0.0]);
}

/// Who moves goes from a side that lost to one that gained, and no more move than the shares say.
#[track_caller]
fn check_move(before: &str, after: &str, least: f64) {
    let (before, after) = (assign(before), assign(after));
    let moved: Vec<_> = before.iter().zip(&after).filter(|(old, new)| old != new).collect();
    let found = moved.len() as f64 / f64::from(USERS);
    assert!((found - least).abs() < 0.005, "{found} moved where {least} had to");
    let (before, after) = (shares(&before), shares(&after));
    for (old, new) in moved {
        assert!(after[*old] < before[*old], "{old} lost a client, but not of its share");
        assert!(after[*new] > before[*new], "{new} won a client, but not of its share");
    }
}

#[test]
fn changed_weights_move_only_those_who_must() {
    check_move(r#"{"v1":95,"v2":5}"#, r#"{"v1":90,"v2":10}"#, 0.05);
    check_move(r#"{"v1":90,"v2":10}"#, r#"{"v1":0,"v2":100}"#, 0.90);
    check_move(r#"{"v1":95,"v2":5}"#, r#"{"v2":5,"v1":95}"#, 0.0);
    check_move(r#"{"a":50,"b":50}"#, r#"{"a":50,"b":50,"c":25}"#, 0.2);
    check_move(r#"{"a":40,"b":40,"c":20}"#, r#"{"a":40,"b":40}"#, 0.2);
}

#[test]
fn a_side_that_cannot_serve_lends_its_clients() {
    let split = by_user(r#"{"a":50,"b":50,"c":0}"#);
    for user in 0..500 {
        let own = side(&split, user, |_| true);
        assert_eq!(side(&split, user, |side| side == own), own);
        assert_eq!(side(&split, user, |side| side != own), 1 - own, "c has no weight");
        assert_eq!(side(&split, user, |side| side == 2), own, "c has no weight");
        assert_eq!(side(&split, user, |_| false), own);
    }
    let strict = r#"{"split":{"a":1,"b":0},"failover":false}"#;
    let split = Split::compile(&settings(strict)).unwrap();
    assert_eq!(side(&split, 1, |side| side == 1), 0);
}

fn by_cookie(sides: &str, ttl: &str) -> Split {
    let json = format!(
        r#"{{"split":{sides},"by":{{{ttl}"cookie":"side","secret":"a secret for unit tests"}}}}"#
    );
    Split::compile(&settings(&json)).unwrap()
}

fn choose(split: &Split, cookie: &str, random: u64, at: u64) -> Chosen {
    let parts = request("cookie", cookie);
    split.choose(&parts.request(), random, wall(at), |_| true)
}

/// What a browser sends after this `Set-Cookie`.
fn sent(set_cookie: &HeaderValue) -> String {
    set_cookie.to_str().unwrap().split(';').next().unwrap().to_owned()
}

#[test]
fn a_cookie_keeps_its_side_when_weights_change() {
    let before = by_cookie(r#"{"a":95,"b":5}"#, "");
    let after = by_cookie(r#"{"a":5,"b":95}"#, "");
    let mut drawn = [0, 0];
    for random in 0..2_000 {
        let first = choose(&before, "other=1", mix(random), 0);
        drawn[first.side] += 1;
        let cookie = sent(&first.set_cookie.unwrap());
        let again = choose(&after, &cookie, mix(!random), 0);
        assert_eq!(again, Chosen { side: first.side, set_cookie: None });
    }
    assert!((1_850..1_950).contains(&drawn[0]), "{drawn:?}");
}

#[test]
fn a_side_that_is_taken_out_loses_its_cookies() {
    let cookie = sent(&choose(&by_cookie(r#"{"a":1}"#, ""), "", 0, 0).set_cookie.unwrap());
    for sides in [r#"{"a":0,"b":1}"#, r#"{"b":1,"c":0}"#] {
        let split = by_cookie(sides, "");
        let chosen = choose(&split, &cookie, 7, 0);
        assert_ne!(split.sides[chosen.side].weight, 0);
        assert!(chosen.set_cookie.is_some());
    }
}

#[test]
fn cookies_are_renewed_in_their_second_half_and_then_expire() {
    let split = by_cookie(r#"{"a":1,"b":1}"#, r#""ttl":"100s","#);
    let first = choose(&split, "", 1, 1_000);
    let field = first.set_cookie.unwrap();
    let attributes = field.to_str().unwrap().split_once("; ").unwrap().1;
    assert_eq!(attributes, "Path=/; Max-Age=100; HttpOnly; Secure; SameSite=Lax");
    let cookie = sent(&field);
    assert_eq!(choose(&split, &cookie, 2, 1_049).set_cookie, None);
    let renewed = choose(&split, &cookie, 2, 1_051);
    assert_eq!(renewed.side, first.side);
    assert_ne!(sent(&renewed.set_cookie.unwrap()), cookie);
    let sides: Vec<_> = (0..64).map(|n| choose(&split, &cookie, mix(n), 1_100).side).collect();
    assert!(sides.contains(&0) && sides.contains(&1), "expired: drawn anew");
}

proptest! {
    #[test]
    fn forged_cookies_draw_a_side(value in "[ -~]{0,70}", random: u64) {
        let split = by_cookie(r#"{"a":1,"b":1}"#, "");
        let chosen = choose(&split, &format!("side={value}"), random, 0);
        prop_assert!(chosen.side < 2 && chosen.set_cookie.is_some());
    }
}

#[test]
fn bytes_that_are_no_text_are_no_cookie() {
    let value = HeaderValue::from_bytes(b"side=\xff\x80; side=\xc3\x28").unwrap();
    let parts = RequestParts::new(http::Request::get("/").header(header::COOKIE, value));
    let split = by_cookie(r#"{"a":1}"#, "");
    assert!(split.choose(&parts.request(), 0, wall(0), |_| true).set_cookie.is_some());
}

#[track_caller]
fn check_refused(json: &str, expected: &str) {
    let errors = Split::compile(&settings(json)).unwrap_err();
    let found: Vec<_> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(found.join("; "), expected);
}

#[test]
fn settings_say_what_is_wrong() {
    check_refused(r#"{"split":{}}"#, "split: a split needs at least one upstream");
    check_refused(
        r#"{"split":{"a":0,"b":0}}"#,
        "split: all weights are 0, so that nothing would be served",
    );
    check_refused(
        r#"{"split":{"a":65536},"by":{"cookie":"a b","secret":["short"],"path":"x","ttl":"0s"}}"#,
        "split.a: the weight 65536 is above 65535; by.cookie: `a b` is not a cookie name; \
         by.ttl: a cookie lives for at least a second; by.path: `x` is not a path; \
         by.secret: a secret shorter than 16 bytes can be guessed",
    );
    check_refused(
        r#"{"split":{"a":1},"by":{"cookie":"a","same_site":"none","secure":false}}"#,
        "by.secure: browsers refuse `same_site: none` without Secure",
    );
}

#[track_caller]
fn check_unread(json: &str, part: &str) {
    let error = serde_json::from_str::<SplitSettings>(json).unwrap_err().to_string();
    assert!(error.contains(part), "{error}");
}

#[test]
fn what_is_no_split_is_not_read() {
    check_unread(r#"{"split":{"a":-1}}"#, "invalid value");
    check_unread(r#"{"split":{"a":1},"by":"header"}"#, "header needs a name");
    check_unread(r#"{"split":{"a":1},"by":"path"}"#, "unknown variant");
    check_unread(r#"{"split":{"a":1},"by":{"header":"a b"}}"#, "`a b` is not a header name");
    check_unread(r#"{"split":{"a":1},"by":{"header":"a","ttl":"1s"}}"#, "unknown field `ttl`");
    check_unread(r#"{"split":{"a":1},"by":{"cokie":"a"}}"#, "unknown field `cokie`");
    check_unread(r#"{"split":{"a":1},"by":{}}"#, "missing field `cookie`");
    check_unread(r#"{"split":{"a":1},"steps":[]}"#, "unknown field `steps`");
}
