//! Where one Grace instance keeps its files.
//!
//! ```text
//! DATA/                     0700
//!   journals/NAME.db        one journal a component
//!   logs/NAME.log[.N]       captured output
//!   run/                    gone after a clean `grace down`
//!     lock                  held by the guardian; its text is the guardian's pid
//!     control.sock          the control plane's socket
//!     notify.sock           the life line
//!     bus.sock              the broker
//!     bus-auth.json         0600, the broker's users; passwords hashed
//!     manifest.json         0600, the validated manifest, for the kernels
//! ```
//!
//! A Unix socket's path holds at most 107 bytes. Where DATA is too deep for that, `run` is a symbolic link to a
//! short folder of this user's, so that no depth of DATA is refused.

use std::path::{Path, PathBuf};

/// The paths of one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    data: PathBuf,
}

impl Instance {
    /// The instance whose files lie in `data` (absolute).
    pub fn at(data: impl Into<PathBuf>) -> Self {
        Self { data: data.into() }
    }

    /// The data folder.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The folder of sockets and other files that live only as long as the instance runs.
    #[must_use]
    pub fn run(&self) -> PathBuf {
        self.data.join("run")
    }

    /// The control plane's socket.
    #[must_use]
    pub fn control_socket(&self) -> PathBuf {
        self.run().join("control.sock")
    }

    /// The life line: where processes send their sd_notify datagrams.
    #[must_use]
    pub fn notify_socket(&self) -> PathBuf {
        self.run().join("notify.sock")
    }

    /// The broker's Unix socket.
    #[must_use]
    pub fn bus_socket(&self) -> PathBuf {
        self.run().join("bus.sock")
    }

    /// The broker's users.
    #[must_use]
    pub fn bus_auth(&self) -> PathBuf {
        self.run().join("bus-auth.json")
    }

    /// The validated manifest, as JSON.
    #[must_use]
    pub fn manifest(&self) -> PathBuf {
        self.run().join("manifest.json")
    }

    /// The lock that makes a second `grace up` on the same data impossible.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.run().join("lock")
    }

    /// The journal of a component.
    #[must_use]
    pub fn journal(&self, component: &str) -> PathBuf {
        self.data.join("journals").join(format!("{component}.db"))
    }

    /// The captured output of a component; older files have `.1`, `.2` … appended.
    #[must_use]
    pub fn log(&self, component: &str) -> PathBuf {
        self.data.join("logs").join(format!("{component}.log"))
    }
}
