//! A token bucket: a rate with a burst, in whole numbers so that it replays exactly.

use serde::{Deserialize, Serialize};

use crate::{limits, period::Period};

/// So many in a span of time, and so many at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// How many.
    pub count: u32,
    /// In this span of time.
    pub per: Period,
    /// At once, after a quiet time; `count` where it is left out.
    #[serde(default)]
    pub burst: Option<u32>,
}

impl Rate {
    /// What is wrong with it.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        let most = limits::RATE_COUNT;
        if self.count == 0 || self.count > most || self.burst.is_some_and(|burst| burst == 0 || burst > most)
        {
            return Some(format!("`count` and `burst` are from 1 to {most}"));
        }
        (self.per.millis() == 0).then(|| "`per` is at least 1ms".to_owned())
    }

    fn burst(&self) -> u64 {
        u64::from(self.burst.unwrap_or(self.count))
    }
}

/// What is left of a rate. A token is worth `per` parts, and each millisecond gives `count` parts: no fraction is ever lost.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bucket {
    /// Parts taken and not yet given back.
    taken: u64,
    at_ms: u64,
}

impl Bucket {
    /// How many may pass at `at_ms`.
    #[must_use]
    pub fn tokens(&self, rate: &Rate, at_ms: u64) -> u64 {
        let full = rate.burst().saturating_mul(rate.per.millis());
        full.saturating_sub(self.taken_at(rate, at_ms)) / rate.per.millis().max(1)
    }

    /// Takes `count` of them.
    pub fn take(&mut self, rate: &Rate, at_ms: u64, count: u64) {
        self.taken = self.taken_at(rate, at_ms).saturating_add(count.saturating_mul(rate.per.millis()));
        self.at_ms = self.at_ms.max(at_ms);
    }

    /// From when on one may pass, if none is taken until then.
    #[must_use]
    pub fn next_from(&self, rate: &Rate) -> u64 {
        let full = rate.burst().saturating_mul(rate.per.millis());
        let missing = self.taken.saturating_add(rate.per.millis()).saturating_sub(full);
        self.at_ms.saturating_add(missing.div_ceil(u64::from(rate.count.max(1))))
    }

    fn taken_at(&self, rate: &Rate, at_ms: u64) -> u64 {
        let given = at_ms.saturating_sub(self.at_ms).saturating_mul(u64::from(rate.count));
        self.taken.saturating_sub(given)
    }
}
