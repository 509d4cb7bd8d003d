//! `url_decode`: `%XX` and `%uHHHH`, again until nothing changes, at most three times: an origin
//! behind another proxy decodes more than once. A plus stays a plus.

use super::{Transformation, push_code_point};
use crate::mask::ByteMask;
use crate::values::urlencoded::hex;

pub(crate) const ROW: Transformation = Transformation {
    name: "url_decode",
    summary: "%XX and %uHHHH, repeatedly",
    only_case: false,
    may_change: |mask: &ByteMask| mask.contains(b'%'),
    apply,
};

const MAX_ROUNDS: usize = 3;

fn apply(bytes: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    decode(bytes, out);
    for _ in 1..MAX_ROUNDS {
        let once = out.split_off(start);
        decode(&once, out);
        if out.len() - start == once.len() {
            return;
        }
    }
}

fn decode(bytes: &[u8], out: &mut Vec<u8>) {
    let mut rest = bytes;
    while let Some(at) = memchr::memchr(b'%', rest) {
        let (plain, escape) = rest.split_at(at);
        out.extend_from_slice(plain);
        rest = match escape {
            [_, b'u' | b'U', a, b, c, d, tail @ ..] if number(&[*a, *b, *c, *d]).is_some() => {
                push_code_point(number(&[*a, *b, *c, *d]).unwrap_or_default(), out);
                tail
            }
            [_, a, b, tail @ ..] => match number(&[*a, *b]).and_then(|n| u8::try_from(n).ok()) {
                Some(byte) => {
                    out.push(byte);
                    tail
                }
                None => {
                    out.push(b'%');
                    escape.get(1..).unwrap_or_default()
                }
            },
            _ => {
                out.extend_from_slice(escape);
                return;
            }
        };
    }
    out.extend_from_slice(rest);
}

fn number(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |number, digit| Some(number << 4 | u32::from(hex(*digit)?)))
}

#[cfg(test)]
mod tests {
    use crate::transformations::check;

    #[test]
    fn percent_escapes_are_decoded_until_none_is_left() {
        check("url_decode", b"%27 or%201", b"' or 1");
        check("url_decode", b"%2527", b"'");
        check("url_decode", b"%252527", b"'");
        check("url_decode", b"%25252527", b"%27");
        check("url_decode", b"%u0027%U003c", b"'<");
        check("url_decode", b"%uff1c", "\u{ff1c}".as_bytes());
        check("url_decode", b"100% a+b %zz %4 %", b"100% a+b %zz %4 %");
        check("url_decode", b"%u00", b"%u00");
        check("url_decode", b"%%32%37", b"'");
    }
}
