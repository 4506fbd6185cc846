//! Where one Grace instance keeps its files.
//!
//! ```text
//! DATA/                     0700
//!   lock                    held by the guardian for as long as it lives
//!   journals/NAME.journal   one journal a component
//!   logs/NAME.log[.N]       captured output
//!   log/                    the tamper-evident log: public files, for anybody to check
//!   log-pending/            what is sealed and not yet in them, and what its kernel remembers
//!   keys/                   the log's key, and its public half; the token of events, and what is kept of all other tokens
//!   faults/ID.json          0600, what undoes an injected fault; absent while there is none
//!   chaos.lock              held by the chaos run under way; says which
//!   runs/RUN/               the evidence of each chaos run
//!   scenarios/, safeguards/ the user's own, which win over those built in; Grace does not make them
//!   events/                 events as files, taken by the trigger mesh; `refused/` has what is wrong, and why
//!   run/                    emptied by a clean `grace down`
//!     control.sock          the control plane's socket
//!     notify.sock           the life line
//!     bus.sock              the broker
//!     bus-auth.json         0600, the broker's users; passwords hashed
//!     operator.url          0600, a NATS URL with every permission, for people
//!     api.url               0600, where the HTTP interface listens
//!     manifest.json         0600, the validated manifest, for the control plane and the kernels
//! ```
//!
//! A Unix socket's path holds at most 107 bytes. Where DATA is too deep for that, `run` lies in a short folder of this
//! user's under the system's temporary folder, named after DATA, so that no depth of DATA is refused.

use grace_store::file::EXTENSION;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// The longest socket name under `run`, with its slash, and the bytes that a socket's address can hold.
const SOCKET_NAME_BYTES: usize = 16;
const SOCKET_PATH_BYTES: usize = 107;

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
        let beside = self.data.join("run");
        if beside.as_os_str().len() + SOCKET_NAME_BYTES <= SOCKET_PATH_BYTES {
            return beside;
        }
        let digest = Sha256::digest(self.data.as_os_str().as_encoded_bytes());
        let name: String = digest[..8].iter().map(|b| format!("{b:02x}")).collect();
        PathBuf::from(format!("/tmp/grace-{}-{name}", rustix::process::geteuid().as_raw()))
    }

    /// The folder of journals.
    #[must_use]
    pub fn journals(&self) -> PathBuf {
        self.data.join("journals")
    }

    /// The folder of events that come as files.
    #[must_use]
    pub fn events(&self) -> PathBuf {
        self.data.join("events")
    }

    /// The folder of captured output.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.data.join("logs")
    }

    /// A NATS URL with every permission, for people.
    #[must_use]
    pub fn operator_url(&self) -> PathBuf {
        self.run().join("operator.url")
    }

    /// A NATS URL with which coding agents of this user ask for intents, and can do nothing else.
    #[must_use]
    pub fn agents_url(&self) -> PathBuf {
        self.run().join("agents.url")
    }

    /// Where the HTTP interface listens: `http://127.0.0.1:4280`.
    #[must_use]
    pub fn api_url(&self) -> PathBuf {
        self.run().join("api.url")
    }

    /// What whoever sends events over HTTP must show.
    #[must_use]
    pub fn api_token(&self) -> PathBuf {
        self.data.join("keys/api.token")
    }

    /// What tool calls of coding agents mean, where the user says so.
    #[must_use]
    pub fn hooks(&self) -> PathBuf {
        self.data.join("hooks.yaml")
    }

    /// What is kept of the tokens with which people and programs ask over HTTP.
    #[must_use]
    pub fn tokens(&self) -> PathBuf {
        self.data.join("keys/tokens.json")
    }

    /// The control plane's socket.
    #[must_use]
    pub fn control_socket(&self) -> PathBuf {
        self.run().join("control.sock")
    }

    /// The folder of records that undo injected faults.
    #[must_use]
    pub fn faults(&self) -> PathBuf {
        grace_faults::journal::folder(&self.data)
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

    /// Removes what lives only as long as the instance; the manifest last, and only if `all` has ended: a control plane
    /// cannot begin without it.
    pub(crate) fn remove_run_files(&self, all: bool) {
        let files = [
            self.control_socket(),
            self.notify_socket(),
            self.bus_socket(),
            self.bus_auth(),
            self.operator_url(),
            self.agents_url(),
            self.api_url(),
        ];
        for path in files.into_iter().chain(all.then(|| self.manifest())) {
            // What is not there any more need not be removed.
            let _ = std::fs::remove_file(path);
        }
    }

    /// The lock that makes a second `grace up` on the same data impossible.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.data.join("lock")
    }

    /// The journal of a component.
    #[must_use]
    pub fn journal(&self, component: &str) -> PathBuf {
        self.journals().join(format!("{component}.{EXTENSION}"))
    }

    /// The captured output of a component; older files have `.1`, `.2` … appended.
    #[must_use]
    pub fn log(&self, component: &str) -> PathBuf {
        self.logs().join(format!("{component}.log"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_fit_whatever_the_depth_of_the_data_folder() {
        for depth in [1, 10, 40, 90, 91, 92, 300] {
            let instance = Instance::at(format!("/{}", "d".repeat(depth)));
            for socket in [instance.control_socket(), instance.notify_socket(), instance.bus_socket()] {
                assert!(socket.as_os_str().len() <= SOCKET_PATH_BYTES, "{}", socket.display());
            }
        }
        let (a, b) = (Instance::at("/".repeat(200) + "a"), Instance::at("/".repeat(200) + "b"));
        assert_ne!(a.run(), b.run());
    }
}
