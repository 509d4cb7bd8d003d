//! Sticky sessions: a signed cookie names the endpoint that a client was served by, and the client
//! goes there again for as long as that endpoint is available.
//!
//! The cookie holds a keyed hash of the endpoint's address, so that it tells nothing to those who
//! lack the secret. A cookie that is forged, expired, of another upstream or of an endpoint that
//! left is as good as none: the algorithm chooses, and the response carries a new cookie.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use http::{HeaderMap, HeaderValue};
use rustc_hash::FxHashMap;
use tidegate_core::SettingsError;

use crate::cookies::{CookieSettings, SignedCookie, Token};
use crate::endpoint::Endpoint;

/// The sticky sessions of one pool.
#[derive(Debug)]
pub struct Sticky {
    cookie: SignedCookie,
    /// For each key: the endpoints by identity.
    ids: ArcSwap<Box<[FxHashMap<u64, SocketAddr>]>>,
}

/// The endpoint that a request's cookie names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// Where the client should go, if that is available.
    pub address: SocketAddr,
    token: Token,
}

impl Sticky {
    /// Sessions of the upstream called `upstream`.
    ///
    /// # Errors
    ///
    /// All settings that cannot be used, with paths relative to `sticky`.
    pub fn compile(upstream: &str, settings: &CookieSettings) -> Result<Self, Vec<SettingsError>> {
        let cookie = SignedCookie::compile(&format!("sticky {upstream}"), settings)?;
        Ok(Self { cookie, ids: ArcSwap::from_pointee(Box::default()) })
    }

    /// Takes the pool's endpoints, whenever some came or left.
    pub(crate) fn know(&self, endpoints: &[Arc<Endpoint>]) {
        let ids = (0..self.cookie.keys()).map(|key| {
            let addresses = endpoints.iter().map(|endpoint| endpoint.address());
            addresses.map(|address| (self.id(key, address), address)).collect()
        });
        self.ids.store(Arc::new(ids.collect()));
    }

    /// The endpoint that the request's cookie names; `None` if it has no cookie that we signed, or
    /// if that endpoint left. It becomes [`crate::Pick::prefer`].
    #[must_use]
    pub fn read(&self, headers: &HeaderMap, wall: SystemTime) -> Option<Bound> {
        let token = self.cookie.read(headers, wall)?;
        let address = *self.ids.load().get(token.key)?.get(&token.id)?;
        Some(Bound { address, token })
    }

    /// The `Set-Cookie` field that the response owes the client: `None` if the cookie that it has
    /// names the endpoint that served it, and is fresh. `secure` says whether the client's
    /// connection is encrypted.
    #[must_use]
    pub fn renew(
        &self,
        bound: Option<&Bound>,
        served_by: SocketAddr,
        wall: SystemTime,
        secure: bool,
    ) -> Option<HeaderValue> {
        let holds =
            |bound: &Bound| bound.address == served_by && !self.cookie.is_old(&bound.token, wall);
        if bound.is_some_and(holds) {
            return None;
        }
        self.cookie.issue(self.id(0, served_by), wall, secure)
    }

