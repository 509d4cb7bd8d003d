//! `normalise_path`: backslashes to slashes, repeated slashes to one, `/./` to `/`. Dot-dot stays:
//! it is what the rules look for.

use super::Transformation;
use crate::mask::ByteMask;

pub(crate) const ROW: Transformation = Transformation {
    name: "normalise_path",
    summary: "backslashes to slashes, repeated slashes and /./ to one slash",
    only_case: false,
    may_change: |mask: &ByteMask| mask.contains(b'\\') || mask.contains(b'/'),
    apply,
};

fn apply(bytes: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    let mut rest = bytes;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        let after_slash = out.len() > start && out.last() == Some(&b'/');
        match (byte, tail) {
            (b'/' | b'\\', _) if after_slash => {}
            (b'/' | b'\\', _) => out.push(b'/'),
            (b'.', [b'/' | b'\\', ..]) if after_slash => {}
            _ => out.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::transformations::check;

    #[test]
    fn slashes_are_made_one() {
        check("normalise_path", br"..\..\\etc//./passwd", b"../../etc/passwd");
        check("normalise_path", b"/.//./../.hidden/.", b"/../.hidden/.");
        check("normalise_path", b"./a", b"./a");
    }
}
