//! Token exchange (RFC 8693): what a token endpoint is asked, and what its answers mean, remembered
//! for a while. The proxy makes the calls.

use std::fmt;
use std::sync::Arc;

use http::{HeaderMap, HeaderValue, StatusCode, header};
use tidegate_core::SettingsError;

use crate::authorizer::Inquiry;
use crate::cache::TokenCache;
use crate::demand::is_scope;
use crate::form;
use crate::issuer::address_error;
use crate::jose::sha256;
use crate::json::{self, Json, Object};
use crate::settings::{ClientAuth, ExchangeSettings, Names, TokenKind};

/// So many seconds before its end a token is used no longer: the upstream has to take it still.
const MARGIN: u64 = 10;
/// More of an error's code is not told to the log.
const MAX_TOLD: usize = 64;

/// A token endpoint, and what it gave.
#[derive(Debug)]
pub struct Exchanger {
    name: Arc<str>,
    settings: ExchangeSettings,
    /// By the SHA-256 of the caller's token.
    traded: Arc<TokenCache<[u8; 32], Traded>>,
}

/// A token to exchange. It is not printed.
#[derive(Clone)]
pub struct Trade {
    /// With whom.
    pub exchanger: Arc<Exchanger>,
    /// The caller's token.
    pub token: Box<str>,
    /// Its SHA-256.
    pub digest: [u8; 32],
    /// When it ends, in seconds since 1970, if that is known.
    pub ends: Option<u64>,
}

/// What came of an exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Traded {
    /// With this token nobody gets there, says the endpoint, and why.
    Forbidden(Box<str>),
    /// The endpoint does not take the caller's token, and why.
    Invalid(Box<str>),
    /// What goes into `Authorization`; it is not printed.
    Token(HeaderValue),
}

/// Why an answer is none.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TradeError {
    /// No strict JSON object.
    #[error("status {0}, and no usable JSON")]
    Json(StatusCode),
    /// An error of ours or of the endpoint.
    #[error("status {status}: {error}")]
    Status {
        /// The answer's status.
        status: StatusCode,
        /// What it says.
        error: Box<str>,
    },
    /// A member is missing, or not as RFC 8693 §2.2.1 has it.
    #[error("no usable `{0}`")]
    Member(&'static str),
    /// The token may be longer than the limit, or have signs that no field carries.
    #[error("a token that is too large or no token68")]
    Token,
    /// The endpoint gave back what it got.
    #[error("the caller's own token came back")]
    Same,
}

impl fmt::Debug for Trade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trade").field("at", &self.exchanger.name).finish_non_exhaustive()
    }
}

impl Exchanger {
    /// Compiles an endpoint; tokens are taken over from `previous` if nothing changed.
    ///
    /// # Errors
    /// Everything that is wrong with the settings, with paths relative to them.
    pub fn compile(
        name: &str,
        settings: &ExchangeSettings,
        previous: Option<&Self>,
    ) -> Result<Self, Vec<SettingsError>> {
        let errors = errors_in(settings);
        if !errors.is_empty() {
            return Err(errors);
        }
        let same = previous.filter(|previous| previous.settings == *settings);
        let traded = same.map_or_else(
            || Arc::new(TokenCache::new(settings.cache_size.as_usize())),
            |previous| Arc::clone(&previous.traded),
        );
        Ok(Self { name: name.into(), settings: settings.clone(), traded })
    }

    /// The name in the configuration.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The settings.
    #[must_use]
    pub fn settings(&self) -> &ExchangeSettings {
        &self.settings
    }

    /// What tells it from another one of its name for as long as either is kept: a reload that
    /// changes nothing keeps it.
    #[must_use]
    pub fn instance(&self) -> usize {
        Arc::as_ptr(&self.traded).addr()
    }

    /// How many answers are remembered, and in about how many bytes.
    #[must_use]
    pub fn remembered(&self) -> (usize, usize) {
        self.traded.size()
    }

