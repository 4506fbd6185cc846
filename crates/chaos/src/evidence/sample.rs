//! What each component uses: one reading of `/proc` for its process, and of the host's pressure.
//!
//! A process that is gone while it is being read gives a sample without figures; that is evidence too.

use std::{fs::File, io::Read as _};

use grace_types::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::limits;

/// Processor time in `/proc` is counted in ticks of the kernel's interface (USER_HZ), which is 100 on every machine that Grace is
/// built for, whatever the kernel's own clock.
const TICKS_PER_SECOND: f64 = 100.0;

/// One line of `resources.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ResourceLine {
    /// When.
    pub at: Timestamp,
    /// Why now: `every 5 s`, `phase: faults`.
    pub cause: String,
    /// What was read.
    #[serde(flatten)]
    pub sample: Sample,
}

/// One reading.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Each component that was asked about.
    pub components: Vec<ComponentSample>,
    /// The host.
    pub host: HostSample,
}

/// What one component's process uses.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ComponentSample {
    /// The component.
    pub name: String,
    /// Its process, if it has one.
    pub pid: Option<u32>,
    /// Processor time since the process began, user and system.
    pub cpu_seconds: Option<f64>,
    /// Resident memory.
    pub memory_bytes: Option<u64>,
    /// Threads.
    pub threads: Option<u64>,
    /// Open files.
    pub open_files: Option<u64>,
    /// The scheduler's letter: `R` running, `S` sleeping, `D` waiting for a disk, `T` stopped, `Z` dead.
    pub state: Option<char>,
}

/// How busy the host is: the share of the last 10 s in which some task waited (Linux pressure stall information).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct HostSample {
    /// Waiting for a processor, in per cent.
    pub cpu_pressure_percent: Option<f64>,
    /// Waiting for memory, in per cent.
    pub memory_pressure_percent: Option<f64>,
    /// Waiting for a disk, in per cent.
    pub io_pressure_percent: Option<f64>,
    /// Memory that can be had without swapping.
    pub memory_available_bytes: Option<u64>,
}

impl Sample {
    /// Reads what these components use now.
    pub fn read<'a>(components: impl IntoIterator<Item = (&'a str, Option<u32>)>) -> Self {
        let components = components.into_iter().map(|(name, pid)| component(name, pid)).collect();
        Self { components, host: host() }
    }
}

fn component(name: &str, pid: Option<u32>) -> ComponentSample {
    let empty = ComponentSample { name: name.to_owned(), pid, ..ComponentSample::default() };
    let Some(pid) = pid else { return empty };
    let Some(stat) = read(&format!("/proc/{pid}/stat")).as_deref().and_then(parse_stat) else { return empty };
    let status = read(&format!("/proc/{pid}/status"));
    let open_files = std::fs::read_dir(format!("/proc/{pid}/fd")).ok();
    ComponentSample {
        cpu_seconds: Some(stat.cpu_ticks as f64 / TICKS_PER_SECOND),
        memory_bytes: status.as_deref().and_then(|status| kibibytes(status, "VmRSS:")),
        threads: Some(stat.threads),
        open_files: open_files.map(|files| files.take(limits::OPEN_FILES).count() as u64),
        state: Some(stat.state),
        ..empty
    }
}

fn host() -> HostSample {
    let some = |what: &str| parse_pressure(&read(&format!("/proc/pressure/{what}"))?);
    HostSample {
        cpu_pressure_percent: some("cpu"),
        memory_pressure_percent: some("memory"),
        io_pressure_percent: some("io"),
        memory_available_bytes: read("/proc/meminfo")
            .as_deref()
            .and_then(|text| kibibytes(text, "MemAvailable:")),
    }
}

fn read(path: &str) -> Option<String> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(limits::PROC_BYTES).read_to_end(&mut bytes).ok()?;
    // A process may give itself any name.
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[derive(Debug, PartialEq)]
struct Stat {
    state: char,
    cpu_ticks: u64,
    threads: u64,
}

/// See `proc_pid_stat(5)`. The name in brackets may hold anything, brackets included.
fn parse_stat(text: &str) -> Option<Stat> {
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    // Counted from the third field of the manual's page.
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    Some(Stat {
        state: fields.first()?.chars().next()?,
        cpu_ticks: number(14)?.saturating_add(number(15)?),
        threads: number(20)?,
    })
}

/// `some avg10=0.12 avg60=… `
fn parse_pressure(text: &str) -> Option<f64> {
    let some = text.lines().find(|line| line.starts_with("some "))?;
    some.split_whitespace().find_map(|word| word.strip_prefix("avg10="))?.parse().ok()
}

/// A line such as `VmRSS:  1234 kB`, in bytes.
fn kibibytes(text: &str, label: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(label))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_texts_are_read() {
        let stat = "42 (a) b (c) S 1 42 42 0 -1 4194560 1 2 3 4 150 50 0 0 20 0 7 0 100 9000 321 1844";
        let expected = Stat { state: 'S', cpu_ticks: 200, threads: 7 };
        assert_eq!(parse_stat(stat), Some(expected));
        for strange in ["", ")", "1 (x) S", "1 (x) S 1 2 3 4 5 6 7 8 9 10 a b"] {
            assert_eq!(parse_stat(strange), None, "{strange}");
        }
        let pressure = "some avg10=1.25 avg60=0.00 avg300=0.00 total=5\nfull avg10=0.50 avg60=0.00";
        assert_eq!(parse_pressure(pressure), Some(1.25));
        assert_eq!(kibibytes("MemTotal: 9 kB\nMemAvailable:   2 kB\n", "MemAvailable:"), Some(2048));
    }

    #[test]
    fn this_process_uses_something_and_a_dead_one_nothing() {
        let sample = Sample::read([("me", Some(std::process::id())), ("dead", None)]);
        let me = &sample.components[0];
        assert!(me.memory_bytes > Some(0) && me.threads > Some(0) && me.open_files > Some(0), "{me:?}");
        assert_eq!(sample.components[1].memory_bytes, None);
    }
}
