//! A full disk, and damaged journals: supervision goes on, it is said, and what was acknowledged is there afterwards.

use std::{
    ffi::CStr,
    fs::{File, OpenOptions},
    io::{Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use grace_core::{status::ComponentState, supervisor::Event};
use rustix::{
    mount::{MountFlags, UnmountFlags, mount, mount_remount, unmount},
    process::Signal,
};

use crate::instance::{
    Instance, component,
    durable::{connect, durable_command, settled},
    is, kill,
};

/// A file system of the test's own, gone with it.
pub(crate) struct Mount(PathBuf);

impl Mount {
    /// Mounts a small tmpfs; `None`, with a word on it, where this user may not.
    pub(crate) fn tmpfs(at: &Path, size: &str) -> Option<Self> {
        let options = std::ffi::CString::new(format!("size={size}")).unwrap();
        let options: &CStr = &options;
        match mount("tmpfs", at, "tmpfs", MountFlags::NODEV, options) {
            Ok(()) => Some(Self(at.to_owned())),
            Err(errno) => {
                println!("not tested: only root may mount a file system ({errno})");
                None
            }
        }
    }

    pub(crate) fn read_only(&self) {
        mount_remount(&self.0, MountFlags::RDONLY, c"").unwrap();
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = unmount(&self.0, UnmountFlags::DETACH);
    }
}

/// Writes into `path` until nothing fits any more.
fn fill(path: &Path) {
    let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
    for size in [64 << 10, 4 << 10, 1] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
}

#[test]
fn on_a_full_disk_supervision_goes_on_and_catches_up_when_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let Some(_mount) = Mount::tmpfs(&data, "8m") else { return };
    let instance = Instance::in_folder(
        folder,
        data,
        "
  web: {command: [PUPPET, wait], availability: {intensity: 1000}}
  talker: {command: [PUPPET, count=5]}
",
    );
    instance.up();
    let ballast = instance.data().join("ballast");
    fill(&ballast);
    // Restarts go on; each makes decisions that find no room.
    let mut restarts = 0;
    let full = |instance: &Instance| {
        let warnings = instance.status().warnings;
        let said = |words: &str| warnings.iter().any(|w| w.contains(words));
        said("the journal of the control plane cannot be written") && said("talker")
    };
    while !full(&instance) {
        let web = instance.ready("web");
        // Room that a checkpoint gave back is taken again.
        fill(&ballast);
        kill(web.pid.unwrap(), Signal::KILL);
        let next = instance.until_component("web", "was restarted", |c| c.ready && c.pid != web.pid);
        assert_eq!(next.restarts, web.restarts + 1);
        restarts = next.restarts;
        assert!(restarts < 500, "nothing is said: {:?}", instance.status().warnings);
    }
    // So do orders, which say that they are not on record.
    let ran = instance.grace(&["restart", "web"]);
    assert!(ran.code == Some(0) && ran.out.contains("not on record yet"), "{ran}");
    restarts += 1;
    instance.until_component("web", "was restarted", |c| c.ready && c.restarts == restarts);

    // A command that cannot be made durable is not acknowledged; the same key is, once there is room.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let bus = connect(&instance);
        let mut refused = 0;
        for n in 0..200 {
            let key = format!("full-{n}");
            let mut message = durable_command();
            message.headers.append("Grace-Idempotency-Key", key);
            let answer = bus.request(message, Duration::from_secs(10)).await;
            match answer {
                Ok(answer) if answer.payload.starts_with(b"{\"done\"") => {}
                _ => refused += 1,
            }
            if refused > 3 {
                break;
            }
        }
        assert!(refused > 0, "the fault bit");
        std::fs::remove_file(&ballast).unwrap();
        bus.request_until(durable_command(), "with room", Duration::from_secs(60)).await.unwrap();
    });
    instance
        .until("nothing is wrong any more", |s| s.warnings.iter().all(|w| !w.contains("cannot be written")));
    let lines = instance.printed("talker").len();
    instance.until("output is captured again", |_| instance.printed("talker").len() > lines);
    instance.all_ready();
    instance.down();
    // Every decision is on record.
    let mut numbers: Vec<u64> = instance.journal().entries.iter().map(|e| e.number).collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert!(numbers.iter().zip(1..).all(|(found, n)| *found == n), "{numbers:?}");
    let scheduled = instance.journal().pick(|event| match event {
        Event::RestartScheduled { component, .. } if component == "web" => Some(()),
        _ => None,
    });
    assert_eq!(scheduled.len(), restarts as usize);
    assert!(settled(&instance).contains(&"with room".to_owned()));
}

/// Damages the middle of a file.
fn scribble(path: &Path) {
    let mut file = File::options().write(true).open(path).unwrap();
    let size = file.metadata().unwrap().len();
    file.seek(SeekFrom::Start(size / 2)).unwrap();
    file.write_all(&[0xA5; 4096]).unwrap();
}

#[test]
fn with_a_damaged_journal_of_the_control_plane_it_boots_and_says_so() {
    let damages: [(&str, fn(&Path)); 3] = [
        ("scribbled over", scribble),
        ("cut short", |path| {
            let file = File::options().write(true).open(path).unwrap();
            file.set_len(file.metadata().unwrap().len() / 2).unwrap();
        }),
        ("replaced", |path| std::fs::write(path, "not a journal at all").unwrap()),
    ];
    for (damage, apply) in damages {
        let instance = Instance::of("  web: {command: [PUPPET, wait]}\n");
        instance.up();
        instance.down();
        apply(&instance.place().journal("control_plane"));
        instance.up();
        let status = instance.until(damage, |s| s.warnings.iter().any(|w| w.contains("control_plane.db")));
        assert!(status.components.iter().all(|c| c.ready), "{damage}: {status:#?}");
        // What matters still works.
        let before = component(&status, "web").pid;
        kill(before.unwrap(), Signal::KILL);
        instance.until_component("web", "was restarted", |c| c.ready && c.pid != before);
        kill(status.control_plane_pid, Signal::KILL);
        let after = instance
            .until("a new control plane answers", |s| s.control_plane_pid != status.control_plane_pid);
        assert_eq!(
            component(&after, "web").restarts,
            1,
            "{damage}: the guardian kept what the journal could not"
        );
        instance.down();
    }
}

#[test]
fn a_kernel_whose_journal_is_damaged_says_so_and_the_rest_runs_on() {
    let instance = Instance::of("  web: {command: [PUPPET, wait]}\n");
    instance.up();
    instance.down();
    scribble(&instance.place().journal("health_monitor"));
    let ran = instance.try_up(&[]);
    assert_eq!(ran.code, Some(1), "{ran}");
    let c = instance.until_component("health_monitor", "is given up on", |c| is(c, ComponentState::Degraded));
    assert_eq!(c.restarts, 3);
    let said = instance.printed("health_monitor").join("\n");
    assert!(said.contains("health_monitor.db") && ran.out.contains("health_monitor.db"), "{said}\n{ran}");
    assert!(instance.component("web").ready && instance.component("message_bus").ready);
    instance.down();
}
