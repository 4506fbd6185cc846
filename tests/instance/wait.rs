//! Waiting for a condition, with a deadline.

use std::{thread, time::Duration};

use grace_types::time::{Clock as _, SystemClock};

/// How long a condition may take to come true. Far above what it takes, on a machine that is busy with all tests at once.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(10);

/// What `look` finds, as soon as it finds something; `None` when it finds nothing in time.
pub(super) fn within<T>(patience: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = SystemClock.now().mono.plus(patience);
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if SystemClock.now().mono >= deadline {
            return None;
        }
        thread::park_timeout(LOOK);
    }
}

/// What `look` finds, as soon as it finds something.
pub(crate) fn until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, look).unwrap_or_else(|| panic!("not within {PATIENCE:?}: {what}"))
}

/// Returns as soon as the condition holds.
pub(crate) fn holds(what: &str, mut condition: impl FnMut() -> bool) {
    until(what, || condition().then_some(()));
}
