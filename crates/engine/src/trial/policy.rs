//! Recorded events through a response policy: what it would have done, to whom, when.
//!
//! Lines are those of the access log, or of a sink in JSON. What the policy would have refused
//! counts no further, as it would not have: so the ladder and the cap are those of a day on which
//! the rules acted.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::Method;
use serde::Deserialize;
use tidegate_core::clock::ManualClock;
use tidegate_core::decision::{Decision, Measure, Standing, Target};
use tidegate_core::event::{Applied, Identity, WafMatch, WafSummary};
use tidegate_core::reading::{ReadingRules, read_http2_head};
use tidegate_core::{Clock, Event, Notice, NoticeKind, Reason};
use tidegate_guard::ResponsePolicy;
use tidegate_guard::bans::Now;
use tidegate_guard::response::Builtin;

use crate::config::{Config, ConfigErrors};
use crate::snapshot::Snapshot;

/// A policy and how far the recording has come.
#[derive(Debug)]
pub struct Replay {
    policy: Arc<ResponsePolicy>,
    clock: ManualClock,
    /// What was decided, and how many later requests each measure would have met.
    decided: Vec<(Arc<Decision>, u64)>,
    /// The decisions that may still hold.
    open: Vec<usize>,
    /// Requests, notices and requests that a measure would have met.
    counts: Counts,
}

/// What a recording held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests.
    pub requests: u64,
    /// Notices.
    pub notices: u64,
    /// Requests that some measure other than an alert would have met.
    pub met: u64,
    /// How often the cap was reached.
    pub capped: u64,
    /// When the first of them was, and the last.
    pub times: Option<(SystemTime, SystemTime)>,
}

impl Replay {
    /// The policy of a configuration, or the shipped one if it has none. Every rule is taken as
    /// enforced, unless it is to be `as_configured`.
    ///
    /// # Errors
    ///
    /// Everything that makes no sense in the configuration.
    pub fn new(config: &Config, as_configured: bool) -> Result<Self, ConfigErrors> {
        let mut config = config.clone();
        let response = config.settings.response.get_or_insert_default();
        if !as_configured {
            response.rules.values_mut().for_each(|rule| rule.enforce = Some(true));
            if response.builtin == Builtin::DryRun {
                response.builtin = Builtin::Enforce;
            }
        }
        let snapshot = Snapshot::compile(&config, None)?;
        let policy =
            snapshot.response().map(Arc::clone).ok_or_else(|| config.errors(Vec::new()))?;
        let clock = ManualClock::new();
        // So that it knows who is protected; no ban is looked up here.
        snapshot.enforce_bans(&[], now(&clock));
        Ok(Self { policy, clock, decided: Vec::new(), open: Vec::new(), counts: Counts::default() })
    }

    /// The policy.
    #[must_use]
    pub fn policy(&self) -> &ResponsePolicy {
        &self.policy
    }

    /// What was decided, in its order, with how many later requests each measure would have met.
    #[must_use]
    pub fn decided(&self) -> &[(Arc<Decision>, u64)] {
        &self.decided
    }

    /// What the recording held so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The time that the recording has come to.
    #[must_use]
    pub fn now(&self) -> Now {
        now(&self.clock)
    }

