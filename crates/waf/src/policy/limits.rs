//! What a policy's settings say about bodies and about what one request may cost; where they say
//! nothing, the directives of the rule files do.

use http::header;
use http::response::Parts;
use tidegate_core::SettingsError;
use tidegate_core::units::{ByteSize, Span};

use crate::body::BodyLimits;
use crate::seclang::ast::{EngineSettings, LimitAction};
use crate::settings::{BodySettings, OnExceeded, OverLimit, ResponseSettings, WafSettings};
use crate::values::MAX_VALUES;

/// Bodies are held in memory, so no limit is higher.
const MAX_BODY: ByteSize = ByteSize::mib(16);
const BODY: ByteSize = ByteSize::kib(64);
const RESPONSE: ByteSize = ByteSize::kib(512);
const MAX_JSON_DEPTH: usize = 512;

/// What one request may cost.
const WORK: Span = Span::millis(12);
const LEAST_WORK: Span = Span::millis(1);
const MOST_WORK: Span = Span::seconds(1);

/// The types that CRS's rules of phase 4 are about.
const TYPES: [&str; 5] =
    ["text/html", "text/plain", "text/xml", "application/json", "application/xml"];

/// What bounds an inspection.
#[derive(Debug)]
pub(crate) struct Limits {
    /// How much of a request's body is held back and inspected; 0 if none is.
    pub(crate) body: usize,
    pub(crate) over_limit: OverLimit,
    /// What bounds the reading of it.
    pub(crate) parsing: BodyLimits,
    /// How many arguments are looked at.
    pub(crate) arguments: usize,
    pub(crate) response: ResponseLimits,
    /// What one request may cost, in steps of about a nanosecond.
    pub(crate) work: u64,
    pub(crate) on_exceeded: OnExceeded,
}

/// Which responses' bodies are held back and inspected.
#[derive(Debug)]
pub(crate) struct ResponseLimits {
    /// How much of a body; `None` if none is.
    pub(crate) body: Option<usize>,
    /// The media types, in lower case.
    pub(crate) types: Box<[Box<str>]>,
    pub(crate) over_limit: OverLimit,
}

impl Limits {
    pub(super) fn compile(
        settings: &WafSettings,
        engine: &EngineSettings,
        errors: &mut Vec<SettingsError>,
    ) -> Self {
        let body = settings.body.clone().unwrap_or_default();
        let budget = settings.budget.clone().unwrap_or_default();
        let work = budget.work.unwrap_or(WORK);
        if !(LEAST_WORK..=MOST_WORK).contains(&work) {
            let message = format!("{work} is not between {LEAST_WORK} and {MOST_WORK}");
            errors.push(SettingsError::new(["budget", "work"], message));
        }
        Self {
            body: body_limit(&body, engine, errors),
            over_limit: body
                .over_limit
                .or(over_limit(engine.request_body_over_limit))
                .unwrap_or_default(),
            parsing: BodyLimits {
                json_depth: counted("json_depth", body.json_depth, MAX_JSON_DEPTH, errors)
                    .or(engine.json_depth.map(|depth| depth.min(MAX_JSON_DEPTH)))
                    .unwrap_or(BodyLimits::default().json_depth),
            },
            arguments: counted("arguments", body.arguments, MAX_VALUES, errors)
                .or(engine.arguments)
                .unwrap_or(MAX_VALUES),
            response: ResponseLimits::compile(
                &settings.response.clone().unwrap_or_default(),
                engine,
                errors,
            ),
            work: u64::try_from(work.0.as_nanos()).unwrap_or(u64::MAX),
            on_exceeded: budget.on_exceeded.unwrap_or_default(),
        }
    }
}

impl ResponseLimits {
    fn compile(
        settings: &ResponseSettings,
        engine: &EngineSettings,
        errors: &mut Vec<SettingsError>,
    ) -> Self {
        let types = |types: &[String]| -> Box<[Box<str>]> {
            types.iter().map(|media| media.to_ascii_lowercase().into()).collect()
        };
        for (index, media) in settings.types.iter().flatten().enumerate() {
            if !is_media_type(media) {
                let path = ["response", "types", &index.to_string()];
                let error = SettingsError::new(path, format!("`{media}` is no media type"));
                errors.push(error.with_hint("write type and subtype, such as `text/html`"));
            }
        }
        let limit = settings.limit.map(|limit| within(limit, "response", errors));
        let of_engine = engine.response_body_limit.map(|limit| ByteSize(limit).min(MAX_BODY));
        let inspect = settings.inspect.or(engine.response_body).unwrap_or(false);
        let limit = limit.or(of_engine).unwrap_or(RESPONSE).as_usize();
        Self {
            body: (inspect && limit > 0).then_some(limit),
            types: match (&settings.types, &engine.response_types) {
                (Some(given), _) => types(given),
                (None, Some(given)) => given.iter().cloned().collect(),
                (None, None) => TYPES.into_iter().map(Box::from).collect(),
            },
            over_limit: settings
                .over_limit
                .or(over_limit(engine.response_body_over_limit))
                .unwrap_or(OverLimit::InspectPrefix),
        }
    }
}

impl ResponseLimits {
    /// Whether bodies of this type are inspected.
    pub(crate) fn takes(&self, head: &Parts) -> bool {
        let content_type = head.headers.get(header::CONTENT_TYPE).and_then(|it| it.to_str().ok());
        let essence = content_type.and_then(|it| it.split(';').next()).unwrap_or_default().trim();
        self.types.iter().any(|known| known.eq_ignore_ascii_case(essence))
    }
}

fn body_limit(
    body: &BodySettings,
    engine: &EngineSettings,
    errors: &mut Vec<SettingsError>,
) -> usize {
    let of_engine = match engine.request_body {
        Some(false) => Some(ByteSize(0)),
        Some(true) | None => engine.request_body_limit.map(|limit| ByteSize(limit).min(MAX_BODY)),
    };
    let given = body.limit.map(|limit| within(limit, "body", errors));
    given.or(of_engine).unwrap_or(BODY).as_usize()
}

fn within(limit: ByteSize, key: &str, errors: &mut Vec<SettingsError>) -> ByteSize {
    if limit > MAX_BODY {
        let message = format!("{limit} is more than is held back for one request");
        let hint = format!("at most {MAX_BODY}; `over_limit` says what happens beyond");
        errors.push(SettingsError::new([key, "limit"], message).with_hint(hint));
    }
    limit
}

/// A number from 1 to `most`.
fn counted(
    key: &str,
    given: Option<usize>,
    most: usize,
    errors: &mut Vec<SettingsError>,
) -> Option<usize> {
    if given.is_some_and(|given| !(1..=most).contains(&given)) {
        errors.push(SettingsError::new(["body", key], format!("must be from 1 to {most}")));
    }
    given
}

fn over_limit(action: Option<LimitAction>) -> Option<OverLimit> {
    Some(match action? {
        LimitAction::ProcessPartial => OverLimit::InspectPrefix,
        LimitAction::Reject => OverLimit::Block,
    })
}

fn is_media_type(text: &str) -> bool {
    let is_token = |part: &str| {
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&byte);
        !part.is_empty() && part.bytes().all(letter)
    };
    text.split_once('/').is_some_and(|(kind, name)| is_token(kind) && is_token(name))
}
