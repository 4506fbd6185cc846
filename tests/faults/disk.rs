//! A full disk, and damaged journals: supervision goes on, it is said, and what was acknowledged is there afterwards.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use grace_bus::client::IDEMPOTENCY_KEY;
use grace_core::{
    status::{InstanceState, Status},
    supervisor::Event,
};
use rustix::process::Signal;

use crate::instance::{
    Instance, component,
    disk::{Mount, fill},
    durable::{connect, durable_command, settled},
    kill,
};

/// For one answer of a kernel that may have none.
const PATIENCE: Duration = Duration::from_secs(10);

/// An instance whose journals and logs find no room any more. Fields are dropped in this order.
struct FullDisk {
    instance: Instance,
    ballast: PathBuf,
    _mount: Mount,
    _folder: tempfile::TempDir,
}

impl FullDisk {
    /// Boots it, fills its disk, and ends `web` until it is said that nothing can be written; `None` without root.
    fn new() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().to_owned();
        let mount = Mount::tmpfs(&data, "8m")?;
        let instance = Instance::in_folder(
            tempfile::tempdir().unwrap(),
            data.clone(),
            "
  web: {command: [PUPPET, wait], availability: {intensity: 1000}}
  talker: {command: [PUPPET, count=5]}
",
        );
        instance.up();
        let disk = Self { instance, ballast: data.join("ballast"), _mount: mount, _folder: folder };
        while !disk.is_said() {
            // Room that a checkpoint gave back is taken again.
            fill(&disk.ballast);
            let restarts = disk.end_web();
            assert!(restarts < 500, "nothing is said: {:?}", disk.instance.status().warnings);
        }
        Some(disk)
    }

    fn is_said(&self) -> bool {
        let warnings = self.instance.status().warnings;
        let said = |words: &str| warnings.iter().any(|w| w.contains(words));
        said("the journal of the control plane cannot be written")
            && said("output of `talker` cannot be written")
    }

    /// Kills `web`; its restarts once it is back.
    fn end_web(&self) -> u32 {
        let web = self.instance.ready("web");
        kill(web.pid.unwrap(), Signal::KILL);
        let next = self.instance.until_component("web", "was restarted", |c| c.ready && c.pid != web.pid);
        assert_eq!(next.restarts, web.restarts + 1);
        next.restarts
    }

    /// Makes room, and waits until nothing is wrong any more.
    fn make_room(&self) {
        std::fs::remove_file(&self.ballast).unwrap();
        let right = |w: &String| !w.contains("cannot be written");
        self.instance.until("nothing is wrong any more", |s| s.warnings.iter().all(right));
        let lines = self.instance.printed("talker").len();
        self.instance.until("output is captured again", |_| self.instance.printed("talker").len() > lines);
        self.instance.all_ready();
    }
}

#[test]
fn on_a_full_disk_supervision_goes_on_and_catches_up_when_there_is_room() {
    let Some(disk) = FullDisk::new() else { return };
    let instance = &disk.instance;
    // Orders are carried out, and say that they are not on record.
    let before = instance.component("web");
    let ran = instance.grace(&["restart", "web"]);
    assert!(ran.code == Some(0) && ran.out.contains("not on record yet"), "{ran}");
    instance.until_component("web", "was restarted", |c| c.ready && c.pid != before.pid);
    let restarts = disk.end_web();

    // A kernel acknowledges only what is on disk: some commands before there is no room at all, then none.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let acknowledged = runtime.block_on(async {
        let bus = connect(instance);
        let (mut acknowledged, mut refused) = (Vec::new(), 0);
        for n in 0..200 {
            let key = format!("full-{n}");
            match bus
                .request(
                    durable_command().with_headers([(IDEMPOTENCY_KEY, &key)].into_iter().collect()),
                    PATIENCE,
                )
                .await
            {
                Ok(answer) if answer.payload.starts_with(b"{\"done\"") => acknowledged.push(key),
                // Refused with the reason, or not answered.
                _ => refused += 1,
            }
            if refused == 3 {
                break;
            }
        }
        assert!(refused > 0, "the fault bit");
        acknowledged
    });
    disk.make_room();
    instance.down();

    // Every decision is on record, and so is what was acknowledged.
    let journal = instance.journal();
    let numbers: BTreeSet<u64> = journal.entries.iter().map(|e| e.number).collect();
    assert!(numbers.iter().zip(1..).all(|(found, n)| *found == n), "{numbers:?}");
    let scheduled = journal.pick(|event| match event {
        Event::RestartScheduled { component, .. } if component == "web" => Some(()),
        _ => None,
    });
    assert_eq!(scheduled.len(), restarts as usize);
    let settled = settled(instance);
    assert!(acknowledged.iter().all(|key| settled.contains(key)), "{acknowledged:?} {settled:?}");
    // The log had no room either.
    let ran = instance.grace(&["log", "verify"]);
    assert_eq!(ran.code, Some(0), "{ran}");
}

