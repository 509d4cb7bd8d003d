//! Directives about the engine: those that mean something here, those that do not, and why.

use super::actions::{number, on_off, rule_engine};
use super::ast::{EngineSettings, LimitAction};

/// What a directive says of one that has no effect.
pub(super) type Outcome = Result<Option<&'static str>, String>;

type Apply = fn(&[&str], &mut EngineSettings) -> Outcome;

/// Takes a directive, its name in lower case; `None` if there is none of that name.
pub(super) fn directive(
    name: &str,
    words: &[&str],
    settings: &mut EngineSettings,
) -> Option<Outcome> {
    if let Some((_, apply)) = HONOURED.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
        return Some(apply(words, settings));
    }
    if let Some((_, why)) = REFUSED.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
        return Some(Err((*why).to_owned()));
    }
    let ignored = IGNORED.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    ignored.map(|(_, why)| Ok(Some(*why)))
}

/// Every directive's name.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    let honoured = HONOURED.iter().map(|(name, _)| *name);
    honoured.chain(IGNORED.iter().chain(REFUSED).map(|(name, _)| *name))
}

const HONOURED: &[(&str, Apply)] = &[
    ("SecArgumentSeparator", |words, settings| {
        let separator = one(words)?;
        let [byte] = separator.as_bytes() else { return Err("it takes one letter".to_owned()) };
        settings.argument_separator = Some(*byte);
        Ok(None)
    }),
    ("SecArgumentsLimit", |words, settings| set(&mut settings.arguments, number(one(words)?))),
    ("SecRequestBodyAccess", |words, settings| {
        set(&mut settings.request_body, on_off(one(words)?))
    }),
    ("SecRequestBodyJsonDepthLimit", |words, settings| {
        set(&mut settings.json_depth, number(one(words)?))
    }),
    ("SecRequestBodyLimit", |words, settings| {
        set(&mut settings.request_body_limit, number(one(words)?))
    }),
    ("SecRequestBodyLimitAction", |words, settings| {
        set(&mut settings.request_body_over_limit, limit_action(one(words)?))
    }),
    ("SecRequestBodyNoFilesLimit", |words, settings| {
        set(&mut settings.request_body_no_files_limit, number(one(words)?))
    }),
    ("SecResponseBodyAccess", |words, settings| {
        set(&mut settings.response_body, on_off(one(words)?))
    }),
    ("SecResponseBodyLimit", |words, settings| {
        set(&mut settings.response_body_limit, number(one(words)?))
    }),
    ("SecResponseBodyLimitAction", |words, settings| {
        set(&mut settings.response_body_over_limit, limit_action(one(words)?))
    }),
    ("SecResponseBodyMimeType", |words, settings| {
        let types = words.iter().flat_map(|word| word.split_ascii_whitespace());
        let types: Vec<Box<str>> = types.map(|word| word.to_ascii_lowercase().into()).collect();
        if types.is_empty() {
            return Err("it takes media types".to_owned());
        }
        settings.response_types.get_or_insert_default().extend(types);
        Ok(None)
    }),
    ("SecResponseBodyMimeTypesClear", |_, settings| {
        settings.response_types = Some(Vec::new());
        Ok(None)
    }),
    ("SecRuleEngine", |words, settings| {
        set(&mut settings.rule_engine, rule_engine(one(words)?))?;
        Ok(Some("`waf.mode` decides"))
    }),
    ("SecUploadFileLimit", |words, settings| set(&mut settings.upload_files, number(one(words)?))),
    ("SecWebAppId", |words, settings| {
        settings.web_app_id = Some(one(words)?.into());
        Ok(None)
    }),
    ("SecXmlExternalEntity", |words, _| match on_off(one(words)?)? {
        true => Err("entities of XML are never loaded".to_owned()),
        false => Ok(None),
    }),
];

fn one<'w>(words: &[&'w str]) -> Result<&'w str, String> {
    match words {
        [word] => Ok(word),
        _ => Err("it takes one word".to_owned()),
    }
}

fn set<T>(slot: &mut Option<T>, value: Result<T, String>) -> Outcome {
    *slot = Some(value?);
    Ok(None)
}

fn limit_action(text: &str) -> Result<LimitAction, String> {
    match text.to_ascii_lowercase().as_str() {
        "processpartial" => Ok(LimitAction::ProcessPartial),
        "reject" => Ok(LimitAction::Reject),
        _ => Err(format!("`{text}` is neither Reject nor ProcessPartial")),
    }
}

