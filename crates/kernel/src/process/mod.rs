//! The process shell: what `grace kernel NAME` runs.
//!
//! | Module | What it holds |
//! |---|---|
//! | [`notify`] | datagrams to the control plane |
//! | [`life`] | heartbeats, signals, orderly end |
//! | [`thread`] | the host on a thread that may block: group commit |
//! | `turns` | how long a thread runs before others have their turn |
//! | [`serve`] | a decider on the bus |
//! | [`here`] | who is back, for those who wait for an answer |
//! | [`voter`] | a kernel as a voter of unified logic |
//! | [`wire`] | commands and answers as bus messages |
//!
//! [`run`] builds the [`Context`] from the environment and a single-threaded runtime, and hands both to the kernel's main
//! function. A kernel that is a decider calls [`serve::run_decider`] there; another uses the context as it likes.

pub mod here;
pub mod life;
pub mod notify;
mod reserve;
pub mod serve;
mod tell;
pub mod thread;
mod turns;
pub mod voter;
pub mod wire;

pub use tell::tell;

use std::{ffi::OsString, io, path::PathBuf, sync::Arc, time::Duration};

use grace_bus::{
    Bus, BusError,
    client::native::{self, NativeOptions, Target},
};
use grace_store::StoreError;
use grace_types::{
    chance::{Entropy, OsEntropy},
    time::{Clock, SystemClock},
};

use crate::{HostError, LoadError};
use life::Life;
use notify::Notify;

/// The wait of a shell between two tries, or until its own timer is due. A decider never waits: it is told the time.
#[expect(clippy::disallowed_methods, reason = "the one wait that shells share")]
pub async fn later(wait: Duration) {
    tokio::time::sleep(wait).await;
}

/// The machine's boot, which shells tell to deciders that count on the clock that does not jump, or compare when processes were started; empty
/// where it cannot be read.
#[must_use]
pub fn boot() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// What the control plane tells a process by its environment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Environment {
    /// `GRACE_COMPONENT`: the component's name.
    pub component: String,
    /// `GRACE_DATA`: the instance's data folder.
    pub data: PathBuf,
    /// `NOTIFY_SOCKET`: where signs of life go.
    pub notify_socket: Option<OsString>,
    /// `WATCHDOG_USEC`, unless `WATCHDOG_PID` says that it is for another process.
    pub watchdog: Option<Duration>,
    /// `GRACE_BUS_SOCKET`: the broker's Unix socket.
    pub bus_socket: Option<PathBuf>,
    /// `NATS_URL`: `nats://user:password@127.0.0.1:port`, with this component's credential.
    pub nats_url: Option<String>,
}

impl Environment {
    /// Reads the process's environment.
    ///
    /// # Errors
    /// [`KernelError::Environment`] names the variable that is missing or malformed.
    pub fn read() -> Result<Self, KernelError> {
        Self::from(|name| std::env::var_os(name), std::process::id())
    }

    /// Reads variables by way of `get`, as the process `pid`.
    ///
    /// # Errors
    /// As for [`Environment::read`].
    pub fn from(get: impl Fn(&str) -> Option<OsString>, pid: u32) -> Result<Self, KernelError> {
        let wrong = |name: &'static str, detail: String| KernelError::Environment { name, detail };
        let text = |name: &'static str| match get(name) {
            None => Ok(None),
            Some(value) if value.is_empty() => Ok(None),
            Some(value) => value
                .into_string()
                .map(Some)
                .map_err(|v| wrong(name, format!("{} is not UTF-8", v.display()))),
        };
        let number = |name: &'static str| {
            let value = text(name)?;
            value.map(|v| v.parse::<u64>().map_err(|e| wrong(name, format!("`{v}`: {e}")))).transpose()
        };
        let needed = |name: &'static str| wrong(name, "it is not set; `grace up` sets it".to_owned());
        let other = number("WATCHDOG_PID")?.is_some_and(|watched| watched != u64::from(pid));
        let watchdog = number("WATCHDOG_USEC")?.filter(|usec| *usec > 0 && !other).map(Duration::from_micros);
        Ok(Self {
            component: text("GRACE_COMPONENT")?.ok_or_else(|| needed("GRACE_COMPONENT"))?,
            data: get("GRACE_DATA").ok_or_else(|| needed("GRACE_DATA"))?.into(),
            notify_socket: get("NOTIFY_SOCKET").filter(|v| !v.is_empty()),
            watchdog,
            bus_socket: get("GRACE_BUS_SOCKET").filter(|v| !v.is_empty()).map(PathBuf::from),
            nats_url: text("NATS_URL")?,
        })
    }
}

