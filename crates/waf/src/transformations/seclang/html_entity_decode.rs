//! `htmlEntityDecode`: numeric character references, of which the low byte counts, and the five
//! names quot, amp, lt, gt and nbsp; the semicolon may be missing.

use crate::mask::ByteMask;
use crate::transformations::Transformation;

pub(crate) const ROW: Transformation = Transformation {
    name: "htmlEntityDecode",
    summary: "numeric character references, and quot, amp, lt, gt, nbsp",
    only_case: false,
    may_change: |mask: &ByteMask| mask.contains(b'&'),
    apply,
};

const NO_BREAK_SPACE: u8 = 0xa0;

/// A name decodes by its beginning: what follows it up to the next sign is dropped with it.
const NAMES: [(&[u8], u8); 5] =
    [(b"quot", b'"'), (b"amp", b'&'), (b"lt", b'<'), (b"gt", b'>'), (b"nbsp", NO_BREAK_SPACE)];

fn apply(bytes: &[u8], out: &mut Vec<u8>) {
    let mut rest = bytes;
    while let Some(at) = memchr::memchr(b'&', rest) {
        let (plain, reference) = rest.split_at(at);
        out.extend_from_slice(plain);
        let after = reference.get(1..).unwrap_or_default();
        let decoded = match after {
            [b'#', b'x' | b'X', tail @ ..] => numeric(tail, 16),
            [b'#', tail @ ..] => numeric(tail, 10),
            _ => named(after),
        };
        rest = match decoded {
            Some((byte, [b';', tail @ ..] | tail)) => {
                out.push(byte);
                tail
            }
            None => {
                out.push(b'&');
                after
            }
        };
    }
    out.extend_from_slice(rest);
}

/// The low byte of a number, and what follows its digits.
fn numeric(text: &[u8], radix: u32) -> Option<(u8, &[u8])> {
    let digit = |byte: &u8| char::from(*byte).to_digit(radix);
    let length = text.iter().take_while(|byte| digit(byte).is_some()).count();
    let (digits, tail) = text.split_at(length);
    let number = digits.iter().filter_map(digit).fold(0_u64, |number, digit| {
        number.saturating_mul(radix.into()).saturating_add(digit.into())
    });
    let [.., byte] = number.to_be_bytes();
    (length > 0).then_some((byte, tail))
}

fn named(text: &[u8]) -> Option<(u8, &[u8])> {
    let length = text.iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
    let (name, tail) = text.split_at(length);
    let known =
        |known: &[u8]| name.get(..known.len()).is_some_and(|n| n.eq_ignore_ascii_case(known));
    NAMES.iter().find(|(text, _)| known(text)).map(|(_, byte)| (*byte, tail))
}

#[cfg(test)]
mod tests {
    use crate::transformations::seclang::check;

    #[test]
    fn references_become_bytes() {
        check("htmlEntityDecode", b"&lt;a&GT b&#60;&#x3C&#x0000003c;", b"<a> b<<<");
        check("htmlEntityDecode", b"a&b &# &#x &nbsp;&", b"a&b &# &#x \xa0&");
    }
}