#[test]
fn a_control_plane_that_dies_on_a_full_disk_is_replaced_and_nothing_is_started_twice() {
    let Some(disk) = FullDisk::new() else { return };
    let instance = &disk.instance;
    let pids = |status: &Status| -> Vec<Option<u32>> { status.components.iter().map(|c| c.pid).collect() };
    let before = instance.all_ready();
    let mut processes = instance.processes();
    processes.retain(|pid| *pid != before.control_plane_pid);
    kill(before.control_plane_pid, Signal::KILL);
    let after =
        instance.until("a new control plane answers", |s| s.control_plane_pid != before.control_plane_pid);
    assert_eq!(pids(&after), pids(&before));
    let mut now = instance.processes();
    now.retain(|pid| *pid != after.control_plane_pid);
    assert_eq!(now, processes, "the same processes and no others");
    disk.end_web();
    disk.make_room();
    instance.assert_no_zombies();
    instance.down();
}

/// Writes over the second half of what a journal's first segment holds.
fn scribble(journal: &Path) {
    let (mut file, used) = segment(journal);
    file.seek(SeekFrom::Start(used / 2)).unwrap();
    file.write_all(&vec![0xA5; (used - used / 2) as usize]).unwrap();
}

/// A journal's first segment, and how much of it has been written: behind that are zeros.
fn segment(journal: &Path) -> (File, u64) {
    let path = journal.join("segment-00000000000000000001");
    let used = std::fs::read(&path).unwrap().iter().rposition(|byte| *byte != 0).unwrap();
    (File::options().write(true).open(path).unwrap(), used as u64)
}

#[test]
fn with_a_damaged_journal_of_the_control_plane_it_boots_and_says_so() {
    let cut: fn(&Path) = |path| {
        let (file, used) = segment(path);
        file.set_len(used / 2).unwrap();
    };
    let replace: fn(&Path) = |path| {
        std::fs::remove_dir_all(path).unwrap();
        std::fs::write(path, "not a journal at all").unwrap();
    };
    for (damage, apply) in
        [("scribbled over", scribble as fn(&Path)), ("cut short", cut), ("replaced", replace)]
    {
        let instance = Instance::of("  web: {command: [PUPPET, wait]}\n");
        instance.up();
        instance.down();
        apply(&instance.place().journal("control_plane"));
        instance.up();
        let said = |w: &String| w.contains("was damaged") && w.contains("control_plane.damaged-");
        let status = instance.until(damage, |s| s.warnings.iter().any(said));
        assert!(status.components.iter().all(|c| c.ready), "{damage}: {status:#?}");
        // What matters still works.
        let before = component(&status, "web").pid;
        kill(before.unwrap(), Signal::KILL);
        instance.until_component("web", "was restarted", |c| c.ready && c.pid != before);
        kill(status.control_plane_pid, Signal::KILL);
        let after = instance
            .until("a new control plane answers", |s| s.control_plane_pid != status.control_plane_pid);
        assert_eq!(component(&after, "web").restarts, 1, "{damage}: a new journal holds what was decided");
        instance.down();
        let journals = std::fs::read_dir(instance.place().journals()).unwrap();
        let aside =
            journals.filter(|e| e.as_ref().unwrap().file_name().to_string_lossy().contains(".damaged-"));
        assert!(aside.count() > 0, "{damage}: the damaged journal is kept");
    }
}

#[test]
fn a_kernel_whose_journal_is_damaged_says_so_and_the_rest_runs_on() {
    let instance = Instance::of("  web: {command: [PUPPET, wait]}\n");
    instance.up();
    instance.down();
    scribble(&instance.place().journal("health_monitor"));
    // It is critical, so it is never given up on: the emergency protocol goes on, more slowly each round.
    let ran = instance.try_up(&["--timeout", "10"]);
    assert_eq!(ran.code, Some(1), "{ran}");
    instance.until("an emergency is declared", |s| s.state == InstanceState::Emergency);
    assert!(!instance.component("health_monitor").ready);
    let said = instance.printed("health_monitor").join("\n");
    assert!(
        said.contains("health_monitor.journal") && ran.out.contains("health_monitor.journal"),
        "{said}\n{ran}"
    );
    assert!(instance.component("web").ready && instance.component("message_bus").ready);
    instance.down();
}
