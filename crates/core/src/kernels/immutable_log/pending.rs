//! The pending file: where a batch is made durable with one sync, before the public files have it.
//!
//! Two segments take turns. Frames are appended to one; once everything in a segment is published it may be begun anew, from its
//! first byte. What a former turn left behind in it is told from new frames by the sizes that the frames name, since a log
//! only grows. A frame that could not be written is written again at the same place.

use std::io;

use super::{
    disk::InPlace,
    frame::{self, Frame, HEADER},
    limits::SEGMENT_BYTES,
};

/// One of the two files.
pub(super) struct Segment {
    /// The file.
    pub(super) file: Box<dyn InPlace>,
    /// Where the next frame goes.
    pub(super) end: u64,
    /// The size of the tree with its last frame.
    pub(super) holds_to: u64,
}

impl Segment {
    /// A segment without frames. Where the file is short it is filled with zeros, so that its blocks are there; a disk without room
    /// for that is left to the first frame to find.
    pub(super) fn prepare(&mut self) -> io::Result<()> {
        const ZEROS: [u8; 4 << 10] = [0; 4 << 10];
        let mut at = self.file.length()?;
        if at >= SEGMENT_BYTES {
            return Ok(());
        }
        while at < SEGMENT_BYTES && self.file.write_at(at, &ZEROS).is_ok() {
            at += ZEROS.len() as u64;
        }
        // Its bytes mean nothing yet.
        let _ = self.file.sync();
        Ok(())
    }

    /// Takes the frame at `offset` out, durably: it was never acknowledged.
    pub(super) fn cut(&mut self, offset: u64) -> io::Result<()> {
        self.end = offset;
        if self.file.length()? > offset {
            self.file.write_at(offset, &[0; HEADER])?;
        }
        self.file.sync()
    }
}

/// Both segments.
pub(super) struct Pending {
    segments: [Segment; 2],
    current: usize,
    /// Whether the last frame failed: the next one is the same again, at the same place.
    failed: bool,
}

impl Pending {
    /// Goes on with the segments as a start found them.
    pub(super) fn new(segments: [Segment; 2]) -> Self {
        let current = usize::from(segments[1].holds_to > segments[0].holds_to);
        Self { segments, current, failed: false }
    }

    /// Makes a frame durable. `published` is what the public files have by now. After an error the same frame is to be given
    /// again.
    ///
    /// # Errors
    /// The frame may or may not be there.
    pub(super) fn write(&mut self, frame: &Frame, published: u64) -> io::Result<()> {
        if !self.failed {
            self.choose(frame.bytes.len(), published);
        }
        self.failed = true;
        let segment = &mut self.segments[self.current];
        segment.file.write_at(segment.end, &frame.bytes)?;
        segment.file.sync()?;
        self.failed = false;
        segment.end = frame::after(segment.end, frame.bytes.len());
        segment.holds_to = frame.checkpoint.size;
        Ok(())
    }

    /// Begins a segment anew when the current one is full and one of them is published.
    fn choose(&mut self, length: usize, published: u64) {
        if self.segments[self.current].end + length as u64 <= SEGMENT_BYTES {
            return;
        }
        let free = |at: usize| self.segments[at].holds_to <= published;
        let other = 1 - self.current;
        if let Some(next) = [self.current, other].into_iter().find(|at| free(*at)) {
            self.current = next;
            self.segments[next].end = 0;
        }
    }
}
