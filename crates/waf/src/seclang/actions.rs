//! Actions with a meaning of their own: `setvar`, `ctl`, collections, severity.

use super::ast::{
    Action, AuditEngine, BodyProcessor, Change, Collection, Ctl, IdRange, Pattern, RuleEngine,
    Sanitise, SetVar, Severity, Template,
};
use super::error::unknown;
use super::raw::RawAction;
use super::variables;

/// What an action turned out to be.
pub(super) enum Parsed {
    Action(Action),
    /// Accepted, without an effect here; why.
    Ignored(&'static str),
}

/// Every action, for suggestions.
pub(super) const NAMES: [&str; 47] = [
    "accuracy",
    "allow",
    "append",
    "auditlog",
    "block",
    "capture",
    "chain",
    "ctl",
    "deny",
    "deprecatevar",
    "drop",
    "exec",
    "expirevar",
    "id",
    "initcol",
    "log",
    "logdata",
    "maturity",
    "msg",
    "multiMatch",
    "noauditlog",
    "nolog",
    "pass",
    "pause",
    "phase",
    "prepend",
    "proxy",
    "redirect",
    "rev",
    "sanitiseArg",
    "sanitiseMatched",
    "sanitiseMatchedBytes",
    "sanitiseRequestHeader",
    "sanitiseResponseHeader",
    "setenv",
    "setrsc",
    "setsid",
    "setuid",
    "setvar",
    "severity",
    "skip",
    "skipAfter",
    "status",
    "t",
    "tag",
    "ver",
    "xmlns",
];

/// Reads an action that stands for itself; `None` for those that the rule as a whole has.
#[expect(clippy::cognitive_complexity, reason = "a table of actions, one arm each")]
pub(super) fn parse(action: &RawAction) -> Result<Parsed, String> {
    let value = || {
        let value = action.value.as_deref().filter(|value| !value.is_empty());
        value.ok_or_else(|| format!("`{}` needs a value", action.name))
    };
    let found = match action.name.as_str() {
        "setvar" => Action::SetVar(set_var(value()?)?),
        "ctl" => return ctl(value()?),
        "initcol" => {
            let value = value()?;
            let (name, key) = value.split_once('=').ok_or("`initcol` needs a `=`")?;
            Action::InitCol { collection: collection(name)?, key: Template::parse(key)? }
        }
        "setsid" => {
            Action::InitCol { collection: Collection::Session, key: Template::parse(value()?)? }
        }
        "setuid" => {
            Action::InitCol { collection: Collection::User, key: Template::parse(value()?)? }
        }
        "setrsc" => {
            Action::InitCol { collection: Collection::Resource, key: Template::parse(value()?)? }
        }
        "expirevar" => {
            let (collection, name, seconds) = timed(value()?, "expirevar")?;
            Action::ExpireVar { collection, name, seconds }
        }
        "deprecatevar" => {
            let (collection, name, value) = timed(value()?, "deprecatevar")?;
            Action::DeprecateVar { collection, name, value }
        }
        "setenv" => {
            let value = value()?;
            let (name, value) = value.split_once('=').unwrap_or((value, ""));
            Action::SetEnv { name: Template::parse(name)?, value: Template::parse(value)? }
        }
        "exec" => return Err("`exec` is not supported: no program runs on a request".to_owned()),
        "append" | "prepend" => {
            return Ok(Parsed::Ignored("content is not injected into responses"));
        }
        "pause" => return Ok(Parsed::Ignored("a request is never held up")),
        "sanitisearg" | "sanitizearg" => Action::Sanitise(Sanitise::Argument(value()?.into())),
        "sanitisematched" | "sanitisematchedbytes" | "sanitizematched" | "sanitizematchedbytes" => {
            Action::Sanitise(Sanitise::Matched)
        }
        "sanitiserequestheader" | "sanitizerequestheader" => {
            Action::Sanitise(Sanitise::RequestField(value()?.into()))
        }
        "sanitiseresponseheader" | "sanitizeresponseheader" => {
            Action::Sanitise(Sanitise::ResponseField(value()?.into()))
        }
        "xmlns" => return Ok(Parsed::Ignored("XPath here knows `/*` and `//@*` only")),
        name => return Err(unknown("action", name, NAMES)),
    };
    Ok(Parsed::Action(found))
}

fn set_var(text: &str) -> Result<SetVar, String> {
    let (removed, text) = match text.strip_prefix('!') {
        Some(text) => (true, text),
        None => (false, text),
    };
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name.trim(), Some(value)),
        None => (text.trim(), None),
    };
    let (collection, name) = variable(name, "setvar")?;
    let change = match value {
        _ if removed => Change::Remove,
        None => Change::Set(Template::text("1")),
        Some(value) => match (value.strip_prefix('+'), value.strip_prefix('-')) {
            (Some(value), _) => Change::Add(Template::parse(value)?),
            (_, Some(value)) => Change::Subtract(Template::parse(value)?),
            _ => Change::Set(Template::parse(value)?),
        },
    };
    Ok(SetVar { collection, name, change })
}