    fn id(&self, key: usize, address: SocketAddr) -> u64 {
        let mut name = [0_u8; 18];
        let (ip, port) = name.split_at_mut(16);
        ip.copy_from_slice(&crate::random::octets(address.ip()));
        port.copy_from_slice(&address.port().to_be_bytes());
        self.cookie.id(key, &name)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::header;
    use proptest::prelude::*;

    use super::*;
    use crate::algorithms::testing::endpoints;
    use crate::pool::{Pick, Pool};
    use crate::random::mix;
    use crate::zones::Locality;

    fn pool(balance: &str, secret: &str) -> Pool {
        let json = format!(
            r#"{{"endpoints":["10.0.0.0:80","10.0.0.1:80","10.0.0.2:80"],"balance":{balance},
                "health":{{}},"sticky":{{"cookie":"tg","ttl":"60s","secret":{secret}}}}}"#
        );
        Pool::compile("api", &serde_json::from_str(&json).unwrap(), &Locality::default(), None)
            .unwrap()
    }

    fn wall(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    /// The address that serves, and the cookie that the client has afterwards.
    fn visit(pool: &Pool, cookie: &str, random: u64, at: u64) -> (SocketAddr, String) {
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, HeaderValue::from_str(cookie).unwrap());
        let sticky = pool.sticky().unwrap();
        let bound = sticky.read(&headers, wall(at));
        let now = tidegate_core::Clock::System.now();
        let prefer = bound.map(|bound| bound.address);
        let lease = pool.pick(&Pick { key: random, now, prefer, random, tried: &[] }).unwrap();
        let field = sticky.renew(bound.as_ref(), lease.address(), wall(at), false);
        let set = field.map(|field| field.to_str().unwrap().split(';').next().unwrap().to_owned());
        (lease.address(), set.unwrap_or_else(|| cookie.to_owned()))
    }

    const SECRET: &str = r#""a secret for unit tests""#;

    #[test]
    fn a_client_stays_with_its_endpoint_under_any_algorithm() {
        for balance in
            [r#""round_robin""#, r#""random""#, r#""peak_ewma""#, r#"{"hash":"client_ip"}"#]
        {
            let pool = pool(balance, SECRET);
            for client in 0..50 {
                let (first, cookie) = visit(&pool, "", mix(client), 0);
                assert!(!cookie.contains("10.0"), "{cookie}");
                for visits in 1..10 {
                    let again = visit(&pool, &cookie, mix(client + visits * 100), 0);
                    assert_eq!(again, (first, cookie.clone()));
                }
            }
        }
    }

    #[test]
    fn an_endpoint_that_fails_hands_its_clients_over() {
        let pool = pool(r#""random""#, SECRET);
        let (first, cookie) = visit(&pool, "", 1, 0);
        let now = tidegate_core::Clock::System.now();
        assert!(pool.observe(first, crate::health::Outcome::Failed, now).is_some());
        let (heir, next) = visit(&pool, &cookie, 2, 0);
        assert!(heir != first && next != cookie);
        assert_eq!(visit(&pool, &next, 3, 0), (heir, next));
    }

    #[test]
    fn a_cookie_is_renewed_in_its_second_half_and_then_expires() {
        let pool = pool(r#""round_robin""#, SECRET);
        let (first, cookie) = visit(&pool, "", 1, 100);
        assert_eq!(visit(&pool, &cookie, 2, 129).1, cookie);
        let (again, renewed) = visit(&pool, &cookie, 2, 131);
        assert!(again == first && renewed != cookie);
        assert_ne!(visit(&pool, &cookie, 2, 160).0, first, "the turn of another");
    }

    #[test]
    fn cookies_survive_a_restart_and_a_change_of_secrets() {
        let (first, cookie) = visit(&pool(r#""random""#, SECRET), "", 1, 0);
        assert_eq!(visit(&pool(r#""random""#, SECRET), &cookie, 2, 0), (first, cookie.clone()));
        let changed = pool(r#""random""#, r#"["another secret for it","a secret for unit tests"]"#);
        let (again, renewed) = visit(&changed, &cookie, 2, 0);
        assert!(again == first && renewed != cookie, "signed anew");
        assert_eq!(visit(&changed, &renewed, 3, 0), (first, renewed));
    }

    #[test]
    fn a_cookie_of_an_endpoint_that_left_is_replaced() {
        let sticky = Sticky::compile("api", &CookieSettings::named("tg")).unwrap();
        let all = endpoints(&[1; 3]);
        sticky.know(&all);
        let field = sticky.renew(None, all[2].address(), wall(0), false).unwrap();
        let mut headers = HeaderMap::new();
        let value = field.to_str().unwrap().split(';').next().unwrap();
        headers.insert(header::COOKIE, HeaderValue::from_str(value).unwrap());
        assert_eq!(sticky.read(&headers, wall(0)).unwrap().address, all[2].address());
        sticky.know(&all[..2]);
        assert_eq!(sticky.read(&headers, wall(0)), None);
    }

    proptest! {
        #[test]
        fn forged_cookies_are_as_good_as_none(value in "[ -~]{0,70}") {
            let pool = pool(r#""round_robin""#, SECRET);
            let (_, cookie) = visit(&pool, &format!("tg={value}"), 0, 0);
            prop_assert_ne!(cookie, format!("tg={value}"));
        }
    }
}
