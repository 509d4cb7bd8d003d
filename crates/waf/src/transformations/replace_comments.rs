//! `replace_comments`: SQL's inline comments become spaces, and MySQL's executable ones
//! (`/*!50000 select */`) become what they execute. Markers without their partner are spaces too,
//! so that nothing hides behind one.

use super::Transformation;
use crate::mask::ByteMask;

pub(crate) const ROW: Transformation = Transformation {
    name: "replace_comments",
    summary: "/* comments */ to a space, /*!50000 content */ to its content",
    only_case: false,
    may_change: |mask: &ByteMask| mask.contains(b'*') && mask.contains(b'/'),
    apply,
};

fn apply(bytes: &[u8], out: &mut Vec<u8>) {
    let mut rest = bytes;
    loop {
        match rest {
            [b'/', b'*', b'!', tail @ ..] | [b'/', b'*', b'M' | b'm', b'!', tail @ ..] => {
                out.push(b' ');
                let version = tail.iter().take_while(|byte| byte.is_ascii_digit()).count();
                rest = tail.get(version.min(6)..).unwrap_or_default();
            }
            [b'/', b'*', tail @ ..] => {
                out.push(b' ');
                let end = memchr::memmem::find(tail, b"*/");
                rest = end.and_then(|end| tail.get(end + 2..)).unwrap_or(tail);
            }
            [b'*', b'/', tail @ ..] => {
                out.push(b' ');
                rest = tail;
            }
            [byte, tail @ ..] => {
                out.push(*byte);
                rest = tail;
            }
            [] => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::transformations::check;

    #[test]
    fn comments_become_spaces() {
        check("replace_comments", b"union/**/select/* x */1", b"union select 1");
        check("replace_comments", b"/*!50000union*//*!select*/ 1", b" union  select  1");
        check("replace_comments", b"1/*/2", b"1 /2");
        check("replace_comments", b"a*/b /* c", b"a b   c");
    }
}
