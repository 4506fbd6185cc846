//! Undoing what an injector that died, or is late, left behind.
//!
//! One sweep looks once at each record and never waits for a process: what is not proved to be over stays for the next sweep.
//! It may run beside a living injector; undoing twice does no harm.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use grace_types::{
    id::FaultId,
    time::{Monotonic, Now},
};
use serde_json::error::Category;

use super::{Holder, Record, remove};
use crate::{
    life_line::{LifeLine, LifeLineState},
    limits,
    order::{Fault, ProcessTarget},
    process::{self, Process},
    report::UndoProof,
};

/// What a sweep did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Swept {
    /// Faults of which nothing is left now; their records are gone.
    pub undone: Vec<SweptFault>,
    /// Faults that should be over and are not proved to be, and why. The next sweep tries again.
    pub not_yet: Vec<(FaultId, String)>,
    /// Files that are no record that this version understands.
    pub unreadable: Vec<Unreadable>,
}

/// A fault that a sweep undid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SweptFault {
    /// Which.
    pub id: FaultId,
    /// What it was.
    pub fault: Fault,
    /// Why its injector did not do it.
    pub why: WhySwept,
    /// What proves that nothing is left of it.
    pub proof: UndoProof,
}

/// Why a fault was swept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhySwept {
    /// Its injector has ended.
    InjectorGone,
    /// Its deadline has passed and its injector has not undone it.
    Overdue,
    /// The machine was started anew since.
    Rebooted,
}

/// A file in the folder that is no record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// Which.
    pub path: PathBuf,
    /// What is wrong with it.
    pub detail: String,
    /// Whether it was removed: it is no JSON, so the fault that it was to record never began. A record of a form that this
    /// version does not know stays, since its fault may have.
    pub removed: bool,
}

impl std::fmt::Display for WhySwept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::InjectorGone => "its injector has ended",
            Self::Overdue => "its deadline has passed and its injector has not undone it",
            Self::Rebooted => "the machine was started anew since",
        })
    }
}

/// Undoes every fault in `folder` (see [`super::folder`]) whose deadline has passed or whose injector has ended. Looks at no more
/// than [`limits::SWEEP_FILES`] files. That there is no folder is no error.
///
/// # Errors
/// The folder or `/proc` cannot be read.
pub fn sweep(folder: &Path, now: Now, life_line: &mut dyn LifeLine) -> io::Result<Swept> {
    let mut swept = Swept::default();
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(swept),
        Err(e) => return Err(e),
    };
    let machine_boot = process::machine_boot()?;
    for entry in entries.take(limits::SWEEP_FILES) {
        let path = entry?.path();
        match path.extension().and_then(OsStr::to_str) {
            Some("json") => look_at(folder, &path, now, &machine_boot, life_line, &mut swept),
            Some("part") => remove_left_over(folder, &path),
            // Not ours.
            _ => {}
        }
    }
    Ok(swept)
}

fn look_at(
    folder: &Path,
    path: &Path,
    now: Now,
    machine_boot: &str,
    life_line: &mut dyn LifeLine,
    swept: &mut Swept,
) {
    let record = match read(path) {
        Ok(record) => record,
        // Its injector removed it meanwhile.
        Err(Wrong { detail: None, .. }) => return,
        Err(Wrong { detail: Some(detail), torn }) => {
            let removed = torn && remove(folder, path).is_ok();
            return swept.unreadable.push(Unreadable { path: path.to_owned(), detail, removed });
        }
    };
    let Some(why) = due(&record, now.mono, machine_boot) else { return };
    let id = record.order.id;
    match undo(&record.order.fault, why, life_line) {
        Ok(Some(proof)) => match remove(folder, path) {
            Ok(()) => swept.undone.push(SweptFault { id, fault: record.order.fault, why, proof }),
            Err(error) => swept.not_yet.push((id, format!("its record cannot be removed: {error}"))),
        },
        Ok(None) => swept.not_yet.push((id, "it is not over yet".to_owned())),
        Err(detail) => swept.not_yet.push((id, detail)),
    }
}

/// Why a record could not be read; `detail` is none when it is gone.
struct Wrong {
    detail: Option<String>,
    torn: bool,
}

fn read(path: &Path) -> Result<Record, Wrong> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(limits::RECORD_BYTES).read_to_end(&mut bytes));
    match read {
        Ok(_) => serde_json::from_slice(&bytes).map_err(|e| Wrong {
            torn: e.classify() != Category::Data && (bytes.len() as u64) < limits::RECORD_BYTES,
            detail: Some(e.to_string()),
        }),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Err(Wrong { detail: None, torn: false }),
        Err(e) => Err(Wrong { detail: Some(e.to_string()), torn: false }),
    }
}

/// Why a fault must be undone by others than its injector, if it must.
fn due(record: &Record, now: Monotonic, machine_boot: &str) -> Option<WhySwept> {
    let Holder { pid, start_ticks } = record.injector;
    if record.machine_boot != machine_boot {
        Some(WhySwept::Rebooted)
    } else if matches!(process::runs(pid, start_ticks), Ok(false)) {
        Some(WhySwept::InjectorGone)
    } else {
        (record.deadline.mono.plus(limits::SWEEP_GRACE) <= now).then_some(WhySwept::Overdue)
    }
}

fn undo(fault: &Fault, why: WhySwept, life_line: &mut dyn LifeLine) -> Result<Option<UndoProof>, String> {
    if why == WhySwept::Rebooted {
        return Ok(Some(UndoProof::Rebooted));
    }
    let text = |e: io::Error| e.to_string();
    let Some(process) = Process::of(fault.target()).map_err(text)? else { return Ok(Some(UndoProof::Gone)) };
    match fault {
        // Killed, or its injector died before it could kill: there is nothing to take back.
        Fault::Kill { .. } => Ok(process.state().map(|state| UndoProof::Running { state })),
        Fault::Stop { .. } => process.go_on().map_err(text),
        Fault::Mute { target } => unmute(target, life_line),
    }
}

/// Lets a process be heard again, and looks whether it is.
pub(crate) fn unmute(
    target: &ProcessTarget,
    life_line: &mut dyn LifeLine,
) -> Result<Option<UndoProof>, String> {
    life_line.unmute(target)?;
    Ok(match life_line.state(target)? {
        LifeLineState::Gone => Some(UndoProof::Gone),
        LifeLineState::Open => Some(UndoProof::Heard),
        LifeLineState::Muted { .. } => None,
    })
}

/// An unfinished record whose writer has ended.
fn remove_left_over(folder: &Path, path: &Path) {
    let writer = || {
        let mut words = path.file_stem()?.to_str()?.rsplit('.');
        let start_ticks = words.next()?.parse().ok()?;
        Some((words.next()?.parse().ok()?, start_ticks))
    };
    if let Some((pid, start_ticks)) = writer()
        && matches!(process::runs(pid, start_ticks), Ok(false))
    {
        // If it cannot be removed it does no harm.
        let _ = remove(folder, path);
    }
}
