//! What CrowdSec's Local API says: decisions that are new and such that are deleted, each about an
//! address or a range. Other scopes (countries, autonomous systems) are not ours to enforce.

use std::net::IpAddr;
use std::time::Duration;

use serde::Deserialize;
use serde::de::IgnoredAny;
use tidegate_core::decision::{Measure, Target};
use tidegate_core::net::Network;
use tidegate_guard::Ban;
use tidegate_guard::bans::CrowdsecSettings;
use tidegate_guard::bans::target::is_too_wide;

use super::SOURCE;

/// An answer; either list may be `null`. One without `new` is not CrowdSec's, and must not be taken
/// for its word that nobody is banned.
#[derive(Debug, Deserialize)]
pub(super) struct Stream {
    #[serde(deserialize_with = "Option::deserialize")]
    new: Option<Vec<Listed>>,
    #[serde(default)]
    deleted: Option<Vec<Listed>>,
}

/// What stands in a list: one entry that cannot be read does not hurt the others.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Listed {
    Decided(Decided),
    Unreadable(IgnoredAny),
}

/// One decision.
#[derive(Debug, Deserialize)]
struct Decided {
    #[serde(default)]
    id: i64,
    #[serde(default)]
    duration: String,
    #[serde(default)]
    scope: String,
    value: String,
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    scenario: String,
}

/// What follows from an answer.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Change {
    /// Bans without their times, with the decision's id and how long it lasts.
    pub(super) added: Vec<(i64, Duration, Ban)>,
    /// Decisions that are no more.
    pub(super) deleted: Vec<(i64, Target, Measure)>,
    /// How many are not for us.
    pub(super) ignored: usize,
}

impl Stream {
    pub(super) fn changes(self, settings: &CrowdsecSettings) -> Change {
        let mut change = Change::default();
        for listed in self.new.unwrap_or_default() {
            let Listed::Decided(decided) = listed else {
                change.ignored += 1;
                continue;
            };
            match (decided.about(settings), go_duration(&decided.duration)) {
                (Some((target, measure)), Some(lasts)) => {
                    let ban = Ban {
                        target,
                        measure,
                        until: None,
                        since: 0,
                        source: SOURCE.into(),
                        reason: decided.scenario.into(),
                    };
                    change.added.push((decided.id, lasts, ban));
                }
                _ => change.ignored += 1,
            }
        }
        for listed in self.deleted.unwrap_or_default() {
            if let Listed::Decided(decided) = listed
                && let Some((target, measure)) = decided.about(settings)
            {
                change.deleted.push((decided.id, target, measure));
            }
        }
        change
    }
}

impl Decided {
    fn about(&self, settings: &CrowdsecSettings) -> Option<(Target, Measure)> {
        let measure = match self.kind.as_str() {
            "ban" => Measure::Block,
            "captcha" => settings.captcha?,
            _ => return None,
        };
        let network = match self.scope.to_ascii_lowercase().as_str() {
            "ip" => Network::from(self.value.parse::<IpAddr>().ok()?),
            // Ranges may come with bits set below their prefix.
            "range" => Network::from(self.value.parse::<ipnet::IpNet>().ok()?),
            _ => return None,
        };
        let target = Target::Network(network);
        (!is_too_wide(&target)).then_some((target, measure))
    }
}

/// Go's way to write a duration, such as `3h59m49.5s`; `None` if it is over or unreadable.
fn go_duration(text: &str) -> Option<Duration> {
    let (mut rest, mut total) = (text, 0.0);
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at_checked(digits)?;
        let unit = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at_checked(unit)?;
        let size = match unit {
            "h" => 3_600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        total += number.parse::<f64>().ok()? * size;
        rest = after;
    }
    Duration::try_from_secs_f64(total).ok().filter(|duration| !duration.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> CrowdsecSettings {
        let text = r#"{"url":"http://127.0.0.1:8080","key":"k"}"#;
        serde_json::from_str(text).unwrap()
    }

    #[track_caller]
    fn check(text: &str, expected: Option<Duration>) {
        assert_eq!(go_duration(text), expected, "{text}");
    }

    #[test]
    fn durations_are_written_as_go_does() {
        check("3h59m49.5s", Some(Duration::from_millis(14_389_500)));
        check("250ms", Some(Duration::from_millis(250)));
        check("167h59m59.999999999s", Some(Duration::from_nanos(604_799_999_999_999)));
        for text in ["", "-3h", "5", "h", "5x", "0s", "5m-3s"] {
            check(text, None);
        }
    }

    #[test]
    fn bans_of_addresses_and_ranges_are_taken() {
        let text = r#"{"deleted":null,"new":[
            {"duration":"4h","id":1,"origin":"cscli","scenario":"manual","scope":"Ip","type":"ban","value":"192.0.2.7"},
            {"duration":"4h","id":2,"scenario":"s","scope":"Range","type":"ban","value":"198.51.100.9/24"},
            {"duration":"4h","id":3,"scenario":"s","scope":"Range","type":"ban","value":"0.0.0.0/0"},
            {"duration":"4h","id":4,"scenario":"s","scope":"Country","type":"ban","value":"XX"},
            {"duration":"-4s","id":5,"scenario":"s","scope":"Ip","type":"ban","value":"192.0.2.8"},
            {"duration":"4h","id":6,"scenario":"s","scope":"Ip","type":"captcha","value":"192.0.2.9"}]}"#;
        let stream: Stream = serde_json::from_str(text).unwrap();
        let change = stream.changes(&settings());
        let told: Vec<_> =
            change.added.iter().map(|(id, _, ban)| format!("{id} {}", ban.target)).collect();
        assert_eq!(told, ["1 192.0.2.7", "2 198.51.100.0/24"]);
        assert_eq!((change.ignored, &*change.added[0].2.reason), (4, "manual"));
        let stream: Stream = serde_json::from_str(text).unwrap();
        let captcha = CrowdsecSettings { captcha: Some(Measure::Throttle), ..settings() };
        let change = stream.changes(&captcha);
        assert_eq!(change.added[2].2.measure, Measure::Throttle);
    }

    #[test]
    fn an_entry_that_cannot_be_read_does_not_hurt_the_others() {
        let text = r#"{"new":[
            {"duration":"4h","id":1,"scenario":null,"scope":"Ip","type":"ban","value":"192.0.2.7"},
            "nonsense",
            {"duration":"4h","id":2,"scenario":"s","scope":"Ip","type":"ban","value":"192.0.2.8"}]}"#;
        let stream: Stream = serde_json::from_str(text).unwrap();
        let change = stream.changes(&settings());
        assert_eq!((change.added.len(), change.ignored), (1, 2));
    }

    #[test]
    fn an_answer_without_decisions_is_none() {
        for text in ["{}", r#"{"message":"ok"}"#, r#"{"deleted":null}"#, "[]", "null"] {
            assert!(serde_json::from_str::<Stream>(text).is_err(), "{text}");
        }
        for text in [r#"{"new":null}"#, r#"{"new":[],"deleted":[]}"#] {
            assert!(serde_json::from_str::<Stream>(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn what_is_deleted_is_named() {
        let text = r#"{"new":null,"deleted":[{"duration":"-1s","id":1,"scope":"Ip","type":"ban","value":"::1"}]}"#;
        let stream: Stream = serde_json::from_str(text).unwrap();
        let change = stream.changes(&settings());
        assert_eq!(change.deleted.len(), 1);
        assert!(change.added.is_empty() && change.ignored == 0);
    }
}
