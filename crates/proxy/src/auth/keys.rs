//! The keys of one issuer, fetched now and then: at the start, when they are due, and when a token
//! names a key that is not there. One fetch runs at a time, whoever asked.

use std::sync::Arc;
use std::time::Duration;

use tidegate_auth::Issuer;
use tidegate_auth::issuer::{metadata, metadata_addresses, read_file};
use tidegate_auth::jose::KeySet;
use tidegate_auth::settings::KeySource;
use tidegate_traffic::random;
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

use crate::edge::Edge;
use crate::outbound::{Call, Outbound, Trust};

/// Until a fetch that failed is tried again: it doubles from the first to the second.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(15);
/// How often a file is looked at.
const FILE_LOOK: Duration = Duration::from_secs(2);

/// Fetches one issuer's keys.
pub(crate) struct KeyKeeper {
    issuer: Arc<Issuer>,
    trust: Trust,
    outbound: Arc<Outbound>,
    wake: Notify,
    state: watch::Sender<State>,
}

/// Where the keeper is.
#[derive(Clone, Copy, Debug, Default)]
struct State {
    rounds: u64,
    fetching: bool,
}

/// Why keys did not come.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("{url}: {source}")]
    Call { url: String, source: crate::outbound::CallError },
    #[error("{url}: status {status}")]
    Status { url: String, status: u16 },
    #[error("{url}: {source}")]
    Metadata { url: String, source: tidegate_auth::issuer::MetadataError },
    #[error("{place}: {source}")]
    Keys { place: String, source: tidegate_auth::jose::KeySetError },
    #[error("{0}")]
    File(String),
}

impl KeyKeeper {
    pub(crate) fn new(issuer: Arc<Issuer>, trust: Trust, outbound: Arc<Outbound>) -> Self {
        let state = watch::Sender::new(State { rounds: 0, fetching: true });
        Self { issuer, trust, outbound, wake: Notify::new(), state }
    }

    /// Whether this is still how an issuer's keys are to be had.
    pub(crate) fn serves(&self, issuer: &Issuer, trust: &Trust) -> bool {
        Arc::ptr_eq(self.issuer.keys(), issuer.keys())
            && self.issuer.settings() == issuer.settings()
            && self.trust.is_same(trust)
    }

    /// Whether an authority is gone that this trusted: keys that were fetched under it are nobody's
    /// then.
    pub(crate) fn trusted_more(&self, issuer: &Issuer, trust: &Trust) -> bool {
        Arc::ptr_eq(self.issuer.keys(), issuer.keys()) && !trust.covers(&self.trust)
    }

    /// Fetches until the task is aborted.
    pub(crate) async fn keep(self: Arc<Self>, edge: Arc<Edge>) {
        let mut retry = FIRST_RETRY;
        let mut known = Vec::new();
        loop {
            self.state.send_modify(|state| state.fetching = true);
            let fetched = self.fetch(&mut known).await;
            let wait = match &fetched {
                Ok(keys) => {
                    let now = crate::auth::seconds(edge.clock().wall());
                    match keys {
                        Some(keys) => self.issuer.keys().replace(Arc::clone(keys), now),
                        None => self.issuer.keys().confirm(now),
                    }
                    retry = FIRST_RETRY;
                    self.pace()
                }
                Err(_failed) => {
                    let wait = retry;
                    retry = (retry * 2).min(LAST_RETRY);
                    wait
                }
            };
            self.tell(&edge, &fetched);
            edge.metrics().keys_fetched(self.issuer.name(), fetched.is_ok());
            self.state.send_modify(|state| {
                state.rounds += 1;
                state.fetching = false;
            });
            // Nobody fetches at the same time as everybody else.
            let wait = wait.mul_f64(0.9 + 0.2 * random::unit(random::next()));
            tokio::select! {
                () = sleep(wait) => {}
                () = self.wake.notified() => {}
            }
        }
    }

    /// A request's token names a key that is not there, or there are no keys: waits for the fetch
    /// that runs, or for one more if that may be.
    pub(crate) async fn wanted(&self, issuer: &Issuer, edge: &Edge) {
        let mut state = self.state.subscribe();
        let seen = *state.borrow_and_update();
        let now = crate::auth::seconds(edge.clock().wall());
        if !seen.fetching {
            if !issuer.keys().may_ask(now, issuer.cool_down()) {
                return;
            }
            self.wake.notify_one();
        }
        let done = state.wait_for(|state| state.rounds > seen.rounds);
        // Too late is as good as not at all: the request is refused then.
        drop(timeout(issuer.settings().timeout.0, done).await);
    }

    fn pace(&self) -> Duration {
        match self.issuer.settings().keys {
            KeySource::File(_) => FILE_LOOK,
            _ => self.issuer.settings().refresh.0,
        }
    }

    /// The keys, or `None` if they are what they were.
    async fn fetch(&self, known: &mut Vec<u8>) -> Result<Option<Arc<KeySet>>, FetchError> {
        let settings = self.issuer.settings();
        let (place, text) = match &settings.keys {
            KeySource::File(path) => {
                let text = read_file(path).map_err(FetchError::File)?;
                (path.display().to_string(), text)
            }
            KeySource::Url(url) => (url.clone(), self.download(url).await?),
            _ => {
                let url = self.discover().await?;
                let text = self.download(&url).await?;
                (url, text)
            }
        };
        if *known == text {
            return Ok(None);
        }
        let keys = KeySet::read(&text, &settings.algorithms)
            .map_err(|source| FetchError::Keys { place, source })?;
        *known = text;
        Ok(Some(Arc::new(keys)))
    }

    /// Where the keys are, by the issuer's metadata: OpenID Connect's address first, which most
    /// issuers have, then that of RFC 8414.
    async fn discover(&self) -> Result<String, FetchError> {
        let settings = self.issuer.settings();
        let mut failed = None;
        for url in metadata_addresses(&settings.issuer) {
            match self.download(&url).await {
                Ok(text) => {
                    return metadata(&text, settings)
                        .map_err(|source| FetchError::Metadata { url, source });
                }
                Err(error) => drop(failed.get_or_insert(error)),
            }
        }
        Err(failed.unwrap_or_else(|| FetchError::File("no address".to_owned())))
    }

    async fn download(&self, url: &str) -> Result<Vec<u8>, FetchError> {
        let time = self.issuer.settings().timeout.0;
        let call = Call::get(url, self.trust.clone(), time);
        let answer = self.outbound.call(&call).await;
        let answer = answer.map_err(|source| FetchError::Call { url: url.to_owned(), source })?;
        match answer.status.as_u16() {
            200 => Ok(answer.body),
            status => Err(FetchError::Status { url: url.to_owned(), status }),
        }
    }

    fn tell(&self, edge: &Edge, fetched: &Result<Option<Arc<KeySet>>, FetchError>) {
        let issuer = &**self.issuer.name();
        if let Ok(Some(keys)) = fetched {
            let passed_over = keys.passed_over().len();
            tracing::info!(issuer, keys = keys.len(), passed_over, "keys fetched");
        }
        edge.provider_answered("issuer", issuer, fetched.as_ref().map(|_keys| ()));
    }
}
