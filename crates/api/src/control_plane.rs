//! What the control plane says of everything, asked over its own socket: it works with the bus and every kernel dead.
//!
//! However many ask here, it is asked once in [`limits::STATUS_FRESH`]; that it does not answer is remembered as long.

use std::{io, path::PathBuf, sync::Arc};

use grace_core::{
    control::{Answer, Request},
    status::Status,
};
use grace_types::time::{Clock, Monotonic};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::UnixStream,
    sync::Mutex,
    time::timeout,
};

use crate::limits;

/// The status, or why there is none.
pub type Asked = Result<Arc<Status>, Arc<str>>;

/// See the module's page.
pub struct ControlPlane {
    socket: PathBuf,
    clock: Arc<dyn Clock>,
    last: Mutex<Option<(Monotonic, Asked)>>,
}

impl ControlPlane {
    /// The one that listens at `socket`.
    #[must_use]
    pub fn at(socket: PathBuf, clock: Arc<dyn Clock>) -> Self {
        Self { socket, clock, last: Mutex::new(None) }
    }

    /// The status, not older than [`limits::STATUS_FRESH`].
    ///
    /// # Errors
    /// Why it is not known, in one sentence.
    pub async fn status(&self) -> Asked {
        // Held while it is asked: who comes meanwhile gets the same answer.
        let mut last = self.last.lock().await;
        let now = self.clock.now().mono;
        if let Some((when, asked)) = &*last
            && now.since(*when) < limits::STATUS_FRESH
        {
            return asked.clone();
        }
        let asked = match timeout(limits::STATUS_TIME, self.ask()).await {
            Ok(Ok(status)) => Ok(Arc::new(status)),
            Ok(Err(e)) => Err(format!("the control plane cannot be reached: {e}").into()),
            Err(_) => {
                Err(format!("the control plane did not answer within {:?}", limits::STATUS_TIME).into())
            }
        };
        *last = Some((self.clock.now().mono, asked.clone()));
        asked
    }

    async fn ask(&self) -> io::Result<Status> {
        let mut stream = UnixStream::connect(&self.socket).await?;
        let line = serde_json::to_string(&Request::Status)? + "\n";
        stream.write_all(line.as_bytes()).await?;
        let mut line = String::new();
        BufReader::new(stream.take(limits::STATUS_BYTES)).read_line(&mut line).await?;
        match serde_json::from_str(&line)? {
            Answer::Status(status) => Ok(*status),
            Answer::Refused { message, .. } => Err(io::Error::other(message)),
            Answer::Done { message } => {
                Err(io::Error::other(format!("an answer to something else: {message}")))
            }
        }
    }
}
