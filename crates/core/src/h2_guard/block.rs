//! How many fields a header block has, without decoding it: HPACK says the length of everything
//! before it comes (RFC 7541 §5 and §6).

/// Counts the fields of one block, in pieces as they come.
#[derive(Debug, Default)]
pub(super) struct FieldCounter {
    state: State,
    fields: u32,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    /// Before a field representation.
    #[default]
    Start,
    /// In the continuation of an index or a table size, `strings` follow.
    Index { strings: u8 },
    /// Before the length of a string, the first of `strings`.
    Length { strings: u8 },
    /// In the continuation of that length.
    LongLength { strings: u8, length: u64, shift: u32 },
    /// In a string; others may follow.
    Text { strings: u8, length: u64 },
    /// Not HPACK; the library will say so.
    Lost,
}

impl FieldCounter {
    /// Fields begun so far.
    pub(super) fn count(&self) -> u32 {
        self.fields
    }

    /// Looks at the next bytes of the block.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) {
        loop {
            if let State::Text { strings, length } = self.state {
                let available = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                let skipped = length.min(available);
                let (_, rest) = bytes
                    .split_at_checked(usize::try_from(skipped).unwrap_or(bytes.len()))
                    .unwrap_or((bytes, &[]));
                bytes = rest;
                self.state = match length - skipped {
                    0 => after_string(strings),
                    length => State::Text { strings, length },
                };
            }
            let Some((&byte, rest)) = bytes.split_first() else { return };
            bytes = rest;
            self.state = self.step(byte);
        }
    }

    fn step(&mut self, byte: u8) -> State {
        match self.state {
            State::Start => self.begin(byte),
            State::Index { strings } if byte & 0x80 == 0 => after_index(strings),
            State::Index { strings } => State::Index { strings },
            State::Length { strings } => match byte & 0x7f {
                0 => after_string(strings),
                0x7f => State::LongLength { strings, length: 0x7f, shift: 0 },
                length => State::Text { strings, length: u64::from(length) },
            },
            State::LongLength { shift: 28.., .. } | State::Lost => State::Lost,
            State::LongLength { strings, length, shift } => {
                let length = length + (u64::from(byte & 0x7f) << shift);
                if byte & 0x80 == 0 {
                    State::Text { strings, length }
                } else {
                    State::LongLength { strings, length, shift: shift + 7 }
                }
            }
            // A string is skipped as a whole before the next byte is looked at.
            State::Text { .. } => State::Lost,
        }
    }

    /// RFC 7541 §6: the first byte of a representation.
    fn begin(&mut self, byte: u8) -> State {
        // The index (or table size), the largest that fits into the first byte, and whether the
        // field's value follows.
        let (index, full, has_value) = match byte {
            0x80.. => (byte & 0x7f, 0x7f, false),
            0x40.. => (byte & 0x3f, 0x3f, true),
            0x20.. => (byte & 0x1f, 0x1f, false),
            _ => (byte & 0x0f, 0x0f, true),
        };
        // A change of the table's size costs as much as a field, so it counts as one.
        self.fields = self.fields.saturating_add(1);
        let strings = match (has_value, index) {
            (false, _) => 0,
            (true, 0) => 2,
            (true, _) => 1,
        };
        if index == full { State::Index { strings } } else { after_index(strings) }
    }
}

fn after_index(strings: u8) -> State {
    if strings == 0 { State::Start } else { State::Length { strings } }
}

fn after_string(strings: u8) -> State {
    after_index(strings - 1)
}
