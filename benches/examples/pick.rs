//! Picks and reports, for counting instructions: `pick <balance as JSON> <endpoints> <picks>` under
//! `valgrind --tool=callgrind`; the difference of two runs is what the further picks cost.

use std::time::Duration;

use serde_json::json;
use tidegate_core::Clock;
use tidegate_traffic::outlier::Answer;
use tidegate_traffic::zones::Locality;
use tidegate_traffic::{Pick, Pool, UpstreamSettings, random};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().ok_or("pick <balance as JSON> <endpoints> <picks>");
    let balance: serde_json::Value = serde_json::from_str(&next()?)?;
    let (count, picks): (usize, u32) = (next()?.parse()?, next()?.parse()?);
    let endpoint = |n: usize| {
        let address = format!("10.{}.{}.{}:80", n >> 16, n >> 8 & 255, n & 255);
        json!({ "address": address, "weight": 1 + n % 3 })
    };
    let endpoints: Vec<_> = (0..count).map(endpoint).collect();
    let settings = json!({ "endpoints": endpoints, "balance": balance, "outlier": {} });
    let settings: UpstreamSettings = serde_json::from_value(settings)?;
    let pool = Pool::compile("api", &settings, &Locality::default(), None)
        .map_err(|errors| format!("{errors:?}"))?;
    let now = Clock::System.now();
    for _ in 0..picks {
        let (key, random) = (random::next(), random::next());
        let lease = pool.pick(&Pick { key, now, prefer: None, random, tried: &[] });
        let lease = lease.map_err(|why| format!("{why:?}"))?;
        pool.report(&lease, Answer::Status(200), Duration::from_millis(3), now);
    }
    Ok(())
}
