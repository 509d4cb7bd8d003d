//! Frame headers out of a byte stream (RFC 9113 §4.1), cut anyhow.

/// RFC 9113 §3.4.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const FLAG_END_STREAM: u8 = 0x1;
const FLAG_PADDED: u8 = 0x8;
const FLAG_PRIORITY: u8 = 0x20;

/// A frame as far as the guard cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// PING, SETTINGS, PRIORITY, WINDOW_UPDATE, GOAWAY, and what we do not know.
    Control,
    Continuation {
        length: u32,
    },
    /// Of `length`, `padding` bytes are no data; known at the frame's end.
    Data {
        length: u32,
        padding: u32,
        ends_stream: bool,
    },
    Headers {
        length: u32,
    },
    /// RST_STREAM; the code is known at the frame's end.
    Reset {
        code: u32,
    },
}

/// What the reader came across.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Frame<'a> {
    Begins(Kind),
    /// A piece of a header block.
    Fragment(&'a [u8]),
    Ends(Kind),
}

/// One direction of a connection.
#[derive(Debug)]
pub(super) struct FrameReader {
    state: State,
    /// The frame header so far.
    header: [u8; 9],
    filled: usize,
    /// Payload bytes to come.
    remaining: u32,
    kind: Kind,
    /// Payload bytes before the header block or the data.
    prelude: u32,
    padded: bool,
    padding: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Disabled,
    Preface { seen: usize },
    Header,
    Payload,
}

impl FrameReader {
    /// The direction that starts with the preface.
    pub(super) const fn client() -> Self {
        Self::starting_with(State::Preface { seen: 0 })
    }

    /// The direction that starts with a frame.
    pub(super) const fn server() -> Self {
        Self::starting_with(State::Header)
    }

    const fn starting_with(state: State) -> Self {
        Self {
            state,
            header: [0; 9],
            filled: 0,
            remaining: 0,
            kind: Kind::Control,
            prelude: 0,
            padded: false,
            padding: 0,
        }
    }

    /// Whether the connection turned out not to be HTTP/2.
    pub(super) fn is_disabled(&self) -> bool {
        self.state == State::Disabled
    }

    /// Takes bytes off the front of `bytes` until there is something to say; `None` once they are
    /// used up.
    pub(super) fn next<'a>(&mut self, bytes: &mut &'a [u8]) -> Option<Frame<'a>> {
        loop {
            match self.state {
                State::Disabled => return None,
                State::Preface { seen } => {
                    let (first, rest) = bytes.split_first()?;
                    *bytes = rest;
                    self.state = match PREFACE.get(seen) {
                        Some(expected) if expected != first => State::Disabled,
                        Some(_) if seen + 1 < PREFACE.len() => State::Preface { seen: seen + 1 },
                        _ => State::Header,
                    };
                }
                State::Header => {
                    let (first, rest) = bytes.split_first()?;
                    *bytes = rest;
                    if let Some(slot) = self.header.get_mut(self.filled) {
                        *slot = *first;
                    }
                    self.filled += 1;
                    if self.filled == self.header.len() {
                        self.begin();
                        return Some(Frame::Begins(self.kind));
                    }
                }
                State::Payload if self.remaining == 0 => {
                    self.state = State::Header;
                    self.filled = 0;
                    return Some(Frame::Ends(self.kind));
                }
                State::Payload => {
                    if let Some(fragment) = self.read_payload(bytes)? {
                        return Some(Frame::Fragment(fragment));
                    }
                }
            }
        }
    }

    fn begin(&mut self) {
        let [high, middle, low, kind, flags, ..] = self.header;
        let length = u32::from_be_bytes([0, high, middle, low]);
        self.state = State::Payload;
        self.remaining = length;
        self.padding = 0;
        let has_priority = kind == 0x1 && flags & FLAG_PRIORITY != 0;
        self.padded = matches!(kind, 0x0 | 0x1) && flags & FLAG_PADDED != 0;
        self.prelude = u32::from(self.padded) + if has_priority { 5 } else { 0 };
        self.kind = match kind {
            0x0 => Kind::Data { length, padding: 0, ends_stream: flags & FLAG_END_STREAM != 0 },
            0x1 => Kind::Headers { length },
            0x3 => Kind::Reset { code: 0 },
            0x9 => Kind::Continuation { length },
            _ => Kind::Control,
        };
    }

    /// Takes a piece of the payload; `Some(None)` if nobody needs to see it, `None` if there are
    /// no bytes.
    fn read_payload<'a>(&mut self, bytes: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
        if self.prelude > 0 {
            let byte = self.take_byte(bytes)?;
            self.prelude -= 1;
            if self.padded {
                self.padded = false;
                self.padding = u32::from(byte);
                if let Kind::Data { padding, .. } = &mut self.kind {
                    *padding = u32::from(byte) + 1;
                }
            }
            return Some(None);
        }
        match &mut self.kind {
            Kind::Reset { code } => {
                let (first, rest) = bytes.split_first()?;
                *bytes = rest;
                self.remaining -= 1;
                *code = (*code << 8) | u32::from(*first);
                Some(None)
            }
            Kind::Headers { .. } | Kind::Continuation { .. } => {
                let block = self.remaining.saturating_sub(self.padding);
                if block > 0 {
                    return self.take(bytes, block).map(Some);
                }
                self.take(bytes, self.remaining).map(|_padding| None)
            }
            Kind::Control | Kind::Data { .. } => {
                self.take(bytes, self.remaining).map(|_unseen| None)
            }
        }
    }

    fn take_byte(&mut self, bytes: &mut &[u8]) -> Option<u8> {
        self.take(bytes, 1).and_then(<[u8]>::first).copied()
    }

    fn take<'a>(&mut self, bytes: &mut &'a [u8], wanted: u32) -> Option<&'a [u8]> {
        let length = bytes.len().min(usize::try_from(wanted).unwrap_or(usize::MAX));
        let (piece, rest) =
            bytes.split_at_checked(length).filter(|(piece, _)| !piece.is_empty())?;
        *bytes = rest;
        self.remaining -= u32::try_from(length).unwrap_or(self.remaining);
        Some(piece)
    }
}
