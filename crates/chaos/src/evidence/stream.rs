//! A file of JSON lines, up to a bound.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufWriter, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use serde::Serialize;

use super::limits;

/// One stream. A line is in the system's hands once [`Stream::line`] returns, so that a runner that is killed loses none.
#[derive(Debug)]
pub(super) struct Stream {
    file: BufWriter<File>,
    bytes: u64,
    left_out: u64,
}

impl Stream {
    pub(super) fn create(folder: &Path, name: &str) -> io::Result<Self> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(folder.join(name))?;
        Ok(Self { file: BufWriter::new(file), bytes: 0, left_out: 0 })
    }

    pub(super) fn line(&mut self, line: &impl Serialize) -> io::Result<()> {
        let mut bytes = serde_json::to_vec(line)?;
        bytes.push(b'\n');
        if self.bytes + bytes.len() as u64 > limits::STREAM_BYTES {
            self.left_out += 1;
            return Ok(());
        }
        self.bytes += bytes.len() as u64;
        self.file.write_all(&bytes)?;
        self.file.flush()
    }

    /// Says what is wrong with it. The bundle makes it durable.
    pub(super) fn close(&mut self, name: &str) -> Option<String> {
        if let Err(e) = self.file.flush() {
            return Some(format!("{name} could not be written: {e}"));
        }
        let bound = limits::STREAM_BYTES >> 20;
        (self.left_out > 0)
            .then(|| format!("{name} is full at {bound} MiB: {} lines were left out", self.left_out))
    }
}
