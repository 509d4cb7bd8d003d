//! `urlDecode`: `%XX` and plus signs, once; what is no escape stays.

use super::number;
use crate::mask::ByteMask;
use crate::transformations::Transformation;

pub(crate) const ROW: Transformation = Transformation {
    name: "urlDecode",
    summary: "%XX and +",
    only_case: false,
    may_change: |mask: &ByteMask| mask.contains(b'%') || mask.contains(b'+'),
    apply,
};

fn apply(bytes: &[u8], out: &mut Vec<u8>) {
    let mut rest = bytes;
    while let Some(at) = memchr::memchr2(b'%', b'+', rest) {
        let (plain, escape) = rest.split_at(at);
        out.extend_from_slice(plain);
        let (byte, tail) = one(escape);
        out.push(byte);
        rest = tail;
    }
    out.extend_from_slice(rest);
}

/// What a percent or a plus sign stands for, and what follows it.
pub(super) fn one(escape: &[u8]) -> (u8, &[u8]) {
    match escape {
        [b'%', a, b, tail @ ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit() => {
            (number(&[*a, *b]), tail)
        }
        [b'+', tail @ ..] => (b' ', tail),
        [byte, tail @ ..] => (*byte, tail),
        [] => (0, &[]),
    }
}

#[cfg(test)]
mod tests {
    use crate::transformations::seclang::check;

    #[test]
    fn escapes_become_bytes() {
        check("urlDecode", b"a+b%20%41%4%zz%", b"a b A%4%zz%");
    }
}
