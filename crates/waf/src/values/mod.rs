//! The values of one request in one arena: their bytes, their names and the masks of the bytes
//! that occur in them. Filling it decodes what the protocol itself encodes, and nothing more.

pub(crate) mod head;
pub(crate) mod urlencoded;

use std::ops::Range;

use crate::mask::ByteMask;
use crate::target::Target;

/// How many values of one request are looked at. A request with more is a finding in itself.
pub(crate) const MAX_VALUES: usize = 5_000;

/// A piece of the arena.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    start: usize,
    end: usize,
}

impl Span {
    fn range(self) -> Range<usize> {
        self.start..self.end
    }

    pub(crate) fn is_empty(self) -> bool {
        self.start == self.end
    }
}

/// One value of the request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Value {
    pub(crate) target: Target,
    pub(crate) name: Span,
    pub(crate) bytes: Span,
    pub(crate) mask: ByteMask,
}

/// The values of one request. It is used again and again, so that a request allocates nothing.
#[derive(Debug, Default)]
pub(crate) struct Arena {
    bytes: Vec<u8>,
    values: Vec<Value>,
    overflown: bool,
}

impl Arena {
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.values.clear();
        self.overflown = false;
    }

    /// The memory held, in bytes.
    pub(crate) fn capacity(&self) -> usize {
        self.bytes.capacity() + self.values.capacity() * size_of::<Value>()
    }

    pub(crate) fn values(&self) -> &[Value] {
        &self.values
    }

    /// Whether there were more values than [`MAX_VALUES`].
    pub(crate) fn overflown(&self) -> bool {
        self.overflown
    }

    pub(crate) fn bytes(&self, span: Span) -> &[u8] {
        self.bytes.get(span.range()).unwrap_or_default()
    }

    /// Lets `fill` append to the arena; what it appended is the returned span.
    pub(crate) fn write(&mut self, fill: impl FnOnce(&mut Vec<u8>)) -> Span {
        let start = self.bytes.len();
        fill(&mut self.bytes);
        Span { start: start.min(self.bytes.len()), end: self.bytes.len() }
    }

    pub(crate) fn copy(&mut self, bytes: &[u8]) -> Span {
        self.write(|out| out.extend_from_slice(bytes))
    }

    /// Adds a value; empty ones tell nothing and are left out.
    pub(crate) fn add(&mut self, target: Target, name: Span, bytes: Span) {
        if bytes.is_empty() {
            return;
        }
        if self.values.len() >= MAX_VALUES && target != Target::Finding {
            self.overflown = true;
            return;
        }
        let mask = ByteMask::of(self.bytes(bytes));
        self.values.push(Value { target, name, bytes, mask });
    }

    /// Adds what a parser objected to.
    pub(crate) fn find(&mut self, code: &str, detail: &str) {
        let (name, bytes) = (self.copy(code.as_bytes()), self.copy(detail.as_bytes()));
        self.add(Target::Finding, name, bytes);
    }
}
