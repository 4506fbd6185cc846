//! Waiting for a descriptor of any kind to become readable, on tokio.

use std::{io, os::fd::OwnedFd};

use tokio::io::{Interest, unix::AsyncFd};

/// A descriptor that the runtime watches. It must be pollable (a pidfd, a socket); its mode is not changed.
#[derive(Debug)]
pub(crate) struct Readable(AsyncFd<OwnedFd>);

impl Readable {
    /// Begins to watch the descriptor.
    ///
    /// # Errors
    /// It cannot be polled.
    #[expect(unsafe_code, reason = "tokio cannot know that the descriptor stays open while it is watched")]
    pub(crate) fn new(fd: OwnedFd) -> io::Result<Self> {
        // SAFETY: `AsyncFd` owns the `OwnedFd` and deregisters it before it closes it, and nobody else can close it.
        unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }.map(Self).map_err(Into::into)
    }

    /// Waits until something new can be read. Whoever is woken reads until nothing is left: what was there before is not
    /// reported again.
    ///
    /// # Errors
    /// The runtime is shutting down.
    pub(crate) async fn woken(&self) -> io::Result<()> {
        self.0.readable().await?.clear_ready();
        Ok(())
    }

    /// Waits until `take` finds something; `None` means that it was woken for nothing.
    ///
    /// # Errors
    /// What `take` returns, or the runtime is shutting down.
    pub(crate) async fn when<T>(
        &self,
        mut take: impl FnMut(&OwnedFd) -> io::Result<Option<T>>,
    ) -> io::Result<T> {
        loop {
            self.woken().await?;
            if let Some(found) = take(self.0.get_ref())? {
                return Ok(found);
            }
        }
    }
}
