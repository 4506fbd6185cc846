//! Names of intents and tasks: short enough to type, unique among task managers.
//!
//! `int_3xq7k-42` is the 42nd intent of the task manager whose journal was begun under the random era `3xq7k` (25 bits, five digits of
//! Crockford's base 32); `tsk_3xq7k-42.0` is its first task. The pair fits 64 bits, so that a million of them cost little, and sorts by
//! age. Two replicas, or a journal that was begun anew, have another era.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const NUMBER_BITS: u32 = 39;

/// The random part of a task manager's ids.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Era(u32);

impl Era {
    /// From random bits; the lowest 25 are taken.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self((bits & 0x1ff_ffff) as u32)
    }
}

/// An id in its text form.
macro_rules! text_schema {
    ($id:ident, $pattern:literal) => {
        impl schemars::JsonSchema for $id {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($id).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({"type": "string", "pattern": $pattern})
            }
        }
    };
}

text_schema!(IntentId, "^int_[0-9a-z]{5}-[0-9]+$");
text_schema!(TaskId, "^tsk_[0-9a-z]{5}-[0-9]+\\.[0-9]+$");

/// Names an intent.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IntentId(u64);

impl IntentId {
    /// The intent of this number; numbers past 2³⁹ begin again.
    #[must_use]
    pub const fn new(era: Era, number: u64) -> Self {
        Self(((era.0 as u64) << NUMBER_BITS) | (number & ((1 << NUMBER_BITS) - 1)))
    }

    /// The random part of whoever named it.
    #[must_use]
    pub const fn era(self) -> Era {
        Era((self.0 >> NUMBER_BITS) as u32)
    }

    /// Its number within its era.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0 & ((1 << NUMBER_BITS) - 1)
    }

    /// One of its tasks.
    #[must_use]
    pub const fn task(self, index: u16) -> TaskId {
        TaskId { intent: self, index }
    }

    /// `3xq7k-42` behind what stands in `text` up to `at`; where it ends. Byte by byte: ids are in every record, several times in most.
    fn write(self, text: &mut [u8; TEXT_BYTES], at: usize) -> usize {
        let (era, number) = (self.0 >> NUMBER_BITS, self.number());
        for (n, digit) in text[at..at + 5].iter_mut().enumerate() {
            *digit = DIGITS[(era >> (5 * (4 - n))) as usize & 31];
        }
        text[at + 5] = b'-';
        decimal_into(text, at + 6, number)
    }

    fn read(text: &str) -> Option<Self> {
        let (era, number) = text.split_once('-')?;
        let number = decimal(number)?;
        if era.len() != 5 || number >= 1 << NUMBER_BITS {
            return None;
        }
        let mut bits = 0;
        for byte in era.bytes() {
            bits = (bits << 5) | DIGITS.iter().position(|digit| *digit == byte)? as u64;
        }
        Some(Self((bits << NUMBER_BITS) | number))
    }
}

/// The longest text of an id, in bytes: of a task with five digits behind an intent with twelve.
const TEXT_BYTES: usize = "tsk_00000-549755813887.65535".len();

/// Writes a number behind what stands in `text` up to `at`; where it ends.
fn decimal_into(text: &mut [u8; TEXT_BYTES], at: usize, mut number: u64) -> usize {
    let end = at + number.checked_ilog10().unwrap_or(0) as usize + 1;
    for digit in text[at..end].iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
    end
}

/// A number as [`fmt::Display`] writes it: one text for one id.
fn decimal(text: &str) -> Option<u64> {
    let canonical = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    canonical.then(|| text.parse().ok()).flatten()
}

/// Names a task: an intent, and the place in its plan.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId {
    /// The intent.
    pub intent: IntentId,
    /// The place in its plan; compensations come after the plan's tasks.
    pub index: u16,
}

/// Why a text is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {what}")]
pub struct BadId {
    text: String,
    what: &'static str,
}

impl BadId {
    fn new(text: &str, what: &'static str) -> Self {
        Self { text: text.chars().take(64).flat_map(char::escape_debug).collect(), what }
    }
}

impl IntentId {
    fn written(self, text: &mut [u8; TEXT_BYTES]) -> &str {
        text[..4].copy_from_slice(b"int_");
        let end = self.write(text, 4);
        // Always digits and a dash.
        std::str::from_utf8(&text[..end]).unwrap_or_default()
    }
}

impl TaskId {
    fn written(self, text: &mut [u8; TEXT_BYTES]) -> &str {
        text[..4].copy_from_slice(b"tsk_");
        let dot = self.intent.write(text, 4);
        text[dot] = b'.';
        let end = decimal_into(text, dot + 1, self.index.into());
        std::str::from_utf8(&text[..end]).unwrap_or_default()
    }
}

impl FromStr for IntentId {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        let id = text.strip_prefix("int_").and_then(Self::read);
        id.ok_or_else(|| BadId::new(text, "an intent's id, such as `int_3xq7k-42`"))
    }
}

impl FromStr for TaskId {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        let id = || {
            let (intent, index) = text.strip_prefix("tsk_")?.rsplit_once('.')?;
            Some(IntentId::read(intent)?.task(u16::try_from(decimal(index)?).ok()?))
        };
        id().ok_or_else(|| BadId::new(text, "a task's id, such as `tsk_3xq7k-42.0`"))
    }
}

macro_rules! as_text {
    ($($id:ident),*) => {$(
        impl fmt::Display for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.written(&mut [0; TEXT_BYTES]))
            }
        }

        impl fmt::Debug for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl Serialize for $id {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(self.written(&mut [0; TEXT_BYTES]))
            }
        }

        impl<'de> Deserialize<'de> for $id {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                crate::text::deserialize(d)
            }
        }
    )*};
}
as_text!(IntentId, TaskId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_survive_their_text_and_sort_by_age() {
        let era = Era::from_bits(u64::MAX);
        let ids: Vec<IntentId> = [0, 1, 42, (1 << NUMBER_BITS) - 1].map(|n| IntentId::new(era, n)).to_vec();
        assert!(ids.is_sorted());
        for id in &ids {
            assert_eq!(id.to_string().parse(), Ok(*id));
            let task = id.task(u16::MAX);
            assert_eq!(task.to_string().parse(), Ok(task));
        }
        assert_eq!(IntentId::new(Era::from_bits(5), 42).task(3).to_string(), "tsk_00005-42.3");
        let last = IntentId::new(era, (1 << NUMBER_BITS) - 1).task(u16::MAX).to_string();
        assert_eq!((last.as_str(), last.len()), ("tsk_zzzzz-549755813887.65535", TEXT_BYTES));
    }

    #[test]
    fn what_is_no_id_is_refused() {
        for text in [
            "",
            "int_",
            "int_0000-1",
            "int_00000-",
            "int_00000-01",
            "int_0000u-1",
            "int_00000-+1",
            "tsk_00000-1.0",
            "int_00000-549755813888",
            "int_00000-1.0",
        ] {
            assert!(text.parse::<IntentId>().is_err(), "{text}");
        }
        for text in ["int_00000-1", "tsk_00000-1", "tsk_00000-1.65536", "tsk_00000-1.00", "tsk_.0"] {
            assert!(text.parse::<TaskId>().is_err(), "{text}");
        }
    }
}
