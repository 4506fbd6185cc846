//! What `grace up` does before the guardian takes over: folders, lock, sockets, leftovers.
//!
//! Everything that can be refused is refused here, in the foreground, where the person who asked can read why.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::{
        fd::OwnedFd,
        unix::{
            fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
            net::{UnixDatagram, UnixListener},
        },
    },
    path::{Path, PathBuf},
    time::Duration,
};

use grace_types::{
    manifest::Manifest,
    time::{Clock, SystemClock},
};
use rustix::process::{Pid, PidfdFlags, Signal};

use super::{FRONT_VARIABLE, NAMES_VARIABLE};
use crate::{
    control_plane::processes::{DATA_VARIABLE, INCARNATION_VARIABLE},
    instance::Instance,
    procfs,
    spawn::{Spawn, keep_descriptors_to_ourselves, own_program},
};

/// Names of the descriptors that are kept over control planes.
pub mod kept {
    /// The lock on the data folder.
    pub const LOCK: &str = "lock";
    /// The life line.
    pub const NOTIFY: &str = "notify";
    /// The control plane's listening socket.
    pub const CONTROL: &str = "control";
    /// The broker's listening socket on the loopback address.
    pub const BUS_TCP: &str = "bus-tcp";
    /// The broker's listening Unix socket.
    pub const BUS_UNIX: &str = "bus-unix";
}

/// How to launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaunchOptions {
    /// Whether the instance goes on without the process that launches it.
    pub detach: bool,
}

/// A guardian that was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Launched {
    /// Its process.
    pub guardian_pid: u32,
    /// Where the broker listens for NATS clients.
    pub bus_address: SocketAddr,
}

/// Why an instance could not be launched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LaunchError {
    /// The data folder cannot be made or written.
    #[error("the data folder {path} cannot be used: {detail}")]
    NotWritable {
        /// The file or folder at fault.
        path: PathBuf,
        /// What the system said.
        detail: String,
    },
    /// Another instance runs on the same data.
    #[error("grace is already running on {data} (guardian pid {pid})")]
    AlreadyRunning {
        /// The data folder.
        data: PathBuf,
        /// The guardian that holds it; 0 when it has not said.
        pid: u32,
    },
    /// The broker's port is taken.
    #[error("port {port} on 127.0.0.1 is taken{}", .holder.as_deref().map(|h| format!(" by {h}")).unwrap_or_default())]
    PortTaken {
        /// The port.
        port: u16,
        /// Process id and name of who holds it, where that can be seen.
        holder: Option<String>,
    },
    /// The system refused something else.
    #[error("{what}: {detail}")]
    System {
        /// What was attempted.
        what: &'static str,
        /// What the system said.
        detail: String,
    },
}

impl LaunchError {
    /// What to do about it.
    #[must_use]
    pub const fn help(&self) -> &'static str {
        match self {
            Self::NotWritable { .. } => "choose another folder with --data, or mend its permissions",
            Self::AlreadyRunning { .. } => {
                "`grace status` shows it, `grace down` stops it; or choose another folder with --data"
            }
            Self::PortTaken { .. } => {
                "stop that program, or set `bus: {port: …}` in the manifest (0 takes any free port)"
            }
            Self::System { .. } => "`grace doctor` checks what this host lacks",
        }
    }
}

/// Starts an instance: locks its data, binds its sockets, ends what an earlier instance left behind, and starts the
/// guardian. Returns at once; [`crate::control::Request::Watch`] on the control socket shows the progress.
///
/// # Errors
/// [`LaunchError`], with nothing left running.
pub fn launch(
    instance: &Instance,
    manifest: &Manifest,
    options: LaunchOptions,
) -> Result<Launched, LaunchError> {
    for folder in [instance.data().to_owned(), instance.journals(), instance.logs()] {
        private_folder(&folder)?;
    }
    run_folder(&instance.run())?;
    let lock = lock(instance)?;
    end_leftovers(instance)?;
    let mut lock_text = lock.try_clone().map_err(|e| refused(&instance.lock(), &e))?;
    let (tcp, bus_address) = bind_tcp(manifest.bus.port)?;
    let sockets = [
        (kept::LOCK, OwnedFd::from(lock)),
        (kept::NOTIFY, bind(&instance.notify_socket(), |p| UnixDatagram::bind(p))?.into()),
        (kept::CONTROL, bind(&instance.control_socket(), |p| UnixListener::bind(p))?.into()),
        (kept::BUS_TCP, tcp.into()),
        (kept::BUS_UNIX, bind(&instance.bus_socket(), |p| UnixListener::bind(p))?.into()),
    ];
    let json = serde_json::to_vec(manifest).map_err(|e| system("write the manifest", &e))?;
    private_file(&instance.manifest(), &json)?;
    let guardian_pid = spawn_guardian(instance, sockets, options)?.as_raw_nonzero().get().unsigned_abs();
    // For people, and for the next `grace up` that is refused. The lock itself is what counts: that a full disk does not take
    // this is no reason to say that nothing runs.
    let _ = lock_text.write_all(guardian_pid.to_string().as_bytes());
    Ok(Launched { guardian_pid, bus_address })
}

