//! The disk's last part is kept for emergencies: when a kernel stops putting anything else on record, and when it begins again.
//!
//! A disk that is full to the last byte leaves no room to record what is done about it, nor for the log to seal it. So below
//! a reserve a kernel refuses what it would have to write ([`HostError::DiskReserve`](crate::HostError::DiskReserve)), and
//! answers questions as ever; it goes on when there is half as much again, so that it does not go to and fro at the edge.

use grace_store::Journal;
use grace_types::time::Monotonic;

use crate::limits;

/// See the module's page.
#[derive(Debug, Default)]
pub(super) struct Reserve {
    looked: Option<Monotonic>,
    on: bool,
}

impl Reserve {
    /// Whether only emergencies may be recorded.
    pub(super) const fn is_on(&self) -> bool {
        self.on
    }

    /// Looks at the disk, if some time has passed since the last look. What there is to say when the mode has changed.
    pub(super) fn look(&mut self, now: Monotonic, journal: &dyn Journal) -> Option<String> {
        if self.looked.is_some_and(|looked| now.since(looked) < limits::ROOM_CHECK) {
            return None;
        }
        self.looked = Some(now);
        // Where the room is not known, the mode stays as it is.
        let room = journal.room()?;
        let part = journal.device_bytes().map_or(u64::MAX, |bytes| bytes / limits::DISK_RESERVE_PART);
        let reserve = limits::DISK_RESERVE_BYTES.min(part);
        let on = room < if self.on { reserve + reserve / 2 } else { reserve };
        if std::mem::replace(&mut self.on, on) == on {
            return None;
        }
        let mib = room >> 20;
        Some(if on {
            format!(
                "the disk is almost full ({mib} MiB left): only emergencies are put on record from now on"
            )
        } else {
            format!("there is room on the disk again ({mib} MiB): everything is put on record from now on")
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use grace_store::memory::{Disk, MemoryJournal};

    use super::*;

    #[test]
    fn the_mode_is_told_when_it_begins_and_ends_and_does_not_go_to_and_fro() {
        let disk = Disk::new();
        let journal = MemoryJournal::open(&disk).unwrap();
        let (mut reserve, mut now) = (Reserve::default(), Monotonic::ZERO);
        let mut look = |room: Option<u64>| {
            disk.set_room(room);
            now = now.plus(limits::ROOM_CHECK);
            let told = reserve.look(now, &journal);
            disk.set_room(room.map(|room| u64::MAX - room));
            assert_eq!(reserve.look(now.plus(Duration::from_millis(1)), &journal), None, "too soon");
            (reserve.is_on(), told)
        };
        let all = limits::DISK_RESERVE_BYTES;
        assert_eq!(look(None), (false, None));
        assert_eq!(look(Some(all)), (false, None));
        let (on, told) = look(Some(all - 1));
        assert!(on && told.is_some_and(|told| told.contains("63 MiB left")));
        assert_eq!(look(Some(0)), (true, None));
        assert_eq!(look(None), (true, None), "what is not known changes nothing");
        assert_eq!(look(Some(all + all / 2 - 1)), (true, None));
        let (on, told) = look(Some(all + all / 2));
        assert!(!on && told.is_some_and(|told| told.contains("room on the disk again")));
        assert_eq!(look(Some(all)), (false, None));
    }
}
