//! The listening sockets that the control plane passes, by systemd's protocol (sd_listen_fds(3)): `LISTEN_FDS` descriptors
//! from number 3 on, named in order by `LISTEN_FDNAMES`, for the process in `LISTEN_PID` if that is set.

use std::{
    io,
    os::{
        fd::{FromRawFd as _, OwnedFd},
        unix::net::UnixListener,
    },
};

use grace_bus::shell::Listeners;
use rustix::io::FdFlags;

/// The first passed descriptor's number.
const FIRST: i32 = 3;
/// More than the two that there are, with room for a manifest that asks for more addresses; a larger number is a mistake.
const MOST: i32 = 16;

/// Takes the passed sockets over: those named `tcp…` and `unix…`; others are closed. To be called once, before anything else
/// in the process opens a descriptor.
pub(super) fn passed(variable: impl Fn(&str) -> Option<String>, pid: u32) -> io::Result<Listeners> {
    let names = names(variable, pid)?;
    let mut listeners = Listeners::default();
    for (fd, name) in adopt(names.len())?.into_iter().zip(names) {
        if name.starts_with("tcp") {
            listeners.tcp.push(fd.into());
        } else if name.starts_with("unix") {
            listeners.unix.push(UnixListener::from(fd));
        }
    }
    Ok(listeners)
}

/// The names of the passed descriptors; there is at least one.
fn names(variable: impl Fn(&str) -> Option<String>, pid: u32) -> io::Result<Vec<String>> {
    let wrong = |what: String| Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    if variable("LISTEN_PID").is_some_and(|other| other != pid.to_string()) {
        return wrong("LISTEN_PID names another process".to_owned());
    }
    let count = variable("LISTEN_FDS").and_then(|text| text.parse::<i32>().ok()).unwrap_or_default();
    if !(1..=MOST).contains(&count) {
        return wrong(format!("LISTEN_FDS must be a number from 1 to {MOST}; `grace up` sets it"));
    }
    let text = variable("LISTEN_FDNAMES").unwrap_or_default();
    let names: Vec<String> = text.split(':').map(str::to_owned).collect();
    if usize::try_from(count) != Ok(names.len()) {
        return wrong(format!("LISTEN_FDNAMES `{text}` does not name {count} descriptors"));
    }
    Ok(names)
}

#[expect(unsafe_code, reason = "inherited descriptors arrive as bare numbers")]
fn adopt(count: usize) -> io::Result<Vec<OwnedFd>> {
    let mut adopted = Vec::with_capacity(count);
    for number in (FIRST..).take(count) {
        // SAFETY: the number is only looked at; the call fails if no descriptor is open there.
        let open = rustix::io::fcntl_getfd(unsafe { std::os::fd::BorrowedFd::borrow_raw(number) });
        open.map_err(|e| {
            io::Error::new(io::Error::from(e).kind(), format!("descriptor {number} was not passed"))
        })?;
        // SAFETY: it is open, and by the protocol it was passed to this process for this purpose: nothing else in the process,
        // which has just started, knows of it.
        let fd = unsafe { OwnedFd::from_raw_fd(number) };
        rustix::io::fcntl_setfd(&fd, FdFlags::CLOEXEC)?;
        adopted.push(fd);
    }
    Ok(adopted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(pairs: &[(&str, &str)]) -> Result<Vec<String>, String> {
        names(|name| pairs.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()), 42)
            .map_err(|e| e.to_string())
    }

    #[test]
    fn the_protocol_is_read_as_systemd_writes_it() {
        let fds = ("LISTEN_FDS", "2");
        let named = ("LISTEN_FDNAMES", "tcp:unix");
        assert_eq!(given(&[fds, named]).unwrap(), ["tcp", "unix"]);
        assert_eq!(given(&[fds, named, ("LISTEN_PID", "42")]).unwrap(), ["tcp", "unix"]);
        assert!(given(&[fds, named, ("LISTEN_PID", "41")]).unwrap_err().contains("another process"));
        assert!(given(&[fds]).unwrap_err().contains("does not name 2"));
        for count in ["0", "-1", "17", "x", ""] {
            assert!(given(&[("LISTEN_FDS", count), named]).unwrap_err().contains("1 to 16"), "{count}");
        }
    }
}
