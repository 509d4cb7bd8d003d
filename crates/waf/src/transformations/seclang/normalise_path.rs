//! `normalisePath` and `normalisePathWin`: repeated slashes, self references and, where there is
//! something to leave, back references removed; the latter reads backslashes as slashes.

use crate::mask::ByteMask;
use crate::transformations::Transformation;

pub(crate) const ROW: Transformation = Transformation {
    name: "normalisePath",
    summary: "repeated slashes, /./ and dir/../ removed",
    only_case: false,
    may_change: |mask: &ByteMask| mask.contains(b'/') || mask.contains(b'.'),
    apply: |bytes, out| apply(bytes, false, out),
};
pub(crate) const WINDOWS: Transformation = Transformation {
    name: "normalisePathWin",
    summary: "like normalisePath, after backslashes became slashes",
    only_case: false,
    may_change: |mask: &ByteMask| mask.intersects(&const { ByteMask::text(b"/.\\") }),
    apply: |bytes, out| apply(bytes, true, out),
};

fn apply(bytes: &[u8], windows: bool, out: &mut Vec<u8>) {
    let is_slash = |byte: &u8| *byte == b'/' || windows && *byte == b'\\';
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return };
    let (absolute, trailing) = (is_slash(first), is_slash(last));
    let mut kept: Vec<&[u8]> = Vec::new();
    for segment in bytes.split(is_slash) {
        match segment {
            b"" | b"." => {}
            b".." => match kept.last() {
                Some(&b"..") => kept.push(segment),
                Some(_) => drop(kept.pop()),
                None if absolute => {}
                None => kept.push(segment),
            },
            _ => kept.push(segment),
        }
    }
    if absolute {
        out.push(b'/');
    }
    for (index, segment) in kept.iter().enumerate() {
        if index > 0 {
            out.push(b'/');
        }
        out.extend_from_slice(segment);
    }
    if trailing && !kept.is_empty() {
        out.push(b'/');
    }
}

#[cfg(test)]
mod tests {
    use crate::transformations::seclang::check;

    #[test]
    fn paths_become_shortest() {
        check("normalisePath", b"/a//b/./c/../d/", b"/a/b/d/");
        check("normalisePath", b"../../a/..", b"../..");
        check("normalisePathWin", br"\a\..\b\\c", b"/b/c");
    }
}