/// `collection.name`.
fn variable(text: &str, action: &str) -> Result<(Collection, Template), String> {
    let dotted = text.split_once('.').or_else(|| text.split_once(':'));
    let (name, key) =
        dotted.ok_or_else(|| format!("`{action}:{text}`: a variable looks like `tx.name`"))?;
    Ok((collection(name)?, Template::parse(key)?.lowercase()))
}

fn timed(text: &str, action: &str) -> Result<(Collection, Template, Template), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| format!("`{action}` needs a `=`"))?;
    let (collection, name) = variable(name.trim(), action)?;
    Ok((collection, name, Template::parse(value)?))
}

fn collection(name: &str) -> Result<Collection, String> {
    Ok(match name.trim().to_ascii_lowercase().as_str() {
        "global" => Collection::Global,
        "ip" => Collection::Ip,
        "resource" => Collection::Resource,
        "session" => Collection::Session,
        "tx" => Collection::Tx,
        "user" => Collection::User,
        other => {
            let known = ["global", "ip", "resource", "session", "tx", "user"];
            return Err(unknown("collection that rules can write", other, known));
        }
    })
}

pub(super) fn severity(text: &str) -> Result<Severity, String> {
    let by_number = text.parse::<usize>().ok().and_then(|n| Severity::ALL.get(n).copied());
    let by_name = || Severity::ALL.into_iter().find(|s| s.name().eq_ignore_ascii_case(text));
    by_number
        .or_else(by_name)
        .ok_or_else(|| unknown("severity", text, Severity::ALL.into_iter().map(Severity::name)))
}

const CTLS: [&str; 21] = [
    "auditEngine",
    "auditLogParts",
    "debugLogLevel",
    "forceRequestBodyVariable",
    "hashEnforcement",
    "hashEngine",
    "parseXmlIntoArgs",
    "requestBodyAccess",
    "requestBodyLimit",
    "requestBodyProcessor",
    "responseBodyAccess",
    "responseBodyLimit",
    "responseBodyProcessor",
    "ruleEngine",
    "ruleRemoveById",
    "ruleRemoveByMsg",
    "ruleRemoveByTag",
    "ruleRemoveTargetById",
    "ruleRemoveTargetByMsg",
    "ruleRemoveTargetByTag",
    "forceResponseBodyVariable",
];

