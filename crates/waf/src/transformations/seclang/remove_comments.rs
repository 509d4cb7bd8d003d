//! `removeComments`: comments of C, SQL, HTML and shells removed; `--` and `#` end the value.

use crate::mask::ByteMask;
use crate::transformations::Transformation;

pub(crate) const ROW: Transformation = Transformation {
    name: "removeComments",
    summary: "/* */, <!-- --> removed, and all after -- or #",
    only_case: false,
    may_change: |mask: &ByteMask| mask.intersects(&const { ByteMask::text(b"/-#<") }),
    apply,
};

fn apply(bytes: &[u8], out: &mut Vec<u8>) {
    let mut rest = bytes;
    loop {
        match rest {
            [] | [b'#', ..] | [b'-', b'-', ..] => return,
            [b'/', b'*', tail @ ..] | [b'<', b'!', b'-', b'-', tail @ ..] => {
                let Some(after) = after_comment(tail) else {
                    out.push(b' ');
                    return;
                };
                // The byte after a comment is always kept, whatever it might begin.
                let (next, tail) = after.split_first().unwrap_or((&0, &[]));
                out.push(*next);
                rest = tail;
            }
            [byte, tail @ ..] => {
                out.push(*byte);
                rest = tail;
            }
        }
    }
}

/// What follows the end of a comment of either kind.
fn after_comment(text: &[u8]) -> Option<&[u8]> {
    let mut rest = text;
    loop {
        match rest {
            [b'*', b'/', tail @ ..] | [b'-', b'-', b'>', tail @ ..] => return Some(tail),
            [_, tail @ ..] => rest = tail,
            [] => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::transformations::seclang::check;

    #[test]
    fn comments_are_removed() {
        check("removeComments", b"a/* b */c<!-- d -->e -- f", b"ace ");
        check("removeComments", b"a/* b", b"a ");
    }
}
