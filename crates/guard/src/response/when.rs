//! Conditions, compiled; the cheap ones are looked at first.

use http::{HeaderName, Method};
use regex::bytes::Regex;
use tidegate_core::event::WafSummary;
use tidegate_core::units::StatusRange;
use tidegate_core::{Event, Fault, NoticeKind, Reason, SettingsError};

use super::seen::{Seen, What};
use super::settings::WhenSettings;

/// What must be known to tell whether conditions make sense.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known<'a> {
    pub(super) routes: &'a [&'a str],
    /// Whether countries and autonomous systems are known.
    pub(super) geo: (bool, bool),
}

/// Conditions that must all hold.
#[derive(Debug)]
pub(super) struct When {
    /// A bit for each; none means any.
    reasons: u128,
    notices: u64,
    status: Box<[StatusRange]>,
    settings: WhenSettings,
    methods: Box<[Method]>,
    path: Option<Regex>,
    evidence: Option<Regex>,
    headers: Box<[(HeaderName, Regex)]>,
}

impl When {
    pub(super) fn compile(
        settings: &WhenSettings,
        known: Known<'_>,
    ) -> Result<Self, Vec<SettingsError>> {
        let mut errors = Vec::new();
        let reasons = bits(&settings.reasons, "reasons", REASONS, &mut errors);
        let notices = bits(&settings.notices, "notices", NOTICES, &mut errors);
        let path = settings.path.as_deref().and_then(|path| regex(path, &["path"], &mut errors));
        let evidence = settings.evidence.as_deref();
        let evidence = evidence.and_then(|text| regex(text, &["evidence"], &mut errors));
        let headers = settings.headers.iter().filter_map(|(name, value)| {
            let value = regex(value, &["headers", name], &mut errors)?;
            Some((name.clone(), value))
        });
        let headers: Vec<(String, Regex)> = headers.collect();
        let named = headers.into_iter().filter_map(|(name, value)| match name.parse() {
            Ok(parsed) => Some((parsed, value)),
            Err(_) => {
                let message = format!("`{name}` is not the name of a header");
                errors.push(SettingsError::new(["headers", &name], message));
                None
            }
        });
        let headers = named.collect();
        let methods = methods(&settings.methods, &mut errors);
        check(settings, known, &mut errors);
        if !errors.is_empty() {
            return Err(errors);
        }
        Ok(Self {
            reasons,
            notices: u64::try_from(notices).unwrap_or(u64::MAX),
            status: settings.status.clone().into(),
            settings: settings.clone(),
            methods,
            path,
            evidence,
            headers,
        })
    }

    /// Whether it is about notices, and not about requests.
    pub(super) fn is_about_notices(&self) -> bool {
        self.notices != 0
    }

    /// Whether all of them hold.
    pub(super) fn holds(&self, seen: &Seen<'_>) -> bool {
        match seen.what {
            What::Request(event) => self.notices == 0 && self.holds_of_request(event, seen),
            What::Notice(notice) => {
                self.notices & (1 << (notice.kind as u32)) != 0 && self.upstream(seen)
            }
        }
    }

    fn holds_of_request(&self, event: &Event<'_>, seen: &Seen<'_>) -> bool {
        let settings = &self.settings;
        let status = answered(event);
        let reason = |reason| self.reasons & (1 << (reason as u32)) != 0;
        (self.reasons == 0 || event.reason.is_some_and(reason))
            && (self.status.is_empty() || self.status.iter().any(|range| range.contains(status)))
            && self.holds_of_firewall(event.waf)
            && any(&settings.routes, |route| Some(route.as_str()) == event.route)
            && self.upstream(seen)
            && any(&self.methods, |method| Some(method) == event.method)
            && settings.refused.is_none_or(|refused| refused == is_refused(event))
            && settings.identified.is_none_or(|known| known == event.identity.is_some())
            && any(&settings.subjects, |subject| {
                let shown = event.identity.and_then(|identity| identity.subject.as_deref());
                shown == Some(subject)
            })
            && self.path.as_ref().is_none_or(|path| path.is_match(path_of(event).as_bytes()))
            && self.evidence.as_ref().is_none_or(|evidence| {
                event.evidence.is_some_and(|found| evidence.is_match(found.as_bytes()))
            })
            && self
                .headers
                .iter()
                .all(|(name, value)| seen.header(name).is_some_and(|shown| value.is_match(shown)))
            && any(&settings.countries, |country| seen.place().country == Some(country.as_str()))
            && any(&settings.asns, |asn| seen.place().asn == Some(*asn))
    }

    fn holds_of_firewall(&self, found: Option<&WafSummary>) -> bool {
        let WhenSettings { rules, tags, score, .. } = &self.settings;
        if rules.is_empty() && tags.is_empty() && score.is_none() {
            return true;
        }
        let Some(found) = found else { return false };
        score.is_none_or(|score| found.score >= score)
            && any(rules, |rule| found.matches.iter().any(|matched| matched.rule == *rule))
            && any(tags, |tag| {
                found.matches.iter().flat_map(|matched| &*matched.tags).any(|of| is_tag(of, tag))
            })
    }

    fn upstream(&self, seen: &Seen<'_>) -> bool {
        any(&self.settings.upstreams, |upstream| Some(upstream.as_str()) == seen.upstream())
    }
}

