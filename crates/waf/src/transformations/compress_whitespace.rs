//! `compress_whitespace`: each run of ASCII whitespace becomes one space.

use super::Transformation;
use crate::mask::ByteMask;

pub(crate) const ROW: Transformation = Transformation {
    name: "compress_whitespace",
    summary: "runs of whitespace to one space",
    only_case: false,
    may_change: |mask: &ByteMask| {
        mask.contains(b' ') || mask.intersects(&const { ByteMask::range(b'\t', b'\r') })
    },
    apply,
};

fn apply(bytes: &[u8], out: &mut Vec<u8>) {
    let mut in_run = false;
    for &byte in bytes {
        let white = matches!(byte, b' ' | b'\t'..=b'\r');
        if !white {
            out.push(byte);
        } else if !in_run {
            out.push(b' ');
        }
        in_run = white;
    }
}

#[cfg(test)]
mod tests {
    use crate::transformations::check;

    #[test]
    fn runs_become_one_space() {
        check("compress_whitespace", b" a\t\n\x0b\x0c\r b ", b" a b ");
    }
}
