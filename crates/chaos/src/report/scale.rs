//! Axes: where a value lies on the picture, and round numbers to label it with.

use std::time::Duration;

use grace_types::time::Timestamp;

/// Width of the drawing area in the picture's own units, and what is left of it for labels.
pub(super) const LEFT: f64 = 150.0;
pub(super) const WIDTH: f64 = 760.0;
pub(super) const RIGHT: f64 = 20.0;

/// The axis of time, which all pictures share.
#[derive(Debug, Clone, Copy)]
pub(super) struct Time {
    from: Timestamp,
    span_seconds: f64,
}

impl Time {
    pub(super) fn new(from: Timestamp, to: Timestamp) -> Self {
        // A run of no time at all still has a picture.
        Self { from, span_seconds: to.since(from).as_secs_f64().max(0.001) }
    }

    /// Seconds since the run began.
    pub(super) fn seconds(&self, at: Timestamp) -> f64 {
        at.since(self.from).as_secs_f64()
    }

    /// Where it lies. What lies outside the run lies on its edge.
    pub(super) fn x(&self, at: Timestamp) -> f64 {
        LEFT + (self.seconds(at) / self.span_seconds).min(1.0) * WIDTH
    }

    /// Where to put labels, and the labels.
    pub(super) fn ticks(&self) -> Vec<(f64, String)> {
        let step = round_up(self.span_seconds / 8.0);
        (0..)
            .map(|n| f64::from(n) * step)
            .take_while(|seconds| *seconds <= self.span_seconds)
            .take(20)
            .map(|seconds| (LEFT + seconds / self.span_seconds * WIDTH, format!("{} s", number(seconds))))
            .collect()
    }
}

/// The next of 1, 2, 5, 10, 20 …
pub(super) fn round_up(value: f64) -> f64 {
    if !value.is_finite() || value <= 0.0 {
        return 1.0;
    }
    let power = 10f64.powf(value.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|m| m * power)
        .find(|step| *step >= value * 0.999_999)
        .unwrap_or(value)
}

/// Without superfluous zeros, to three digits after the point.
pub(super) fn number(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// `12.3 MiB`
pub(super) fn size(bytes: f64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes;
    let mut unit = 0;
    while value >= 1024.0 && unit < units.len() - 1 {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 || value >= 100.0 {
        format!("{value:.0} {}", units[unit])
    } else {
        format!("{value:.1} {}", units[unit])
    }
}

/// `150 ms`, `2.35 s`, `3 min 20 s`
pub(super) fn duration(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds < 1.0 {
        format!("{:.0} ms", seconds * 1000.0)
    } else if seconds < 60.0 {
        format!("{} s", number((seconds * 100.0).round() / 100.0))
    } else {
        format!("{} min {} s", time.as_secs() / 60, time.as_secs() % 60)
    }
}

/// `2026-11-23 15:04:05.678`
pub(super) fn moment(at: Timestamp) -> String {
    let text = at.to_string();
    format!("{} {}", text.split_once('T').map_or("", |(date, _)| date), clock(at))
}

/// To the millisecond: `15:04:05.678`.
pub(super) fn clock(at: Timestamp) -> String {
    let text = at.to_string();
    let time = text.split_once('T').map_or(text.as_str(), |(_, time)| time).trim_end_matches('Z');
    let (seconds, fraction) = time.split_once('.').unwrap_or((time, ""));
    let millis: String = fraction.chars().chain("000".chars()).take(3).collect();
    format!("{seconds}.{millis}")
}
