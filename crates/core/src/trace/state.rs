//! `tracestate` (W3C Trace Context, section 3.3): what vendors add to a trace. It is passed on as
//! it came or, malformed, not at all; nothing is added to it here.

use http::HeaderMap;

/// How many members a list may have (section 3.3.1.1).
const MEMBERS: usize = 32;

/// Whether the request's `tracestate` fields, taken together, are a list as they have to be. No
/// field is a valid list.
#[must_use]
pub fn is_valid_state(headers: &HeaderMap) -> bool {
    let fields = headers.get_all("tracestate").iter();
    let members = fields.flat_map(|field| field.as_bytes().split(|byte| *byte == b','));
    let mut keys: Vec<&[u8]> = Vec::new();
    for member in members.map(<[u8]>::trim_ascii).filter(|member| !member.is_empty()) {
        let Some(key) = key_of(member) else { return false };
        if keys.len() == MEMBERS || keys.contains(&key) {
            return false;
        }
        keys.push(key);
    }
    true
}

/// The key of a well-formed member.
fn key_of(member: &[u8]) -> Option<&[u8]> {
    let at = member.iter().position(|byte| *byte == b'=')?;
    let (key, value) = (member.get(..at)?, member.get(at + 1..)?);
    (is_key(key) && is_value(value)).then_some(key)
}

/// Section 3.3.1.3.1, with the digits that level 2 lets a key begin with.
fn is_key(key: &[u8]) -> bool {
    let plain = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/');
    let begins = |part: &[u8]| {
        part.first().is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    let mut parts = key.split(|byte| *byte == b'@');
    let (Some(tenant), system, None) = (parts.next(), parts.next(), parts.next()) else {
        return false;
    };
    let fits = match system {
        None => tenant.len() <= 256,
        Some(system) => {
            tenant.len() <= 241 && system.len() <= 14 && begins(system) && system.iter().all(plain)
        }
    };
    fits && begins(tenant) && tenant.iter().all(plain)
}

/// Section 3.3.1.3.2: visible ASCII and inner spaces, without comma and equals sign.
fn is_value(value: &[u8]) -> bool {
    let plain = |byte: &u8| matches!(byte, b' '..=b'~') && !matches!(byte, b',' | b'=');
    (1..=256).contains(&value.len())
        && value.iter().all(plain)
        && value.last().is_some_and(|byte| *byte != b' ')
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[track_caller]
    fn check(fields: &[&str], expected: bool) {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append("tracestate", HeaderValue::from_str(field).unwrap());
        }
        assert_eq!(is_valid_state(&headers), expected, "{fields:?}");
    }

    #[test]
    fn a_list_is_whole_or_nothing() {
        check(&[], true);
        check(&[""], true);
        check(&["congo=t61rcWkgMzE,rojo=00f067aa0ba902b7"], true);
        check(&["congo=t61 rcWkgMzE ,\t rojo=1,"], true);
        check(&["a=1", "b=2"], true);
        check(&["fw529a3039@dt=FfAAAA"], true);
        check(&["1a=x"], true);
        check(&["a=1", "a=2"], false);
        check(&["a"], false);
        check(&["=1"], false);
        check(&["a="], false);
        check(&["A=1"], false);
        check(&["a@b@c=1"], false);
        check(&["a@=1"], false);
        check(&["a=b=c"], false);
        check(&["a b=1"], false);
        let many = |count| (0..count).map(|n| format!("k{n}=1")).collect::<Vec<_>>().join(",");
        check(&[&many(32)], true);
        check(&[&many(33)], false);
        check(&[&format!("{}=1", "a".repeat(257))], false);
        check(&[&format!("a={}", "1".repeat(257))], false);
    }
}
