//! Endpoint names: looked up before the first request, again when the answer's time to live ends.
//! A lookup that fails leaves the last answer in place.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::ResolverConfig;
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use tidegate_traffic::Pool;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::edge::Edge;
use crate::happened;

/// What looks names up, shared by all pools.
pub(crate) type Resolver = Arc<TokioResolver>;

/// Bounds of the time between two lookups, whatever the answer says.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(300);
/// The time until a lookup that failed is tried again.
const AFTER_FAILURE: Duration = Duration::from_secs(2);

/// Looks up the names of `pool`, forever; ends at once if it has none.
pub(crate) async fn resolve_pool(pool: Arc<Pool>, resolver: Resolver, edge: Arc<Edge>) {
    let mut tasks = JoinSet::new();
    for name in 0..pool.names().len() {
        tasks.spawn(resolve_name(pool.clone(), name, resolver.clone(), edge.clone()));
    }
    while tasks.join_next().await.is_some() {}
}

async fn resolve_name(pool: Arc<Pool>, name: usize, resolver: Resolver, edge: Arc<Edge>) {
    let Some(host) = pool.names().get(name).map(|name| &*name.host) else { return };
    let mut known = true;
    loop {
        let answer = resolver.lookup_ip(host).await;
        // Once, and not again while it goes on failing.
        if known && let Err(error) = &answer {
            let error = Err(error.to_string());
            edge.announce(&happened::resolved(&edge, &pool, host, error));
        }
        known = answer.is_ok();
        let wait = answer.map_or(AFTER_FAILURE, |answer| {
            let addresses: Vec<_> = answer.iter().collect();
            if pool.update(name, &addresses) {
                let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
                let addresses = Ok(addresses.join(" "));
                edge.announce(&happened::resolved(&edge, &pool, host, addresses));
            }
            until(answer.valid_until(), edge.clock().now())
        });
        sleep(wait).await;
    }
}

fn until(valid_until: Instant, now: Instant) -> Duration {
    valid_until.saturating_duration_since(now).clamp(SHORTEST, LONGEST)
}

/// A resolver over the system's configuration; where there is none, names resolve by the hosts
/// file alone.
///
/// # Errors
/// The resolver cannot be set up at all.
pub(crate) fn system_resolver() -> Result<Resolver, NetError> {
    let system = TokioResolver::builder_tokio().and_then(|builder| builder.build());
    let resolver = system.or_else(|error| {
        tracing::warn!(%error, "no DNS configuration; names resolve by the hosts file only");
        TokioResolver::builder_with_config(
            ResolverConfig::default(),
            TokioRuntimeProvider::default(),
        )
        .build()
    });
    resolver.map(Arc::new)
}
