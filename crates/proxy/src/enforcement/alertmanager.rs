//! `POST /alertmanager`: webhooks of an Alertmanager, so that whoever watches can act. An alert that
//! names a target by labels or annotations such as `tidegate_network` is a decision while it fires,
//! and is lifted when it is resolved. Alerts that name none are nobody's business here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::{Response, StatusCode};
use serde::Deserialize;
use serde_json::json;
use tidegate_core::decision::{Decision, Evidence, Measure, Standing, Target};
use tidegate_core::units::Span;
use tidegate_guard::bans::target::{Written, is_too_wide};

use super::{carry_out, told};
use crate::admin::{json_answer, text};
use crate::bans::admin::being_handed_over;
use crate::bans::now;
use crate::edge::Edge;

/// The largest body that is read.
pub(crate) const MAX_BODY: usize = 1 << 20;

/// How long a measure lasts that no `tidegate_for` says more about; alerts that go on firing are sent
/// again and prolong it.
const USUAL: Duration = Duration::from_secs(3_600);

/// No measure lasts longer, as with the rules of the policy.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3_600);

/// So many characters of an alert's name are told.
const MAX_NAME: usize = 64;

/// A webhook, version 4; what is of no use here is left out.
#[derive(Debug, Deserialize)]
struct Webhook {
    alerts: Vec<Alert>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Alert {
    status: String,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
}

/// What an alert asks for.
#[derive(Debug, PartialEq)]
struct Order {
    rule: Arc<str>,
    target: Target,
    measure: Measure,
    lasts: Duration,
    fires: bool,
}

/// Does what the alerts say.
pub(crate) fn receive(edge: &Edge, body: &[u8]) -> Response<Vec<u8>> {
    // Alertmanager asks again.
    let Some(_ours) = edge.ban_file().hold() else { return being_handed_over() };
    let webhook: Webhook = match serde_json::from_slice(body) {
        Ok(webhook) => webhook,
        Err(error) => {
            return text(StatusCode::BAD_REQUEST, &format!("this is no webhook: {error}\n"));
        }
    };
    let (mut decided, mut over, mut ignored, mut refused) = (Vec::new(), Vec::new(), 0, Vec::new());
    for alert in &webhook.alerts {
        match alert.order() {
            Ok(Some(order)) if order.fires => decided.push(order.decision(edge)),
            Ok(Some(order)) => over.push(order),
            Ok(None) => ignored += 1,
            Err(error) => refused.push(error),
        }
    }
    let firing = decided.len();
    carry_out::put_in_force(edge, decided);
    let lifted: usize = over.into_iter().map(|order| order.lift(edge)).sum();
    let said = json!({
        "firing": firing, "lifted": lifted, "ignored": ignored, "refused": refused,
    });
    // Alertmanager sends again what gets no 2xx; what is wrong with an alert stays wrong.
    json_answer(StatusCode::OK, &said)
}

impl Alert {
    fn value(&self, name: &str) -> Option<&String> {
        let name = format!("tidegate_{name}");
        self.labels.get(&name).or_else(|| self.annotations.get(&name))
    }

    /// What it asks for, if it is for us.
    fn order(&self) -> Result<Option<Order>, String> {
        let written = Written::from_names(|name| self.value(name).cloned());
        if written == Written::default() {
            return Ok(None);
        }
        let target = written.target().map_err(|error| error.to_string())?;
        let of_upstream = matches!(target, Target::Endpoint { .. } | Target::Zone { .. });
        let measure = match self.value("measure") {
            None if of_upstream => Measure::Isolate,
            None => Measure::Block,
            Some(name) => {
                let measure = Measure::ALL.into_iter().find(|measure| measure.name() == name);
                measure.ok_or_else(|| format!("`{name}` is no measure"))?
            }
        };
        let lasts = match self.value("for") {
            None => USUAL,
            Some(text) => {
                let span: Span = text.parse().map_err(|error| format!("tidegate_for: {error}"))?;
                if span.0 > LONGEST {
                    return Err(format!("tidegate_for: `{text}` is over a year"));
                }
                span.0
            }
        };
        let name = self.labels.get("alertname").map_or("unnamed", String::as_str);
        let name: String = name.chars().take(MAX_NAME).collect();
        let rule = format!("alertmanager/{name}").into();
        Ok(Some(Order { rule, target, measure, lasts, fires: self.status != "resolved" }))
    }
}

impl Order {
    fn decision(self, edge: &Edge) -> Arc<Decision> {
        let time = edge.clock().wall();
        let Self { rule, target, measure, lasts, .. } = self;
        let standing = match is_too_wide(&target) {
            true => Standing::Capped,
            false => Standing::Enforced,
        };
        let evidence = Evidence { count: 1, since: Some(time), samples: Vec::new() };
        let until = time.checked_add(lasts);
        Arc::new(Decision { time, rule, measure, target, until, standing, offence: 1, evidence })
    }

    fn lift(self, edge: &Edge) -> usize {
        let live = edge.live();
        let bans = live.snapshot.bans();
        let (measure, source) = (Some(self.measure), Some(&*self.rule));
        let lifted = bans.lift(&self.target, measure, source, now(edge.clock()));
        for ban in &lifted {
            told::lifted(edge, ban, &self.rule);
        }
        lifted.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(alert: &str, expected: Result<Option<(&str, &str, u64, bool)>, &str>) {
        let alert: Alert = serde_json::from_str(alert).unwrap();
        let found = alert.order();
        let told = found.as_ref().map(|order| {
            order.as_ref().map(|order| {
                (order.target.to_string(), order.measure.name(), order.lasts.as_secs(), order.fires)
            })
        });
        let expected = expected.map(|order| {
            order.map(|(target, measure, lasts, fires)| (target.to_owned(), measure, lasts, fires))
        });
        assert_eq!(told.map_err(String::as_str), expected);
    }

    #[test]
    fn labels_and_annotations_name_target_measure_and_time() {
        check(r#"{"status":"firing","labels":{"alertname":"Flood"}}"#, Ok(None));
        check(
            r#"{"status":"firing","labels":{"alertname":"Flood","tidegate_network":"192.0.2.7"}}"#,
            Ok(Some(("192.0.2.7", "block", 3_600, true))),
        );
        check(
            r#"{"status":"resolved","labels":{"tidegate_measure":"throttle","tidegate_for":"10m"},
                "annotations":{"tidegate_subject":"ann","tidegate_provider":"corp"}}"#,
            Ok(Some(("subject ann of corp", "throttle", 600, false))),
        );
        check(
            r#"{"labels":{"tidegate_zone":"a","tidegate_upstream":"api"}}"#,
            Ok(Some(("zone a of api", "isolate", 3_600, true))),
        );
        check(
            r#"{"labels":{"tidegate_route":"pay","tidegate_measure":"jail"}}"#,
            Err("`jail` is no measure"),
        );
        check(r#"{"labels":{"tidegate_zone":"a"}}"#, Err("zone needs upstream beside it"));
        check(
            r#"{"labels":{"tidegate_route":"pay","tidegate_for":"9000d"}}"#,
            Err("tidegate_for: `9000d` is over a year"),
        );
    }
}
