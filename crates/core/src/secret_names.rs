//! Names under which secrets travel, so that logs do not become lists of passwords. It looks at
//! names only: a secret under an innocent name is none here.

/// A name that holds one of these words is secret.
const WORDS: [&str; 16] = [
    "accesskey",
    "access_key",
    "apikey",
    "api_key",
    "assertion",
    "authorization",
    "credential",
    "passcode",
    "passphrase",
    "passwd",
    "password",
    "private_key",
    "secret",
    "session",
    "signature",
    "token",
];

/// A name that is one of these, or ends in it after a separator, is secret.
const ENDINGS: [&str; 10] =
    ["auth", "jwt", "key", "otp", "pass", "pin", "pwd", "saml_response", "sid", "sig"];

/// A name that is exactly one of these is secret.
const NAMES: [&str; 5] = ["auth_code", "code", "samlresponse", "verification_code", "verifier"];

/// Longer names than this are taken for secret: nobody reads them anyway.
const MAX_NAME: usize = 64;

/// Whether a parameter's name looks like that of a secret: compared as an application would see
/// it, percent-decoded, without case, any sign a separator (`user[api-key]` is `user_api_key`).
#[must_use]
pub fn is_secret(name: &str) -> bool {
    let mut buffer = [0_u8; MAX_NAME];
    let Some(plain) = normalised(name, &mut buffer) else { return true };
    let ends_in = |ending: &&str| {
        plain.strip_suffix(*ending).is_some_and(|rest| rest.is_empty() || rest.ends_with('_'))
    };
    NAMES.contains(&plain)
        || ENDINGS.iter().any(ends_in)
        || WORDS.iter().any(|word| plain.contains(word))
}

/// Decodes the name into the buffer; `None` if it does not fit.
fn normalised<'a>(name: &str, buffer: &'a mut [u8; MAX_NAME]) -> Option<&'a str> {
    let mut bytes = name.as_bytes();
    let mut len = 0;
    while let Some((byte, rest)) = bytes.split_first() {
        let (byte, rest) = percent_decoded(*byte, rest);
        *buffer.get_mut(len)? =
            if byte.is_ascii_alphanumeric() { byte.to_ascii_lowercase() } else { b'_' };
        len += 1;
        bytes = rest;
    }
    let plain = buffer.get(..len).and_then(|plain| std::str::from_utf8(plain).ok())?;
    Some(plain.trim_end_matches('_'))
}

fn percent_decoded(byte: u8, rest: &[u8]) -> (u8, &[u8]) {
    let nibble =
        |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    if let (b'%', [high, low, after @ ..]) = (byte, rest)
        && let (Some(high), Some(low)) = (nibble(*high), nibble(*low))
    {
        return (high << 4 | low, after);
    }
    (byte, rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_an_application_reads_them() {
        for name in ["token", "PASSWORD", "to%6Ben", "user[api-key]", "x-api-key", "sid"] {
            assert!(is_secret(name), "{name}");
        }
        for name in ["id", "keyword", "monkey", "authority", "country_code"] {
            assert!(!is_secret(name), "{name}");
        }
    }
}
