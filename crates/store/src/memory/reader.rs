//! The twin's reader: what has been synced, and nothing else.

use std::ops::ControlFlow;

use grace_types::evidence::JournalId;

use super::{Disk, PATH, corrupt, io, log, log::Chained};
use crate::{JournalReader, Record, Seq, StoreError};

/// A reader of the journal on a [`Disk`]. It answers again when the disk's power is back.
#[derive(Debug)]
pub struct MemoryReader {
    disk: Disk,
    id: JournalId,
    at: Option<Chained>,
}

impl MemoryReader {
    /// Opens the journal on `disk`.
    #[must_use]
    pub fn open(disk: &Disk) -> Self {
        let id = disk.lock().id;
        Self { disk: disk.clone(), id, at: None }
    }

    /// Visits every synced record with its digest, and returns where the log begins and the last synced record.
    fn scan(&mut self, visit: &mut dyn FnMut(Record<'_>, Chained)) -> Result<(Chained, Chained), StoreError> {
        let platter = self.disk.lock();
        if platter.off {
            return Err(io("the power is off"));
        }
        if platter.id != self.id {
            let was = std::mem::replace(&mut self.id, platter.id);
            self.at = None;
            return Err(StoreError::Replaced { path: PATH.to_owned(), was, now: self.id });
        }
        let synced = &platter.log[..platter.synced_bytes.min(platter.log.len())];
        let scan = log::scan(synced, platter.base, &mut |record, digest| {
            visit(record, Chained { seq: record.seq, digest });
            ControlFlow::Continue(())
        })
        .map_err(|(seq, detail)| corrupt(format_args!("record {}", seq.0), detail))?;
        if scan.bytes < synced.len() {
            let what = format!("record {}", scan.head.seq.0 + 1);
            return Err(corrupt(what, "it does not check out".to_owned()));
        }
        Ok((platter.base, scan.head))
    }
}

impl JournalReader for MemoryReader {
    fn id(&self) -> JournalId {
        self.id
    }

    fn last(&mut self) -> Result<Seq, StoreError> {
        self.scan(&mut |_, _| {}).map(|(_, head)| head.seq)
    }

    fn read(
        &mut self,
        from: Seq,
        max_bytes: usize,
        visit: &mut dyn FnMut(Record<'_>) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let mut found: Vec<(Vec<u8>, Chained)> = Vec::new();
        let known = self.at;
        let mut changed = false;
        let (base, head) = self.scan(&mut |record, chained| {
            changed |= known.is_some_and(|known| known.seq == chained.seq && known.digest != chained.digest);
            if record.seq >= from {
                found.push((record.payload.to_vec(), chained));
            }
        })?;
        if from.0 <= base.seq.0 && base.seq > Seq(0) {
            let detail = format!("records up to {} have been truncated", base.seq.0);
            return Err(StoreError::Range { seq: from, detail });
        }
        if from.0 > head.seq.0 + 1 {
            return Err(StoreError::Range {
                seq: from,
                detail: format!("the journal ends at record {}", head.seq.0),
            });
        }
        if changed {
            let what = format!("record {}", known.map_or(0, |known| known.seq.0));
            return Err(corrupt(what, "it is not the one that was read before".to_owned()));
        }
        let mut taken = 0usize;
        for (payload, chained) in found {
            self.at = Some(chained);
            taken = taken.saturating_add(payload.len());
            if visit(Record { seq: chained.seq, payload: &payload }).is_break() || taken >= max_bytes {
                break;
            }
        }
        Ok(())
    }
}
