//! Cookies that the proxy reads and sets: the one parser of the `Cookie` field here, the settings
//! that sticky sessions and splits share, and signed values.
//!
//! Whatever a client sends is either a value that we signed and that still holds, or as good as
//! nothing: there is no error.

mod settings;
mod token;

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderValue, header};
use tidegate_core::SettingsError;

pub use self::settings::{CookieSettings, SameSite, Secrets};
use self::token::Signer;
pub use self::token::Token;

/// The values of the cookie with this name, as sent (RFC 6265 §5.4). A browser sends several if
/// they were set for different paths.
pub fn find<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a [u8]> {
    let fields = headers.get_all(header::COOKIE).iter();
    let pairs = fields.flat_map(|field| field.as_bytes().split(|byte| *byte == b';'));
    pairs.filter_map(move |pair| {
        let value = pair.trim_ascii().strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        Some(value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\"")).unwrap_or(value))
    })
}

/// A cookie whose values only we can make.
#[derive(Debug)]
pub(crate) struct SignedCookie {
    settings: CookieSettings,
    signer: Signer,
}

impl SignedCookie {
    /// `purpose` keeps values apart that are signed with the same secret, such as those of two
    /// upstreams.
    pub(crate) fn compile(
        purpose: &str,
        settings: &CookieSettings,
    ) -> Result<Self, Vec<SettingsError>> {
        let errors = settings.check();
        if !errors.is_empty() {
            return Err(errors);
        }
        Ok(Self { settings: settings.clone(), signer: Signer::new(purpose, &settings.secret.0) })
    }

    /// What the request's cookie says, if we signed it and it holds still.
    pub(crate) fn read(&self, headers: &HeaderMap, wall: SystemTime) -> Option<Token> {
        let mut values = find(headers, &self.settings.cookie).take(MAX_VALUES);
        let now = seconds(wall);
        values.find_map(|value| self.signer.verify(value, now))
    }

    /// The identity of `name` for those who know the key, which says nothing about it to others.
    pub(crate) fn id(&self, key: usize, name: &[u8]) -> u64 {
        self.signer.id(key, name)
    }

    /// How many secrets are known; the first one signs.
    pub(crate) fn keys(&self) -> usize {
        self.signer.keys()
    }

    /// Whether a value should be issued again: half its time is over, or a new secret is there.
    pub(crate) fn is_old(&self, token: &Token, wall: SystemTime) -> bool {
        let Some(ttl) = self.settings.ttl else { return token.key != 0 };
        let left = u64::from(token.expires).saturating_sub(seconds(wall));
        token.key != 0 || token.expires == 0 || left < ttl.0.as_secs() / 2
    }

    /// The `Set-Cookie` field that makes the client send `id`. `secure` says whether its
    /// connection is encrypted.
    pub(crate) fn issue(&self, id: u64, wall: SystemTime, secure: bool) -> Option<HeaderValue> {
        let settings = &self.settings;
        let expires = settings.ttl.map_or(0, |ttl| {
            u32::try_from(seconds(wall).saturating_add(ttl.0.as_secs())).unwrap_or(u32::MAX)
        });
        let mut field = format!("{}={}", settings.cookie, self.signer.sign(id, expires));
        let _written = write!(field, "; Path={}", settings.path);
        if let Some(ttl) = settings.ttl {
            let _written = write!(field, "; Max-Age={}", ttl.0.as_secs());
        }
        if settings.http_only {
            field += "; HttpOnly";
        }
        if settings.secure.unwrap_or(secure) || settings.same_site == SameSite::None {
            field += "; Secure";
        }
        let _written = write!(field, "; SameSite={}", settings.same_site.as_str());
        HeaderValue::try_from(field).ok()
    }
}

/// How many values of one name are looked at; a signature takes time.
const MAX_VALUES: usize = 4;

/// Since the Unix epoch.
fn seconds(wall: SystemTime) -> u64 {
    wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(fields: &[&str], expected: &[&str]) {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(header::COOKIE, HeaderValue::from_str(field).unwrap());
        }
        let found: Vec<_> =
            find(&headers, "tg").map(|value| std::str::from_utf8(value).unwrap()).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn cookies_are_found_by_name() {
        check(&[], &[]);
        check(&["tg=a"], &["a"]);
        check(&["x=1; tg=a; y=2"], &["a"]);
        check(&["tg=a;tg=\"b\"", "tg=c"], &["a", "b", "c"]);
        check(&["tgx=1; xtg=2; TG=3; tg"], &[]);
        check(&["tg=", ";;= ; tg=a=b"], &["", "a=b"]);
    }
}
