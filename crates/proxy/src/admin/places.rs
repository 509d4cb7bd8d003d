//! What the admin listener has: its places, the methods of each, and the words of their queries
//! where a slip would do something else than was meant. Who asks for anything else is told what
//! there is, before anything is done.

use http::{Method, Response, StatusCode, header};

use super::text;

/// What can be asked for at one path.
struct Place {
    /// The path. `*` stands for a name, and at the end for anything.
    path: &'static str,
    /// The methods, as `Allow` lists them.
    methods: &'static str,
    /// The words of the query; `None` where it does not matter what stands there.
    words: Option<&'static [&'static str]>,
}

const READ: &str = "GET, HEAD";
const WRITE: &str = "POST";

/// All places, in the order in which they are listed.
const PLACES: &[Place] = &[
    Place { path: "/healthz", methods: READ, words: None },
    Place { path: "/readyz", methods: READ, words: None },
    Place { path: "/metrics", methods: READ, words: None },
    Place { path: "/config", methods: READ, words: None },
    Place { path: "/upstreams", methods: READ, words: None },
    Place { path: "/upstreams/*/drain", methods: WRITE, words: Some(&["endpoint", "zone"]) },
    Place { path: "/upstreams/*/undrain", methods: WRITE, words: Some(&["endpoint", "zone"]) },
    Place { path: "/bans", methods: "GET, HEAD, POST, DELETE", words: Some(OF_BANS) },
    Place { path: "/response", methods: READ, words: None },
    Place { path: "/response/panic", methods: "GET, HEAD, POST", words: Some(&["on"]) },
    Place { path: "/alertmanager", methods: WRITE, words: None },
    Place { path: "/report/scopes", methods: READ, words: None },
    Place { path: "/revoke", methods: WRITE, words: Some(&["before", "client", "jti", "sub"]) },
    Place { path: "/audit/erase", methods: WRITE, words: Some(&["subject"]) },
    Place { path: "/audit/*", methods: READ, words: None },
    Place { path: "/reload", methods: WRITE, words: None },
];

const OF_BANS: &[&str] = &[
    "address", "after", "client", "endpoint", "for", "limit", "measure", "network", "provider",
    "reason", "route", "source", "subject", "token", "upstream", "wide", "zone",
];

/// The answer to what is not there: another path, another method, an unknown word in the query.
pub(super) fn refusal(method: &Method, path: &str, query: &str) -> Option<Response<Vec<u8>>> {
    let Some(place) = PLACES.iter().find(|place| place.is_at(path)) else {
        return Some(text(StatusCode::NOT_FOUND, &listing()));
    };
    if !place.methods.split(", ").any(|allowed| allowed == method.as_str()) {
        let message = format!("{path} takes {}\n", place.methods);
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, &message);
        let allow = http::HeaderValue::from_static(place.methods);
        response.headers_mut().insert(header::ALLOW, allow);
        return Some(response);
    }
    let words = place.words?;
    let unknown = query.split('&').filter_map(|pair| pair.split('=').next());
    let unknown = unknown.into_iter().find(|word| !word.is_empty() && !words.contains(word))?;
    let message = format!("`{unknown}` says nothing here; known are {}\n", words.join(", "));
    Some(text(StatusCode::BAD_REQUEST, &message))
}

impl Place {
    fn is_at(&self, path: &str) -> bool {
        match self.path.split_once('*') {
            None => path == self.path,
            Some((before, after)) => path
                .strip_prefix(before)
                .and_then(|rest| rest.strip_suffix(after))
                .is_some_and(|name| !name.is_empty()),
        }
    }
}

fn listing() -> String {
    let line = |place: &Place| format!("{} {}\n", place.methods, place.path);
    PLACES.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(method: &Method, target: &str, expected: Option<(u16, &str)>) {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let refused = refusal(method, path, query);
        let said = refused.map(|response| {
            let status = response.status().as_u16();
            (status, String::from_utf8(response.into_body()).unwrap())
        });
        match (said, expected) {
            (None, None) => {}
            (Some((status, body)), Some((wanted, part))) => {
                assert_eq!(status, wanted, "{target}");
                assert!(body.contains(part), "{target}: {body}");
            }
            (said, _) => panic!("{target}: {said:?}"),
        }
    }

    #[test]
    fn what_is_not_there_is_told_from_what_is() {
        check(&Method::GET, "/healthz?cache=1", None);
        check(&Method::GET, "/audit/tile/0/000", None);
        check(&Method::POST, "/audit/erase?subject=alice", None);
        check(&Method::POST, "/upstreams/a/b/drain?zone=b", None);
        check(&Method::DELETE, "/bans?network=192.0.2.0/24&measure=block", None);
        check(&Method::POST, "/nope", Some((404, "POST /reload\n")));
        check(&Method::GET, "/upstreams//drain", Some((404, "POST /upstreams/*/drain\n")));
        check(&Method::GET, "/reload", Some((405, "/reload takes POST\n")));
        check(&Method::PUT, "/bans", Some((405, "GET, HEAD, POST, DELETE")));
        check(&Method::GET, "/audit/erase?subject=alice", Some((405, "POST")));
    }

    /// `mesure=throttle` would block, which is what no measure means.
    #[test]
    fn a_slip_in_a_query_does_nothing() {
        check(&Method::POST, "/bans?network=192.0.2.1&mesure=throttle", Some((400, "`mesure`")));
        check(&Method::POST, "/response/panic?off", Some((400, "`off` says nothing here")));
        check(&Method::POST, "/revoke?sub=ann&before=1&x", Some((400, "`x`")));
    }
}
