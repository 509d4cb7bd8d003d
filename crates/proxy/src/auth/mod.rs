//! What the checks of `tidegate-auth` need from elsewhere: keys of issuers, answers about tokens,
//! the word of a policy service. A request that needs some waits here, and is then asked about
//! again.

pub(crate) mod admin;
mod authorize;
mod exchange;
mod files;
mod introspect;
mod keys;
pub(crate) mod report;
mod running;
mod trust;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use http::Method;
use parking_lot::Mutex;
use tidegate_auth::{Answer, Caller, Need};
use tidegate_core::Request;
use tidegate_engine::pipeline::{Admission, Refused};
use tidegate_engine::{Admitted, Snapshot};
use tokio::task::AbortHandle;

use self::authorize::authorize;
use self::exchange::Exchanges;
pub(crate) use self::files::{catch_up, watch};
use self::introspect::Questions;
use self::keys::KeyKeeper;
use self::report::Reporting;
pub(crate) use self::trust::Trusts;
use crate::context::Arrival;
use crate::edge::Edge;
use crate::outbound::Outbound;

/// What is fetched, by whom; it outlives reloads.
pub(crate) struct AuthServices {
    outbound: Arc<Outbound>,
    keepers: Mutex<HashMap<String, Running>>,
    questions: Questions,
    exchanges: Exchanges,
    report: Reporting,
}

/// A keeper of keys and its task, which ends with it.
struct Running {
    keeper: Arc<KeyKeeper>,
    task: AbortHandle,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl AuthServices {
    pub(crate) fn new() -> Self {
        Self {
            outbound: Arc::new(Outbound::new()),
            keepers: Mutex::default(),
            questions: Questions::default(),
            exchanges: Exchanges::default(),
            report: Reporting::default(),
        }
    }

    /// Gives every issuer whose keys are elsewhere a task that fetches them; one that did not
    /// change keeps its own.
    pub(crate) fn attend(&self, snapshot: &Snapshot, trusts: &Trusts, edge: &Arc<Edge>) {
        self.report.attend(snapshot, edge);
        let mut keepers = self.keepers.lock();
        let issuers = snapshot.auth().issuers().filter(|issuer| !issuer.is_fixed());
        let wanted: HashMap<&str, _> = issuers.map(|issuer| (&**issuer.name(), issuer)).collect();
        keepers.retain(|name, running| {
            wanted.get(name.as_str()).is_some_and(|issuer| {
                let trust = trusts.of(issuer.settings().ca.as_deref());
                if running.keeper.trusted_more(issuer, &trust) {
                    issuer.keys().clear();
                }
                running.keeper.serves(issuer, &trust)
            })
        });
        for (name, issuer) in wanted {
            keepers.entry(name.to_owned()).or_insert_with(|| {
                let trust = trusts.of(issuer.settings().ca.as_deref());
                let outbound = Arc::clone(&self.outbound);
                let keeper = Arc::new(KeyKeeper::new(Arc::clone(issuer), trust, outbound));
                let task = tokio::spawn(Arc::clone(&keeper).keep(Arc::clone(edge)));
                Running { keeper, task: task.abort_handle() }
            });
        }
    }

    /// The report of scopes.
    pub(crate) fn report(&self) -> &Reporting {
        &self.report
    }

    fn keeper(&self, issuer: &str) -> Option<Arc<KeyKeeper>> {
        self.keepers.lock().get(issuer).map(|running| Arc::clone(&running.keeper))
    }

    /// Gets what is needed; whether it came shows when the request is asked about again. Returned
    /// is what was said to this request alone.
    async fn meet(&self, need: &Need, request: &Request<'_>, arrival: &Arrival) -> Option<Answer> {
        match need {
            Need::Authorize(authorizer, who) => {
                let trust = arrival.live.trusts.of(authorizer.settings().ca.as_deref());
                let (outbound, who) = ((&*self.outbound, trust), (request, who));
                let word = authorize(outbound, authorizer, who, &arrival.edge).await;
                word.map(Answer::Word)
            }
            Need::Exchange(trade) => {
                let trust = arrival.live.trusts.of(trade.exchanger.settings().ca.as_deref());
                let traded = self.exchanges.ask(trade, trust, &self.outbound, &arrival.edge);
                traded.await.map(Answer::Traded)
            }
            Need::Introspect(question) => {
                let trust = arrival.live.trusts.of(question.introspector.settings().ca.as_deref());
                self.questions.ask(question, trust, &self.outbound, &arrival.edge).await;
                None
            }
            Need::Keys(issuer) => {
                if let Some(keeper) = self.keeper(issuer.name()) {
                    keeper.wanted(issuer, &arrival.edge).await;
                }
                None
            }
            _ => None,
        }
    }
}

/// Meets the needs of a request until it is decided about.
///
/// # Errors
/// The refusal.
pub(crate) async fn settle(
    decided: Result<Admission, Box<Refused>>,
    request: &Request<'_>,
    arrival: &Arrival,
) -> Result<Box<Admitted>, Box<Refused>> {
    let mut admission = decided?;
    loop {
        match admission {
            Admission::Admitted(admitted) => return Ok(admitted),
            Admission::Waiting(waiting) => {
                let met = Box::pin(arrival.edge.auth().meet(waiting.need(), request, arrival));
                let answer = met.await;
                admission = waiting.resume(request, &arrival.caller(), answer)?;
            }
        }
    }
}

/// The protected resource's description (RFC 9728), if the request asks for it.
pub(crate) fn resource(arrival: &Arrival) -> Option<String> {
    let snapshot = &arrival.live.snapshot;
    let resource = snapshot.auth().resource()?;
    let asks = matches!(arrival.method, Method::GET | Method::HEAD)
        && resource.is_at(&arrival.target.host, &arrival.target.path);
    let scopes = snapshot.routes().iter().flat_map(|route| route.access.scopes());
    asks.then(|| resource.document(scopes))
}

/// A time as tokens count: in seconds since 1970.
pub(crate) fn seconds(time: SystemTime) -> u64 {
    Caller { time, certificate: None }.seconds()
}
