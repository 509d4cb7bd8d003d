//! `traceparent` (W3C Trace Context, section 3.2): read strictly, written in version 00.

use std::fmt;

use http::{HeaderMap, HeaderValue};

/// The field's name.
const TRACEPARENT: &str = "traceparent";
/// The length of version 00: `00-<32>-<16>-<2>`.
const LENGTH: usize = 55;
/// The caller recorded the trace (section 3.2.2.5.1).
const SAMPLED: u8 = 1;
/// The right-most 7 bytes of the trace's id are random (level 2, section 3.2.2.5.2).
const RANDOM: u8 = 2;

/// The id of a trace: 128 bits, not all zero, as 32 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceId([u8; 32]);

/// The id of a span: 64 bits, not all zero, as 16 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpanId([u8; 16]);

/// A place in a trace: what one hop tells the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace.
    pub trace: TraceId,
    /// The span that is the parent of whatever the receiver does.
    pub span: SpanId,
    flags: u8,
}

impl TraceId {
    /// An id from random words; zero is replaced.
    #[must_use]
    pub fn new(high: u64, low: u64) -> Self {
        let mut text = [b'0'; 32];
        let (left, right) = text.split_at_mut(16);
        write_hex(left, high);
        write_hex(right, low.max(1));
        Self(text)
    }

    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The 16 bytes.
    #[must_use]
    pub fn bytes(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        read_hex(&self.0, &mut bytes);
        bytes
    }

    /// Whether the trace is one of `per_10_000` of all. Everybody who decides by the id alone
    /// decides the same: its last 56 bits have to reach a threshold, as OpenTelemetry's consistent
    /// probability sampling has it.
    #[must_use]
    pub fn is_sampled_at(&self, per_10_000: u16) -> bool {
        let [.., a, b, c, d, e, f, g] = self.bytes();
        let number = u128::from(u64::from_be_bytes([0, a, b, c, d, e, f, g]));
        let rejected = 10_000_u16.saturating_sub(per_10_000);
        number * 10_000 >= u128::from(rejected) << 56
    }
}

impl SpanId {
    /// An id from a random word; zero is replaced.
    #[must_use]
    pub fn new(random: u64) -> Self {
        let mut text = [b'0'; 16];
        write_hex(&mut text, random.max(1));
        Self(text)
    }

    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The 8 bytes.
    #[must_use]
    pub fn bytes(&self) -> [u8; 8] {
        let mut bytes = [0; 8];
        read_hex(&self.0, &mut bytes);
        bytes
    }
}

impl TraceContext {
    /// A trace that begins here, with an id that is random throughout.
    #[must_use]
    pub const fn root(trace: TraceId, span: SpanId) -> Self {
        Self { trace, span, flags: RANDOM }
    }

    /// What a request's only `traceparent` says; `None` if there is none or it is malformed, also
    /// because there are two.
    #[must_use]
    pub fn received(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(TRACEPARENT).iter();
        let value = values.next()?;
        if values.next().is_some() { None } else { Self::parse(value.as_bytes()) }
    }

    /// Reads a value. Of a version that is not known yet, what version 00 has is read
    /// (section 3.2.4).
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<Self> {
        let (known, rest) = value.split_at_checked(LENGTH)?;
        let mut parts = known.split(|byte| *byte == b'-');
        let (version, trace) = (parts.next()?, parts.next()?);
        let (span, flags) = (parts.next()?, parts.next()?);
        let is_00 = version == b"00";
        if version.len() != 2
            || !is_hex(version)
            || version == b"ff"
            || parts.next().is_some()
            || is_00 && !rest.is_empty()
            || !rest.is_empty() && !rest.starts_with(b"-")
        {
            return None;
        }
        let trace = TraceId(id(trace)?);
        let span = SpanId(id(span)?);
        let flags: [u8; 2] = flags.try_into().ok().filter(|flags: &[u8; 2]| is_hex(flags))?;
        let mut bits = [0];
        read_hex(&flags, &mut bits);
        let [bits] = bits;
        Some(Self { trace, span, flags: bits & (SAMPLED | RANDOM) })
    }

    /// Whether whoever records this trace shall record what follows.
    #[must_use]
    pub const fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// The same, recorded or not.
    #[must_use]
    pub const fn with_sampled(mut self, sampled: bool) -> Self {
        self.flags = if sampled { self.flags | SAMPLED } else { self.flags & !SAMPLED };
        self
    }

