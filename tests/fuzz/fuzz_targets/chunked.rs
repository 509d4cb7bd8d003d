#![no_main]
//! Any bytes as a chunked body. However they are cut, verdict and end are the same, and what is
//! accepted is what a decoder by the book accepts.

use libfuzzer_sys::fuzz_target;
use tidegate_core::reading::ChunkedBody;

fuzz_target!(|input: (u8, Vec<u8>)| {
    let (piece, bytes) = input;
    let whole = end(&bytes, bytes.len().max(1));
    let cut = end(&bytes, usize::from(piece).max(1));
    match (&whole, &cut) {
        (Ok(whole), Ok(cut)) => assert_eq!(whole, cut),
        (whole, cut) => assert_eq!(whole.is_err(), cut.is_err()),
    }
    if let Ok(Some(end)) = whole {
        assert_eq!(by_the_book(&bytes), Some(end));
    }
});

/// Where the body ends, if it does.
fn end(bytes: &[u8], piece: usize) -> Result<Option<usize>, ()> {
    let mut body = ChunkedBody::new();
    let mut seen = 0;
    for piece in bytes.chunks(piece) {
        seen += body.feed(piece).map_err(drop)?;
    }
    Ok(body.is_complete().then_some(seen))
}

/// The same from httparse's chunk sizes and a search for the trailers' end.
fn by_the_book(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let httparse::Status::Complete((line, size)) =
            httparse::parse_chunk_size(bytes.get(at..)?).ok()?
        else {
            return None;
        };
        at += line;
        if size == 0 {
            break;
        }
        at += usize::try_from(size).ok()?;
        if bytes.get(at..at + 2)? != b"\r\n" {
            return None;
        }
        at += 2;
    }
    // The empty line may follow at once.
    let trailers = bytes.get(at - 2..)?;
    let end = trailers.windows(4).position(|four| four == b"\r\n\r\n")?;
    Some(at - 2 + end + 4)
}
