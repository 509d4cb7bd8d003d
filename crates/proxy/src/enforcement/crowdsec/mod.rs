//! Bans that a CrowdSec decides, taken over from the stream of its Local API
//! (`GET /v1/decisions/stream`). While it cannot be asked, what is known holds until its own end and
//! nothing else is banned for it; when it answers again, everything is asked for anew, since an answer
//! may have been lost.

mod stream;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use tidegate_core::decision::{Measure, Target};
use tidegate_guard::Ban;
use tidegate_guard::bans::CrowdsecSettings;
use tidegate_guard::bans::seconds;
use tokio::time::sleep;

use self::stream::{Change, Stream};
use super::told;
use crate::bans::now;
use crate::edge::Edge;
use crate::outbound::{Call, CallError, Outbound};

/// Who decided, in bans.
pub(crate) const SOURCE: &str = "crowdsec";

/// For one answer. The first may hold many thousands of decisions.
const PATIENCE: Duration = Duration::from_secs(30);

/// A hundred bytes or two for each of several hundred thousand decisions.
const MAX_ANSWER: usize = 128 << 20;

/// The longest pause between failed attempts.
const LAST_RETRY: Duration = Duration::from_secs(60);

/// How often it is looked whether there is something to follow.
const LOOK: Duration = Duration::from_secs(1);

/// Who was named by which decisions: only when the last of them is deleted the ban is lifted.
type Known = BTreeMap<(Target, Measure), Vec<i64>>;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("the answer is {0}")]
    Status(StatusCode),
    #[error("the answer is no list of decisions: {0}")]
    Json(#[from] serde_json::Error),
    #[error("the key cannot be sent in a field")]
    Key,
}

/// What is known of the CrowdSec that is followed.
#[derive(Default)]
struct Follower {
    /// Who was named by which decisions.
    known: Known,
    /// Whether it is only to be asked for what is new.
    in_step: bool,
    /// Failed attempts since the last answer.
    failures: u32,
}

/// Follows the CrowdSec that the configuration names, for as long as the process lives.
pub(crate) async fn follow(edge: Arc<Edge>) {
    let outbound = Outbound::new();
    let mut followed: Option<CrowdsecSettings> = None;
    let mut follower = Follower::default();
    loop {
        let settings = edge.live().snapshot.settings().bans.crowdsec.clone();
        if settings != followed {
            (follower.in_step, follower.failures) = (false, 0);
            if settings.is_none() {
                let nothing = Change::default();
                tokio::task::block_in_place(|| take(&edge, &mut follower.known, nothing, true));
            }
            followed.clone_from(&settings);
        }
        let wait = match &settings {
            None => LOOK,
            // It tells each change once, to whoever asks: during a hand-over that must be who
            // keeps it, and begins with all there is.
            Some(_) if edge.ban_file().hold().is_none() => {
                follower.in_step = false;
                LOOK
            }
            Some(settings) => {
                let asked = ask(&edge, &outbound, settings, !follower.in_step).await;
                edge.metrics().crowdsec_asked(asked.is_ok());
                follower.next(&edge, settings, asked)
            }
        };
        // A reload is noticed in between.
        let clock = edge.clock();
        let until = clock.now() + wait;
        while clock.now() < until && edge.live().snapshot.settings().bans.crowdsec == followed {
            sleep(LOOK.min(until.saturating_duration_since(clock.now()))).await;
        }
    }
}

impl Follower {
    /// Takes what came of a question; answers when to ask again.
    fn next(
        &mut self,
        edge: &Edge,
        settings: &CrowdsecSettings,
        asked: Result<Stream, Failed>,
    ) -> Duration {
        match asked {
            Ok(stream) => self.answered(edge, settings, stream),
            Err(error) => self.failed(settings, &error),
        }
    }

    fn answered(&mut self, edge: &Edge, settings: &CrowdsecSettings, stream: Stream) -> Duration {
        if !self.in_step {
            tracing::info!(url = settings.url, "decisions of CrowdSec are followed");
        }
        tokio::task::block_in_place(|| {
            take(edge, &mut self.known, stream.changes(settings), !self.in_step);
        });
        (self.in_step, self.failures) = (true, 0);
        settings.every.0
    }

    fn failed(&mut self, settings: &CrowdsecSettings, error: &Failed) -> Duration {
        if self.failures == 0 {
            let message = "CrowdSec does not answer; what it decided holds until its end";
            tracing::warn!(url = settings.url, %error, "{message}");
        }
        self.in_step = false;
        self.failures += 1;
        LAST_RETRY.min(LOOK * 2_u32.saturating_pow((self.failures - 1).min(16)))
    }
}

async fn ask(
    edge: &Edge,
    outbound: &Outbound,
    settings: &CrowdsecSettings,
    all: bool,
) -> Result<Stream, Failed> {
    let base = settings.url.trim_end_matches('/');
    let url = format!("{base}/v1/decisions/stream?startup={all}");
    let mut key = HeaderValue::from_str(settings.key.reveal()).map_err(|_error| Failed::Key)?;
    key.set_sensitive(true);
    let mut headers = HeaderMap::new();
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert("x-api-key", key);
    let trust = edge.live().trusts.of(settings.ca.as_deref());
    let call = Call {
        method: Method::GET,
        url: &url,
        headers,
        body: Bytes::new(),
        trust,
        timeout: PATIENCE,
        max_body: MAX_ANSWER,
    };
    let answer = outbound.call(&call).await?;
    if answer.status != StatusCode::OK {
        return Err(Failed::Status(answer.status));
    }
    Ok(tokio::task::block_in_place(|| serde_json::from_slice(&answer.body))?)
}

/// Puts in force what changed; `all` says that `added` is everything there is.
fn take(edge: &Edge, known: &mut Known, change: Change, all: bool) {
    let Change { added, deleted, ignored } = change;
    let live = edge.live();
    let (bans, now) = (live.snapshot.bans(), now(edge.clock()));
    if all {
        known.clear();
    }
    let mut wanted = Vec::with_capacity(added.len());
    for (id, lasts, mut ban) in added {
        ban.since = seconds(now.wall);
        ban.until = Some(ban.since.saturating_add(lasts.as_secs().max(1)));
        known.entry((ban.target.clone(), ban.measure)).or_default().push(id);
        wanted.push(ban);
    }
    let lifted = if all {
        let keep = |target: &Target, measure| known.contains_key(&(target.clone(), measure));
        bans.retain_of(SOURCE, keep, now).len()
    } else {
        let mut over = Vec::new();
        for (id, target, measure) in deleted {
            let key = (target, measure);
            let ids = known.entry(key.clone()).or_default();
            ids.retain(|known| *known != id);
            if ids.is_empty() {
                known.remove(&key);
                over.push((key.0, key.1, SOURCE.into()));
            }
        }
        bans.lift_each(over, now).len()
    };
    let mut examples = Vec::new();
    let tell = |taken: &Ban| {
        if examples.len() < told::EXAMPLES {
            examples.push(taken.clone());
        }
    };
    let (taken, refused) = bans.add_telling(wanted, tell, now);
    for not_taken in refused.iter().take(told::EXAMPLES) {
        tracing::warn!(%not_taken, "a decision of CrowdSec is not taken over");
    }
    if taken > 0 || lifted > 0 {
        told::imported(edge, SOURCE, (taken, lifted, refused.len() + ignored), &examples);
    }
}
