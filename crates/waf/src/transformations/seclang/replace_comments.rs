//! `replaceComments`: each comment of C becomes one space, an open one too.

use crate::mask::ByteMask;
use crate::transformations::Transformation;

pub(crate) const ROW: Transformation = Transformation {
    name: "replaceComments",
    summary: "/* */ to a space",
    only_case: false,
    may_change: |mask: &ByteMask| mask.contains(b'/') && mask.contains(b'*'),
    apply,
};

fn apply(bytes: &[u8], out: &mut Vec<u8>) {
    let mut rest = bytes;
    while let Some(start) = memchr::memmem::find(rest, b"/*") {
        let (plain, comment) = rest.split_at(start);
        out.extend_from_slice(plain);
        out.push(b' ');
        let inside = comment.get(2..).unwrap_or_default();
        rest = match memchr::memmem::find(inside, b"*/") {
            Some(end) => inside.get(end + 2..).unwrap_or_default(),
            None => return,
        };
    }
    out.extend_from_slice(rest);
}

#[cfg(test)]
mod tests {
    use crate::transformations::seclang::check;

    #[test]
    fn comments_become_spaces() {
        check("replaceComments", b"a/* b */c/*/d*/e*/f/*g", b"a c e*/f ");
    }
}