    /// Takes one line.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn line(&mut self, text: &str) -> Result<(), BadLine> {
        let line: Line =
            serde_json::from_str(text).map_err(|error| BadLine::Json(error.to_string()))?;
        let time = line.time.as_deref().ok_or(BadLine::Missing("time"))?;
        let time = time.parse::<jiff::Timestamp>().map_err(|_error| BadLine::Time)?;
        let time = SystemTime::from(time);
        let lasted = line.duration_ms.filter(|millis| (0.0..1e9).contains(millis)).unwrap_or(0.0);
        let ended = time + Duration::from_secs_f64(lasted / 1_000.0);
        match &line.notice {
            Some(code) => {
                let notice = line.notice(code, time)?;
                self.move_to(ended);
                self.counts.notices += 1;
                let made = self.policy.observe_notice(&notice, self.now());
                self.take(made);
            }
            None => {
                let client = line.client.ok_or(BadLine::Missing("client"))?;
                let status = line.status.ok_or(BadLine::Missing("status"))?;
                self.move_to(ended);
                self.request(&line, client, status, time);
            }
        }
        Ok(())
    }

    fn request(&mut self, line: &Line, client: IpAddr, status: u16, time: SystemTime) {
        self.counts.requests += 1;
        let waf = line.waf.as_ref().map(Waf::summary);
        let identity = line.auth.as_ref().and_then(Auth::identity);
        let method = line.method.as_deref().and_then(|method| method.parse::<Method>().ok());
        let path = line.path.as_deref().unwrap_or_default();
        let canonical = canonical(path);
        let mut event = Event {
            time,
            request_id: line.request_id.as_deref().unwrap_or_default(),
            client,
            method: method.as_ref(),
            host: line.host.as_deref().unwrap_or_default(),
            path,
            canonical_path: canonical.as_deref().unwrap_or_default(),
            user_agent: line.user_agent.as_deref(),
            referer: line.referer.as_deref(),
            country: line.country.as_deref(),
            asn: line.asn,
            route: line.route.as_deref(),
            upstream: line.upstream.as_deref(),
            endpoint: line.endpoint,
            status,
            upstream_status: line.upstream_status,
            reason: line.reason.as_deref().and_then(reason),
            evidence: line.evidence.as_deref(),
            waf: waf.as_ref(),
            identity: identity.as_ref(),
            credential: line.credential.as_deref(),
            measure: line.measure.as_ref().map(Recorded::applied),
            ..Event::default()
        };
        let by = self.meet(&event).and_then(|index| self.decided.get(index));
        let by = by.map(|(decision, _)| Arc::clone(decision));
        if let Some(decision) = &by {
            event.measure = Some(Applied { measure: decision.measure, rule: &decision.rule });
        }
        let made = self.policy.observe(&event, self.now());
        self.take(made);
    }

    /// Counts the request for the measures that would have met it; answers which one would have
    /// kept it from its upstream.
    fn meet(&mut self, event: &Event<'_>) -> Option<usize> {
        let wall = self.now().wall;
        let (mut kept, mut met) = (None, false);
        let decided = &mut self.decided;
        self.open.retain(|index| {
            let Some((decision, count)) = decided.get_mut(*index) else { return false };
            if decision.until.is_some_and(|until| until <= wall) {
                return false;
            }
            if means(&decision.target, event) {
                *count += 1;
                met = true;
                if matches!(decision.measure, Measure::Block | Measure::Isolate) {
                    kept = Some(*index);
                }
            }
            true
        });
        self.counts.met += u64::from(met);
        kept
    }

    fn take(&mut self, made: Option<tidegate_guard::response::Decisions>) {
        let Some(made) = made else { return };
        let capped = made.notices.iter().filter(|of| of.kind == NoticeKind::EnforcementCapped);
        self.counts.capped += u64::try_from(capped.count()).unwrap_or(0);
        for decision in made.decided {
            let holds =
                decision.standing == Standing::Enforced && decision.measure != Measure::Alert;
            if holds {
                self.open.push(self.decided.len());
            }
            self.decided.push((decision, 0));
        }
    }

    /// Time goes on to the end of a line; lines are written in no exact order.
    fn move_to(&mut self, ended: SystemTime) {
        let before = self.now().wall;
        let second = |time: SystemTime| {
            time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
        };
        self.clock.advance(ended.duration_since(before).unwrap_or_default());
        let wall = self.now().wall;
        let first = self.counts.times.map_or(wall, |(first, _)| first);
        self.counts.times = Some((first, wall));
        if second(wall) != second(before) {
            let made = self.policy.tick(self.now());
            self.take(made);
        }
    }
}

fn now(clock: &ManualClock) -> Now {
    let clock = Clock::Manual(clock.clone());
    Now { instant: clock.now(), wall: clock.wall() }
}

/// A line that is no event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadLine {
    /// It is no JSON, or a field of it is of another type.
    #[error("not an event: {0}")]
    Json(String),
    /// A field is missing.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// The time is none.
    #[error("`time` is not a time such as 2026-11-23T09:30:00.000Z")]
    Time,
    /// The notice is of no kind that there is.
    #[error("`{0}` is no kind of notice")]
    Notice(String),
}

