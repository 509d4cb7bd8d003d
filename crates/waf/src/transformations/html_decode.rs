//! `html_decode`: character references (HTML Living Standard §13.5), numeric ones with or without
//! their semicolon, and the named ones that stand for ASCII.

use super::{Transformation, push_code_point};
use crate::mask::ByteMask;

pub(crate) const ROW: Transformation = Transformation {
    name: "html_decode",
    summary: "&lt; &#60; &#x3c; and the like",
    only_case: false,
    may_change: |mask: &ByteMask| mask.contains(b'&'),
    apply,
};

/// Names that stand for ASCII or a space; the longer of two with one beginning comes first.
const NAMES: [(&[u8], u8); 32] = [
    (b"amp;", b'&'),
    (b"apos;", b'\''),
    (b"ast;", b'*'),
    (b"bsol;", b'\\'),
    (b"colon;", b':'),
    (b"comma;", b','),
    (b"commat;", b'@'),
    (b"dollar;", b'$'),
    (b"equals;", b'='),
    (b"excl;", b'!'),
    (b"grave;", b'`'),
    (b"gt;", b'>'),
    (b"gt", b'>'),
    (b"lbrace;", b'{'),
    (b"lbrack;", b'['),
    (b"lowbar;", b'_'),
    (b"lpar;", b'('),
    (b"lt;", b'<'),
    (b"lt", b'<'),
    (b"nbsp;", b' '),
    (b"newline;", b'\n'),
    (b"num;", b'#'),
    (b"percnt;", b'%'),
    (b"period;", b'.'),
    (b"quest;", b'?'),
    (b"quot;", b'"'),
    (b"rbrace;", b'}'),
    (b"rbrack;", b']'),
    (b"rpar;", b')'),
    (b"semi;", b';'),
    (b"sol;", b'/'),
    (b"tab;", b'\t'),
];

fn apply(bytes: &[u8], out: &mut Vec<u8>) {
    let mut rest = bytes;
    while let Some(at) = memchr::memchr(b'&', rest) {
        let (plain, reference) = rest.split_at(at);
        out.extend_from_slice(plain);
        let after = reference.get(1..).unwrap_or_default();
        let taken = match after {
            [b'#', b'x' | b'X', digits @ ..] => numeric(digits, 16, out).map(|taken| taken + 2),
            [b'#', digits @ ..] => numeric(digits, 10, out).map(|taken| taken + 1),
            _ => named(after, out),
        };
        rest = match taken {
            Some(taken) => after.get(taken..).unwrap_or_default(),
            None => {
                out.push(b'&');
                after
            }
        };
    }
    out.extend_from_slice(rest);
}

/// Decodes the digits and an optional semicolon; how many bytes these are.
fn numeric(digits: &[u8], radix: u32, out: &mut Vec<u8>) -> Option<usize> {
    let mut code = 0_u32;
    let mut taken = 0;
    while let Some(digit) = digits.get(taken).and_then(|byte| char::from(*byte).to_digit(radix)) {
        code = code.saturating_mul(radix).saturating_add(digit);
        taken += 1;
    }
    if taken == 0 {
        return None;
    }
    push_code_point(code, out);
    Some(taken + usize::from(digits.get(taken) == Some(&b';')))
}

fn named(after: &[u8], out: &mut Vec<u8>) -> Option<usize> {
    let (name, byte) = NAMES.iter().find(|(name, _)| {
        after.get(..name.len()).is_some_and(|head| head.eq_ignore_ascii_case(name))
    })?;
    out.push(*byte);
    Some(name.len())
}

#[cfg(test)]
mod tests {
    use crate::transformations::check;

    #[test]
    fn references_are_decoded() {
        check("html_decode", b"&lt;script&GT;", b"<script>");
        check("html_decode", b"java&#115;cript&#x3A;&#0000058x", b"javascript::x");
        check("html_decode", b"a&b &#; &#x; &unknown; &", b"a&b &#; &#x; &unknown; &");
        check("html_decode", b"&Tab;&NewLine;&colon;&lpar;", b"\t\n:(");
        check("html_decode", b"&#99999999999;", "\u{fffd}".as_bytes());
    }
}
