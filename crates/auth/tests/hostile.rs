//! Tokens with a byte changed, cut, doubled or put in: none passes, and nothing panics. Seeded, so
//! that a failure comes again.

#![cfg(test)]

mod properties;

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, SystemTime};

use http::HeaderValue;
use serde_json::json;
use tidegate_auth::jose::{Algorithm, KeySet};
use tidegate_auth::settings::{AccessSettings, AuthSettings};
use tidegate_auth::{Access, Auth, Caller, Verdict, Waited};
use tidegate_core::{Clock, Request};
use tidegate_testkit::tokens::{Signer, key_set};

const NOW: u64 = 1_800_000_000;
const ROUNDS: usize = 4_000;

/// What is put in.
const BYTES: &[u8] = b"ABCabc019-_.=+/ \"{}\\,:\x7f\xc3";

/// SplitMix64 (Steele, Lea and Flood, 2014).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % bound.max(1) as u64).unwrap()
    }

    fn mutate(&mut self, text: &mut Vec<u8>) {
        if text.is_empty() {
            return;
        }
        let at = self.below(text.len());
        let byte = BYTES[self.below(BYTES.len())];
        match self.below(5) {
            0 => text[at] = byte,
            1 => drop(text.remove(at)),
            2 => text.insert(at, byte),
            3 => text.truncate(at.max(1)),
            _ => {
                let piece = text[at..(at + 8).min(text.len())].to_vec();
                let to = self.below(text.len());
                text.splice(to..to, piece);
            }
        }
    }
}

#[test]
fn a_token_that_was_changed_passes_nowhere() {
    let signer = Signer::new("k1");
    let settings = json!({ "issuers": { "corp": {
        "issuer": "https://id.example.com", "audience": ["api"], "types": [],
        "keys": { "inline": key_set(&[signer.jwk()]) },
    } } });
    let settings: AuthSettings = serde_json::from_value(settings).unwrap();
    let mut errors = Vec::new();
    let auth = Auth::compile(&settings, None, &mut errors);
    let access: AccessSettings = serde_json::from_value(json!({ "jwt": "corp" })).unwrap();
    let access = Access::compile(&access, &auth).unwrap();
    let claims = json!({ "iss": "https://id.example.com", "aud": "api", "exp": NOW + 60 });
    let good = format!("Bearer {}", signer.token(&claims)).into_bytes();
    let passes = |field: &[u8]| {
        let Ok(value) = HeaderValue::from_bytes(field) else { return false };
        let head = http::Request::get("/").header("authorization", value).body(()).unwrap();
        let (head, ()) = head.into_parts();
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
        matches!(access.check(&request, &caller, &Waited::default()), Verdict::Permitted(_))
    };
    assert!(passes(&good));
    let token = |field: &[u8]| {
        // White space and the scheme's case say nothing about the token.
        String::from_utf8_lossy(field).trim().split(' ').next_back().map(ToOwned::to_owned)
    };
    let mut random = Random(7);
    for round in 0..ROUNDS {
        let mut field = good.clone();
        for _ in 0..=random.below(3) {
            random.mutate(&mut field);
        }
        if passes(&field) {
            assert_eq!(token(&field), token(&good), "round {round}");
        }
    }
}

#[test]
fn key_sets_of_any_bytes_are_read_or_refused() {
    let good = key_set(&[Signer::new("a").jwk(), Signer::new("b").jwk()]).into_bytes();
    let mut random = Random(11);
    for _ in 0..ROUNDS {
        let mut text = good.clone();
        for _ in 0..=random.below(4) {
            random.mutate(&mut text);
        }
        if let Ok(keys) = KeySet::read(&text, &Algorithm::ALL) {
            assert!(!keys.is_empty() && keys.len() <= 2);
        }
    }
}

#[test]
fn whatever_is_made_of_the_seeds_keeps_its_promises() {
    let seeds = properties::seeds();
    for (name, input, taken) in &seeds {
        assert_eq!(properties::check(input), *taken, "{name}");
    }
    let mut random = Random(13);
    let mut taken = 0;
    for round in 0..ROUNDS {
        let (_name, input, _taken) = &seeds[round % seeds.len()];
        let mut input = input.clone();
        for _ in 0..=random.below(4) {
            random.mutate(&mut input);
        }
        taken += usize::from(properties::check(&input));
    }
    assert!(taken > ROUNDS / 100, "{taken} of {ROUNDS} were taken: too few to say anything");
}

/// `UPDATE_GENERATED=1` writes them.
#[test]
fn the_fuzzer_begins_with_the_same_seeds() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fuzz/seeds/tokens");
    for (name, input, _taken) in properties::seeds() {
        let file = std::path::Path::new(folder).join(name);
        if std::env::var_os("UPDATE_GENERATED").is_some() {
            std::fs::create_dir_all(folder).unwrap();
            std::fs::write(&file, &input).unwrap();
        }
        assert_eq!(std::fs::read(&file).unwrap(), input, "{name}: run with UPDATE_GENERATED=1");
    }
}