/// Whether a request is of those whom a decision is about.
fn means(target: &Target, event: &Event<'_>) -> bool {
    let is = |provider: &str, id: Option<&str>, party: &tidegate_core::decision::Party| {
        *party.provider == *provider && id == Some(&*party.id)
    };
    match target {
        Target::Network(network) => network.net().contains(&event.client.to_canonical()),
        Target::Subject(party) => {
            event.identity.is_some_and(|who| is(&who.provider, who.subject.as_deref(), party))
        }
        Target::Client(party) => {
            event.identity.is_some_and(|who| is(&who.provider, who.client.as_deref(), party))
        }
        Target::Token(token) => event.credential == Some(token),
        Target::Route(route) => event.route == Some(route),
        // Its requests would have gone to another endpoint.
        Target::Endpoint { .. } | Target::Zone { .. } => false,
    }
}

/// The path as the running binary understood it; records have it as it came.
fn canonical(path: &str) -> Option<String> {
    let uri = format!("https://host.invalid{path}");
    let (parts, ()) = http::Request::builder().uri(uri).body(()).ok()?.into_parts();
    let read = read_http2_head(&parts, &ReadingRules::default()).ok()?;
    Some(read.path.into_owned())
}

fn reason(code: &str) -> Option<Reason> {
    Reason::ALL.iter().copied().find(|reason| reason.code() == code)
}

/// The fields of a line that rules look at; `docs/reference/access-log.md` has them all.
#[derive(Debug, Deserialize)]
struct Line {
    time: Option<String>,
    notice: Option<String>,
    request_id: Option<String>,
    client: Option<IpAddr>,
    method: Option<String>,
    host: Option<String>,
    path: Option<String>,
    user_agent: Option<String>,
    referer: Option<String>,
    country: Option<String>,
    asn: Option<u32>,
    route: Option<String>,
    upstream: Option<String>,
    endpoint: Option<SocketAddr>,
    status: Option<u16>,
    upstream_status: Option<u16>,
    reason: Option<String>,
    evidence: Option<String>,
    duration_ms: Option<f64>,
    measure: Option<Recorded>,
    auth: Option<Auth>,
    credential: Option<String>,
    waf: Option<Waf>,
}

impl Line {
    fn notice(&self, code: &str, time: SystemTime) -> Result<Notice, BadLine> {
        let kind = NoticeKind::ALL.iter().copied().find(|kind| kind.code() == code);
        let kind = kind.ok_or_else(|| BadLine::Notice(code.to_owned()))?;
        let mut notice = Notice::new(time, kind, "");
        notice.client = self.client;
        notice.upstream = self.upstream.as_deref().map(Arc::from);
        notice.endpoint = self.endpoint;
        Ok(notice)
    }
}

#[derive(Debug, Deserialize)]
struct Auth {
    method: Option<String>,
    provider: Option<String>,
    subject: Option<Box<str>>,
    client: Option<Box<str>>,
}

impl Auth {
    fn identity(&self) -> Option<Identity> {
        self.provider.as_ref()?;
        let is_key = self.method.as_deref() == Some("api_key");
        Some(Identity {
            method: if is_key { "api_key" } else { "" },
            provider: self.provider.as_deref().unwrap_or_default().into(),
            subject: self.subject.clone(),
            client: self.client.clone(),
        })
    }
}

/// What was done about the request when it was recorded.
#[derive(Debug, Deserialize)]
struct Recorded {
    name: Measure,
    #[serde(default)]
    rule: String,
}

impl Recorded {
    fn applied(&self) -> Applied<'_> {
        Applied { measure: self.name, rule: &self.rule }
    }
}

#[derive(Debug, Deserialize)]
struct Waf {
    #[serde(default)]
    score: u32,
    #[serde(default)]
    matches: Vec<Match>,
}

#[derive(Debug, Deserialize)]
struct Match {
    rule: u32,
    #[serde(default)]
    tags: Vec<Box<str>>,
}

