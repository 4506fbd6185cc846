//! What the benchmarks share: how quiet the machine was while they ran, an instance to measure, and what its processes use.
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

pub mod instance;
pub mod usage;

use std::{fs, time::Instant};

/// The machine from a moment on: how much of its processors went to this benchmark, and how much to its neighbours.
#[derive(Debug)]
pub struct Machine {
    since: Instant,
    busy: f64,
    own: f64,
}

impl Machine {
    /// From now on.
    #[must_use]
    pub fn watched() -> Self {
        Self { since: Instant::now(), busy: busy_seconds(), own: own_seconds() }
    }

    /// Processors that others kept busy on average, so far. What a benchmark started and has not waited for yet counts as another.
    #[must_use]
    pub fn others(&self) -> f64 {
        let (busy, own) = (busy_seconds() - self.busy, own_seconds() - self.own);
        (busy - own).max(0.0) / self.since.elapsed().as_secs_f64()
    }

    /// Prints how far the figures can be relied on.
    pub fn report(&self) {
        let (others, all) = (self.others(), std::thread::available_parallelism().map_or(1, usize::from));
        // The system's own threads write back and take interrupts for the benchmark.
        let verdict = if others > 0.2 { "not quiet: figures are too low and spread" } else { "quiet" };
        println!("\nothers kept {others:.2} of {all} processors busy meanwhile ({verdict})");
    }
}

/// Clock ticks a second, as Linux shows times in `/proc` on every architecture.
const TICKS: f64 = 100.0;

/// Of all processors, since the start of the machine.
fn busy_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    // cpu user nice system idle iowait irq softirq steal; guests are part of user and nice.
    let ticks: Vec<f64> = numbers(stat.lines().next().unwrap_or_default().split_whitespace().skip(1));
    ticks.iter().enumerate().filter(|(at, _)| !matches!(at, 3 | 4 | 8..)).map(|(_, ticks)| ticks).sum::<f64>()
        / TICKS
}

/// Processor time of this process and of those that it waited for.
#[must_use]
pub fn own_seconds() -> f64 {
    seconds("/proc/self/stat")
}

/// The same of another one.
#[must_use]
pub fn seconds_of(process: u32) -> f64 {
    seconds(&format!("/proc/{process}/stat"))
}

fn seconds(stat: &str) -> f64 {
    let stat = fs::read_to_string(stat).unwrap_or_default();
    // After the name: state is the first field, utime, stime, cutime and cstime are the twelfth to the fifteenth.
    let after = stat.rsplit_once(')').map_or("", |(_, after)| after);
    numbers(after.split_whitespace().skip(11).take(4)).iter().sum::<f64>() / TICKS
}

fn numbers<'a>(words: impl Iterator<Item = &'a str>) -> Vec<f64> {
    words.filter_map(|word| word.parse().ok()).collect()
}
