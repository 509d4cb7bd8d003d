//! `urlDecodeUni`: `%XX`, plus signs and the `%uHHHH` of IIS, once. Of the latter the low byte
//! counts, but what has a best fit in ASCII becomes that: full-width forms, accents, quotes.

use super::{best_fit::best_fit, full_width, number, url_decode};
use crate::mask::ByteMask;
use crate::transformations::Transformation;

pub(crate) const ROW: Transformation = Transformation {
    name: "urlDecodeUni",
    summary: "%XX, %uHHHH and +",
    only_case: false,
    may_change: |mask: &ByteMask| mask.contains(b'%') || mask.contains(b'+'),
    apply,
};

fn apply(bytes: &[u8], out: &mut Vec<u8>) {
    let mut rest = bytes;
    while let Some(at) = memchr::memchr2(b'%', b'+', rest) {
        let (plain, escape) = rest.split_at(at);
        out.extend_from_slice(plain);
        rest = match escape {
            [b'%', b'u' | b'U', a, b, c, d, tail @ ..]
                if [a, b, c, d].iter().all(|digit| digit.is_ascii_hexdigit()) =>
            {
                let (high, low) = (number(&[*a, *b]), number(&[*c, *d]));
                let fit = best_fit(u16::from_be_bytes([high, low]));
                out.push(fit.unwrap_or_else(|| full_width(&[*a, *b], low)));
                tail
            }
            _ => {
                let (byte, tail) = url_decode::one(escape);
                out.push(byte);
                tail
            }
        };
    }
    out.extend_from_slice(rest);
}

#[cfg(test)]
mod tests {
    use crate::transformations::seclang::check;

    #[test]
    fn escapes_become_bytes() {
        check("urlDecodeUni", b"a+b%20%u0041%uff1c%u12%4%", b"a b A<%u12%4%");
        check("urlDecodeUni", b"%u2019 or %u0107%u4e2d", b"' or c-");
    }
}
