//! The machine, and who holds what on it.

use std::{collections::BTreeSet, io, os::unix::net::UnixStream, path::Path};

use super::{malformed, process};

/// What tasks may have to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// Processor time.
    Cpu,
    /// Memory: reclaim, refaults, swapping.
    Memory,
    /// Disks.
    Io,
}

/// Pressure stall information of one resource.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pressure {
    /// Time in which at least one task waited.
    pub some: Stall,
    /// Time in which every task that was not idle waited.
    pub full: Option<Stall>,
}

/// Shares of time in percent, and the total.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Stall {
    /// Over the last 10 seconds.
    pub avg10_percent: f64,
    /// Over the last 60 seconds.
    pub avg60_percent: f64,
    /// Over the last 300 seconds.
    pub avg300_percent: f64,
    /// Microseconds since boot.
    pub total_micros: u64,
}

/// The pressure on a resource of the whole machine.
///
/// # Errors
/// The kernel has no PSI or it is switched off.
pub fn pressure(resource: Resource) -> io::Result<Pressure> {
    let name = match resource {
        Resource::Cpu => "cpu",
        Resource::Memory => "memory",
        Resource::Io => "io",
    };
    let text = std::fs::read_to_string(format!("/proc/pressure/{name}"))?;
    parse_pressure(&text).ok_or_else(|| malformed("/proc/pressure"))
}

fn parse_pressure(text: &str) -> Option<Pressure> {
    let line = |kind: &str| {
        let fields = text.lines().find_map(|line| line.strip_prefix(kind)?.strip_prefix(' '))?;
        let mut stall = Stall::default();
        for field in fields.split_ascii_whitespace() {
            match field.split_once('=')? {
                ("avg10", value) => stall.avg10_percent = value.parse().ok()?,
                ("avg60", value) => stall.avg60_percent = value.parse().ok()?,
                ("avg300", value) => stall.avg300_percent = value.parse().ok()?,
                ("total", value) => stall.total_micros = value.parse().ok()?,
                _ => {}
            }
        }
        Some(stall)
    };
    Some(Pressure { some: line("some")?, full: line("full") })
}

/// The pid and name of a process that listens on a TCP port, on whatever address. `None` when nobody does, or only processes
/// whose descriptors we may not see.
#[must_use]
pub fn tcp_port_holder(port: u16) -> Option<(u32, String)> {
    let mut links = BTreeSet::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let text = std::fs::read_to_string(table).unwrap_or_default();
        let inodes = text.lines().filter_map(|line| listener(line, port));
        links.extend(inodes.map(|inode| format!("socket:[{inode}]")));
    }
    if links.is_empty() {
        return None;
    }
    let pid = process::all().find(|pid| holds(*pid, &links))?;
    Some((pid, process::stat(pid).map(|stat| stat.name).unwrap_or_default()))
}

/// The process that listens on the Unix stream socket at `path`; `None` when nobody does. It sees a connection that is
/// closed at once.
#[must_use]
pub fn peer_of(path: &Path) -> Option<u32> {
    let socket = UnixStream::connect(path).ok()?;
    let peer = rustix::net::sockopt::socket_peercred(&socket).ok()?;
    Some(peer.pid.as_raw_pid().cast_unsigned())
}

/// The inode of the socket in this line of the table, if it listens on `port`.
fn listener(line: &str, port: u16) -> Option<u64> {
    const LISTEN: &str = "0A";
    let mut fields = line.split_ascii_whitespace();
    let (_, local) = fields.nth(1)?.rsplit_once(':')?;
    let state = fields.nth(1)?;
    let inode = fields.nth(5)?.parse().ok()?;
    (state == LISTEN && u16::from_str_radix(local, 16) == Ok(port)).then_some(inode)
}

fn holds(pid: u32, links: &BTreeSet<String>) -> bool {
    let Ok(fds) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    fds.filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok())
        .any(|link| link.to_str().is_some_and(|link| links.contains(link)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pressure_is_read_with_and_without_its_second_line() {
        let some = "some avg10=1.50 avg60=0.25 avg300=0.00 total=12345\n";
        let pressure = parse_pressure(some).unwrap();
        assert_eq!(pressure.full, None);
        assert_eq!(
            pressure.some,
            Stall { avg10_percent: 1.5, avg60_percent: 0.25, avg300_percent: 0.0, total_micros: 12345 }
        );
        let both = parse_pressure(&format!("{some}full avg10=0.5 avg60=0 avg300=0 total=9 new=x\n")).unwrap();
        assert_eq!(both.full.unwrap().total_micros, 9);
        for bad in ["", "full avg10=1", "some avg10=x", "some avg10"] {
            assert_eq!(parse_pressure(bad), None, "{bad}");
        }
    }

    #[test]
    fn only_listeners_on_the_port_count() {
        let line = |port: &str, state: &str| {
            format!(
                "   0: 0100007F:{port} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000     0        0 777 1 0 100"
            )
        };
        assert_eq!(listener(&line("1F90", "0A"), 8080), Some(777));
        assert_eq!(listener(&line("1F90", "01"), 8080), None);
        assert_eq!(listener(&line("1F91", "0A"), 8080), None);
        assert_eq!(listener("  sl  local_address rem_address   st tx_queue", 8080), None);
        assert_eq!(listener("", 0), None);
    }
}