fn spawn_guardian<const N: usize>(
    instance: &Instance,
    sockets: [(&str, OwnedFd); N],
    options: LaunchOptions,
) -> Result<Pid, LaunchError> {
    keep_descriptors_to_ourselves().map_err(|e| system("look at /proc", &e))?;
    let (names, passed): (Vec<&str>, Vec<OwnedFd>) = sockets.into_iter().unzip();
    let own_output = instance.log("grace");
    let output = OpenOptions::new().create(true).append(true).mode(0o600).open(&own_output);
    let output = output.map_err(|e| refused(&own_output, &e))?;
    let errors = output.try_clone().map_err(|e| refused(&own_output, &e))?;
    let mut environment: Vec<(OsString, OsString)> =
        std::env::vars_os().filter(|(k, _)| k != FRONT_VARIABLE && k != NAMES_VARIABLE).collect();
    environment.push((NAMES_VARIABLE.into(), names.join(",").into()));
    if !options.detach {
        environment.push((FRONT_VARIABLE.into(), std::process::id().to_string().into()));
    }
    let word = OsString::from;
    Spawn {
        command: vec![own_program().into(), word("--data"), instance.data().into(), word("guardian")],
        environment,
        working_dir: None,
        output: Some((output.into(), errors.into())),
        passed,
        limits: grace_types::manifest::Resources::default(),
        group: None,
        new_session: true,
    }
    .start()
    .map_err(|e| system("start the guardian", &e))
}

fn system(what: &'static str, error: &dyn std::fmt::Display) -> LaunchError {
    LaunchError::System { what, detail: error.to_string() }
}

fn refused(path: &Path, error: &io::Error) -> LaunchError {
    LaunchError::NotWritable { path: path.to_owned(), detail: error.to_string() }
}

/// Makes a folder that only this user can enter, or takes one that is this user's already.
fn private_folder(path: &Path) -> Result<(), LaunchError> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|e| refused(path, &e))?;
    let owner = rustix::fs::stat(path).map_err(|e| refused(path, &e.into()))?.st_uid;
    if owner != rustix::process::geteuid().as_raw() {
        let detail = format!("it belongs to user {owner}");
        return Err(LaunchError::NotWritable { path: path.to_owned(), detail });
    }
    rustix::fs::access(path, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK)
        .map_err(|e| refused(path, &e.into()))
}

/// The folder of sockets. It may lie in `/tmp`, where anybody can make a folder, or a link, of its name first; and whoever can enter
/// it can give orders.
fn run_folder(path: &Path) -> Result<(), LaunchError> {
    private_folder(path)?;
    let not_ours =
        |detail: &str| LaunchError::NotWritable { path: path.to_owned(), detail: detail.to_owned() };
    let found = fs::symlink_metadata(path).map_err(|e| refused(path, &e))?;
    if !found.is_dir() {
        return Err(not_ours("it is a link, and must be a folder"));
    }
    if found.permissions().mode() & 0o077 != 0 {
        fs::set_permissions(path, Permissions::from_mode(0o700)).map_err(|e| refused(path, &e))?;
    }
    Ok(())
}

