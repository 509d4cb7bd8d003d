//! Two figures about tokens that a benchmark of one thing at a time does not give.
//!
//! `tokens compare <rounds>`: the whole check of tokens that are seen for the first time, from the
//! field in the request to the place in memory, beside the raw library and a peer, in turns, so
//! that other work on the machine touches all of them; each ratio is within its round.
//! `tokens memory <tokens> <cache>`: what distinct tokens take. It allocates as the binary does.

use std::error::Error;
use std::hint::black_box;
use std::io::{Write, stdout};
use std::time::Duration;

use serde_json::json;
use tidegate_auth::jose::Algorithm;
use tidegate_benches::tokens::{Keys, Peer, Raw, Stand, bearer, claims, request};
use tidegate_core::Clock;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Checks that are timed at once.
const BATCH: u32 = 200;
/// Tokens that are seen in turn.
const DISTINCT: u64 = 2_000;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().ok_or("tokens compare <rounds> | memory <tokens> <cache>");
    match next()?.as_str() {
        "compare" => compare(next()?.parse()?),
        "memory" => {
            let tokens = next()?.parse()?;
            memory(tokens, &next()?)
        }
        other => Err(format!("{other}: neither compare nor memory").into()),
    }
}

fn compare(rounds: usize) -> Result<(), Box<dyn Error>> {
    let keys = Keys::new()?;
    // Each is forgotten before it comes again.
    let first = Stand::new(&keys, "256KiB", json!({ "jwt": "corp" }))?;
    let known = Stand::new(&keys, "32MiB", json!({ "jwt": "corp", "scopes": ["pay:read"] }))?;
    let mut out = stdout().lock();
    writeln!(
        out,
        "| algorithm | aws-lc-rs, signature alone | by our key, × | whole check, × | jsonwebtoken, × \
         | whole check | remembered |\n|---|---|---|---|---|---|---|"
    )?;
    for algorithm in [Algorithm::Es256, Algorithm::EdDsa, Algorithm::Rs256] {
        let token = keys.token(algorithm, &claims(1))?;
        let head = bearer(&token)?;
        let request = request(&head);
        let (raw, peer) = (Raw::new(&keys, algorithm, &token)?, Peer::new(&keys, algorithm)?);
        let heads: Vec<_> = (0..DISTINCT)
            .map(|number| bearer(&keys.token(algorithm, &claims(number))?))
            .collect::<Result<_, _>>()?;
        if !(raw.verifies() && peer.passes(&token) && first.passes(&head, &request)) {
            return Err("the token does not hold".into());
        }
        let mut each = heads.iter().cycle();
        let mut times: [Vec<f64>; 5] = Default::default();
        let [alone, own, whole, peers, again] = &mut times;
        for _ in 0..rounds {
            alone.push(timed(|| raw.verifies()));
            own.push(timed(|| raw.verifies_with_own_key()));
            whole.push(timed(|| each.next().map(|head| first.passes(head, &request))));
            peers.push(timed(|| peer.passes(&token)));
            again.push(timed(|| known.verdict(&request)));
        }
        let ratio = |of: &[f64]| spread(of.iter().zip(&*alone).map(|(own, raw)| own / raw), 2);
        let micros = |of: &[f64]| spread(of.iter().copied(), 2);
        writeln!(
            out,
            "| {} | {} µs | {} | {} | {} | {} µs | {} µs |",
            algorithm.name(),
            micros(alone),
            ratio(own),
            ratio(whole),
            ratio(peers),
            micros(whole),
            micros(again)
        )?;
    }
    Ok(())
}

/// Microseconds for one of a batch.
fn timed<T>(mut check: impl FnMut() -> T) -> f64 {
    let clock = Clock::System;
    let began = clock.now();
    for _ in 0..BATCH {
        drop(black_box(check()));
    }
    (clock.now() - began).as_secs_f64() * 1e6 / f64::from(BATCH)
}

/// Median and range.
fn spread(values: impl Iterator<Item = f64>, digits: usize) -> String {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
    let (middle, low, high) = (at(values.len() / 2), at(0), at(values.len().saturating_sub(1)));
    format!("{middle:.digits$} ({low:.digits$}–{high:.digits$})")
}

fn memory(tokens: u64, cache: &str) -> Result<(), Box<dyn Error>> {
    let keys = Keys::new()?;
    let stand = Stand::new(&keys, cache, json!({ "jwt": "corp" }))?;
    let issuer = stand.auth.issuer("corp").ok_or("no issuer")?;
    let (before, clock) = (resident()?, Clock::System);
    let mut spent = Duration::ZERO;
    for number in 0..tokens {
        let head = bearer(&keys.token(Algorithm::Es256, &claims(number))?)?;
        let began = clock.now();
        if !stand.passes(&head, &request(&head)) {
            return Err("a token does not hold".into());
        }
        spent += clock.now() - began;
    }
    let (count, bytes) = issuer.remembered();
    writeln!(
        stdout(),
        "{tokens} distinct tokens, cache: {cache}: {count} remembered in {bytes} bytes by our own \
         count; resident memory grew by {} bytes; {:.1} µs per token",
        resident()?.saturating_sub(before),
        spent.as_secs_f64() * 1e6 / f64::from(u32::try_from(tokens)?),
    )?;
    Ok(())
}

/// Resident memory in bytes (proc(5), `statm`, pages of 4 KiB).
fn resident() -> Result<usize, Box<dyn Error>> {
    let text = std::fs::read_to_string("/proc/self/statm")?;
    let pages: usize = text.split(' ').nth(1).ok_or("no such field")?.parse()?;
    Ok(pages * 4_096)
}
