//! A Unix socket of which each direction is waited for by itself, and room for output only where there was none.
//!
//! Whoever reads from a Unix socket makes its peer's end writable, and the system says so each time to a peer that watches for it. tokio
//! watches both directions of every socket, so the end that had sent woke up once more for all that it sent, with nothing to do.

use std::{
    future::poll_fn,
    io::{self, Write as _},
    os::{fd::AsRawFd, unix::net::UnixStream as StdUnixStream},
    sync::Arc,
    task::{Context, Poll, ready},
};

use rustix::buffer::spare_capacity;
use tokio::{
    io::{Interest, unix::AsyncFd},
    net::UnixStream,
};

/// Both directions of a connected socket.
pub(crate) fn split(stream: UnixStream) -> io::Result<(UnixReader, UnixWriter)> {
    // It does not block, and stays so.
    let stream = Arc::new(stream.into_std()?);
    let reader = watch(Arc::clone(&stream), Interest::READABLE)?;
    Ok((UnixReader(reader), UnixWriter { stream, room: None }))
}

#[expect(unsafe_code, reason = "tokio cannot know that the descriptor stays open while it is watched")]
fn watch<S: AsRawFd>(socket: S, interest: Interest) -> io::Result<AsyncFd<S>> {
    // SAFETY: the socket owns its descriptor, lives as long as what is returned, and is never replaced in it.
    Ok(unsafe { AsyncFd::register_with_interest(socket, interest)? })
}

/// What comes in.
pub(crate) struct UnixReader(AsyncFd<Arc<StdUnixStream>>);

impl UnixReader {
    /// Reads what there is into `buffer`; 0 at the end of the stream.
    pub(crate) fn poll_read(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.poll(cx, buffer.len(), |socket| rustix::io::read(socket, &mut *buffer))
    }

    /// Reads what there is to the end of `bytes`, as much as they have memory for; 0 at the end of the stream.
    pub(crate) async fn read_buf(&self, bytes: &mut Vec<u8>) -> io::Result<usize> {
        let room = bytes.capacity() - bytes.len();
        poll_fn(|cx| self.poll(cx, room, |socket| rustix::io::read(socket, spare_capacity(bytes)))).await
    }

    fn poll(
        &self,
        cx: &mut Context<'_>,
        room: usize,
        mut read: impl FnMut(&StdUnixStream) -> rustix::io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut there = ready!(self.0.poll_read_ready(cx))?;
            match there.try_io(|socket| Ok(read(socket.get_ref())?)) {
                Ok(Err(e)) if e.kind() == io::ErrorKind::Interrupted => {}
                Ok(done) => {
                    // There is no more: what comes from now on is told anew.
                    if done.as_ref().is_ok_and(|count| *count < room) {
                        there.clear_ready();
                    }
                    return Poll::Ready(done);
                }
                Err(_would_block) => {}
            }
        }
    }
}

/// What goes out.
pub(crate) struct UnixWriter {
    stream: Arc<StdUnixStream>,
    /// While there is none: watches for it, under a descriptor of its own.
    room: Option<AsyncFd<StdUnixStream>>,
}

impl UnixWriter {
    pub(crate) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        (&*self.stream).write(bytes)
    }

    /// Ready when there is room. To be called when a write found none.
    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.room.is_none() {
            self.room = Some(watch(self.stream.try_clone()?, Interest::WRITABLE)?);
        }
        if let Some(room) = &self.room {
            drop(ready!(room.poll_write_ready(cx))?);
        }
        self.room = None;
        Poll::Ready(Ok(()))
    }

    pub(crate) async fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.try_write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => bytes = &bytes[written..],
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    poll_fn(|cx| self.poll_ready(cx)).await?;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn more_than_a_socket_holds_arrives_whole() {
        let (one, other) = UnixStream::pair().unwrap();
        let (reader, _kept) = split(one).unwrap();
        let (_also_kept, mut writer) = split(other).unwrap();
        let sent: Vec<u8> = (0..8 << 20).map(|n: u32| (n % 251) as u8).collect();
        let expected = sent.clone();
        let writing = tokio::spawn(async move { writer.write_all(&sent).await });
        let (mut got, mut buffer) = (Vec::new(), vec![0; 5000]);
        while got.len() < expected.len() {
            // Both ways to read, in turn.
            got.reserve(3000);
            assert!(reader.read_buf(&mut got).await.unwrap() > 0);
            if got.len() < expected.len() {
                let count = poll_fn(|cx| reader.poll_read(cx, &mut buffer)).await.unwrap();
                got.extend_from_slice(&buffer[..count]);
            }
        }
        writing.await.unwrap().unwrap();
        assert!(got == expected);
    }

    #[tokio::test]
    async fn the_end_is_seen_and_a_reader_that_is_gone_is_an_error() {
        let (one, other) = UnixStream::pair().unwrap();
        let (reader, writer) = split(one).unwrap();
        drop(other);
        assert_eq!(reader.read_buf(&mut Vec::with_capacity(10)).await.unwrap(), 0);
        assert_eq!(writer.try_write(b"x").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
