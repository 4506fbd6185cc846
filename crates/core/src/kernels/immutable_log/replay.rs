//! The pending frames at a start: what was sealed past the public files goes on where they end.
//!
//! A last frame that is not whole was never acknowledged, and is cut. One that is not whole with an acknowledged one after it, or before
//! what is known to be sealed, is damage and is refused.

use std::io;

use grace_log::{append::Appender, checkpoint::Trust, tile::Entries};

use super::{
    PENDING,
    cursors::Cursors,
    disk::{Disk, InPlace, parent},
    frame::{ALIGN, HEADER, Head, is_header},
    known::Point,
    open::{OpenError, advance},
    pending::Segment,
};

/// Reads the frames.
pub(super) struct Replay<'a> {
    pub(super) disk: &'a dyn Disk,
    /// Called now and then, as a sign that it goes on.
    pub(super) step: &'a dyn Fn(),
    /// Whose signatures count.
    pub(super) trust: &'a Trust,
    /// What is known to be acknowledged.
    pub(super) sealed: Point,
}

/// The log with its pending frames.
pub(super) struct Replayed {
    pub(super) appender: Appender,
    pub(super) cursors: Cursors,
    /// Bytes of the entries that came from the frames.
    pub(super) bytes: usize,
}

impl Replay<'_> {
    fn segment(&self, at: usize) -> Result<Segment, OpenError> {
        Ok(Segment { file: self.disk.open(&segment_path(at))?, end: 0, holds_to: 0 })
    }

    /// Appends what the pending frames hold past `edge`, the end of the public files.
    ///
    /// # Errors
    /// See [`OpenError`]; nothing was changed.
    pub(super) fn run(
        &self,
        edge: &Appender,
        cursors: &Cursors,
    ) -> Result<(Replayed, [Segment; 2]), OpenError> {
        let (mut segments, sealed) = ([self.segment(0)?, self.segment(1)?], self.sealed);
        let mut frames = Vec::new();
        for (at, segment) in segments.iter_mut().enumerate() {
            let found = walk(&*segment.file)?;
            segment.end = found.last().map_or(0, Head::next);
            segment.holds_to = found.last().map_or(0, Head::end);
            frames.extend(found.into_iter().map(|head| (at, head)));
        }
        let mut torn = None;
        let replayed = loop {
            match self.frames(edge, cursors.clone(), &frames, &segments)? {
                Ok(done) => break done,
                Err(broken) => {
                    let (at, head) = frames.remove(broken);
                    segments[at].end = head.offset;
                    segments[at].holds_to = head.base;
                    torn = Some((at, head.offset));
                }
            }
        };
        let size = replayed.appender.size();
        for (at, segment) in segments.iter().enumerate() {
            let cut = torn.and_then(|(in_segment, offset)| (in_segment == at).then_some(offset));
            if let Some(later) = self.later_frame(&*segment.file, size, cut)? {
                let here = (later.offset > segment.end).then_some((at, segment.end));
                let (segment, offset) = torn.or(here).unwrap_or((at, segment.end));
                return Err(OpenError::Frame { segment, offset, base: size });
            }
        }
        if size < sealed.size {
            return Err(match torn {
                Some((segment, offset)) => OpenError::Frame { segment, offset, base: size },
                None => OpenError::Lost { found: size, known: sealed.size },
            });
        }
        if let Some((at, offset)) = torn {
            segments[at].cut(offset)?;
        }
        for (at, segment) in segments.iter_mut().enumerate() {
            segment.prepare()?;
            self.disk.sync(parent(&segment_path(at)))?;
        }
        Ok((replayed, segments))
    }

    /// The log with every frame that goes on where it ends; or the place among `frames` of one that is not whole.
    fn frames(
        &self,
        edge: &Appender,
        mut cursors: Cursors,
        frames: &[(usize, Head)],
        segments: &[Segment; 2],
    ) -> Result<Result<Replayed, usize>, OpenError> {
        let (mut appender, mut bytes) = (edge.clone(), 0);
        while let Some(at) =
            frames.iter().position(|(_, head)| head.base == appender.size() && head.entries > 0)
        {
            (self.step)();
            let (segment, head) = &frames[at];
            let body = head.body(&*segments[*segment].file)?;
            bytes += body.len();
            let mut entries = Entries::of(&body);
            let mut sound = true;
            for entry in entries.by_ref() {
                appender.append(entry).map_err(OpenError::Pending)?;
                sound &= advance(&mut cursors, entry).is_ok();
            }
            let Ok(opened) = self.trust.open(&head.note) else { return Ok(Err(at)) };
            let now = Point { size: appender.size(), root: appender.root() };
            if !sound || !entries.rest().is_empty() || now != Point::of(&opened.checkpoint) {
                return Ok(Err(at));
            }
            if now.size == self.sealed.size && now.root != self.sealed.root {
                let (found, known) = (now.root.to_string(), self.sealed.root.to_string());
                return Err(OpenError::Fork { size: now.size, found, known });
            }
        }
        Ok(Ok(Replayed { appender, cursors, bytes }))
    }

    /// A frame anywhere in the segment that the log's key signed for more entries than there are: what lies before it was
    /// acknowledged, and is damaged. The frame at `cut` is not whole and does not count.
    fn later_frame(&self, file: &dyn InPlace, size: u64, cut: Option<u64>) -> io::Result<Option<Head>> {
        const STEP: usize = 64 << 10;
        let (length, mut bytes, mut at) = (file.length()?, vec![0; STEP], 0);
        while at < length {
            let read = file.read_at(at, &mut bytes)?;
            for (place, head) in bytes[..read].chunks_exact(HEADER).enumerate() {
                let offset = at + place as u64 * ALIGN;
                if !is_header(head) || cut == Some(offset) {
                    continue;
                }
                let Some(head) = Head::read(file, offset)? else { continue };
                let later = head.base >= size && head.end() > size;
                if later && self.trust.open(&head.note).is_ok_and(|note| note.checkpoint.size == head.end()) {
                    return Ok(Some(head));
                }
            }
            at += STEP as u64;
        }
        Ok(None)
    }
}

fn segment_path(at: usize) -> String {
    format!("{PENDING}/{at}")
}

/// The frames of a segment's last turn, in order.
fn walk(file: &dyn InPlace) -> io::Result<Vec<Head>> {
    let mut found: Vec<Head> = Vec::new();
    loop {
        let (offset, base) = found.last().map_or((0, None), |last| (last.next(), Some(last.end())));
        match Head::read(file, offset)? {
            Some(head) if base.is_none_or(|base| base == head.base) => found.push(head),
            _ => return Ok(found),
        }
    }
}
