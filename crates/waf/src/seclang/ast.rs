//! What the SecLang front end hands over: rules in their order, typed, with every directive that
//! changes other rules already applied. It holds no syntax: whoever compiles it needs to know
//! neither quotes nor defaults.
//!
//! Order is meaning: [`Item`]s stand as the files had them, `Include`s in place.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use regex::Regex;

/// Everything that a list of files says.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    /// Rules, markers and the point of the settings, in the order of the files.
    pub(crate) items: Vec<Item>,
    /// What directives say about bodies and their limits.
    pub(crate) engine: EngineSettings,
    /// What was accepted and has no effect here.
    pub(crate) notes: Vec<Note>,
}

/// A file and a line of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    /// The file's name, for people.
    pub(crate) file: Arc<str>,
    /// The line where the directive begins, counted from 1.
    pub(crate) line: usize,
}

/// Something that was read and is ignored, or means less than its author may think.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Note {
    pub(crate) place: Place,
    /// One sentence without a full stop.
    pub(crate) message: String,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.place.file, self.place.line, self.message)
    }
}

/// One step of the program.
#[derive(Debug)]
pub(crate) enum Item {
    /// Where `skipAfter` lands.
    Marker { label: Box<str> },
    /// A rule, a chain of rules, or an action without a condition.
    Rule(Box<Rule>),
    /// Here, in phase 1, the values that a policy's settings give (paranoia, thresholds) are put
    /// into TX: behind what sets the rule set up, before its rules.
    Settings,
}

/// A `SecRule` with all links of its chain, or a `SecAction`.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) place: Place,
    pub(crate) id: u32,
    /// 1 to 5.
    pub(crate) phase: u8,
    /// The head, then the chained ones; never empty.
    pub(crate) links: Vec<Link>,
    /// What happens to the transaction when all links match; `block` is resolved to what
    /// `SecDefaultAction` says for the phase.
    pub(crate) disruptive: Disruptive,
    /// The status of a denial or a redirect; `None` stands for 403 or 302.
    pub(crate) status: Option<u16>,
    /// Whether a match is told.
    pub(crate) log: bool,
    /// Whether a match is worth an audit record.
    pub(crate) audit_log: bool,
    pub(crate) severity: Option<Severity>,
    pub(crate) tags: Vec<Template>,
    pub(crate) ver: Option<Box<str>>,
    pub(crate) rev: Option<Box<str>>,
    pub(crate) maturity: Option<u8>,
    pub(crate) accuracy: Option<u8>,
    /// Where to go on in this phase, if all links match.
    pub(crate) jump: Option<Jump>,
}

/// One condition and what happens each time that it holds, whatever the rest of the chain says.
#[derive(Debug)]
pub(crate) struct Link {
    /// `None` for a `SecAction`, and it always holds.
    pub(crate) condition: Option<Condition>,
    /// By their canonical names, in order; `none` has been applied, so that an empty list means
    /// the value as it is.
    pub(crate) transformations: Vec<Box<str>>,
    /// Whether the groups of a pattern go into `TX:0` to `TX:9`.
    pub(crate) capture: bool,
    /// Whether the operator looks at each intermediate form that differs, too.
    pub(crate) multi_match: bool,
    /// In the order in which they were written.
    pub(crate) actions: Vec<Action>,
    /// A later link's message and data stand for the whole chain.
    pub(crate) msg: Option<Template>,
    pub(crate) logdata: Option<Template>,
}

/// Where to look and what for.
#[derive(Debug)]
pub(crate) struct Condition {
    /// What is looked at: the union of them, exclusions ([`Variable::excluded`]) apart.
    pub(crate) variables: Vec<Variable>,
    pub(crate) operator: Operator,
}

/// One variable of a condition: `ARGS`, `!ARGS:id`, `&TX:/^x/`, `XML:/*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Variable {
    /// By its one name, in upper case.
    pub(crate) name: &'static str,
    pub(crate) selector: Selector,
    /// `!`: what it selects is not looked at.
    pub(crate) excluded: bool,
    /// `&`: the value is how many there are.
    pub(crate) counted: bool,
}

