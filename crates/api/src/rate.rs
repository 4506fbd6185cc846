//! A bucket of tokens that fills at a steady rate. Pure: the time is an argument.
//!
//! Whoever finds anything in it may take more than there is; what was overdrawn must fill up again before the next one gets anything.
//! So a batch costs as much as its events one by one, and one that is larger than the bucket is not refused for ever.

use std::time::Duration;

use grace_types::time::Monotonic;

/// See the module's page. Holds one second's worth.
#[derive(Debug)]
pub struct Bucket {
    /// Nanoseconds that one takes to fill in.
    each: u64,
    /// When the bucket was, or will be, empty.
    empty_at: u64,
}

const SECOND: u64 = 1_000_000_000;

impl Bucket {
    /// A full one, of so many a second.
    #[must_use]
    pub const fn new(per_second: u32) -> Self {
        let per_second = if per_second == 0 { 1 } else { per_second };
        Self { each: SECOND / per_second as u64, empty_at: 0 }
    }

    /// Whether anything is in it.
    ///
    /// # Errors
    /// How long until something is.
    pub fn look(&self, now: Monotonic) -> Result<(), Duration> {
        // One that began empty at the clock's own zero would refuse the first of a young machine.
        match self.empty_at.checked_sub(now.as_nanos()) {
            Some(debt) if debt > SECOND - self.each => Err(Duration::from_nanos(debt - (SECOND - self.each))),
            _ => Ok(()),
        }
    }

    /// Whether nothing was taken out of it that has not filled up again.
    #[must_use]
    pub const fn is_full(&self, now: Monotonic) -> bool {
        self.empty_at <= now.as_nanos()
    }

    /// Takes `count` out, if anything is in it.
    ///
    /// # Errors
    /// How long until something is.
    pub fn take(&mut self, now: Monotonic, count: usize) -> Result<(), Duration> {
        self.look(now)?;
        let cost = self.each.saturating_mul(count as u64);
        self.empty_at = self.empty_at.max(now.as_nanos()).saturating_add(cost);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Monotonic = Monotonic::from_nanos(5 * SECOND);

    fn taken(bucket: &mut Bucket, at: Monotonic) -> usize {
        (0..10_000).take_while(|_| bucket.take(at, 1).is_ok()).count()
    }

    #[test]
    fn a_second_s_worth_at_once_and_then_the_rate() {
        for rate in [1, 7, 1000] {
            let mut bucket = Bucket::new(rate);
            assert_eq!(taken(&mut bucket, START), rate as usize);
            let wait = bucket.look(START).unwrap_err();
            assert!(wait <= Duration::from_nanos(SECOND / u64::from(rate)), "{wait:?}");
            assert_eq!(taken(&mut bucket, START.plus(wait)), 1);
            let later = START.plus(Duration::from_secs(100));
            assert_eq!(taken(&mut bucket, later), rate as usize, "it holds one second's worth");
        }
    }

    #[test]
    fn a_batch_may_overdraw_and_is_paid_back() {
        let mut bucket = Bucket::new(10);
        bucket.take(START, 100).unwrap();
        let wait = bucket.look(START).unwrap_err();
        assert!(wait > Duration::from_secs(9) && wait < Duration::from_secs(10), "{wait:?}");
        assert_eq!(taken(&mut bucket, START.plus(wait)), 1);
    }
}
