//! Masks the values of query parameters that look like secrets, so that a log does not become a
//! list of passwords. It looks at names only: a secret under an innocent name stays readable.

use crate::secret_names::is_secret;

/// What stands for a masked value.
const MASK: &str = "***";

/// The parts of a query, with the values of secret parameters masked, and of those that the
/// firewall's rules ask for.
pub fn masked<'q>(query: &'q str, also: &'q [Box<str>]) -> impl Iterator<Item = &'q str> {
    // `;` separates parameters for some servers; taking both masks more, never less.
    query.split_inclusive(['&', ';']).flat_map(move |pair| {
        let (pair, separator) = match pair.strip_suffix(['&', ';']) {
            Some(bare) => pair.split_at(bare.len()),
            None => (pair, ""),
        };
        match pair.split_once('=') {
            Some((name, value)) if !value.is_empty() && (is_secret(name) || names(also, name)) => {
                let (name, _) = pair.split_at(name.len() + 1);
                [name, MASK, separator]
            }
            _ => [pair, "", separator],
        }
    })
}

fn names(names: &[Box<str>], name: &str) -> bool {
    names.iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// The piece that a rule matched, masked if its target (such as `query:password`) is a secret.
#[must_use]
pub fn masked_piece<'a>(target: &str, piece: &'a str) -> &'a str {
    let name = target.split_once(':').map_or(target, |(_, name)| name);
    if is_secret(name) { MASK } else { piece }
}

/// The parts of a URL, with its query masked.
pub fn masked_url(url: &str) -> impl Iterator<Item = &str> {
    let (before, query) = match url.find('?') {
        Some(at) => url.split_at(at + 1),
        None => (url, ""),
    };
    std::iter::once(before).chain(masked(query, &[]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(query: &str, expected: &str) {
        assert_eq!(masked(query, &["Pin".into()]).collect::<String>(), expected);
    }

    #[test]
    fn values_of_secret_parameters_are_masked() {
        check("", "");
        check("pin=1&a=2", "pin=***&a=2");
        check("a=1&b=2", "a=1&b=2");
        check("token=abc&a=1", "token=***&a=1");
        check("a=1&access_token=abc", "a=1&access_token=***");
        check("a=1;password=x;b", "a=1;password=***;b");
        check("PASSWORD=x", "PASSWORD=***");
        check("to%6Ben=x", "to%6Ben=***");
        check("user[pass-word]=x&user[key]=y", "user[pass-word]=x&user[key]=***");
        check("x-api-key=1&apiKey=2&sort=key", "x-api-key=***&apiKey=***&sort=key");
        check("X-Amz-Signature=abc&sig=1", "X-Amz-Signature=***&sig=***");
        check("code=1&country_code=de&zipcode=1", "code=***&country_code=de&zipcode=1");
        check("keyword=a&monkey=b&authority=c", "keyword=a&monkey=b&authority=c");
        check("token&token=", "token&token=");
        check("token=a=b", "token=***");
        check("%ff%ff=1&%=2&%4=3", "%ff%ff=1&%=2&%4=3");
        check(&format!("{}=1", "n".repeat(65)), &format!("{}=***", "n".repeat(65)));
    }

    #[test]
    fn a_piece_of_a_secret_is_masked() {
        for target in ["query:password", "header:authorization", "cookie:sid", "body:user.token"] {
            assert_eq!(masked_piece(target, "x"), MASK, "{target}");
        }
        for target in ["query:id", "path", "header:user-agent", "body"] {
            assert_eq!(masked_piece(target, "x"), "x", "{target}");
        }
    }

    #[test]
    fn a_url_keeps_all_but_the_secrets_of_its_query() {
        let url = |url: &str| masked_url(url).collect::<String>();
        assert_eq!(url("https://a.example/token=1"), "https://a.example/token=1");
        assert_eq!(url("https://a.example/?token=1&a=?b"), "https://a.example/?token=***&a=?b");
    }
}
