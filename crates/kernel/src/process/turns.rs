//! How long a thread runs before others have their turn, as the scheduler is told.
//!
//! A thread that wakes up while another one runs may wait for the end of that one's turn, up to the next tick of the clock: milliseconds, on a
//! processor that is hardly used, while all that it has to do is to answer. It is so however much nicer the other one is, since that changes its
//! share and not its turn. Since Linux 6.12 a thread says itself how long its turns are, and one with shorter turns that wakes up does not
//! wait for one with longer turns (sched_setattr(2): `sched_runtime`, for policies without a deadline too). What each gets in the long
//! run stays as it is. Older kernels take the number and do nothing.
//!
//! Whoever put the process under another policy than the usual one, or before others, knows better, and nothing is changed then.
#![expect(unsafe_code, reason = "sched_getattr and sched_setattr have no safe wrapper in our dependencies")]

use std::{io, time::Duration};

use crate::limits;

/// Bytes of the attributes that are read and written: the first version of them, which every kernel knows.
const SIZE: u32 = size_of::<libc::sched_attr>() as u32;

/// `SCHED_FLAG_RESET_ON_FORK` (`linux/sched.h`).
const RESET_ON_FORK: u64 = 1;

/// Gives the calling thread the shortest turns that there are: for one that does a little now and then, while others wait for it. Threads and
/// programs that it starts have the usual ones.
///
/// # Errors
/// The system's refusal.
pub(super) fn short() -> io::Result<()> {
    let mut attributes = read()?;
    if is_usual(&attributes) {
        attributes.sched_flags |= RESET_ON_FORK;
        attributes.sched_runtime = nanos(limits::SHORT_TURN);
        write(&attributes)?;
    }
    Ok(())
}

/// Gives the calling thread, and those that it starts from now on, the longest turns that there are, and lets them wait for the end of another
/// one's turn when they wake up.
///
/// # Errors
/// The system's refusal.
pub(super) fn long() -> io::Result<()> {
    let mut attributes = read()?;
    if is_usual(&attributes) {
        attributes.sched_policy = libc::SCHED_BATCH.cast_unsigned();
        attributes.sched_runtime = nanos(limits::LONG_TURN);
        write(&attributes)?;
    }
    Ok(())
}

/// A better priority than the usual one would not be handed on by a thread that does not hand on its turns.
fn is_usual(attributes: &libc::sched_attr) -> bool {
    attributes.sched_policy == libc::SCHED_OTHER.cast_unsigned() && attributes.sched_nice >= 0
}

fn nanos(turn: Duration) -> u64 {
    u64::try_from(turn.as_nanos()).unwrap_or(u64::MAX)
}

/// What is in force for the calling thread.
fn read() -> io::Result<libc::sched_attr> {
    let mut attributes = libc::sched_attr {
        size: SIZE,
        sched_policy: 0,
        sched_flags: 0,
        sched_nice: 0,
        sched_priority: 0,
        sched_runtime: 0,
        sched_deadline: 0,
        sched_period: 0,
    };
    // SAFETY: the pointer is to attributes of ours, of the size that is given, and lives through the call.
    let done = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, SIZE, 0) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(attributes) }
}

fn write(attributes: &libc::sched_attr) -> io::Result<()> {
    // SAFETY: the pointer is to attributes that say their own size, and the call only reads them.
    let done = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const *attributes, 0) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// On a thread of its own: what is in force after `change`, and for a thread that is started then.
    fn after(change: fn() -> io::Result<()>) -> [libc::sched_attr; 3] {
        let changed = move || {
            let before = read().unwrap();
            change().unwrap();
            let started = std::thread::spawn(|| read().unwrap()).join().unwrap();
            [before, read().unwrap(), started]
        };
        std::thread::spawn(changed).join().unwrap()
    }

    #[test]
    fn a_thread_with_long_turns_hands_them_on() {
        let [before, own, started] = after(long);
        // Under another policy, as a whole run of tests may be, all is left as it is.
        if is_usual(&before) {
            for attributes in [own, started] {
                assert_eq!(attributes.sched_policy, libc::SCHED_BATCH.cast_unsigned());
                assert_eq!(attributes.sched_nice, before.sched_nice);
            }
            assert_eq!(own.sched_runtime, started.sched_runtime);
        } else {
            assert_eq!(own.sched_policy, before.sched_policy);
        }
    }

    #[test]
    fn a_thread_with_short_turns_keeps_them_to_itself() {
        let [before, own, started] = after(short);
        assert_eq!(own.sched_policy, before.sched_policy);
        assert_eq!(own.sched_nice, before.sched_nice);
        assert_eq!(started.sched_runtime, before.sched_runtime);
    }
}
