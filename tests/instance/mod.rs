//! An instance of Grace under test: a data folder and a manifest of its own, commands against it, and its end.
//!
//! ```text
//! Instance::of(processes) ─► up ─► status, logs, signals, faults … ─► down (asserts that nothing is left)
//!                                                                  └► drop (kills what is left)
//! ```
//!
//! Conditions are polled with [`until`]; nothing sleeps to wait. Processes of an instance are found by `GRACE_DATA` in
//! their environment, which the harness sets for `grace up` and Grace for everything that it starts.

#![allow(dead_code, reason = "each test binary uses its own part")]

mod binary;
pub(crate) mod disk;
pub(crate) mod durable;
mod journal;
mod wait;

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command},
};

use grace_core::{
    control::{Answer, Request},
    instance::Instance as Place,
    procfs,
    status::{ComponentState, ComponentStatus, InstanceState, Status},
    supervisor::Event,
};
use rustix::process::{Pid, Signal};
use tempfile::TempDir;

pub(crate) use self::{
    binary::{Ran, puppet},
    journal::Journal,
    wait::{holds, until},
};

/// `grace kernel NAME` without an instance around it, not started yet.
pub(crate) fn kernel(name: &str) -> Command {
    let mut command = binary::grace();
    command.args(["kernel", name]);
    command
}

/// See the module's page.
pub(crate) struct Instance {
    folder: TempDir,
    place: Place,
    manifest: PathBuf,
    variables: Vec<(String, String)>,
    fronts: Vec<Child>,
}

impl Instance {
    /// An instance that is to run these processes: the lines under `processes:`, indented by two.
    pub(crate) fn of(processes: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        Self::in_folder(folder, data, processes)
    }

    /// The same with its files in `data`, which lies in `folder` or is a mount of the test's own.
    pub(crate) fn in_folder(folder: TempDir, data: PathBuf, processes: &str) -> Self {
        let manifest = folder.path().join("grace.yaml");
        let instance =
            Self { folder, place: Place::at(data), manifest, variables: Vec::new(), fronts: Vec::new() };
        let processes = if processes.is_empty() { " {}\n".to_owned() } else { format!("\n{processes}") };
        instance.write_manifest(&format!("bus: {{port: 0}}\nprocesses:{processes}"));
        instance
    }

    pub(crate) fn write_manifest(&self, text: &str) {
        let text = text.replace("PUPPET", puppet()).replace("FOLDER", &self.folder.path().to_string_lossy());
        std::fs::write(&self.manifest, text).unwrap();
    }

    /// A variable in the environment of `grace up`.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    /// People's keys are to lie beside the manifest, so that they can be made approvers.
    pub(crate) fn with_people(mut self) -> Self {
        let config = self.file("config").to_string_lossy().into_owned();
        self.set("XDG_CONFIG_HOME", &config);
        self.set("USER", "root");
        self
    }

