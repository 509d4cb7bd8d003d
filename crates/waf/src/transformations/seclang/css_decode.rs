//! `cssDecode`: the escapes of style sheets (CSS 2.1 §4.1.3), the last two digits of each.

use super::{full_width, number};
use crate::mask::ByteMask;
use crate::transformations::Transformation;

pub(crate) const ROW: Transformation = Transformation {
    name: "cssDecode",
    summary: "the escapes of style sheets, their low byte",
    only_case: false,
    may_change: |mask: &ByteMask| mask.contains(b'\\'),
    apply,
};

const MAX_DIGITS: usize = 6;

fn apply(bytes: &[u8], out: &mut Vec<u8>) {
    let mut rest = bytes;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        let (plain, escape) = rest.split_at(at);
        out.extend_from_slice(plain);
        let after = escape.get(1..).unwrap_or_default();
        let length = after.iter().take(MAX_DIGITS).take_while(|b| b.is_ascii_hexdigit()).count();
        let (digits, tail) = after.split_at(length);
        rest = match (digits, tail) {
            ([], [b'\n', tail @ ..]) => tail,
            ([], [byte, tail @ ..]) => {
                out.push(*byte);
                tail
            }
            ([], []) => tail,
            (digits, [b' ' | b'\t'..=b'\r', tail @ ..]) | (digits, tail) => {
                out.push(low_byte(digits));
                tail
            }
        };
    }
    out.extend_from_slice(rest);
}

/// Of four digits and more, if no digit before them counts, full-width forms become ASCII.
fn low_byte(digits: &[u8]) -> u8 {
    let split = digits.len().saturating_sub(4);
    let (leading, last) = digits.split_at(split);
    match last {
        [high @ .., a, b] => {
            let byte = number(&[*a, *b]);
            let counts = high.len() == 2 && leading.iter().all(|digit| *digit == b'0');
            if counts { full_width(high, byte) } else { byte }
        }
        short => number(short),
    }
}

#[cfg(test)]
mod tests {
    use crate::transformations::seclang::check;

    #[test]
    fn escapes_become_bytes() {
        check("cssDecode", br"e\78 pression\28 1\)", b"expression(1)");
        check("cssDecode", br"\00006a\0061\uff1c\ff1c\\", br"jauff1c<\");
        check("cssDecode", b"a\\\nb\\", b"ab");
        check("cssDecode", br"\0  s", b"\0 s");
    }
}
