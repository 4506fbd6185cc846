//! Two questions that only a raw system call answers, and for which no safe wrapper is at hand.

#![expect(
    unsafe_code,
    reason = "landlock_create_ruleset and adjtimex have no safe wrapper in our dependencies"
)]

use std::{io, time::Duration};

/// The newest Landlock ABI that the kernel speaks. See landlock_create_ruleset(2).
///
/// # Errors
/// `ENOSYS` when the kernel has none, `EOPNOTSUPP` when it was not enabled at boot.
pub(super) fn landlock_abi() -> io::Result<i64> {
    const LANDLOCK_CREATE_RULESET_VERSION: libc::c_uint = 1;
    // SAFETY: with a null attribute of size 0 and this flag the call reads no memory of ours; it returns a number.
    let abi = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<libc::c_void>(),
            0usize,
            LANDLOCK_CREATE_RULESET_VERSION,
        )
    };
    if abi < 0 { Err(io::Error::last_os_error()) } else { Ok(abi) }
}

/// How wrong the wall clock may be by the kernel's own estimate; `None` when nothing synchronises it. See adjtimex(2).
///
/// # Errors
/// When the system call is not allowed here.
pub(super) fn clock_error() -> io::Result<Option<Duration>> {
    // SAFETY: `timex` is plain numbers, for which all zeros is a value; `modes: 0` asks only to read.
    let mut timex: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a `timex` of ours that lives through the call.
    let state = unsafe { libc::adjtimex(&raw mut timex) };
    if state < 0 {
        return Err(io::Error::last_os_error());
    }
    let microseconds = u64::try_from(timex.maxerror).unwrap_or(0);
    let synchronised = timex.status & libc::STA_UNSYNC == 0;
    Ok(synchronised.then(|| Duration::from_micros(microseconds)))
}
