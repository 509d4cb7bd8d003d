//! `removeWhitespace`: white space, and both bytes of the no-break space, removed.

use crate::mask::ByteMask;
use crate::transformations::Transformation;

pub(crate) const ROW: Transformation = Transformation {
    name: "removeWhitespace",
    summary: "white space removed",
    only_case: false,
    may_change: |mask: &ByteMask| {
        mask.intersects(&const { ByteMask::range(b'\t', b'\r') })
            || mask.intersects(&const { ByteMask::text(b" \xa0\xc2") })
    },
    apply: |bytes, out| {
        let white = |byte: &u8| matches!(byte, b' ' | b'\t'..=b'\r' | 0xa0 | 0xc2);
        out.extend(bytes.iter().filter(|byte| !white(byte)));
    },
};

#[cfg(test)]
mod tests {
    use crate::transformations::seclang::check;

    #[test]
    fn no_space_is_left() {
        check("removeWhitespace", b" a\t\x0bb\xc2\xa0c\r\n", b"abc");
    }
}
