//! Floods on an HTTP/2 connection, seen from its frames. The connection layer shows every byte
//! that it reads and writes to a [`FrameGuard`] and drops the connection upon an [`Excess`].
//!
//! Against rapid reset (CVE-2023-44487), resets that a client provokes from the server
//! (CVE-2025-8671, "MadeYouReset"), CONTINUATION floods (CVE-2024-27316), floods of PING, SETTINGS,
//! PRIORITY, WINDOW_UPDATE and empty frames (CVE-2019-9511 to 9518), and header blocks of
//! thousands of tiny fields.
//!
//! It allocates nothing and keeps no bytes. It does not check the protocol, which is the HTTP/2
//! library's work, and it does not decode HPACK: it only counts the fields of a block.

mod block;
mod frames;

use std::time::{Duration, Instant};

use block::FieldCounter;
use frames::{Frame, FrameReader, Kind};

/// What a connection may do; counts are per [`window`](Self::window) where it says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameLimits {
    /// Streams reset by the client, and by us because of the client, per window.
    pub resets: u32,
    /// Frames that carry no request and no data, per window, beyond those that data earns: a DATA
    /// frame pays for one such frame and one more per KiB, a request for four.
    pub control_frames: u32,
    /// The length of a window.
    pub window: Duration,
    /// CONTINUATION frames in one header block.
    pub continuations: u32,
    /// Bytes of one header block, as compressed.
    pub header_block_bytes: u32,
    /// Fields in one header block. Well above what a request may have, which is answered with 431:
    /// whoever exceeds this is cut.
    pub header_block_fields: u32,
}

impl Default for FrameLimits {
    fn default() -> Self {
        Self {
            resets: 200,
            control_frames: 1000,
            window: Duration::from_secs(30),
            continuations: 8,
            header_block_bytes: 64 * 1024,
            header_block_fields: 1000,
        }
    }
}

/// What a connection did too much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Excess {
    /// CONTINUATION frames in one header block.
    #[error("too many CONTINUATION frames in a header block")]
    Continuations,
    /// Frames that carry nothing.
    #[error("too many HTTP/2 control frames")]
    ControlFrames,
    /// Bytes of one header block.
    #[error("an HTTP/2 header block exceeds the limit")]
    HeaderBlock,
    /// Fields in one header block.
    #[error("too many fields in an HTTP/2 header block")]
    HeaderFields,
    /// Streams that were reset.
    #[error("too many HTTP/2 streams were reset")]
    Resets,
}

impl Excess {
    /// A stable code for logs and metrics.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Continuations => "h2_continuations",
            Self::ControlFrames => "h2_control_frames",
            Self::HeaderBlock => "h2_header_block",
            Self::HeaderFields => "h2_header_fields",
            Self::Resets => "h2_resets",
        }
    }
}

/// Watches one connection.
#[derive(Debug)]
pub struct FrameGuard {
    limits: FrameLimits,
    inbound: FrameReader,
    outbound: FrameReader,
    block: Block,
    window_start: Instant,
    resets: u32,
    control_frames: u32,
}

/// The header block that is being received.
#[derive(Debug, Default)]
struct Block {
    bytes: u32,
    continuations: u32,
    fields: FieldCounter,
}

impl FrameGuard {
    /// A watch before the connection's first byte.
    #[must_use]
    pub fn new(limits: FrameLimits, now: Instant) -> Self {
        Self {
            limits,
            inbound: FrameReader::client(),
            outbound: FrameReader::server(),
            block: Block::default(),
            window_start: now,
            resets: 0,
            control_frames: 0,
        }
    }

