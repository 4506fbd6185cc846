//! The control socket: one request a connection, answered by the loop that orders everything.

use std::{os::unix::net::UnixListener as StdListener, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{
        UnixListener, UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{Semaphore, mpsc, oneshot, watch},
};

use super::Happening;
use crate::{
    control::{Answer, Request},
    limits,
    status::Status,
};

/// What every watcher of the status sees; `None` until the first report.
pub(super) type StatusSender = watch::Sender<Option<Arc<Status>>>;

/// Serves the control socket until the process ends.
///
/// # Errors
/// The socket cannot be used at all.
pub(super) fn serve(
    listener: StdListener,
    happenings: mpsc::Sender<Happening>,
    status: Arc<StatusSender>,
) -> std::io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = UnixListener::from_std(listener)?;
    let free = Arc::new(Semaphore::new(limits::CONTROL_CONNECTIONS));
    tokio::task::spawn_local(async move {
        while let Ok(permit) = Arc::clone(&free).acquire_owned().await {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let (happenings, status) = (happenings.clone(), Arc::clone(&status));
                    tokio::task::spawn_local(async move {
                        // A client that goes away has its answer or does not want it.
                        let _ = converse(stream, happenings, &status).await;
                        drop(permit);
                    });
                }
                Err(_) => out_of_descriptors().await,
            }
        }
    });
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "nothing tells when a descriptor is free again")]
async fn out_of_descriptors() {
    tokio::time::sleep(Duration::from_millis(50)).await;
}

async fn converse(
    stream: UnixStream,
    happenings: mpsc::Sender<Happening>,
    status: &StatusSender,
) -> std::io::Result<()> {
    let peer = stream.peer_cred()?;
    let own = rustix::process::geteuid().as_raw();
    let (read, mut write) = stream.into_split();
    if peer.uid() != own && peer.uid() != 0 {
        let refused =
            refuse("forbidden", "this socket is for its owner only", "run grace as the user that started it");
        return say(&mut write, &refused).await;
    }
    let mut read = BufReader::new(read.take(limits::CONTROL_REQUEST_BYTES));
    let mut line = String::new();
    match tokio::time::timeout(limits::CONTROL_REQUEST_TIME, read.read_line(&mut line)).await {
        Ok(result) => result?,
        Err(_) => return Ok(()),
    };
    let request = match serde_json::from_str::<Request>(&line) {
        Ok(request) => request,
        Err(error) => {
            let detail = format!("this is not a request: {error}");
            return say(&mut write, &refuse("bad_request", &detail, "use the grace of this version")).await;
        }
    };
    match request {
        Request::Watch => watch(read.into_inner().into_inner(), write, status).await,
        request => {
            let (reply, answer) = oneshot::channel();
            if happenings.send(Happening::Asked { request, reply }).await.is_err() {
                return Ok(());
            }
            match answer.await {
                Ok(answer) => say(&mut write, &answer).await,
                Err(_) => Ok(()),
            }
        }
    }
}

/// Sends the status now and after each change. Changes that come faster than the client reads are skipped over: each
/// line is the whole state.
async fn watch(
    mut read: OwnedReadHalf,
    mut write: OwnedWriteHalf,
    status: &StatusSender,
) -> std::io::Result<()> {
    let mut updates = status.subscribe();
    updates.mark_changed();
    let mut byte = [0];
    loop {
        tokio::select! {
            changed = updates.changed() => {
                if changed.is_err() {
                    return Ok(());
                }
                let now = updates.borrow_and_update().clone();
                if let Some(now) = now {
                    say(&mut write, &Answer::Status(Box::new(Status::clone(&now)))).await?;
                }
            }
            closed = read.read(&mut byte) => {
                if closed? == 0 {
                    return Ok(());
                }
            }
        }
    }
}

async fn say(write: &mut OwnedWriteHalf, answer: &Answer) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(answer)?;
    line.push(b'\n');
    // One that is stopped and does not read must not keep its place from others for ever. It can connect again.
    let written = tokio::time::timeout(limits::CONTROL_ANSWER_TIME, write.write_all(&line)).await;
    written.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
}

/// An answer that says no.
pub(super) fn refuse(code: &str, message: &str, help: &str) -> Answer {
    Answer::Refused { code: code.to_owned(), message: message.to_owned(), help: help.to_owned() }
}
