//! `js_decode`: the escapes of JavaScript and JSON strings (ECMA-262 §12.9.4). A backslash before
//! anything else is dropped, as a JavaScript engine drops it.

use super::{Transformation, push_code_point};
use crate::mask::ByteMask;

pub(crate) const ROW: Transformation = Transformation {
    name: "js_decode",
    summary: r"\xHH \uHHHH \u{H} \OOO \n and the like",
    only_case: false,
    may_change: |mask: &ByteMask| mask.contains(b'\\'),
    apply,
};

fn apply(bytes: &[u8], out: &mut Vec<u8>) {
    let mut rest = bytes;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        let (plain, escape) = rest.split_at(at);
        out.extend_from_slice(plain);
        let after = escape.get(1..).unwrap_or_default();
        let taken = one(after, out);
        rest = after.get(taken..).unwrap_or_default();
        if after.is_empty() {
            out.push(b'\\');
        }
    }
    out.extend_from_slice(rest);
}

/// Decodes what follows a backslash; how many bytes that is.
fn one(after: &[u8], out: &mut Vec<u8>) -> usize {
    let Some((&kind, tail)) = after.split_first() else { return 0 };
    let control = match kind {
        b'x' => return 1 + digits(tail, 2, 2, 16, out).unwrap_or_else(|| keep(b'x', out)),
        b'u' => {
            if let [b'{', digits_of @ ..] = tail
                && let Some(taken) = digits(digits_of, 1, 6, 16, out)
            {
                return 2 + taken + usize::from(digits_of.get(taken) == Some(&b'}'));
            }
            return 1 + digits(tail, 4, 4, 16, out).unwrap_or_else(|| keep(b'u', out));
        }
        b'0'..=b'7' => return digits(after, 1, 3, 8, out).unwrap_or(0),
        b'b' => 8,
        b't' => b'\t',
        b'n' => b'\n',
        b'v' => 11,
        b'f' => 12,
        b'r' => b'\r',
        other => other,
    };
    out.push(control);
    1
}

fn keep(byte: u8, out: &mut Vec<u8>) -> usize {
    out.push(byte);
    0
}

/// Decodes `least` to `most` digits; how many there were.
fn digits(text: &[u8], least: usize, most: usize, radix: u32, out: &mut Vec<u8>) -> Option<usize> {
    let digit_at = |at: usize| text.get(at).and_then(|byte| char::from(*byte).to_digit(radix));
    let mut code = 0;
    let mut taken = 0;
    while let Some(digit) = digit_at(taken).filter(|_| taken < most) {
        code = code * radix + digit;
        taken += 1;
    }
    if taken < least {
        return None;
    }
    push_code_point(code, out);
    Some(taken)
}

#[cfg(test)]
mod tests {
    use crate::transformations::check;

    #[test]
    fn escapes_are_decoded() {
        check("js_decode", br"\x3cscript\u003e", b"<script>");
        check("js_decode", br"\u{61}lert\50\051", b"alert()");
        check("js_decode", br"al\ert\'\\\n", b"alert'\\\n");
        check("js_decode", br"\xzz\u12", b"xzzu12");
        check("js_decode", br"\", br"\");
        check("js_decode", br"\u{110000000}", "\u{fffd}000}".as_bytes());
    }
}