    /// Looks at bytes that the client sent, cut anyhow. A connection that does not start with the
    /// preface (RFC 9113 §3.4) is not HTTP/2 and passes unwatched.
    ///
    /// # Errors
    ///
    /// What the connection did too much of; it is to be dropped.
    pub fn received(&mut self, mut bytes: &[u8], now: Instant) -> Result<(), Excess> {
        self.turn_window(now);
        while let Some(step) = self.inbound.next(&mut bytes) {
            match step {
                Frame::Begins(kind) => self.begin_received(kind)?,
                Frame::Fragment(piece) => self.block.fields.feed(piece),
                Frame::Ends(kind) => self.end_received(kind)?,
            }
            if self.block.fields.count() > self.limits.header_block_fields {
                return Err(Excess::HeaderFields);
            }
        }
        Ok(())
    }

    /// Looks at bytes that we sent, cut anyhow.
    ///
    /// # Errors
    ///
    /// What the connection did too much of; it is to be dropped.
    pub fn sent(&mut self, mut bytes: &[u8], now: Instant) -> Result<(), Excess> {
        if self.inbound.is_disabled() {
            return Ok(());
        }
        self.turn_window(now);
        while let Some(step) = self.outbound.next(&mut bytes) {
            match step {
                Frame::Ends(Kind::Reset { code }) if code != NO_ERROR => self.count_reset()?,
                Frame::Begins(Kind::Data { length, .. }) if length > 0 => self.earn(length),
                Frame::Begins(_) | Frame::Fragment(_) | Frame::Ends(_) => {}
            }
        }
        Ok(())
    }

    fn begin_received(&mut self, kind: Kind) -> Result<(), Excess> {
        match kind {
            Kind::Headers { length } => {
                self.block = Block { bytes: length, ..Block::default() };
                self.control_frames = self.control_frames.saturating_sub(CREDIT_PER_REQUEST);
            }
            Kind::Continuation { length } => {
                self.block.bytes = self.block.bytes.saturating_add(length);
                self.block.continuations += 1;
                if self.block.continuations > self.limits.continuations {
                    return Err(Excess::Continuations);
                }
            }
            Kind::Control | Kind::Data { .. } | Kind::Reset { .. } => return Ok(()),
        }
        if self.block.bytes > self.limits.header_block_bytes {
            return Err(Excess::HeaderBlock);
        }
        Ok(())
    }

    fn end_received(&mut self, kind: Kind) -> Result<(), Excess> {
        match kind {
            Kind::Reset { .. } => self.count_reset(),
            Kind::Data { length, padding, ends_stream } => {
                // Of a padded frame, the padding and its length carry nothing.
                if length > padding {
                    self.earn(length - padding);
                    return Ok(());
                }
                if ends_stream { Ok(()) } else { self.count_control() }
            }
            Kind::Headers { length: 0 } | Kind::Continuation { length: 0 } | Kind::Control => {
                self.count_control()
            }
            Kind::Headers { .. } | Kind::Continuation { .. } => Ok(()),
        }
    }

    fn count_reset(&mut self) -> Result<(), Excess> {
        self.resets += 1;
        if self.resets > self.limits.resets { Err(Excess::Resets) } else { Ok(()) }
    }

    fn count_control(&mut self) -> Result<(), Excess> {
        self.control_frames += 1;
        let exceeds = self.control_frames > self.limits.control_frames;
        if exceeds { Err(Excess::ControlFrames) } else { Ok(()) }
    }

    /// Clients acknowledge data with WINDOW_UPDATE and measure with PING while it flows, so data in
    /// either direction pays for control frames. As they then cost no more than the data itself,
    /// nothing is won by buying them.
    fn earn(&mut self, data: u32) {
        self.control_frames = self.control_frames.saturating_sub(1 + data / 1024);
    }

    fn turn_window(&mut self, now: Instant) {
        if now.saturating_duration_since(self.window_start) >= self.limits.window {
            self.window_start = now;
            self.resets = 0;
            self.control_frames = 0;
        }
    }
}

/// RFC 9113 §7. We send it after a complete answer, to stop a body that nobody needs (§8.1).
const NO_ERROR: u32 = 0;

/// Browsers send PRIORITY_UPDATE and WINDOW_UPDATE beside each request.
const CREDIT_PER_REQUEST: u32 = 4;

#[cfg(test)]
mod tests;
