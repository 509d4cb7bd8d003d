//! `css_decode`: the escapes of CSS (CSS Syntax Level 3 §4.3.7).

use super::{Transformation, push_code_point};
use crate::mask::ByteMask;

pub(crate) const ROW: Transformation = Transformation {
    name: "css_decode",
    summary: r"\HHHHHH of style sheets",
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
        let mut tail = escape.get(1..).unwrap_or_default();
        let mut code = 0;
        let mut taken = 0;
        while let Some(digit) = tail.first().and_then(|byte| char::from(*byte).to_digit(16))
            && taken < MAX_DIGITS
        {
            code = code * 16 + digit;
            taken += 1;
            tail = tail.get(1..).unwrap_or_default();
        }
        if taken > 0 {
            push_code_point(code, out);
            if tail.first().is_some_and(u8::is_ascii_whitespace) {
                tail = tail.get(1..).unwrap_or_default();
            }
        }
        rest = tail;
    }
    out.extend_from_slice(rest);
}

#[cfg(test)]
mod tests {
    use crate::transformations::check;

    #[test]
    fn escapes_are_decoded() {
        check("css_decode", br"e\78 pression\28 1)", b"expression(1)");
        check("css_decode", br"\00006a\0061vascript", b"javascript");
        check("css_decode", br"ur\l(", b"url(");
        check("css_decode", br"\", b"");
    }
}