#[expect(clippy::cognitive_complexity, reason = "a table of controls, one arm each")]
fn ctl(text: &str) -> Result<Parsed, String> {
    let (name, value) = text.split_once('=').ok_or("`ctl` needs a `=`")?;
    let (name, value) = (name.trim(), value.trim());
    let found = match name.to_ascii_lowercase().as_str() {
        "auditengine" => Ctl::AuditEngine(audit_engine(value)?),
        "forcerequestbodyvariable" => Ctl::ForceRequestBodyVariable(on_off(value)?),
        "requestbodyaccess" => Ctl::RequestBodyAccess(on_off(value)?),
        "requestbodylimit" => Ctl::RequestBodyLimit(number(value)?),
        "requestbodyprocessor" => Ctl::RequestBodyProcessor(body_processor(value)?),
        "responsebodyaccess" => Ctl::ResponseBodyAccess(on_off(value)?),
        "responsebodylimit" => Ctl::ResponseBodyLimit(number(value)?),
        "ruleengine" => Ctl::RuleEngine(rule_engine(value)?),
        "ruleremovebyid" => Ctl::RemoveById(id_range(value)?),
        "ruleremovebymsg" => Ctl::RemoveByMsg(Pattern::new(value)),
        "ruleremovebytag" => Ctl::RemoveByTag(Pattern::new(value)),
        "ruleremovetargetbyid" => {
            let (ids, target) = target(value, name)?;
            Ctl::RemoveTargetById(id_range(ids)?, variables::variable(target)?)
        }
        "ruleremovetargetbymsg" => {
            let (msg, target) = target(value, name)?;
            Ctl::RemoveTargetByMsg(Pattern::new(msg), variables::variable(target)?)
        }
        "ruleremovetargetbytag" => {
            let (tag, target) = target(value, name)?;
            Ctl::RemoveTargetByTag(Pattern::new(tag), variables::variable(target)?)
        }
        "auditlogparts" => return Ok(Parsed::Ignored("audit records have no parts to choose")),
        "debugloglevel" => return Ok(Parsed::Ignored("there is no debug log per request")),
        "hashengine" | "hashenforcement" => {
            return Ok(Parsed::Ignored("links are not signed with hashes"));
        }
        "parsexmlintoargs" => {
            return Ok(Parsed::Ignored("XML is looked at as XML:/* and XML://@*"));
        }
        "responsebodyprocessor" | "forceresponsebodyvariable" => {
            return Ok(Parsed::Ignored("response bodies are looked at as text"));
        }
        _ => return Err(unknown("ctl", name, CTLS)),
    };
    Ok(Parsed::Action(Action::Ctl(found)))
}

fn target<'t>(text: &'t str, name: &str) -> Result<(&'t str, &'t str), String> {
    let parts = text.split_once(';').map(|(rules, target)| (rules.trim(), target.trim()));
    parts.ok_or_else(|| format!("`ctl:{name}` takes rules and a variable, such as `1;ARGS:a`"))
}

/// `942100` or `942100-942199`.
pub(super) fn id_range(text: &str) -> Result<IdRange, String> {
    let id = |text: &str| {
        let text = text.trim().trim_matches(['\'', '"']);
        text.parse::<u32>().map_err(|_error| format!("`{text}` is no rule id"))
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let range = IdRange { first: id(first)?, last: id(last)? };
    if range.first > range.last {
        return Err(format!("the range `{text}` ends before it begins"));
    }
    Ok(range)
}

pub(super) fn on_off(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(format!("`{text}` is neither On nor Off")),
    }
}

pub(super) fn number<N: std::str::FromStr>(text: &str) -> Result<N, String> {
    text.parse().map_err(|_error| format!("`{text}` is no number that fits here"))
}

pub(super) fn rule_engine(text: &str) -> Result<RuleEngine, String> {
    match text.to_ascii_lowercase().as_str() {
        "on" => Ok(RuleEngine::On),
        "off" => Ok(RuleEngine::Off),
        "detectiononly" => Ok(RuleEngine::DetectionOnly),
        _ => Err(unknown("state of the rule engine", text, ["On", "Off", "DetectionOnly"])),
    }
}

fn audit_engine(text: &str) -> Result<AuditEngine, String> {
    match text.to_ascii_lowercase().as_str() {
        "on" => Ok(AuditEngine::On),
        "off" => Ok(AuditEngine::Off),
        "relevantonly" => Ok(AuditEngine::RelevantOnly),
        _ => Err(unknown("state of the audit engine", text, ["On", "Off", "RelevantOnly"])),
    }
}

fn body_processor(text: &str) -> Result<BodyProcessor, String> {
    let known = ["JSON", "MULTIPART", "RAW", "URLENCODED", "XML"];
    Ok(match text.to_ascii_uppercase().as_str() {
        "JSON" => BodyProcessor::Json,
        "MULTIPART" => BodyProcessor::Multipart,
        "RAW" => BodyProcessor::Raw,
        "URLENCODED" => BodyProcessor::UrlEncoded,
        "XML" => BodyProcessor::Xml,
        _ => return Err(unknown("body processor", text, known)),
    })
}
