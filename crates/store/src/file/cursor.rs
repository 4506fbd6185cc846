//! Reading a journal's segments from front to end, each record checked against the chain.

use std::{
    fs::File,
    io,
    ops::ControlFlow,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use grace_types::evidence::JournalId;

use super::{
    meta::Meta,
    place::{self, SEGMENT, failed},
    segment::{self, BATCH_HEADER, BatchHeader, HEADER, Header, RECORD_HEADER},
};
use crate::{Record, Seq, StoreError, chain::Head, limits};

/// Between two records.
#[derive(Debug)]
pub(super) struct Cursor {
    folder: PathBuf,
    journal: JournalId,
    /// The last record that was passed.
    pub(super) at: Head,
    /// Where it was before that one, if that is known.
    before: Option<Before>,
    segment: Option<Open>,
    window: Window,
}

/// Where a cursor was one record before, in the same batch.
#[derive(Debug, Clone, Copy)]
struct Before {
    at: Head,
    /// What the record takes.
    bytes: u64,
}

/// A segment that has been begun, and the place in it.
#[derive(Debug)]
struct Open {
    file: File,
    header: Header,
    /// Where the next byte lies.
    offset: u64,
    /// Records of the batch that have not been passed, and their bytes.
    records: u32,
    bytes: u64,
}

/// Where a batch that is appended goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct End {
    pub(super) head: Head,
    /// The segment and the first byte behind its last batch; `None` when no segment has been begun.
    pub(super) segment: Option<(Header, u64)>,
}

impl Cursor {
    /// Before the record `from`, by way of its segment's first.
    pub(super) fn before(folder: &Path, meta: Meta, from: Seq) -> Result<Self, StoreError> {
        let base = meta.base.seq;
        if from <= base {
            return Err(range(from, format!("records up to {} have been truncated", base.0)));
        }
        let io = |e: io::Error| failed(folder, &e);
        let mut number = None;
        for found in place::numbered(folder, SEGMENT).map_err(io)?.into_iter().rev() {
            if let Some((_, header)) = segment::open(folder, meta.id, found).map_err(io)?
                && header.before.seq < from
            {
                number = Some(found);
                break;
            }
        }
        let mut cursor = Self::at_segment(folder, meta, number)?;
        // What lies before the first record that is kept is passed over, and so are those up to the one that is asked for.
        while cursor.at.seq.0 + 1 < from.0 {
            if cursor.next()?.is_none() {
                return Err(cursor.missing());
            }
        }
        if cursor.at.seq == base && cursor.at != meta.base {
            return Err(record_corrupt(
                folder,
                base,
                "it is not the one up to which records were truncated".to_owned(),
            ));
        }
        Ok(cursor)
    }

    /// Before the first record of a segment; of the journal, when there is none.
    pub(super) fn at_segment(folder: &Path, meta: Meta, number: Option<u64>) -> Result<Self, StoreError> {
        let mut cursor = Self {
            folder: folder.to_owned(),
            journal: meta.id,
            at: meta.base,
            before: None,
            segment: None,
            window: Window::default(),
        };
        if let Some(number) = number {
            let opened = segment::open(folder, meta.id, number).map_err(|e| failed(folder, &e))?;
            if let Some((file, header)) = opened {
                cursor.at = header.before;
                cursor.segment = Some(Open::new(file, header));
            }
        }
        Ok(cursor)
    }

    /// Visits the records up to `last`, which must be there, until the visitor breaks.
    pub(super) fn walk(
        &mut self,
        last: Seq,
        visit: &mut dyn FnMut(Record<'_>) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        while self.at.seq < last {
            match self.next()? {
                Some(record) if visit(record).is_break() => break,
                Some(_) => {}
                None => return Err(self.missing()),
            }
        }
        Ok(())
    }

    /// The next record should be there.
    fn missing(&self) -> StoreError {
        record_corrupt(
            &self.folder,
            Seq(self.at.seq.0 + 1),
            "it is missing, or its batch's header is damaged".to_owned(),
        )
    }

    /// Goes on where it stands, but with nothing remembered of what lies there: a writer may have written since.
    pub(super) fn refresh(&mut self) {
        self.window.clear();
    }

    /// Whether the next record is `from`. Goes back before the one that was passed last, if need be: a visitor that had no room for it wants it
    /// next, and by way of [`Cursor::before`] all of the segment up to it would be checked once more.
    pub(super) fn stands_before(&mut self, from: Seq) -> bool {
        if self.at.seq == from
            && let Some((open, Before { at, bytes })) = self.segment.as_mut().zip(self.before.take())
        {
            open.offset -= bytes;
            open.bytes += bytes;
            open.records += 1;
            self.at = at;
        }
        self.at.seq.0 + 1 == from.0
    }