    /// The same trace at another span.
    #[must_use]
    pub const fn at(mut self, span: SpanId) -> Self {
        self.span = span;
        self
    }

    /// The flags as OTLP has them in a span, which are the header's.
    #[must_use]
    pub fn flags(&self) -> u32 {
        self.flags.into()
    }

    /// The header's value.
    #[must_use]
    pub fn traceparent(&self) -> HeaderValue {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        let parts = [(3, &self.trace.0[..]), (36, &self.span.0[..])];
        for (from, digits) in parts {
            for (place, digit) in text.iter_mut().skip(from).zip(digits) {
                *place = *digit;
            }
        }
        if let Some(last) = text.last_mut() {
            *last = digit(self.flags);
        }
        // Digits and dashes are visible ASCII.
        HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static(""))
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn id<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let text: [u8; N] = text.try_into().ok()?;
    (is_hex(&text) && text.iter().any(|byte| *byte != b'0')).then_some(text)
}

/// Upper case is malformed (section 3.2.2).
fn is_hex(text: &[u8]) -> bool {
    text.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

const fn digit(nibble: u8) -> u8 {
    let nibble = nibble & 15;
    if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 }
}

fn write_hex(text: &mut [u8], mut number: u64) {
    for place in text.iter_mut().rev() {
        let [.., low] = number.to_be_bytes();
        *place = digit(low);
        number >>= 4;
    }
}

fn read_hex(text: &[u8], bytes: &mut [u8]) {
    let value = |digit: u8| if digit.is_ascii_digit() { digit - b'0' } else { digit - b'a' + 10 };
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        if let [high, low] = pair {
            *byte = value(*high) << 4 | value(*low);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[track_caller]
    fn check(value: &str, expected: Option<(&str, &str, bool)>) {
        let read = TraceContext::parse(value.as_bytes());
        let read = read.as_ref();
        let read = read.map(|c| (c.trace.as_str(), c.span.as_str(), c.is_sampled()));
        assert_eq!(read, expected, "{value}");
    }

    /// W3C Trace Context, sections 3.2.2 and 3.2.4.
    #[test]
    fn what_is_malformed_is_no_parent() {
        let (trace, span) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
        check(GOOD, Some((trace, span, true)));
        check(&GOOD.replace("-01", "-00"), Some((trace, span, false)));
        check(&GOOD.replace("-01", "-ff"), Some((trace, span, true)));
        check(&GOOD.replace("00-", "cc-"), Some((trace, span, true)));
        check(&format!("{}-more", GOOD.replace("00-", "01-")), Some((trace, span, true)));
        for bad in [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0x",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331c-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319g-b7ad6b7169203331-01",
            "00_0af7651916cd43dd8448eb211c80319c_b7ad6b7169203331_01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "0-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-010",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01more",
        ] {
            check(bad, None);
        }
    }

    #[test]
    fn two_fields_are_malformed() {
        let mut headers = HeaderMap::new();
        headers.append(TRACEPARENT, HeaderValue::from_static(GOOD));
        assert!(TraceContext::received(&headers).is_some());
        headers.append(TRACEPARENT, HeaderValue::from_static(GOOD));
        assert_eq!(TraceContext::received(&headers), None);
    }

    #[test]
    fn a_ratio_is_kept_and_decided_by_the_id_alone() {
        let mut state = 1_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            state ^ state >> 29
        };
        let ids: Vec<_> = (0..20_000).map(|_| TraceId::new(next(), next())).collect();
        let share = |at: u16| ids.iter().filter(|id| id.is_sampled_at(at)).count();
        assert_eq!(share(0), 0);
        assert_eq!(share(10_000), ids.len());
        assert!((1_800..2_200).contains(&share(1_000)), "{}", share(1_000));
        let both = |id: &&TraceId| id.is_sampled_at(100) && !id.is_sampled_at(1_000);
        assert_eq!(ids.iter().filter(both).count(), 0, "a larger share has the smaller one");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(high: u64, low: u64, span: u64, sampled: bool) {
            let context = TraceContext::root(TraceId::new(high, low), SpanId::new(span));
            let context = context.with_sampled(sampled);
            let read = TraceContext::parse(context.traceparent().as_bytes());
            prop_assert_eq!(read, Some(context));
            prop_assert_eq!(context.trace.bytes(), (u128::from(high) << 64 | u128::from(low.max(1))).to_be_bytes());
        }

        #[test]
        fn anything_is_read_without_a_panic(value: Vec<u8>) {
            let _read = TraceContext::parse(&value);
        }
    }
}
