//! What a policy's settings say to SecLang's rules: the variables of TX that the Core Rule Set
//! reads, by the names of its releases 3 and 4.

use tidegate_core::SettingsError;

use super::level;
use crate::rules::RuleSet;
use crate::settings::WafSettings;

const PARANOIA: [&str; 2] = ["blocking_paranoia_level", "paranoia_level"];
const DETECTION: [&str; 2] = ["detection_paranoia_level", "executing_paranoia_level"];
const INBOUND: [&str; 1] = ["inbound_anomaly_score_threshold"];
const OUTBOUND: [&str; 1] = ["outbound_anomaly_score_threshold"];

/// The variables with their values. A setting that no rule can see is a mistake, if the rules are
/// known.
pub(super) fn of(
    settings: &WafSettings,
    rules: Option<&RuleSet>,
    errors: &mut Vec<SettingsError>,
) -> Vec<(&'static str, u32)> {
    let paranoia = level("paranoia", settings.paranoia, errors);
    let detection = level("detection_paranoia", settings.detection_paranoia, errors);
    if paranoia.is_some() && detection.is_some() && detection < paranoia {
        let message = "rules that count have to run: it is less than `paranoia`";
        errors.push(SettingsError::new(["detection_paranoia"], message));
    }
    for (key, given, usual) in [
        ("threshold", settings.threshold, 5),
        ("outbound_threshold", settings.outbound_threshold, 4),
    ] {
        if given == Some(0) {
            let error = SettingsError::new([key], "0 would refuse everything");
            errors.push(error.with_hint(format!("usual is {usual}, that of one critical rule")));
        }
    }
    let mut values = Vec::new();
    let mut say = |key: &'static str, value: Option<u32>, names: &[&'static str], seen: bool| {
        let Some(value) = value else { return };
        let knows =
            |rules: &RuleSet| names.iter().any(|name| rules.program.slots.find(name).is_some());
        if !seen && !rules.is_none_or(knows) {
            let error = SettingsError::new([key], "no rule here looks at it");
            errors.push(error.with_hint(hint(key)));
        }
        values.extend(names.iter().map(|name| (*name, value)));
    };
    let own = rules.is_none_or(RuleSet::has_own);
    say("paranoia", paranoia.map(u32::from), &PARANOIA, false);
    say(
        "detection_paranoia",
        detection.or(paranoia).map(u32::from),
        &DETECTION,
        detection.is_none(),
    );
    say("threshold", settings.threshold, &INBOUND, own);
    say("outbound_threshold", settings.outbound_threshold, &OUTBOUND, false);
    values
}

fn hint(key: &str) -> &'static str {
    match key {
        "paranoia" | "detection_paranoia" => {
            "it is for the rules of `crs`; the built-in ones have `sensitivity`"
        }
        _ => "it is for the rules of `crs`",
    }
}
