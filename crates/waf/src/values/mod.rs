//! The values of one request and its response in one arena: their bytes, their names and the masks
//! of the bytes that occur in them. Filling it decodes what the protocol itself encodes, and
//! nothing more; what no rule looks at is not collected.

mod cookies;
mod derived;
mod facts;
pub(crate) mod head;
pub(crate) mod response;
pub(crate) mod urlencoded;

use std::ops::Range;

pub use facts::RequestFacts;

use crate::mask::ByteMask;
use crate::target::{Target, TargetSet};

/// How many values of one request are looked at. A request with more is a finding in itself.
pub(crate) const MAX_VALUES: usize = 5_000;

/// The kinds that are arguments.
const ARGUMENTS: [Target; 3] = [Target::ArgsGet, Target::ArgsJson, Target::ArgsPost];

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

/// One value of the request. It may be empty: SecLang counts empty values and matches them; rules
/// written in YAML skip them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Value {
    pub(crate) target: Target,
    pub(crate) name: Span,
    pub(crate) bytes: Span,
    pub(crate) mask: ByteMask,
    /// Whether it was not sent as it is, but decoded from another one, for the YAML rules.
    pub(crate) derived: bool,
}

/// The values of one request. It is used again and again, so that a request allocates nothing.
#[derive(Debug, Default)]
pub(crate) struct Arena {
    bytes: Vec<u8>,
    decoded: Vec<u8>,
    values: Vec<Value>,
    wanted: TargetSet,
    overflown: bool,
    /// How many arguments may still come.
    arguments_left: usize,
    /// Bytes of all arguments' names and values (`ARGS_COMBINED_SIZE`).
    args_size: usize,
    /// Whether an argument had a percent sign that starts no triplet (`URLENCODED_ERROR`).
    bad_escape: bool,
}

impl Arena {
    /// Empties it for the next request, of which only `wanted` is collected, and no more than so
    /// many arguments.
    pub(crate) fn begin(&mut self, wanted: TargetSet, arguments: usize) {
        self.bytes.clear();
        self.values.clear();
        self.wanted = wanted;
        self.overflown = false;
        self.arguments_left = arguments;
        self.args_size = 0;
        self.bad_escape = false;
    }

    #[cfg(test)]
    pub(crate) fn of_everything() -> Self {
        Self { wanted: TargetSet::of(&Target::ALL), arguments_left: MAX_VALUES, ..Self::default() }
    }

    /// Notes that there is more than is looked at.
    pub(crate) fn overflow(&mut self) {
        self.overflown = true;
    }

    /// How many bytes of names and values it holds.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The memory held, in bytes.
    pub(crate) fn capacity(&self) -> usize {
        self.bytes.capacity() + self.values.capacity() * size_of::<Value>()
    }

    pub(crate) fn values(&self) -> &[Value] {
        &self.values
    }

    /// Whether any rule looks at one of these kinds.
    pub(crate) fn wants(&self, targets: &[Target]) -> bool {
        self.wanted.intersects(TargetSet::of(targets))
    }

    /// Whether there were more values than [`MAX_VALUES`], or more arguments than the policy takes.
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

    /// Adds a value, if any rule looks at its kind.
    pub(crate) fn add(&mut self, target: Target, name: Span, bytes: Span) {
        if !self.wanted.contains(target) {
            return;
        }
        let is_argument = ARGUMENTS.contains(&target);
        let full = self.values.len() >= MAX_VALUES || is_argument && self.arguments_left == 0;
        if full && target != Target::Finding && !target.is_single() {
            self.overflown = true;
            return;
        }
        self.arguments_left -= usize::from(is_argument);
        let mask = ByteMask::of(self.bytes(bytes));
        self.values.push(Value { target, name, bytes, mask, derived: false });
    }

    /// Adds a value with its name, if any rule looks at its kind.
    pub(crate) fn add_copy(&mut self, target: Target, name: &[u8], bytes: &[u8]) {
        if self.wanted.contains(target) {
            let (name, bytes) = (self.copy(name), self.copy(bytes));
            self.add(target, name, bytes);
        }
    }

    /// Sets the one value of its kind, in place of the one that was there.
    pub(crate) fn set(&mut self, target: Target, bytes: &[u8]) {
        if !self.wanted.contains(target) {
            return;
        }
        let bytes = self.copy(bytes);
        let mask = ByteMask::of(self.bytes(bytes));
        match self.values.iter_mut().find(|value| value.target == target) {
            Some(value) => (value.bytes, value.mask) = (bytes, mask),
            None => {
                let name = Span::default();
                self.values.push(Value { target, name, bytes, mask, derived: false });
            }
        }
    }

    #[expect(clippy::needless_pass_by_value, reason = "numbers are copied")]
    pub(crate) fn set_number(&mut self, target: Target, number: impl ToString) {
        if self.wanted.contains(target) {
            self.set(target, number.to_string().as_bytes());
        }
    }

    /// Sets each of these kinds that has no value yet: SecLang sees a variable without a name as
    /// one value, even if the message has none.
    pub(crate) fn set_absent(&mut self, targets: &[Target], bytes: &[u8]) {
        for &target in targets {
            if self.wanted.contains(target) && self.value(target).is_none() {
                self.set(target, bytes);
            }
        }
    }

    /// The first value of a kind.
    pub(crate) fn value(&self, target: Target) -> Option<&[u8]> {
        let value = self.values.iter().find(|value| value.target == target)?;
        Some(self.bytes(value.bytes))
    }

    /// Adds the values that the ones from `first` on hold encoded.
    pub(crate) fn derive(&mut self, first: usize) {
        for index in first..self.values.len() {
            let Some(value) = self.values.get(index).copied() else { return };
            let mut decoded = std::mem::take(&mut self.decoded);
            decoded.clear();
            if derived::decode(value.target, self.bytes(value.bytes), &value.mask, &mut decoded)
                && self.values.len() < MAX_VALUES
            {
                let bytes = self.copy(&decoded);
                let mask = ByteMask::of(&decoded);
                self.values.push(Value { bytes, mask, derived: true, ..value });
            }
            self.decoded = decoded;
        }
    }

    /// Adds what a parser objected to.
    pub(crate) fn find(&mut self, code: &str, detail: &str) {
        self.add_copy(Target::Finding, code.as_bytes(), detail.as_bytes());
    }

    /// Notes an argument's size, and sets what is told of all arguments.
    pub(crate) fn note_arguments(&mut self) {
        let (size, bad_escape) = (self.args_size, u8::from(self.bad_escape));
        self.set_number(Target::ArgsCombinedSize, size);
        self.set_number(Target::UrlencodedError, bad_escape);
    }

    pub(crate) fn note_argument(&mut self, name: Span, value: Span) {
        self.args_size += name.range().len() + value.range().len();
    }
}

/// The pieces between `separator`, without the empty one behind the last.
pub(crate) fn pieces(text: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let text = text.strip_suffix(&[separator]).unwrap_or(text);
    text.split(move |byte| *byte == separator)
}
