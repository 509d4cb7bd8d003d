//! `name=value; name=value`, as libmodsecurity reads it: white space before a name is dropped,
//! values keep theirs, a cookie without `=` is a name, and one without a name is none.

use super::{Arena, pieces};
use crate::target::Target;

/// Adds the cookies of one field.
pub(crate) fn collect(arena: &mut Arena, field: &[u8]) {
    for pair in pieces(field.trim_ascii_end(), b';') {
        let (name, value) = match memchr::memchr(b'=', pair) {
            Some(at) => (pair.get(..at), pair.get(at + 1..)),
            None => (Some(pair), None),
        };
        let name = name.unwrap_or_default().trim_ascii_start();
        if name.is_empty() {
            continue;
        }
        let (name, value) = (arena.copy(name), arena.copy(value.unwrap_or_default()));
        arena.add(Target::RequestCookiesNames, name, name);
        arena.add(Target::RequestCookies, name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(field: &str, cookies: &[(&str, &str)]) {
        let mut arena = Arena::of_everything();
        collect(&mut arena, field.as_bytes());
        let text = |span| std::str::from_utf8(arena.bytes(span)).unwrap();
        let found: Vec<(&str, &str)> = arena
            .values()
            .iter()
            .filter(|value| value.target == Target::RequestCookies)
            .map(|value| (text(value.name), text(value.bytes)))
            .collect();
        assert_eq!(found, cookies, "{field}");
    }

    #[test]
    fn cookies_are_split_as_they_came() {
        check("a=1; b=x=y ;c", &[("a", "1"), ("b", "x=y "), ("c", "")]);
        check(";;a=1;; =x; b= 2  ", &[("a", "1"), ("b", " 2")]);
        check("a=1; a=%41;A=\"q;r\"", &[("a", "1"), ("a", "%41"), ("A", "\"q"), ("r\"", "")]);
        check("", &[]);
    }
}
