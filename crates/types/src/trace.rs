//! W3C Trace Context, version 00 (<https://www.w3.org/TR/trace-context/>): which trace something belongs to, and under which span.
//!
//! The id of a span is made of its parent's and a name, so that whoever reports a span and whoever works under it agree on it without
//! a word between them, before and after a restart.

use std::{fmt, str::FromStr};

use crate::chance::{Entropy, SeededEntropy};

/// A place in a trace: what the header `traceparent` carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    trace: u128,
    span: u64,
    flags: u8,
}

/// The trace is to be reported.
const SAMPLED: u8 = 1;

impl TraceContext {
    /// The first span of a new trace that is to be reported.
    pub fn root(entropy: &mut (impl Entropy + ?Sized)) -> Self {
        // All zeros is no id.
        Self { trace: entropy.next_u128().max(1), span: entropy.next_u64().max(1), flags: SAMPLED }
    }

    /// The span of this name under this one.
    #[must_use]
    pub fn child(self, name: &str) -> Self {
        // FNV-1a, spread over all bits. It names; it protects nothing.
        let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        let parent = self.trace.to_le_bytes().into_iter().chain(self.span.to_le_bytes());
        let hash = parent.chain(name.bytes()).fold(0xcbf2_9ce4_8422_2325, mix);
        Self { span: SeededEntropy::new(hash).next_u64().max(1), ..self }
    }

    /// The span of an intent that this set off.
    #[must_use]
    pub fn of_intent(self, intent: &str) -> Self {
        self.child(intent)
    }

    /// The span of one attempt at a task of an intent that this set off: the one under `token`.
    #[must_use]
    pub fn of_task(self, intent: &str, task: &str, token: u64) -> Self {
        self.of_intent(intent).child(&format!("{task}/{token}"))
    }

    /// Whether it is to be reported.
    #[must_use]
    pub const fn is_sampled(self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// The trace's id, 32 hexadecimal digits.
    #[must_use]
    pub fn trace_id(self) -> String {
        format!("{:032x}", self.trace)
    }

    /// The span's id, 16 hexadecimal digits.
    #[must_use]
    pub fn span_id(self) -> String {
        format!("{:016x}", self.span)
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace, self.span, self.flags)
    }
}

/// Why a text is no trace context.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected the form of W3C Trace Context, version 00: 00-<32 digits>-<16 digits>-<2 digits>, in lower case"
)]
pub struct ParseTraceError;

impl FromStr for TraceContext {
    type Err = ParseTraceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts: Vec<&str> = text.split('-').collect();
        let sound = |part: &str, length: usize| {
            part.len() == length && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        };
        match parts[..] {
            ["00", trace, span, flags] if sound(trace, 32) && sound(span, 16) && sound(flags, 2) => {
                let context = Self {
                    trace: u128::from_str_radix(trace, 16).map_err(|_| ParseTraceError)?,
                    span: u64::from_str_radix(span, 16).map_err(|_| ParseTraceError)?,
                    flags: u8::from_str_radix(flags, 16).map_err(|_| ParseTraceError)?,
                };
                if context.trace == 0 || context.span == 0 { Err(ParseTraceError) } else { Ok(context) }
            }
            _ => Err(ParseTraceError),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_is_that_of_the_standard() {
        let text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let context: TraceContext = text.parse().unwrap();
        assert_eq!(context.to_string(), text);
        assert!(context.is_sampled());
        for bad in [
            "",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
        ] {
            assert!(bad.parse::<TraceContext>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_child_is_the_same_whoever_makes_it() {
        let root = TraceContext::root(&mut SeededEntropy::new(7));
        let task = root.of_task("int_00000-1", "tsk_00000-1.0", 3);
        assert_eq!(task, root.child("int_00000-1").child("tsk_00000-1.0/3"));
        assert_eq!(task.trace_id(), root.trace_id());
        assert_ne!(task.span_id(), root.of_task("int_00000-1", "tsk_00000-1.0", 4).span_id());
        // For ever: spans that another version reported are parents still.
        let first: TraceContext = "00-00000000000000000000000000000001-0000000000000001-01".parse().unwrap();
        assert_eq!(first.child("x").span_id(), "33cf49b854ceb3f2");
    }
}