    /// A file beside the manifest: `FOLDER/name` in the manifest.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    pub(crate) fn data(&self) -> &Path {
        self.place.data()
    }

    /// The `grace` under test.
    pub(crate) fn program() -> &'static Path {
        binary::program()
    }

    // ---- commands --------------------------------------------------------------------------------------------

    /// `grace` with these arguments on this instance, not started yet.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = binary::grace();
        command.arg("--data").arg(self.data()).args(args).current_dir(self.folder.path());
        command.env("GRACE_DATA", self.data()).envs(self.variables.iter().cloned());
        command
    }

    /// Runs `grace` with these arguments to its end.
    pub(crate) fn grace(&self, args: &[&str]) -> Ran {
        Ran::of(&mut self.command(args))
    }

    /// What `grace` prints as JSON, a value a line.
    pub(crate) fn told(&self, args: &[&str]) -> Vec<serde_json::Value> {
        let ran = self.grace(&[&["--json"], args].concat());
        assert_eq!(ran.code, Some(0), "{args:?}: {ran}");
        ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// `grace up --detach` with this instance's manifest.
    pub(crate) fn try_up(&self, more: &[&str]) -> Ran {
        let manifest = self.manifest.to_string_lossy().into_owned();
        let mut args = vec!["up", "--detach", "--manifest", &manifest];
        args.extend(more);
        self.grace(&args)
    }

    /// Boots it, and waits until everything is ready.
    pub(crate) fn up(&self) {
        let ran = self.try_up(&[]);
        assert_eq!(ran.code, Some(0), "{ran}");
    }

    /// Boots it in the foreground of a `grace up` that goes on; its pid.
    pub(crate) fn up_in_front(&mut self) -> u32 {
        let manifest = self.manifest.to_string_lossy().into_owned();
        let output = std::fs::File::create(self.file("front")).unwrap();
        let errors = output.try_clone().unwrap();
        let child =
            self.command(&["up", "--manifest", &manifest]).stdout(output).stderr(errors).spawn().unwrap();
        self.fronts.push(child);
        self.fronts[self.fronts.len() - 1].id()
    }

    /// What the foreground printed.
    pub(crate) fn front_output(&self) -> String {
        std::fs::read_to_string(self.file("front")).unwrap_or_default()
    }

    /// The exit status of the last foreground, once it has ended.
    pub(crate) fn front_ended(&mut self) -> Option<i32> {
        let front = self.fronts.last_mut().unwrap();
        until("the foreground ends", || front.try_wait().unwrap()).code()
    }

    /// `grace down`, and that it left nothing behind.
    pub(crate) fn down(&self) {
        let ran = self.grace(&["down"]);
        assert_eq!(ran.code, Some(0), "{ran}");
        self.assert_gone();
    }

    // ---- what is seen ----------------------------------------------------------------------------------------

    /// What the control plane answers, if it does.
    pub(crate) fn ask(&self, request: &Request) -> Option<Answer> {
        use std::io::{BufRead as _, BufReader};
        let mut stream = std::os::unix::net::UnixStream::connect(self.place.control_socket()).ok()?;
        let patience = std::time::Duration::from_secs(5);
        stream.set_read_timeout(Some(patience)).ok()?;
        let mut line = serde_json::to_string(request).ok()? + "\n";
        stream.write_all(line.as_bytes()).ok()?;
        line.clear();
        BufReader::new(stream).read_line(&mut line).ok()?;
        serde_json::from_str(&line).ok()
    }

    /// The status, if the control plane answers.
    pub(crate) fn try_status(&self) -> Option<Status> {
        match self.ask(&Request::Status)? {
            Answer::Status(status) => Some(*status),
            Answer::Done { .. } | Answer::Refused { .. } => None,
        }
    }

    /// The status, as soon as the control plane answers.
    pub(crate) fn status(&self) -> Status {
        until("the control plane answers", || self.try_status())
    }

    /// The status, as soon as it is as wanted.
    pub(crate) fn until(&self, what: &str, wanted: impl Fn(&Status) -> bool) -> Status {
        let mut last = None;
        let found = wait::within(wait::PATIENCE, || {
            last = self.try_status();
            last.clone().filter(|status| wanted(status))
        });
        found.unwrap_or_else(|| {
            let own = std::fs::read_to_string(self.place.log("grace")).unwrap_or_default();
            panic!(
                "not within {:?}: {what}\nthe status was {last:#?}\nlogs/grace.log:\n{own}",
                wait::PATIENCE
            )
        })
    }

    /// One component, as soon as it is as wanted.
    pub(crate) fn until_component(
        &self,
        name: &str,
        what: &str,
        wanted: impl Fn(&ComponentStatus) -> bool,
    ) -> ComponentStatus {
        component(&self.until(&format!("{name} {what}"), |status| wanted(component(status, name))), name)
            .clone()
    }

    /// One component, as soon as it is ready.
    pub(crate) fn ready(&self, name: &str) -> ComponentStatus {
        self.until_component(name, "is ready", |c| c.ready)
    }

    /// One component now.
    pub(crate) fn component(&self, name: &str) -> ComponentStatus {
        component(&self.status(), name).clone()
    }

    /// The status, as soon as everything is ready.
    pub(crate) fn all_ready(&self) -> Status {
        self.until("everything is ready", |status| {
            status.state == InstanceState::Running && status.components.iter().all(|c| c.ready)
        })
    }

    /// What a component printed, its lines without time and stream.
    pub(crate) fn printed(&self, name: &str) -> Vec<String> {
        let text = std::fs::read(self.place.log(name)).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        text.lines().map(|line| line.splitn(3, ' ').nth(2).unwrap_or_default().to_owned()).collect()
    }

    /// The control plane's records so far. Decisions are carried out before they are written: see [`Instance::recorded`].
    pub(crate) fn journal(&self) -> Journal {
        Journal::read(&self.place.journal("control_plane"))
    }

    /// Every record of a component's journal as JSON, oldest first.
    pub(crate) fn records_of(&self, component: &str) -> Vec<serde_json::Value> {
        let payloads = journal::payloads(&self.place.journal(component));
        payloads.iter().map(|bytes| serde_json::from_slice(bytes).unwrap()).collect()
    }

    /// What the cortex decided, each intent by itself, oldest first, with the record that says so.
    pub(crate) fn decided(&self) -> Vec<(serde_json::Value, serde_json::Value)> {
        let mut all = Vec::new();
        for record in self.records_of("cortex") {
            let record = &record["event"]["record"];
            let decided = &record["event"]["what"]["decided"];
            let Some(first) = decided["decision"].as_object() else { continue };
            all.push((first.clone().into(), record.clone()));
            for alike in decided["also"].as_array().into_iter().flatten() {
                // What it does not say itself it has in common with the first.
                let mut one = first.clone();
                one.remove("key");
                one.extend(alike.as_object().unwrap().clone());
                all.push((one.into(), record.clone()));
            }
        }
        all
    }

    /// The recorded events that `pick` picks, with their reasons, as soon as there are so many.
    pub(crate) fn recorded<T>(
        &self,
        at_least: usize,
        pick: impl Fn(&Event) -> Option<T>,
    ) -> Vec<(T, String)> {
        until("the events are recorded", || {
            Some(self.journal().pick(&pick)).filter(|all| all.len() >= at_least)
        })
    }

    /// Every live process of this instance.
    pub(crate) fn processes(&self) -> Vec<u32> {
        let all = procfs::processes_with_environment("GRACE_DATA", self.data().as_os_str());
        all.into_iter().filter(|pid| state_of(*pid).is_some_and(|state| state != 'Z')).collect()
    }

    // ---- the end ---------------------------------------------------------------------------------------------

    /// That no process, socket or run file of this instance is left.
    pub(crate) fn assert_gone(&self) {
        // The guardian is gone before its last children are collected by init.
        holds("no process is left", || self.processes().is_empty());
        let left: Vec<_> = std::fs::read_dir(self.place.run()).unwrap().map(|e| e.unwrap().path()).collect();
        assert!(left.is_empty(), "left in the run folder: {left:?}");
        let sockets = std::fs::read_to_string("/proc/net/unix").unwrap();
        let own = self.place.run().to_string_lossy().into_owned();
        assert!(!sockets.contains(&own), "a socket of {own} is left");
    }

    /// That neither the guardian nor the control plane leaves ended children uncollected.
    pub(crate) fn assert_no_zombies(&self) {
        let status = self.status();
        holds("no zombie is left", || {
            let parents = [status.guardian_pid, status.control_plane_pid];
            let mut children = parents.iter().flat_map(|parent| procfs::children(*parent));
            children.all(|pid| state_of(pid) != Some('Z'))
        });
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        // Whatever the test did, and however it ended: parents first, so that nobody restarts anything.
        while let processes @ [_, ..] = self.processes().as_slice() {
            for pid in processes {
                kill(*pid, Signal::KILL);
            }
        }
        for front in &mut self.fronts {
            let _ = front.wait();
        }
        if self.place.run().parent() != Some(self.data()) {
            let _ = std::fs::remove_dir_all(self.place.run());
        }
    }
}