const AUDIT: &str = "matches are in the access log";
const FILES: &str = "uploaded files are never stored";
const HASH: &str = "links are not signed with hashes";
const LINEAR: &str = "patterns run in linear time, within `waf.budget`";
const STATE: &str = "collections live for one request";

const IGNORED: &[(&str, &str)] = &[
    ("SecAuditEngine", AUDIT),
    ("SecAuditLog", AUDIT),
    ("SecAuditLog2", AUDIT),
    ("SecAuditLogDir", AUDIT),
    ("SecAuditLogDirMode", AUDIT),
    ("SecAuditLogFileMode", AUDIT),
    ("SecAuditLogFormat", AUDIT),
    ("SecAuditLogParts", AUDIT),
    ("SecAuditLogPrefix", AUDIT),
    ("SecAuditLogRelevantStatus", AUDIT),
    ("SecAuditLogStorageDir", AUDIT),
    ("SecAuditLogType", AUDIT),
    ("SecCacheTransformations", "transformed values are always kept for the request"),
    ("SecChrootDir", "how the process is confined is its service manager's business"),
    ("SecCollectionTimeout", STATE),
    ("SecComponentSignature", "the event names the rules and their versions"),
    ("SecConnEngine", "connections are limited by `limits` in the configuration"),
    ("SecConnReadStateLimit", "slow clients are cut by `limits` in the configuration"),
    ("SecConnWriteStateLimit", "slow clients are cut by `limits` in the configuration"),
    ("SecContentInjection", "content is not injected into responses"),
    ("SecCookieFormat", "cookies are read as RFC 6265 has them"),
    ("SecCookieV0Separator", "cookies are read as RFC 6265 has them"),
    ("SecDataDir", STATE),
    ("SecDebugLog", "the log is that of the process"),
    ("SecDebugLogLevel", "the log is that of the process"),
    ("SecDisableBackendCompression", "compressed responses are not looked at"),
    ("SecGeoLookupDb", "there is no database of places"),
    ("SecGsbLookupDb", "nothing is looked up elsewhere while a request waits"),
    ("SecGuardianLog", AUDIT),
    ("SecHashEngine", HASH),
    ("SecHashKey", HASH),
    ("SecHashMethodPm", HASH),
    ("SecHashMethodRx", HASH),
    ("SecHashParam", HASH),
    ("SecHttpBlKey", "nothing is looked up in DNS while a request waits"),
    ("SecInterceptOnError", "a rule that cannot run fails the load"),
    ("SecParseXmlIntoArgs", "XML is looked at as XML:/* and XML://@*"),
    ("SecPcreMatchLimit", LINEAR),
    ("SecPcreMatchLimitRecursion", LINEAR),
    ("SecRemoteRulesFailAction", "rules are files"),
    ("SecRequestBodyInMemoryLimit", "inspected bodies are always in memory"),
    ("SecRuleInheritance", "policies merge as the configuration says"),
    ("SecRulePerfTime", "`tidegate waf test` shows what rules cost"),
    ("SecRxPreFilter", "all patterns have a prefilter"),
    ("SecSensorId", "the log's fields are in the configuration"),
    ("SecServerSignature", "`response_headers` sets fields"),
    ("SecStatusEngine", "nothing is reported to anybody"),
    ("SecStreamInBodyInspection", "bodies are looked at as one piece"),
    ("SecStreamOutBodyInspection", "bodies are looked at as one piece"),
    ("SecTmpDir", FILES),
    ("SecTmpSaveUploadedFiles", FILES),
    ("SecUnicodeMapFile", "the table of code page 20127 is built in"),
    ("SecUploadDir", FILES),
    ("SecUploadFileMode", FILES),
    ("SecUploadKeepFiles", FILES),
    ("SecWriteStateLimit", "slow clients are cut by `limits` in the configuration"),
    ("SecReadStateLimit", "slow clients are cut by `limits` in the configuration"),
];

const REFUSED: &[(&str, &str)] = &[
    ("SecDataset", "put the phrases into a file and use @pmFromFile"),
    ("SecIgnoreRuleCompilationErrors", "a rule that does not compile always fails the load"),
    ("SecRemoteRules", "rules are files; fetch them before the start"),
    ("SecRuleScript", "rules do not run programs"),
];
