//! Entry bundles: up to 256 entries, each behind its length in two bytes, most significant first
//! (C2SP tlog-tiles, "Log entries"). What an entry says is not looked at.

use thiserror::Error;

/// The longest entry, in bytes.
pub const MAX_ENTRY: usize = u16::MAX as usize;

/// What a bundle is that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BundleError {
    /// An entry is longer than its length can say.
    #[error("an entry of {0} bytes; at most {MAX_ENTRY} fit")]
    EntryTooLong(usize),
    /// The bytes end within an entry or its length.
    #[error("it ends within entry {0}")]
    Torn(usize),
    /// More or fewer entries than expected.
    #[error("it holds {found} entries, not {expected}")]
    Count {
        /// How many it has to hold.
        expected: usize,
        /// How many it holds, counted up to one more than expected.
        found: usize,
    },
}

/// Appends an entry to a bundle.
///
/// # Errors
/// [`BundleError::EntryTooLong`]; the bundle is as it was.
pub fn push(bundle: &mut Vec<u8>, entry: &[u8]) -> Result<(), BundleError> {
    let length =
        u16::try_from(entry.len()).map_err(|_overflow| BundleError::EntryTooLong(entry.len()))?;
    bundle.extend_from_slice(&length.to_be_bytes());
    bundle.extend_from_slice(entry);
    Ok(())
}

/// The entries of a bundle that has to hold `width` of them.
///
/// # Errors
/// When it is torn or holds another number of entries.
pub fn entries(bundle: &[u8], width: usize) -> Result<Vec<&[u8]>, BundleError> {
    let mut found = Vec::with_capacity(width.min(256));
    for entry in Entries::new(bundle) {
        if found.len() == width {
            return Err(BundleError::Count { expected: width, found: width + 1 });
        }
        found.push(entry?);
    }
    if found.len() < width {
        return Err(BundleError::Count { expected: width, found: found.len() });
    }
    Ok(found)
}

/// The entries of a bundle one after another, however many; the first that is torn ends them.
#[derive(Clone, Debug)]
pub struct Entries<'a> {
    rest: &'a [u8],
    next: usize,
}

impl<'a> Entries<'a> {
    /// Starts at the beginning of a bundle.
    #[must_use]
    pub const fn new(bundle: &'a [u8]) -> Self {
        Self { rest: bundle, next: 0 }
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<&'a [u8], BundleError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let entry = self.rest.split_first_chunk().and_then(|(length, rest)| {
            rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
        });
        let Some((entry, rest)) = entry else {
            self.rest = &[];
            return Some(Err(BundleError::Torn(self.next)));
        };
        self.rest = rest;
        self.next += 1;
        Some(Ok(entry))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_pushed_is_read() {
        let mut bundle = Vec::new();
        let long = vec![7; MAX_ENTRY];
        for entry in [b"one".as_slice(), b"", &long] {
            push(&mut bundle, entry).unwrap();
        }
        assert_eq!(&bundle[..5], b"\0\x03one");
        assert_eq!(entries(&bundle, 3).unwrap(), [b"one".as_slice(), b"", &long]);
        let too_long = BundleError::EntryTooLong(MAX_ENTRY + 1);
        assert_eq!(push(&mut bundle, &vec![7; MAX_ENTRY + 1]), Err(too_long));
    }

    #[test]
    fn a_bundle_of_another_length_is_refused() {
        let bundle = b"\0\x01a\0\x02bc";
        assert_eq!(entries(bundle, 1), Err(BundleError::Count { expected: 1, found: 2 }));
        assert_eq!(entries(bundle, 3), Err(BundleError::Count { expected: 3, found: 2 }));
        for end in [4, 5, 6] {
            assert_eq!(entries(&bundle[..end], 2), Err(BundleError::Torn(1)), "{end}");
        }
    }
}