    /// Passes the next record; `None` where no batch follows.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when a record of a batch that was begun does not match.
    pub(super) fn next(&mut self) -> Result<Option<Record<'_>>, StoreError> {
        if !self.in_batch() && !self.enter()? {
            return Ok(None);
        }
        let seq = Seq(self.at.seq.0 + 1);
        let Some(open) = &mut self.segment else { return Ok(None) };
        let corrupt = |detail: &str| record_corrupt(&self.folder, seq, detail.to_owned());
        let io = |e: io::Error| failed(&self.folder, &e);
        let header = self.window.get(&open.file, open.offset, RECORD_HEADER).map_err(io)?;
        let (digest, length) = header
            .and_then(segment::record_header)
            .ok_or_else(|| corrupt("the file ends, or its length is damaged"))?;
        let taken = (RECORD_HEADER + length) as u64;
        if taken > open.bytes || (open.records == 1) != (taken == open.bytes) {
            return Err(corrupt("its length does not fit into its batch"));
        }
        let payload = self.window.get(&open.file, open.offset + RECORD_HEADER as u64, length).map_err(io)?;
        let payload = payload.ok_or_else(|| corrupt("the file ends within it"))?;
        let then = self.at.then(payload);
        if then.digest != digest {
            return Err(corrupt("its digest does not match"));
        }
        self.before = Some(Before { at: self.at, bytes: taken });
        self.at = then;
        open.offset += taken;
        open.bytes -= taken;
        open.records -= 1;
        Ok(Some(Record { seq, payload }))
    }

    pub(super) fn in_batch(&self) -> bool {
        self.segment.as_ref().is_some_and(|open| open.records > 0)
    }

    /// Enters the batch that follows, here or in the next segment; false where there is none.
    fn enter(&mut self) -> Result<bool, StoreError> {
        let io = |e: io::Error| failed(&self.folder, &e);
        loop {
            if let Some(open) = &mut self.segment {
                let header = self.window.get(&open.file, open.offset, BATCH_HEADER).map_err(io)?;
                if let Some(header) = header.and_then(|bytes| BatchHeader::decode(bytes, self.at)) {
                    self.before = None;
                    open.offset += BATCH_HEADER as u64;
                    (open.records, open.bytes) = (header.records, header.bytes);
                    return Ok(true);
                }
            }
            let number = match &self.segment {
                Some(open) => open.header.number + 1,
                None => place::numbered(&self.folder, SEGMENT).map_err(io)?.first().copied().unwrap_or(1),
            };
            match segment::open(&self.folder, self.journal, number).map_err(io)? {
                Some((file, header)) if header.before == self.at => {
                    self.window.clear();
                    self.before = None;
                    self.segment = Some(Open::new(file, header));
                }
                _ => return Ok(false),
            }
        }
    }

    /// Passes the next batch if all of it is there and as it was written, and otherwise stays where it is.
    pub(super) fn whole_batch(&mut self) -> Result<bool, StoreError> {
        let entered = self.enter()?;
        let Some(open) = &mut self.segment else { return Ok(false) };
        if !entered {
            return Ok(false);
        }
        let (start, before, records) = (open.offset - BATCH_HEADER as u64, self.at, open.records);
        for _ in 0..records {
            match self.next() {
                Ok(_) => {}
                Err(StoreError::Corrupt { .. }) => {
                    (self.at, self.before) = (before, None);
                    if let Some(open) = &mut self.segment {
                        (open.offset, open.records, open.bytes) = (start, 0, 0);
                    }
                    return Ok(false);
                }
                Err(e) => return Err(e),
            }
        }
        Ok(true)
    }

    /// Where it stands, which must be behind a batch.
    pub(super) fn end(&self) -> End {
        End { head: self.at, segment: self.segment.as_ref().map(|open| (open.header, open.offset)) }
    }
}

impl Open {
    fn new(file: File, header: Header) -> Self {
        Self { file, header, offset: HEADER as u64, records: 0, bytes: 0 }
    }
}

/// A part of a file, read in large pieces.
#[derive(Debug, Default)]
struct Window {
    start: u64,
    bytes: Vec<u8>,
    /// How much was read last: the longer one reads on, the more.
    piece: usize,
}

impl Window {
    fn clear(&mut self) {
        self.bytes.clear();
        self.piece = 0;
    }

    /// These bytes of the file; `None` when it ends before them.
    fn get(&mut self, file: &File, offset: u64, length: usize) -> io::Result<Option<&[u8]>> {
        let within = offset.checked_sub(self.start).and_then(|at| usize::try_from(at).ok());
        let held = within.filter(|at| self.bytes.len().checked_sub(*at).is_some_and(|held| held >= length));
        let at = match held {
            Some(at) => at,
            None => {
                self.piece =
                    (self.piece * 2).clamp(limits::READER_PIECE_BYTES.0, limits::READER_PIECE_BYTES.1);
                self.bytes.resize(length.max(self.piece), 0);
                self.start = offset;
                let mut filled = 0;
                while filled < self.bytes.len() {
                    match file.read_at(&mut self.bytes[filled..], offset + filled as u64) {
                        Ok(0) => break,
                        Ok(read) => filled += read,
                        Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                        Err(e) => {
                            self.clear();
                            return Err(e);
                        }
                    }
                }
                self.bytes.truncate(filled);
                if filled < length {
                    return Ok(None);
                }
                0
            }
        };
        Ok(Some(&self.bytes[at..at + length]))
    }
}

pub(super) fn record_corrupt(journal: &Path, seq: Seq, detail: String) -> StoreError {
    StoreError::Corrupt { what: format!("record {} of {}", seq.0, journal.display()), detail }
}

pub(super) fn range(seq: Seq, detail: String) -> StoreError {
    StoreError::Range { seq, detail }
}