/// The status that tells what came of it: a client that leaves before it has read the answer, or
/// reads it too slowly, does not hide what the upstream said.
pub(super) fn answered(event: &Event<'_>) -> u16 {
    event.upstream_status.filter(|_| !is_refused_here(event)).unwrap_or(event.status)
}

/// Whether it was refused or failed here, rather than answered by its upstream.
pub(super) fn is_refused(event: &Event<'_>) -> bool {
    let ours = event.reason.is_some_and(|reason| reason != Reason::ClientClosed);
    ours && (event.upstream_status.is_none() || is_refused_here(event))
}

fn is_refused_here(event: &Event<'_>) -> bool {
    let is_ours = |reason: Reason| matches!(reason.fault(), Fault::Client | Fault::Policy);
    event.reason.is_some_and(|reason| reason != Reason::ClientClosed && is_ours(reason))
}

/// The path as it was understood: who spells it in another way asks for the same.
pub(super) fn path_of<'a>(event: &Event<'a>) -> &'a str {
    if event.canonical_path.is_empty() { event.path } else { event.canonical_path }
}

/// Whether there is nothing to choose from, or one fits.
fn any<T>(list: &[T], fits: impl FnMut(&T) -> bool) -> bool {
    list.is_empty() || list.iter().any(fits)
}

fn is_tag(tag: &str, wanted: &str) -> bool {
    wanted.strip_suffix('*').map_or(tag == wanted, |beginning| tag.starts_with(beginning))
}

type Codes = fn() -> Vec<&'static str>;

const REASONS: Codes = || Reason::ALL.iter().map(|reason| reason.code()).collect();
const NOTICES: Codes = || NoticeKind::ALL.iter().map(|kind| kind.code()).collect();

fn bits(names: &[String], field: &str, codes: Codes, errors: &mut Vec<SettingsError>) -> u128 {
    let mut bits = 0;
    if names.is_empty() {
        return bits;
    }
    let codes = codes();
    for (index, name) in names.iter().enumerate() {
        match codes.iter().position(|code| code == name) {
            Some(bit) => bits |= 1 << bit,
            None => {
                let message = format!("`{name}` is none of the {field}");
                let error = SettingsError::new([field, &index.to_string()], message);
                let error = error.with_hint(format!("write one of {}", codes.join(", ")));
                errors.push(error.meaning(name, codes.iter().copied()));
            }
        }
    }
    bits
}

fn regex(text: &str, path: &[&str], errors: &mut Vec<SettingsError>) -> Option<Regex> {
    let compiled = regex::bytes::RegexBuilder::new(text).size_limit(1 << 20).build();
    let failed = |error: regex::Error| {
        let lines = error.to_string();
        let what = lines.lines().last().unwrap_or_default().trim_start_matches("error: ");
        errors.push(SettingsError::new(
            path.iter().copied(),
            format!("`{text}` is not a regular expression: {what}"),
        ));
    };
    compiled.map_err(failed).ok()
}

fn methods(names: &[String], errors: &mut Vec<SettingsError>) -> Box<[Method]> {
    let method = |(index, name): (usize, &String)| {
        let method = name.parse().ok().filter(|_| *name == name.to_ascii_uppercase());
        if method.is_none() {
            let message = format!("`{name}` is not a method");
            let error = SettingsError::new(["methods", &index.to_string()], message);
            errors.push(error.with_hint("write it in capital letters, such as POST"));
        }
        method
    };
    names.iter().enumerate().filter_map(method).collect()
}

fn check(settings: &WhenSettings, known: Known<'_>, errors: &mut Vec<SettingsError>) {
    for (index, route) in settings.routes.iter().enumerate() {
        if !known.routes.contains(&route.as_str()) {
            let message = format!("no route has the id `{route}`");
            let error = SettingsError::new(["routes", &index.to_string()], message);
            errors.push(error.meaning(route, known.routes.iter().copied()));
        }
    }
    for (index, country) in settings.countries.iter().enumerate() {
        if country.len() != 2 || !country.bytes().all(|b| b.is_ascii_uppercase()) {
            let message = format!("`{country}` is not a country");
            let error = SettingsError::new(["countries", &index.to_string()], message);
            errors.push(error.with_hint("write its two capital letters, such as DE"));
        }
    }
    let places = [
        ("countries", settings.countries.is_empty(), known.geo.0, "country"),
        ("asns", settings.asns.is_empty(), known.geo.1, "asn"),
    ];
    for (field, is_empty, is_known, database) in places {
        if !is_empty && !is_known {
            let error = SettingsError::new([field], "nothing tells where an address is");
            errors.push(error.with_hint(format!("name a database in `response.geo.{database}`")));
        }
    }
    if settings.notices.is_empty() {
        return;
    }
    let WhenSettings { notices, upstreams, .. } = settings.clone();
    if *settings != (WhenSettings { notices, upstreams, ..WhenSettings::default() }) {
        let message = "conditions on requests stand beside `notices`, which are none";
        errors.push(SettingsError::new(["notices"], message).with_hint("make two rules of it"));
    }
}

/// Whether no condition is given at all.
pub(super) fn is_empty(settings: &WhenSettings) -> bool {
    *settings == WhenSettings::default()
}
