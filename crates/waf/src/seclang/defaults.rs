//! `SecDefaultAction`: what rules of a phase do unless they say otherwise. It holds for the rules
//! behind it.

use super::ast::{Disruptive, Template};
use super::raw::RawAction;

/// One phase's defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Defaults {
    pub(super) disruptive: Disruptive,
    pub(super) status: Option<u16>,
    pub(super) log: bool,
    pub(super) audit_log: bool,
    pub(super) transformations: Vec<String>,
    /// What else every rule does.
    pub(super) more: Vec<RawAction>,
}

impl Default for Defaults {
    fn default() -> Self {
        Self {
            disruptive: Disruptive::Pass,
            status: None,
            log: true,
            audit_log: true,
            transformations: Vec::new(),
            more: Vec::new(),
        }
    }
}

/// Reads the directive's actions: the phase, 1 to 5, and its defaults.
pub(super) fn parse(actions: &[RawAction]) -> Result<(u8, Defaults), String> {
    let mut phase = None;
    let mut defaults = Defaults::default();
    let mut decided = false;
    for action in actions {
        let value = action.value.as_deref().unwrap_or_default();
        match action.name.as_str() {
            "phase" => phase = Some(self::phase(value)?),
            "status" => defaults.status = Some(status(value)?),
            "t" if value.eq_ignore_ascii_case("none") => defaults.transformations.clear(),
            "t" => defaults.transformations.push(value.to_owned()),
            "id" | "chain" | "skip" | "skipafter" | "msg" | "severity" | "ver" | "rev" => {
                return Err(format!("`{}` has no place in SecDefaultAction", action.name));
            }
            "block" => {
                return Err("`block` means what SecDefaultAction says, so it cannot stand \
                                   in one"
                    .to_owned());
            }
            name => {
                if let Some(found) = disruptive(name, value)? {
                    defaults.disruptive = found;
                    decided = true;
                } else if !log(name, &mut defaults.log, &mut defaults.audit_log) {
                    defaults.more.push(action.clone());
                }
            }
        }
    }
    let phase = phase.ok_or("SecDefaultAction needs a phase")?;
    if !decided {
        return Err("SecDefaultAction needs a disruptive action, such as pass or deny".to_owned());
    }
    Ok((phase, defaults))
}

/// Reads a phase's number or name.
pub(super) fn phase(text: &str) -> Result<u8, String> {
    match text.to_ascii_lowercase().as_str() {
        "request" => Ok(2),
        "response" => Ok(4),
        "logging" => Ok(5),
        number => {
            let phase = number.parse().ok().filter(|phase| (1..=5).contains(phase));
            phase.ok_or_else(|| format!("`{text}` is no phase; phases are 1 to 5"))
        }
    }
}

pub(super) fn status(text: &str) -> Result<u16, String> {
    let status = text.parse().ok().filter(|status| (100..=599).contains(status));
    status.ok_or_else(|| format!("`{text}` is no status"))
}

/// Takes `log`, `nolog`, `auditlog` and `noauditlog`; false for anything else.
pub(super) fn log(name: &str, log: &mut bool, audit_log: &mut bool) -> bool {
    match name {
        "log" => (*log, *audit_log) = (true, true),
        "nolog" => (*log, *audit_log) = (false, false),
        "auditlog" => *audit_log = true,
        "noauditlog" => *audit_log = false,
        _ => return false,
    }
    true
}

/// What the name of a disruptive action, `block` apart, stands for.
pub(super) fn disruptive(name: &str, value: &str) -> Result<Option<Disruptive>, String> {
    Ok(Some(match name {
        "allow" => match value.to_ascii_lowercase().as_str() {
            "" => Disruptive::Allow,
            "phase" => Disruptive::AllowPhase,
            "request" => Disruptive::AllowRequest,
            _ => return Err(format!("`allow:{value}`: allow takes `phase` or `request`")),
        },
        "deny" => Disruptive::Deny,
        "drop" => Disruptive::Drop,
        "pass" => Disruptive::Pass,
        "redirect" if value.is_empty() => return Err("`redirect` needs an address".to_owned()),
        "redirect" => Disruptive::Redirect(Template::parse(value)?),
        "proxy" => {
            return Err(
                "`proxy` is not supported: which upstream a request goes to is the route's \
                        business (`to`)"
                    .to_owned(),
            );
        }
        _ => return Ok(None),
    }))
}
