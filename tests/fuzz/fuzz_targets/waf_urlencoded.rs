//! Forms: the size of all names and values is that of a reader by the book, and an argument is seen
//! whatever stands before it.

#![no_main]

mod firewall;

use libfuzzer_sys::fuzz_target;

const FORM: &[(&str, &[u8])] = &[("content-type", b"application/x-www-form-urlencoded")];

/// How long a name or value is once its triplets are decoded.
fn decoded(mut text: &[u8]) -> usize {
    let mut length = 0;
    while let [byte, rest @ ..] = text {
        text = match (byte, rest) {
            (b'%', [a, b, rest @ ..]) if a.is_ascii_hexdigit() && b.is_ascii_hexdigit() => rest,
            _ => rest,
        };
        length += 1;
    }
    length
}

fuzz_target!(|body: &[u8]| {
    let pieces: Vec<&[u8]> = body.split(|byte| *byte == b'&').collect();
    if pieces.len() > 900 {
        return;
    }
    let seen = firewall::inspect(FORM, body, true).unwrap();
    let sizes = pieces.iter().map(|piece| {
        let end = piece.iter().position(|byte| *byte == b'=').unwrap_or(piece.len());
        decoded(&piece[..end]) + decoded(piece.get(end + 1..).unwrap_or_default())
    });
    assert!(seen.exceeded || seen.size == sizes.sum::<usize>());
    let last = [body, b"&q=needle"].concat();
    let seen = firewall::inspect(FORM, &last, true).unwrap();
    assert!(seen.exceeded || seen.rules.contains(&10));
});
