//! `cmdLine`: what shells ignore is removed: quotes, backslashes and carets; separators become one
//! space, none stands before a slash or a parenthesis, and letters are in lower case.

use crate::mask::ByteMask;
use crate::transformations::Transformation;

pub(crate) const ROW: Transformation = Transformation {
    name: "cmdLine",
    summary: "quotes and escapes of shells removed, separators to one space, lower case",
    only_case: false,
    may_change: |mask: &ByteMask| {
        mask.intersects(&const { ByteMask::text(b"\"'\\^,;\t\r\n ") })
            || mask.intersects(&const { ByteMask::range(b'A', b'Z') })
    },
    apply,
};

fn apply(bytes: &[u8], out: &mut Vec<u8>) {
    let mut after_space = false;
    for &byte in bytes {
        match byte {
            b'"' | b'\'' | b'\\' | b'^' => {}
            b' ' | b',' | b';' | b'\t' | b'\r' | b'\n' => {
                if !after_space {
                    out.push(b' ');
                }
                after_space = true;
            }
            b'/' | b'(' => {
                if after_space {
                    out.pop();
                }
                after_space = false;
                out.push(byte);
            }
            _ => {
                after_space = false;
                out.push(byte.to_ascii_lowercase());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::transformations::seclang::check;

    #[test]
    fn commands_lose_their_disguise() {
        check("cmdLine", br#"C^Ommand ,;  /c "a\b" (x"#, b"command/c ab(x");
    }
}