    /// What to ask for a token (RFC 8693 §2.1).
    #[must_use]
    pub fn inquiry(&self, token: &str) -> Inquiry {
        let settings = &self.settings;
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        let media_type = HeaderValue::from_static("application/x-www-form-urlencoded");
        headers.insert(header::CONTENT_TYPE, media_type);
        let mut pairs = vec![
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("subject_token", token),
            ("subject_token_type", settings.subject_token_type.urn()),
            ("requested_token_type", TokenKind::AccessToken.urn()),
        ];
        let several = |name, names: &'_ Names| -> Vec<(&'static str, String)> {
            names.0.iter().map(|value| (name, value.clone())).collect()
        };
        let mut targets = several("audience", &settings.audience);
        targets.extend(several("resource", &settings.resource));
        if !settings.scopes.0.is_empty() {
            targets.push(("scope", settings.scopes.0.join(" ")));
        }
        pairs.extend(targets.iter().map(|(name, value)| (*name, value.as_str())));
        match settings.client_auth {
            ClientAuth::Basic => {
                let basic = form::basic(&settings.client_id, settings.client_secret.reveal());
                headers.insert(header::AUTHORIZATION, basic);
            }
            ClientAuth::Post => {
                pairs.push(("client_id", &settings.client_id));
                pairs.push(("client_secret", settings.client_secret.reveal()));
            }
        }
        let pairs = pairs.iter().map(|(name, value)| format!("{name}={}", form::encoded(value)));
        Inquiry { headers, body: Some(pairs.collect::<Vec<_>>().join("&")) }
    }

    /// What is known about a caller's token.
    pub(crate) fn recall(&self, digest: &[u8; 32], now: u64) -> Option<Traded> {
        let (traded, until) = self.traded.find(digest)?;
        if now <= until {
            return Some(traded);
        }
        self.traded.forget(digest);
        None
    }

    /// Forgets what a caller's token was exchanged for.
    pub(crate) fn forget(&self, token: &str) {
        self.traded.forget(&sha256(token.as_bytes()));
    }

    /// Reads what the endpoint answered to a call that was made at `asked`, in seconds since 1970,
    /// and remembers it for as long as it may be used.
    ///
    /// # Errors
    /// It is no answer about the caller's token; nothing is remembered then.
    pub fn learn(
        &self,
        trade: &Trade,
        (status, body): (StatusCode, &[u8]),
        asked: u64,
    ) -> Result<Traded, TradeError> {
        let answer = json::object(body).map_err(|_unread| TradeError::Json(status))?;
        let seconds = |span: tidegate_core::units::Span| asked.saturating_add(span.0.as_secs());
        if status != StatusCode::OK {
            let refused = self.refusal(status, &answer)?;
            let until = seconds(self.settings.negative_cache);
            self.traded.put(trade.digest, (refused.clone(), MAX_TOLD), until, asked);
            return Ok(refused);
        }
        let (value, lasts) = self.token(trade, &answer)?;
        let bytes = value.len();
        let token = Traded::Token(value);
        let Some(lasts) = lasts else { return Ok(token) };
        let own_end = asked.saturating_add(lasts.saturating_sub(MARGIN));
        let callers_end = trade.ends.map_or(u64::MAX, |ends| ends.saturating_sub(1));
        let until = seconds(self.settings.cache).min(own_end).min(callers_end);
        if until > asked {
            self.traded.put(trade.digest, (token.clone(), bytes), until, asked);
        }
        Ok(token)
    }

    /// The token of a good answer, and how many seconds it lasts (RFC 8693 §2.2.1).
    fn token(
        &self,
        trade: &Trade,
        answer: &Object,
    ) -> Result<(HeaderValue, Option<u64>), TradeError> {
        let kinds = [TokenKind::AccessToken.urn(), TokenKind::Jwt.urn()];
        if !answer.text("issued_token_type").is_some_and(|kind| kinds.contains(&kind)) {
            return Err(TradeError::Member("issued_token_type"));
        }
        // A token that wants a proof by its holder is nothing that we could pass on.
        if !answer.text("token_type").is_some_and(|kind| kind.eq_ignore_ascii_case("bearer")) {
            return Err(TradeError::Member("token_type"));
        }
        let token = answer.text("access_token").ok_or(TradeError::Member("access_token"))?;
        if token == &*trade.token {
            return Err(TradeError::Same);
        }
        let fits = token.len() as u64 <= self.settings.max_token.0;
        if !fits || !crate::bearer::is_token68(token) {
            return Err(TradeError::Token);
        }
        let value = HeaderValue::try_from(format!("Bearer {token}"));
        let mut value = value.map_err(|_unfit| TradeError::Token)?;
        value.set_sensitive(true);
        Ok((value, answer.member("expires_in").and_then(Json::as_seconds)))
    }

    /// What an error says about the caller's token (RFC 6749 §5.2, RFC 8693 §2.2.2).
    ///
    /// # Errors
    /// It says nothing about it: we or the endpoint are at fault.
    fn refusal(&self, status: StatusCode, answer: &Object) -> Result<Traded, TradeError> {
        let error = answer.text("error").unwrap_or_default();
        // A description may repeat the token, which is nothing for a log.
        let evidence = |error: &str| format!("`{}` says {error}", self.name).into();
        match error {
            _ if !status.is_client_error() => {}
            "invalid_grant" | "invalid_request" | "invalid_token" => {
                return Ok(Traded::Invalid(evidence(error)));
            }
            "access_denied" | "invalid_scope" | "invalid_target" => {
                return Ok(Traded::Forbidden(evidence(error)));
            }
            _ => {}
        }
        let known = error.chars().filter(|c| matches!(c, '!'..='~')).take(MAX_TOLD);
        Err(TradeError::Status { status, error: known.collect::<String>().into() })
    }
}

fn errors_in(settings: &ExchangeSettings) -> Vec<SettingsError> {
    let mut errors: Vec<_> =
        address_error(&settings.url, settings.insecure_http, "url").into_iter().collect();
    if settings.client_id.is_empty() {
        errors.push(SettingsError::new(["client_id"], "the endpoint has to know who asks"));
    }
    if settings.timeout.0.is_zero() {
        errors.push(SettingsError::new(["timeout"], "zero would let nothing pass"));
    }
    let targets = [&settings.audience, &settings.resource, &settings.scopes];
    if targets.iter().all(|names| names.0.is_empty()) {
        errors.push(
            SettingsError::new([""; 0], "the new token would be good for as much as the old one")
                .with_hint("name the upstream as `audience` or `resource`, or fewer `scopes`"),
        );
    }
    for (field, names) in ["audience", "resource"].into_iter().zip(targets) {
        if names.0.iter().any(String::is_empty) {
            errors.push(SettingsError::new([field], "an empty name is nobody's"));
        }
    }
    for scope in settings.scopes.0.iter().filter(|scope| !is_scope(scope)) {
        errors.push(SettingsError::new(["scopes"], format!("{scope:?} is no scope")));
    }
    errors
}
