//! `shell_unquote`: what a shell takes away before it sees a command: quotes, backslashes, carets,
//! empty variables; `${IFS}` and brace commas become spaces.

use super::Transformation;
use crate::mask::ByteMask;

pub(crate) const ROW: Transformation = Transformation {
    name: "shell_unquote",
    summary: "quotes, escapes and empty variables of shells removed, ${IFS} to a space",
    only_case: false,
    may_change: |mask: &ByteMask| mask.intersects(&const { ByteMask::text(b"'\"\\^$,") }),
    apply,
};

fn apply(bytes: &[u8], out: &mut Vec<u8>) {
    let mut rest = bytes;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        match byte {
            b'\'' | b'"' | b'\\' | b'^' => {}
            b',' => out.push(b' '),
            b'$' => rest = variable(tail, out),
            _ => out.push(byte),
        }
    }
}

/// What follows a dollar sign: the rest after a variable that is empty or a separator.
fn variable<'a>(after: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
    match after {
        [b'@' | b'*' | b'!' | b'1'..=b'9', tail @ ..] => return tail,
        [b'{', name @ ..] => {
            let end = name.iter().take(16).position(|byte| *byte == b'}');
            let parts = end.and_then(|end| Some((name.get(..end)?, name.get(end + 1..)?)));
            if let Some((name, tail)) = parts
                && name.first().is_some_and(|byte| byte.is_ascii_alphabetic() || *byte == b'_')
            {
                if name.get(..3).is_some_and(|start| start.eq_ignore_ascii_case(b"ifs")) {
                    out.push(b' ');
                    return tail;
                }
                if name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_') {
                    return tail;
                }
            }
        }
        [i, f, s, tail @ ..] if [*i, *f, *s].eq_ignore_ascii_case(b"ifs") => {
            out.push(b' ');
            return tail;
        }
        _ => {}
    }
    out.push(b'$');
    after
}

#[cfg(test)]
mod tests {
    use crate::transformations::check;

    #[test]
    fn what_a_shell_drops_is_dropped() {
        check("shell_unquote", br#"c'a't /e"tc"/pa\ss^wd"#, b"cat /etc/passwd");
        check("shell_unquote", b"cat${IFS}/etc$IFS$9x c$@at", b"cat /etc x cat");
        check("shell_unquote", b"{cat,/etc/passwd} c${x}at", b"{cat /etc/passwd} cat");
        check("shell_unquote", b"$(id) ${#a} $HOME $", b"$(id) ${#a} $HOME $");
    }
}