/// Which values of a collection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Selector {
    /// Each.
    All,
    /// The one of this name, whose case does not matter.
    Name(Box<str>),
    /// Those whose name the pattern finds, whose case does not matter; the slashes are gone, and
    /// the pattern compiles.
    Pattern(Box<str>),
    /// Of XML: an XPath expression, `/*` or `//@*`.
    Path(Box<str>),
}

/// An operator as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Operator {
    /// By its canonical name, without the `@`.
    pub(crate) name: Box<str>,
    pub(crate) negated: bool,
    pub(crate) argument: Template,
    /// The folder of the file that holds the rule: file names in the argument are relative to it.
    pub(crate) folder: Arc<PathBuf>,
}

/// A text with macros: `%{tx.1} of %{MATCHED_VAR_NAME}`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Template {
    /// No two texts follow each other, and none is empty.
    pub(crate) pieces: Vec<Piece>,
}

/// A piece of a [`Template`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    Text(Box<str>),
    /// `%{NAME}` or `%{NAME.key}`; without a key a collection stands for nothing.
    Macro {
        /// The variable, as in [`Variable::name`].
        name: &'static str,
        key: Option<Box<str>>,
    },
}

impl Template {
    /// A text without macros.
    pub(crate) fn text(text: &str) -> Self {
        let pieces = if text.is_empty() { Vec::new() } else { vec![Piece::Text(text.into())] };
        Self { pieces }
    }

    /// The text, if there is no macro in it.
    pub(crate) fn literal(&self) -> Option<&str> {
        match self.pieces.as_slice() {
            [] => Some(""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }
}

/// What a match leads to in the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Disruptive {
    /// The rest of this phase and all others but 5 are not run, and the request passes.
    Allow,
    /// The rest of this phase is not run.
    AllowPhase,
    /// The rest of the phases 1 and 2 is not run.
    AllowRequest,
    /// Refused with [`Rule::status`].
    Deny,
    /// Refused, and the connection closed.
    Drop,
    /// Nothing happens.
    Pass,
    /// Answered with a redirect to this address.
    Redirect(Template),
}

/// Where evaluation goes on within the phase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Jump {
    /// Behind the marker, or the rule, of this label; to the end if there is none.
    After(Box<str>),
    /// Behind so many of the rules that follow; a chain is one.
    Over(u32),
}

/// What a match does, and need not end in a refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Ctl(Ctl),
    /// `deprecatevar:session.score=60/300`, in a collection that lives for one request only.
    DeprecateVar {
        collection: Collection,
        name: Template,
        value: Template,
    },
    /// `expirevar:ip.block=300`, likewise.
    ExpireVar {
        collection: Collection,
        name: Template,
        seconds: Template,
    },
    /// `initcol:ip=%{REMOTE_ADDR}`; also `setsid`, `setuid` and `setrsc`.
    InitCol {
        collection: Collection,
        key: Template,
    },
    /// `setenv:name=value`: what `ENV:name` then gives.
    SetEnv {
        name: Template,
        value: Template,
    },
    Sanitise(Sanitise),
    SetVar(SetVar),
}

/// What is not to be told of a request: `sanitiseArg:password`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Sanitise {
    /// An argument, of the query or the body.
    Argument(Box<str>),
    /// What the rule matched.
    Matched,
    RequestField(Box<str>),
    ResponseField(Box<str>),
}

/// `setvar:tx.score=+5`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SetVar {
    pub(crate) collection: Collection,
    /// In lower case where it is text.
    pub(crate) name: Template,
    pub(crate) change: Change,
}

/// How a variable changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// `=+`: a number is added; what is no number counts as 0.
    Add(Template),
    /// `!name`: it is removed.
    Remove,
    /// `=`: it is set; without a value, to 1.
    Set(Template),
    /// `=-`.
    Subtract(Template),
}

/// Collections that rules write. All but TX and ENV are meant to outlive a request; here they
/// last for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Collection {
    Global,
    Ip,
    Resource,
    Session,
    Tx,
    User,
}

/// `ctl:`, a change to the rest of this transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ctl {
    AuditEngine(AuditEngine),
    /// REQUEST_BODY exists whatever the body's type.
    ForceRequestBodyVariable(bool),
    RemoveById(IdRange),
    RemoveByMsg(Pattern),
    RemoveByTag(Pattern),
    /// These rules do not look at the variable.
    RemoveTargetById(IdRange, Variable),
    RemoveTargetByMsg(Pattern, Variable),
    RemoveTargetByTag(Pattern, Variable),
    RequestBodyAccess(bool),
    RequestBodyLimit(u64),
    RequestBodyProcessor(BodyProcessor),
    ResponseBodyAccess(bool),
    ResponseBodyLimit(u64),
    RuleEngine(RuleEngine),
}

