//! One process.

use std::{
    ffi::{OsStr, OsString},
    io,
    os::unix::ffi::OsStringExt as _,
    sync::OnceLock,
    time::Duration,
};

use super::malformed;

/// What `/proc/PID/stat` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stat {
    /// The program's name, cut to 15 bytes by the kernel.
    pub name: String,
    /// `R` running, `S` sleeping, `D` waiting for the disk, `T` stopped, `Z` ended and not waited for, …
    pub state: char,
    /// Its parent's pid.
    pub parent: u32,
    /// Its process group.
    pub group: u32,
    /// User and system time of all its threads, in clock ticks.
    pub cpu_ticks: u64,
    /// When it started, in clock ticks since the machine booted. With the pid it names a process for as long as the
    /// machine runs: pids are used again, this pair is not.
    pub start_ticks: u64,
    /// Pages of memory that it has resident.
    pub resident_pages: u64,
}

impl Stat {
    /// CPU time used so far.
    #[must_use]
    pub fn cpu_time(&self) -> Duration {
        let hertz = units().ticks_per_second;
        let nanos = u128::from(self.cpu_ticks) * 1_000_000_000 / u128::from(hertz);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// Resident memory in bytes. Pages that are shared count in full; see [`proportional_bytes`].
    #[must_use]
    pub fn resident_bytes(&self) -> u64 {
        self.resident_pages.saturating_mul(units().page_bytes)
    }
}

/// The process's `stat`.
///
/// # Errors
/// There is no such process.
pub fn stat(pid: u32) -> io::Result<Stat> {
    let bytes = std::fs::read(format!("/proc/{pid}/stat"))?;
    parse_stat(&bytes).ok_or_else(|| malformed("/proc/PID/stat"))
}

/// [`Stat::start_ticks`] of a process; `None` when there is no such process.
#[must_use]
pub fn start_ticks(pid: u32) -> Option<u64> {
    stat(pid).ok().map(|stat| stat.start_ticks)
}

/// The name is in parentheses and may hold anything, parentheses, spaces and line breaks included: the last `)` ends it.
fn parse_stat(bytes: &[u8]) -> Option<Stat> {
    let open = bytes.iter().position(|b| *b == b'(')?;
    let close = bytes.iter().rposition(|b| *b == b')')?;
    let name = String::from_utf8_lossy(bytes.get(open + 1..close)?).into_owned();
    let rest = str::from_utf8(&bytes[close + 1..]).ok()?;
    // Field 3 of the manual is the first one here.
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number - 3).copied();
    let number = |n: usize| field(n)?.parse::<u64>().ok();
    Some(Stat {
        name,
        state: field(3)?.chars().next()?,
        parent: field(4)?.parse().ok()?,
        group: field(5)?.parse().ok()?,
        cpu_ticks: number(14)?.checked_add(number(15)?)?,
        start_ticks: number(22)?,
        resident_pages: number(24)?,
    })
}

/// Proportional set size in bytes: resident memory with each shared page divided by the number of its users. Slower than
/// [`stat`], since the kernel walks the page tables.
///
/// # Errors
/// There is no such process, or it belongs to somebody else.
pub fn proportional_bytes(pid: u32) -> io::Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    parse_pss(&text).ok_or_else(|| malformed("/proc/PID/smaps_rollup"))
}

fn parse_pss(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The children that a sub-reaper was given when their parents ended: those of its first thread, among which are those that this
/// thread made itself. One file to read where [`children`] reads one a thread.
#[must_use]
pub fn adopted(pid: u32) -> Vec<u32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// The process's children, those of all its threads; empty when there is no such process. It is a snapshot: a child that is
/// being made or ends may be missing.
#[must_use]
pub fn children(pid: u32) -> Vec<u32> {
    let Ok(tasks) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    tasks
        .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("children")).ok())
        .flat_map(|text| {
            text.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<u32>>()
        })
        .collect()
}

