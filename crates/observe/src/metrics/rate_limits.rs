//! How full the rate limits' tables are. The limits count that themselves; whoever serves a scrape
//! hands their figures over.

use super::family::{Families, as_float};

/// More limits than this are not shown.
const MAX_RATE_LIMITS: usize = 2_000;

/// How full the table of one rate limit is, to be shown by the next scrape.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RateLimitTable {
    /// The limit's id.
    pub limit: String,
    /// Keys whose bucket is not full.
    pub keys_in_use: usize,
    /// Keys that can have a bucket.
    pub max_keys: usize,
    /// Buckets that were given to another key.
    pub evictions: u64,
    /// Requests that a shared bucket counted.
    pub overflows: u64,
}

type Figure = fn(&RateLimitTable) -> u64;

const GAUGES: [(&str, &str, Figure); 2] = [
    ("tidegate_rate_limit_keys", "Keys of a rate limit whose bucket is in use.", |table| {
        as_u64(table.keys_in_use)
    }),
    ("tidegate_rate_limit_keys_max", "Keys that a rate limit counts apart.", |table| {
        as_u64(table.max_keys)
    }),
];

const COUNTERS: [(&str, &str, Figure); 2] = [
    (
        "tidegate_rate_limit_evictions_total",
        "Full buckets of a rate limit that were given to another key.",
        |table| table.evictions,
    ),
    (
        "tidegate_rate_limit_overflows_total",
        "Requests that a shared bucket counted, since a rate limit's table was full.",
        |table| table.overflows,
    ),
];

/// Shows the figures of all limits.
pub(super) fn show(tables: &[RateLimitTable], families: &mut Families) {
    let tables = tables.get(..MAX_RATE_LIMITS).unwrap_or(tables);
    for (name, help, figure) in GAUGES {
        families.gauges(name, help, |family| {
            for table in tables {
                family.gauge(&[("limit", &table.limit)], as_float(figure(table)));
            }
        });
    }
    for (name, help, figure) in COUNTERS {
        families.counters(name, help, |family| {
            for table in tables {
                family.counter(&[("limit", &table.limit)], figure(table));
            }
        });
    }
}

fn as_u64(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