/// One component of a status.
pub(crate) fn component<'a>(status: &'a Status, name: &str) -> &'a ComponentStatus {
    let found = status.components.iter().find(|c| c.name == name);
    found.unwrap_or_else(|| panic!("there is no {name} in {status:#?}"))
}

/// Whether a component is in one of these states.
pub(crate) fn is(c: &ComponentStatus, state: ComponentState) -> bool {
    c.state == state
}

/// Sends a signal; a process that is gone already is no error.
pub(crate) fn kill(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = rustix::process::kill_process(pid, signal);
    }
}

/// What `/proc` says of a process; `None` when it is gone.
pub(crate) fn state_of(pid: u32) -> Option<char> {
    procfs::stat(pid).ok().map(|stat| stat.state)
}

/// The log file that was rotated `n` times; the current one for 0.
pub(crate) fn rotated(log: &Path, n: u32) -> PathBuf {
    if n == 0 { log.to_owned() } else { PathBuf::from(format!("{}.{n}", log.display())) }
}

/// A port on which nobody listens. Below the range that the system gives out by itself, so that nobody is given it before
/// the test uses it; each test process begins elsewhere.
pub(crate) fn free_port() -> u16 {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let n = std::process::id().wrapping_mul(97).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = 20_000 + u16::try_from(n % 12_000).unwrap_or_default();
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