impl Waf {
    fn summary(&self) -> WafSummary {
        let matched = |of: &Match| WafMatch {
            rule: of.rule,
            tags: of.tags.clone().into(),
            ..WafMatch::default()
        };
        WafSummary {
            score: self.score,
            matches: self.matches.iter().map(matched).collect(),
            ..WafSummary::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = "
listeners: [{ address: 127.0.0.1:0 }]
routes: [{ id: shop, path: /, to: app }]
upstreams: { app: { endpoints: [10.0.0.1:80] } }
";

    fn replay(response: &str, as_configured: bool) -> Replay {
        let config = Config::from_text("test", &format!("{CONFIG}{response}")).unwrap();
        Replay::new(&config, as_configured).unwrap()
    }

    fn line(second: u32, client: &str, rest: &str) -> String {
        let (minute, second) = (second / 60, second % 60);
        let time = format!("2026-11-23T09:{minute:02}:{second:02}.000Z");
        format!(r#"{{"time":"{time}","client":"{client}","status":200,"duration_ms":1.5{rest}}}"#)
    }

    #[test]
    fn a_recorded_attack_is_blocked_and_what_follows_counts_as_met() {
        let mut replay = replay("", false);
        for second in 0..30 {
            replay.line(&line(second, "198.51.100.7", r#","user_agent":"sqlmap/1.8""#)).unwrap();
            replay.line(&line(second, "198.51.100.8", r#","user_agent":"Firefox""#)).unwrap();
        }
        let told: Vec<_> = replay
            .decided()
            .iter()
            .map(|(of, met)| (&*of.rule, of.measure, of.target.to_string(), *met))
            .collect();
        let target = || "198.51.100.7".to_owned();
        let expected = [
            ("attack-tools", Measure::Alert, target(), 0),
            ("attack-tools", Measure::Block, target(), 22),
        ];
        assert_eq!(told, expected);
        assert_eq!((replay.counts().requests, replay.counts().met), (60, 22));
    }

    #[test]
    fn as_configured_a_shipped_rule_only_tells() {
        let mut replay = replay("", true);
        for second in 0..30 {
            replay.line(&line(second, "198.51.100.7", r#","user_agent":"sqlmap/1.8""#)).unwrap();
        }
        let standings: Vec<_> = replay.decided().iter().map(|(of, _)| of.standing).collect();
        assert_eq!(standings, [Standing::DryRun; 2]);
        assert_eq!(replay.counts().met, 0);
    }

    #[test]
    fn notices_are_read_too() {
        let mut replay = replay("", false);
        for second in 0..4 {
            let text = format!(
                r#"{{"time":"2026-11-23T09:00:0{second}.000Z","event":"notice",
                    "notice":"endpoint_ejected","upstream":"app","endpoint":"10.0.0.1:80"}}"#
            );
            replay.line(&text).unwrap();
        }
        let (decision, _) = &replay.decided()[0];
        assert_eq!(decision.target.to_string(), "endpoint 10.0.0.1:80 of app");
        assert_eq!(replay.counts().notices, 4);
    }

    /// What is decided about recorded events, as the running binary writes them, is what is decided
    /// about the events.
    #[test]
    fn a_record_has_what_rules_look_at() {
        use tidegate_core::record::{event, json::Object};
        let mut replay = replay("", false);
        for n in 0..60_u32 {
            let token = format!("{n:064x}");
            let is_secret = n < 20;
            let written = Event {
                client: if is_secret { "198.51.100.7" } else { "198.51.100.8" }.parse().unwrap(),
                request_id: "id",
                path: if is_secret { "/%2eenv" } else { "/" },
                method: Some(&Method::GET),
                status: 401,
                reason: Some(Reason::InvalidToken),
                credential: Some(&token),
                ..Event::default()
            };
            let mut text = Vec::new();
            let mut line = Object::begin(&mut text);
            line.time("time", SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000));
            event::members(&mut line, &written);
            line.end();
            replay.line(std::str::from_utf8(&text).unwrap()).unwrap();
        }
        let mut rules: Vec<&str> = replay.decided().iter().map(|(of, _)| &*of.rule).collect();
        rules.dedup();
        assert_eq!(rules, ["secret-files", "token-guessing"]);
    }

    #[track_caller]
    fn check_bad(text: &str, expected: &str) {
        let error = replay("", false).line(text).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{text}: {error}");
    }

    #[test]
    fn a_bad_line_says_what_is_wrong_with_it() {
        check_bad("not json", "not an event: ");
        check_bad("{}", "`time` is missing");
        check_bad(r#"{"time":"yesterday"}"#, "`time` is not a time");
        let time = r#""time":"2026-11-23T09:30:00.000Z""#;
        check_bad(&format!("{{{time}}}"), "`client` is missing");
        check_bad(&format!(r#"{{{time},"client":"192.0.2.1"}}"#), "`status` is missing");
        check_bad(&format!(r#"{{{time},"client":"nobody","status":200}}"#), "not an event: ");
        check_bad(&format!(r#"{{{time},"notice":"x"}}"#), "`x` is no kind of notice");
    }
}
