//! `replaceNulls`: NUL bytes become spaces.

use crate::mask::ByteMask;
use crate::transformations::Transformation;

pub(crate) const ROW: Transformation = Transformation {
    name: "replaceNulls",
    summary: "NUL bytes to spaces",
    only_case: false,
    may_change: |mask: &ByteMask| mask.contains(0),
    apply: |bytes, out| out.extend(bytes.iter().map(|byte| if *byte == 0 { b' ' } else { *byte })),
};

#[cfg(test)]
mod tests {
    use crate::transformations::seclang::check;

    #[test]
    fn nulls_become_spaces() {
        check("replaceNulls", b"a\0\0b", b"a  b");
    }
}
