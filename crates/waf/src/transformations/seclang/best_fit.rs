//! The best fit: the ASCII character that Windows puts in place of one that a code page has not, so
//! that a typographic apostrophe can end a string of SQL. It is the table of code page 20127, which
//! `SecUnicodeMapFile` names for ModSecurity, from U+0100 on: what is below is a byte of its own, and
//! `full_width` has the full-width forms.

/// The ASCII character that stands for a character of the basic plane, if there is one.
pub(super) fn best_fit(code: u16) -> Option<u8> {
    let (start, fits) = ROWS.iter().rev().find(|(start, _)| *start <= code)?;
    fits.get(usize::from(code - start)).copied().filter(|fit| *fit != 0)
}

/// The first character of each row, and what stands for it and those behind it; 0 for nothing.
const ROWS: &[(u16, &[u8])] = &[
    (0x0100, b"AaAaAaCcCcCcCcDdDdEeEeEeEeEeGgGgGgGgHhHhIiIiIiIiIi\0\0JjKk\0LlLlLl\0\0LlNnNnNn\0\0\0OoOoOoOoRrRrRrSsSsSsSsTtTtTtUuUuUuUuUuUuWwYyYZ\0ZzZz"),
    (0x0180, b"b\0\0\0\0\0\0\0\0D\0\0\0\0\0\0\0Ff\0\0\0\0I\0\0l\0\0\0\0OOo\0\0\0\0\0\0\0\0\0t\0\0TUu\0\0\0\0\0z"),
    (0x01cd, b"AaIiOoUuUuUuUuUu\0Aa\0\0\0\0GgGgKkOoOo\0\0j"),
    (0x0261, b"g"),
    (0x02b9, b"'\"\0'\0\0\0\0\0\0\0^\0^\0'\0\0`\0_"),
    (0x02dc, b"~"),
    (0x0300, b"`\0^~"),
    (0x030e, b"\""),
    (0x0331, b"__"),
    (0x2000, b"       \0\0\0\0\0\0\0\0\0--\0--\0\0\0'',\0\"\"\"\0\0\0.\0\0\0."),
    (0x2032, b"'\0\0`\0\0\0<>"),
    (0x2122, b"T"),
];

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn quotes_letters_and_blanks_have_a_fit() {
        for (code, fit) in
            [('\u{2019}', b'\''), ('\u{201c}', b'"'), ('\u{107}', b'c'), ('\u{2003}', b' ')]
        {
            assert_eq!(best_fit(code as u16), Some(fit), "{code}");
        }
        for code in [0x41, 0xe9, 0x1f1, 0x3b1, 0x2123, 0xffff] {
            assert_eq!(best_fit(code), None, "{code:x}");
        }
    }

    /// ModSecurity's own table, where Debian's package has put it.
    #[test]
    fn the_table_is_that_of_modsecurity() {
        let file = PathBuf::from("/etc/nginx/unicode.mapping");
        let Ok(text) = std::fs::read_to_string(&file) else { return };
        let row = text.lines().skip_while(|line| !line.starts_with("20127")).nth(1).unwrap();
        let mut known = 0;
        for pair in row.split_ascii_whitespace() {
            let (code, fit) = pair.split_once(':').unwrap();
            let code = u16::from_str_radix(code, 16).unwrap();
            let fit = u8::from_str_radix(fit, 16).unwrap();
            if (0x100..0xff00).contains(&code) {
                assert_eq!(best_fit(code), Some(fit), "{code:x}");
                known += 1;
            }
        }
        assert!(known > 150, "{known} pairs");
    }
}
