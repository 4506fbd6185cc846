//! What the log says when something is put to the vote: whether what would be done is sure to be on record.

use std::path::{Path, PathBuf};

use grace_kernel::{
    limits::{DISK_RESERVE_BYTES, DISK_RESERVE_PART},
    process::voter::View,
    vote::{Proposal, Vote},
};
use grace_log::{
    checkpoint::Checkpoint,
    limits::NOTE_BYTES,
    note::{Note, VerifierKey},
};
use grace_types::reason::Reason;

use super::{
    CHECKPOINT,
    disk::{Disk as _, real::RealDisk},
    limits::BATCHES_WAITING,
    writer::LogWriter,
};

/// What it looks at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// Entries in the public files.
    size: u64,
    /// Why the checkpoint there is not what the log's key signed last.
    unsound: Option<String>,
    /// What the publisher meets.
    publishing_fails: Option<String>,
    /// Batches of evidence that wait to be sealed.
    waiting: usize,
    /// Bytes that are free on the disk, and the bytes there are.
    room: Option<(u64, u64)>,
}

/// What it says of it.
#[must_use]
pub(super) fn say(seen: &Seen) -> (Vote, Vec<Reason>) {
    let Seen { size, unsound, publishing_fails, waiting, room } = seen;
    let no = |code: &str, text: String| (Vote::No, vec![Reason::new(code, text)]);
    if let Some(why) = unsound {
        return no("log.unsound", format!("the log's public files are not what it sealed: {why}"));
    }
    if let Some(why) = publishing_fails {
        return no("log.publishing", format!("the log cannot be published: {why}"));
    }
    if *waiting >= BATCHES_WAITING / 2 {
        return no("log.lag", format!("{waiting} batches of evidence wait to be sealed: the log lags"));
    }
    // Half as much again as what is kept: where kernels would begin again to put things on record.
    let reserve = |all: u64| DISK_RESERVE_BYTES.min(all / DISK_RESERVE_PART).saturating_mul(3) / 2;
    let (mib, room) = match room {
        Some((free, all)) if *free < reserve(*all) => {
            return no("log.reserve", format!("the disk is almost full: {} MiB are left", free >> 20));
        }
        Some((free, _)) => (free >> 20, true),
        None => (0, false),
    };
    let told = format!("its {size} entries are signed and published, and {waiting} batches wait");
    let mut reasons = vec![Reason::new("log.sound", told)];
    if room {
        reasons.push(Reason::new("log.room", format!("{mib} MiB are left on the disk")));
    }
    (Vote::Yes, reasons)
}

/// Looks at the writer and at the files.
pub(super) struct LogState {
    pub(super) writer: LogWriter,
    pub(super) data: PathBuf,
}

impl LogState {
    fn seen(writer: &LogWriter, data: &Path) -> Seen {
        let published = writer.published().borrow().clone();
        let (waiting, publishing_fails) = writer.waiting();
        let stat = rustix::fs::statvfs(data).ok();
        Seen {
            size: published.checkpoint.size,
            unsound: unsound(data, writer.key(), &published.checkpoint).err(),
            publishing_fails,
            waiting,
            room: stat.map(|stat| (stat.f_bavail * stat.f_frsize, stat.f_blocks * stat.f_frsize)),
        }
    }
}

/// Whether the checkpoint in the public files is signed by the log's key and does not fall behind or contradict the last that was sealed.
fn unsound(data: &Path, key: &VerifierKey, sealed: &Checkpoint) -> Result<(), String> {
    let bytes = RealDisk::at(data).read(CHECKPOINT, NOTE_BYTES).map_err(|e| e.to_string())?;
    let bytes = bytes.ok_or_else(|| format!("{CHECKPOINT} is missing"))?;
    let note = Note::parse(&bytes).map_err(|e| e.to_string())?;
    note.verify(std::slice::from_ref(key)).map_err(|e| e.to_string())?;
    let found = Checkpoint::parse(&note.text).map_err(|e| e.to_string())?;
    // It may have grown since.
    if found.size < sealed.size {
        return Err(format!("{CHECKPOINT} says {} entries, and {} were published", found.size, sealed.size));
    }
    if found.size == sealed.size && found.root != sealed.root {
        return Err(format!("{CHECKPOINT} has another root at {} entries", found.size));
    }
    Ok(())
}

impl View for LogState {
    async fn look(&mut self, _proposal: &Proposal) -> (Vote, Vec<Reason>) {
        let (writer, data) = (self.writer.clone(), self.data.clone());
        match tokio::task::spawn_blocking(move || Self::seen(&writer, &data)).await {
            Ok(seen) => say(&seen),
            Err(e) => {
                (Vote::No, vec![Reason::new("log.unknown", format!("the log cannot be looked at: {e}"))])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_for_what_is_sure_to_be_on_record() {
        let sound = Seen { size: 7, room: Some((8 << 30, 16 << 30)), ..Seen::default() };
        let (vote, reasons) = say(&sound);
        assert_eq!(vote, Vote::Yes);
        assert_eq!(reasons[0].text, "its 7 entries are signed and published, and 0 batches wait");
        let cases = [
            (Seen { unsound: Some("it is forged".into()), ..sound.clone() }, "log.unsound"),
            (Seen { publishing_fails: Some("no space".into()), ..sound.clone() }, "log.publishing"),
            (Seen { waiting: BATCHES_WAITING / 2, ..sound.clone() }, "log.lag"),
            (Seen { room: Some((90 << 20, 16 << 30)), ..sound.clone() }, "log.reserve"),
        ];
        for (seen, code) in cases {
            let (vote, reasons) = say(&seen);
            assert_eq!((vote, reasons[0].code.as_str()), (Vote::No, code), "{seen:?}");
        }
        // A small device keeps less.
        assert_eq!(say(&Seen { room: Some((20 << 20, 100 << 20)), ..sound }).0, Vote::Yes);
    }
}
