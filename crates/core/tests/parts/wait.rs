//! Waiting for a condition with a deadline.

use std::time::Duration;

use grace_types::time::{Clock as _, SystemClock};

/// Long enough for a machine under full load; a test that gets here has failed.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// Returns as soon as `condition` holds.
#[track_caller]
pub(crate) fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = SystemClock.now().mono.plus(DEADLINE);
    while !condition() {
        assert!(SystemClock.now().mono < end, "{what}: not within {DEADLINE:?}");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}
