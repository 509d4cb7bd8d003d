//! `removeCommentsChar`: the signs that begin and end comments removed, their text kept.

use crate::mask::ByteMask;
use crate::transformations::Transformation;

pub(crate) const ROW: Transformation = Transformation {
    name: "removeCommentsChar",
    summary: "the signs that begin and end comments removed",
    only_case: false,
    may_change: |mask: &ByteMask| mask.intersects(&const { ByteMask::text(b"/*<-#") }),
    apply,
};

fn apply(bytes: &[u8], out: &mut Vec<u8>) {
    let mut rest = bytes;
    loop {
        rest = match rest {
            [b'<', b'!', b'-', b'-', tail @ ..]
            | [b'-', b'-', b'>', tail @ ..]
            | [b'/', b'*', tail @ ..]
            | [b'*', b'/', tail @ ..]
            | [b'-', b'-', tail @ ..]
            | [b'#', tail @ ..] => tail,
            [byte, tail @ ..] => {
                out.push(*byte);
                tail
            }
            [] => return,
        };
    }
}

#[cfg(test)]
mod tests {
    use crate::transformations::seclang::check;

    #[test]
    fn only_the_signs_are_removed() {
        check("removeCommentsChar", b"a/*b*/<!--c-->--d#e", b"abcde");
    }
}