/// Writes a file that only this user can read. What was there before stays whole until the new one is: the disk may be full, and
/// another process may be reading.
pub(crate) fn private_file(path: &Path, content: &[u8]) -> Result<(), LaunchError> {
    let new = path.with_extension("new");
    let write = || {
        let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&new)?;
        file.write_all(content)?;
        fs::rename(&new, path)
    };
    write().map_err(|e| {
        let _ = fs::remove_file(&new);
        refused(path, &e)
    })
}

/// Takes the lock that the guardian holds for as long as it lives. The file stays when the instance ends: removing it
/// would let two instances lock two files of one name.
fn lock(instance: &Instance) -> Result<File, LaunchError> {
    let path = instance.lock();
    let file = OpenOptions::new().create(true).truncate(false).read(true).write(true).mode(0o600).open(&path);
    let file = file.map_err(|e| refused(&path, &e))?;
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {
            // It names an earlier guardian.
            let _ = file.set_len(0);
            Ok(file)
        }
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let pid =
                fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok()).unwrap_or_default();
            Err(LaunchError::AlreadyRunning { data: instance.data().to_owned(), pid })
        }
        Err(errno) => Err(refused(&path, &errno.into())),
    }
}

fn bind_tcp(port: u16) -> Result<(TcpListener, SocketAddr), LaunchError> {
    let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).and_then(|l| {
        l.set_nonblocking(true)?;
        let address = l.local_addr()?;
        Ok((l, address))
    });
    bound.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => {
            let holder = procfs::tcp_port_holder(port).map(|(pid, name)| format!("pid {pid} ({name})"));
            LaunchError::PortTaken { port, holder }
        }
        _ => system("listen on the loopback address", &error),
    })
}

fn bind<S>(path: &Path, bind: impl Fn(&Path) -> io::Result<S>) -> Result<S, LaunchError> {
    // A socket file that nobody listens on is left over: the lock says that nobody else uses this folder.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(refused(path, &error)),
        _ => {}
    }
    bind(path).map_err(|e| refused(path, &e))
}

/// Ends processes of components of this instance, whoever they are children of: what an earlier instance left whose guardian and
/// control plane both died, or what is left of this one at its end. What they hold (ports, files) is needed, and nobody
/// supervises them. An instance that ended in order left no manifest behind.
pub(crate) fn end_leftovers(instance: &Instance) -> Result<(), LaunchError> {
    if !instance.manifest().exists() {
        return Ok(());
    }
    let leftovers = procfs::processes_with_environment(DATA_VARIABLE, instance.data().as_os_str())
        .into_iter()
        // `grace up` may itself be typed in what an earlier instance left: a shell, a terminal multiplexer.
        .filter(|pid| *pid != std::process::id())
        .filter(|pid| procfs::environment_variable(*pid, INCARNATION_VARIABLE).is_some());
    let mut waiting = Vec::new();
    for pid in leftovers {
        let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { continue };
        if let Ok(fd) = rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
            let _ = rustix::process::pidfd_send_signal(&fd, Signal::KILL);
            waiting.push(fd);
        }
    }
    let deadline = SystemClock.now().mono.plus(Duration::from_secs(5));
    for fd in waiting {
        let left = deadline.since(SystemClock.now().mono);
        let timeout = rustix::event::Timespec::try_from(left).ok();
        let mut fds = [rustix::event::PollFd::new(&fd, rustix::event::PollFlags::IN)];
        rustix::event::poll(&mut fds, timeout.as_ref())
            .map_err(|e| system("wait for leftover processes", &e))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_of_sockets_is_this_users_alone_and_no_link() {
        let base = tempfile::tempdir().unwrap();
        let (run, link) = (base.path().join("run"), base.path().join("link"));
        fs::create_dir(&run).unwrap();
        fs::set_permissions(&run, Permissions::from_mode(0o777)).unwrap();
        run_folder(&run).unwrap();
        assert_eq!(fs::metadata(&run).unwrap().permissions().mode() & 0o777, 0o700);
        std::os::unix::fs::symlink(&run, &link).unwrap();
        assert!(matches!(run_folder(&link), Err(LaunchError::NotWritable { .. })));
    }

    #[test]
    fn a_private_file_is_replaced_whole_whatever_its_mode_was() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("bus-auth.json");
        fs::write(&path, "old").unwrap();
        private_file(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(base.path()).unwrap().count(), 1);
    }
}