/// A variable of the environment that the process was started with (what it set later does not show); `None` too when there
/// is no such process or it belongs to somebody else.
#[must_use]
pub fn environment_variable(pid: u32, name: &str) -> Option<OsString> {
    let bytes = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
    bytes.split(|b| *b == 0).find_map(|entry| {
        let value = entry.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        Some(OsString::from_vec(value.to_vec()))
    })
}

/// Every process that was started with this variable in its environment and that we may look into.
#[must_use]
pub fn processes_with_environment(name: &str, value: &OsStr) -> Vec<u32> {
    all().filter(|pid| environment_variable(*pid, name).as_deref() == Some(value)).collect()
}

/// Every process's pid, as far as `/proc` shows it.
pub(super) fn all() -> impl Iterator<Item = u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

struct Units {
    page_bytes: u64,
    ticks_per_second: u64,
}

/// The units of `stat`, which the kernel hands to every program (getauxval(3)).
fn units() -> &'static Units {
    static UNITS: OnceLock<Units> = OnceLock::new();
    UNITS.get_or_init(|| parse_auxv(&std::fs::read("/proc/self/auxv").unwrap_or_default()))
}

fn parse_auxv(bytes: &[u8]) -> Units {
    const PAGE_SIZE: usize = 6;
    const CLOCK_TICKS: usize = 17;
    // What nearly every Linux machine has, for where the vector cannot be read.
    let mut units = Units { page_bytes: 4096, ticks_per_second: 100 };
    let mut words = bytes.as_chunks().0.iter().map(|word| usize::from_ne_bytes(*word));
    while let (Some(key), Some(value)) = (words.next(), words.next()) {
        match key {
            PAGE_SIZE if value > 0 => units.page_bytes = value as u64,
            CLOCK_TICKS if value > 0 => units.ticks_per_second = value as u64,
            _ => {}
        }
    }
    units
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_may_hold_anything() {
        let text = "42 (a) b (\n)) S 7 42 42 0 -1 4194304 1 2 3 4 50 7 8 9 20 0 1 0 1234567 9999 88 1844\n";
        let expected = Stat {
            name: "a) b (\n)".into(),
            state: 'S',
            parent: 7,
            group: 42,
            cpu_ticks: 57,
            start_ticks: 1_234_567,
            resident_pages: 88,
        };
        assert_eq!(parse_stat(text.as_bytes()), Some(expected));
        for bad in ["", "1 (x", "1 (x)", "1 (x) S", "1 )x( S 1 1 1", "1 (x) S a b c"] {
            assert_eq!(parse_stat(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn units_are_those_of_this_machine_or_the_usual_ones() {
        assert_eq!((parse_auxv(b"").page_bytes, parse_auxv(b"").ticks_per_second), (4096, 100));
        let vector: Vec<u8> = [6usize, 65536, 17, 250, 0, 0].iter().flat_map(|w| w.to_ne_bytes()).collect();
        let units = parse_auxv(&vector);
        assert_eq!((units.page_bytes, units.ticks_per_second), (65536, 250));
    }

    #[test]
    fn the_proportional_size_is_not_mistaken_for_its_parts() {
        let text = "00400000-7ffd [rollup]\nRss:  900 kB\nPss_Dirty:  1 kB\nPss:                 312 kB\n";
        assert_eq!(parse_pss(text), Some(312 * 1024));
        assert_eq!(parse_pss("Pss: many kB\n"), None);
    }

    proptest! {
        #[test]
        fn nothing_in_proc_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), tail in "[ 0-9SR()]{0,80}") {
            let text = [b"1 (".as_slice(), &bytes, tail.as_bytes()].concat();
            if let Some(stat) = parse_stat(&text) {
                prop_assert!(stat.cpu_time() >= Duration::ZERO && stat.resident_bytes() >= stat.resident_pages);
            }
            parse_auxv(&bytes);
        }
    }
}