/// Everything that a kernel gets from its surroundings.
pub struct Context {
    /// What the control plane said.
    pub environment: Environment,
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
    /// Where chance comes from, for ids and jitter.
    pub entropy: Box<dyn Entropy>,
    /// The bus, where there is one. It reconnects by itself.
    pub bus: Option<Bus>,
    /// Heartbeats, signals, and the end.
    pub life: Life,
}

impl Context {
    /// The component's name.
    #[must_use]
    pub fn component(&self) -> &str {
        &self.environment.component
    }
}

/// Why a kernel's process ends with an error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KernelError {
    /// A variable of the environment is missing or malformed.
    #[error("environment variable {name}: {detail}")]
    Environment {
        /// Which.
        name: &'static str,
        /// What is wrong with it.
        detail: String,
    },
    /// The runtime, a thread, a signal handler or the life line could not be set up.
    #[error("{what}: {source}")]
    System {
        /// What was being set up.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The journal cannot be opened.
    #[error("the journal cannot be opened: {0}")]
    Open(#[source] StoreError),
    /// The journal cannot be turned into a state.
    #[error("the journal cannot be replayed: {0}")]
    Load(#[source] LoadError),
    /// The host cannot go on, because another process has taken over its journal.
    #[error("{0}")]
    Host(#[source] HostError),
    /// The host's thread ended by itself.
    #[error("the host's thread ended unexpectedly")]
    HostGone,
    /// The bus refused what the kernel cannot do without.
    #[error("the bus: {0}")]
    Bus(#[source] BusError),
}

/// Runs `main` with a context made from `environment`, on a single-threaded runtime, until it returns. Says `STOPPING=1`
/// afterwards if `main` has not.
///
/// # Errors
/// What the set-up or `main` fails with.
pub fn run<M>(environment: Environment, main: M) -> Result<(), KernelError>
where
    M: AsyncFnOnce(Context) -> Result<(), KernelError>,
{
    // Not for those who have long ones. Who may not say this goes on as all others do.
    let _ = turns::short();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| KernelError::System { what: "the runtime", source })?;
    let done = runtime.block_on(async {
        let context = context(environment)?;
        main(context).await
    });
    // A task that does not end must not keep the process.
    runtime.shutdown_timeout(crate::limits::FLUSH);
    done
}

/// As [`run`], behind those who decide: where processors are short, what is durable in their journals already can wait, and they cannot. The
/// process still has its share, so that it falls behind by seconds and no more ([`crate::limits::EVIDENCE_LATE`]).
///
/// # Errors
/// As for [`run`].
pub fn run_behind<M>(environment: Environment, main: M) -> Result<(), KernelError>
where
    M: AsyncFnOnce(Context) -> Result<(), KernelError>,
{
    // Threads have the priority and the turns of the one that starts them, and there is one so far. Who may not say this goes on as all others do.
    let _ = rustix::process::nice(crate::limits::EVIDENCE_NICE);
    let _ = turns::long();
    run(environment, main)
}

/// The machine's clock and chance, the life line and the bus that `environment` names. Inside a tokio runtime only.
///
/// # Errors
/// [`KernelError::System`] when the life line or the signal handlers cannot be set up.
pub fn context(environment: Environment) -> Result<Context, KernelError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let notify = match &environment.notify_socket {
        Some(address) => Notify::to(address)
            .map_err(|e| KernelError::Environment { name: "NOTIFY_SOCKET", detail: e.to_string() })?,
        None => Notify::default(),
    };
    let life = Life::new(notify, environment.watchdog, Arc::clone(&clock))
        .map_err(|source| KernelError::System { what: "the signal handlers", source })?;
    let bus = connect(&environment)?;
    Ok(Context { environment, clock, entropy: Box::new(OsEntropy), bus, life })
}

/// The bus with the credential in `NATS_URL`, by way of the Unix socket where one is named: a cheaper hop than TCP.
fn connect(environment: &Environment) -> Result<Option<Bus>, KernelError> {
    let Some(url) = &environment.nats_url else { return Ok(None) };
    let mut options = NativeOptions::from_url(url, environment.component.as_str())
        .map_err(|e| KernelError::Environment { name: "NATS_URL", detail: e.to_string() })?;
    if let Some(socket) = &environment.bus_socket {
        options.target = Target::Unix(socket.clone());
    }
    Ok(Some(native::connect(options)))
}
