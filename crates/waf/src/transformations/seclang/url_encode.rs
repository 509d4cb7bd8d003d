//! `urlEncode`: all but letters, digits and `*` to `%xx`, and spaces to plus signs.

use crate::mask::ByteMask;
use crate::transformations::Transformation;

pub(crate) const ROW: Transformation = Transformation {
    name: "urlEncode",
    summary: "all but letters, digits and * to %xx",
    only_case: false,
    may_change: |_: &ByteMask| true,
    apply,
};

fn apply(bytes: &[u8], out: &mut Vec<u8>) {
    for &byte in bytes {
        match byte {
            b' ' => out.push(b'+'),
            b'*' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => out.push(byte),
            _ => {
                out.push(b'%');
                (super::hex_encode::ROW.apply)(&[byte], out);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::transformations::seclang::check;

    #[test]
    fn bytes_become_escapes() {
        check("urlEncode", b"a b*\xff/", b"a+b*%ff%2f");
    }
}
