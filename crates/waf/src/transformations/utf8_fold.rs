//! `utf8_fold`: ASCII that hides in UTF-8: overlong sequences, fullwidth forms, look-alikes that
//! databases and string functions turn into ASCII, and characters without width.

use super::Transformation;
use crate::mask::ByteMask;

pub(crate) const ROW: Transformation = Transformation {
    name: "utf8_fold",
    summary: "overlong UTF-8, fullwidth forms and look-alikes to ASCII; zero-width characters removed",
    only_case: false,
    may_change: ByteMask::has_high_bytes,
    apply,
};

fn apply(bytes: &[u8], out: &mut Vec<u8>) {
    let mut rest = bytes;
    while let Some((&byte, tail)) = rest.split_first() {
        if byte < 0x80 {
            out.push(byte);
            rest = tail;
            continue;
        }
        let Some((code, length)) = decode(rest) else {
            // A lone 0xa0 is a space to whoever reads Latin-1.
            out.push(if byte == 0xa0 { b' ' } else { byte });
            rest = tail;
            continue;
        };
        let (sequence, tail) = rest.split_at(length);
        match fold(code) {
            Folded::Ascii(byte) => out.push(byte),
            Folded::Gone => {}
            Folded::Same => out.extend_from_slice(sequence),
        }
        rest = tail;
    }
}

/// Reads one sequence of two to four bytes as a careless decoder does, overlong ones included.
fn decode(bytes: &[u8]) -> Option<(u32, usize)> {
    let (&lead, tail) = bytes.split_first()?;
    let (bits, more) = match lead {
        0xc0..=0xdf => (lead & 0x1f, 1),
        0xe0..=0xef => (lead & 0x0f, 2),
        0xf0..=0xf7 => (lead & 0x07, 3),
        _ => return None,
    };
    let code = tail.get(..more)?.iter().try_fold(u32::from(bits), |code, byte| {
        (byte & 0xc0 == 0x80).then_some(code << 6 | u32::from(byte & 0x3f))
    })?;
    Some((code, more + 1))
}

enum Folded {
    Ascii(u8),
    Gone,
    Same,
}

fn fold(code: u32) -> Folded {
    let ascii = match code {
        0..=0x7f => code,
        0xff01..=0xff5e => code - 0xff01 + 0x21,
        0xa0 | 0x1680 | 0x2000..=0x200a | 0x2028 | 0x2029 | 0x202f | 0x205f | 0x3000 => 0x20,
        0x017f => 0x73,
        0x212a => 0x6b,
        0x02b9 | 0x02bc | 0x2032 => 0x27,
        0x02ba | 0x2033 => 0x22,
        0x2039 | 0x2329 | 0x3008 | 0xfe64 => 0x3c,
        0x203a | 0x232a | 0x3009 | 0xfe65 => 0x3e,
        0x2044 | 0x2215 | 0x29f8 => 0x2f,
        0x2216 | 0x29f5 | 0xfe68 => 0x5c,
        0x2024 => 0x2e,
        0xad | 0x200b..=0x200f | 0x2060..=0x2064 | 0xfe00..=0xfe0f | 0xfeff => return Folded::Gone,
        _ => return Folded::Same,
    };
    u8::try_from(ascii).map_or(Folded::Same, Folded::Ascii)
}

#[cfg(test)]
mod tests {
    use crate::transformations::check;

    #[test]
    fn hidden_ascii_is_shown() {
        check("utf8_fold", "\u{ff1c}script\u{ff1e}".as_bytes(), b"<script>");
        check("utf8_fold", b"\xc0\xae\xc0\xae\xc0\xaf", b"../");
        check("utf8_fold", b"\xe0\x80\xae\xf0\x80\x80\xae", b"..");
        check("utf8_fold", "un\u{200b}ion\u{a0}\u{17f}elect".as_bytes(), b"union select");
        check("utf8_fold", b"a\xa0b", b"a b");
    }

    #[test]
    fn other_text_stays() {
        for text in ["Zoë said “it’s fine”", "日本語", "\u{1f600}"] {
            check("utf8_fold", text.as_bytes(), text.as_bytes());
        }
        check("utf8_fold", b"\xff\xc3", b"\xff\xc3");
    }
}
