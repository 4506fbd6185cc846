//! Every bound in one place, with the reason for its number and what happens when it is reached.
//!
//! Law 6: every queue is bounded. A limit that lives next to the code it guards is found by nobody.

use std::time::Duration;

/// A hybrid logical clock believes a remote stamp at most this far ahead of its own: ten minutes, twice the skew that
/// the clock-skew scenario injects. Past it the stamp is ordered as if it were ours.
pub const HLC_MAX_DRIFT: Duration = Duration::from_secs(600);

/// Payload of one event. CloudEvents asks intermediaries to carry at least 64 KiB; sixteen times that keeps one
/// event below the broker's default `max_payload`. Larger events are refused.
pub const EVENT_DATA_BYTES: usize = 1 << 20;

/// One CloudEvents attribute. Larger ones are refused.
pub const EVENT_ATTRIBUTE_BYTES: usize = 4096;