/// The ids from the first to the second, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IdRange {
    pub(crate) first: u32,
    pub(crate) last: u32,
}

impl IdRange {
    pub(crate) fn contains(self, id: u32) -> bool {
        (self.first..=self.last).contains(&id)
    }
}

/// What a tag or a message has to be: exactly the text or, if it looks like a pattern, what that
/// finds.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    pub(crate) text: Box<str>,
    regex: Option<Regex>,
}

impl Pattern {
    pub(crate) fn new(text: &str) -> Self {
        let text = text.trim().trim_matches(['\'', '"']);
        let inner = text.strip_prefix('/').and_then(|rest| rest.strip_suffix('/'));
        let plain = inner.is_none() && !text.contains(['*', '+', '?', '^', '$', '[', '(', '|']);
        let regex = if plain { None } else { Regex::new(inner.unwrap_or(text)).ok() };
        Self { text: text.into(), regex }
    }

    pub(crate) fn matches(&self, text: &str) -> bool {
        *self.text == *text || self.regex.as_ref().is_some_and(|regex| regex.is_match(text))
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AuditEngine {
    Off,
    On,
    RelevantOnly,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyProcessor {
    Json,
    Multipart,
    /// The body is text, and has no arguments.
    Raw,
    UrlEncoded,
    Xml,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RuleEngine {
    DetectionOnly,
    Off,
    On,
}

/// The numbers are syslog's; the lower, the worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Severity {
    Emergency,
    Alert,
    Critical,
    Error,
    Warning,
    Notice,
    Info,
    Debug,
}

impl Severity {
    pub(crate) const ALL: [Self; 8] = [
        Self::Emergency,
        Self::Alert,
        Self::Critical,
        Self::Error,
        Self::Warning,
        Self::Notice,
        Self::Info,
        Self::Debug,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Emergency => "EMERGENCY",
            Self::Alert => "ALERT",
            Self::Critical => "CRITICAL",
            Self::Error => "ERROR",
            Self::Warning => "WARNING",
            Self::Notice => "NOTICE",
            Self::Info => "INFO",
            Self::Debug => "DEBUG",
        }
    }
}

/// What directives say; `None` where there is none. A policy's own settings win over them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct EngineSettings {
    /// `SecArgumentSeparator`; `&` if it is not given.
    pub(crate) argument_separator: Option<u8>,
    /// `SecArgumentsLimit`.
    pub(crate) arguments: Option<usize>,
    /// `SecRequestBodyAccess`.
    pub(crate) request_body: Option<bool>,
    /// `SecRequestBodyJsonDepthLimit`.
    pub(crate) json_depth: Option<usize>,
    /// `SecRequestBodyLimit`, in bytes.
    pub(crate) request_body_limit: Option<u64>,
    /// `SecRequestBodyNoFilesLimit`, in bytes.
    pub(crate) request_body_no_files_limit: Option<u64>,
    /// `SecRequestBodyLimitAction`.
    pub(crate) request_body_over_limit: Option<LimitAction>,
    /// `SecResponseBodyAccess`.
    pub(crate) response_body: Option<bool>,
    /// `SecResponseBodyLimit`, in bytes.
    pub(crate) response_body_limit: Option<u64>,
    /// `SecResponseBodyLimitAction`.
    pub(crate) response_body_over_limit: Option<LimitAction>,
    /// `SecResponseBodyMimeType`: media types in lower case.
    pub(crate) response_types: Option<Vec<Box<str>>>,
    /// `SecRuleEngine`; a policy's mode decides instead, so it is for the notes only.
    pub(crate) rule_engine: Option<RuleEngine>,
    /// `SecUploadFileLimit`: how many files a multipart body may have.
    pub(crate) upload_files: Option<usize>,
    /// `SecWebAppId`: what WEBAPPID gives.
    pub(crate) web_app_id: Option<Box<str>>,
}

/// What happens to a body beyond its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LimitAction {
    ProcessPartial,
    Reject,
}
