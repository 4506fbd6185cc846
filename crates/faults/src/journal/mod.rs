//! The record that makes a fault's undo survive the injector: `DATA/faults/<id>.json`.
//!
//! It is written and synced, file and folder, before the fault begins, and holds all that is needed to undo it; it is removed,
//! synced, when nothing of the fault is left. The file is written under another name and renamed into its place, so a fault whose
//! record is incomplete has not begun.
//!
//! The folder is 0700 and usually absent; the files are 0600.

mod sweep;

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use grace_types::{id::FaultId, time::Now};
use serde::{Deserialize, Serialize};

pub(crate) use self::sweep::unmute;
pub use self::sweep::{Swept, SweptFault, Unreadable, WhySwept, sweep};
use crate::{order::FaultOrder, process};

/// The folder of records of the instance whose data lie in `data`.
#[must_use]
pub fn folder(data: &Path) -> PathBuf {
    data.join("faults")
}

/// All that is needed to undo a fault without its injector.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// What was ordered.
    pub order: FaultOrder,
    /// When it ends at the latest: by the calendar for people, by monotonic time for the sweep.
    pub deadline: Now,
    /// Who holds the deadline.
    pub injector: Holder,
    /// The boot of the machine in which all this means something.
    pub machine_boot: String,
}

/// The process that holds a fault's deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Holder {
    /// Its process id.
    pub pid: u32,
    /// Its start time in clock ticks since the machine booted.
    pub start_ticks: u64,
}

/// An injector's hold on the folder.
#[derive(Debug)]
pub struct Journal {
    folder: PathBuf,
    holder: Holder,
    machine_boot: String,
}

impl Journal {
    /// For faults whose deadlines this process holds. Touches nothing yet.
    ///
    /// # Errors
    /// There is no `/proc`.
    pub fn of(data: &Path) -> io::Result<Self> {
        let pid = std::process::id();
        let start_ticks = process::start_ticks(pid).ok_or(io::ErrorKind::NotFound)?;
        Ok(Self {
            folder: folder(data),
            holder: Holder { pid, start_ticks },
            machine_boot: process::machine_boot()?,
        })
    }

    /// Writes a fault's record. When this returns, it survives a crash of the machine.
    ///
    /// # Errors
    /// The disk, or there is such a record already. Nothing is left then.
    pub fn write(&self, order: &FaultOrder, deadline: Now) -> io::Result<()> {
        let record = Record {
            order: order.clone(),
            deadline,
            injector: self.holder,
            machine_boot: self.machine_boot.clone(),
        };
        self.make_folder()?;
        let (path, part) = (self.path(order.id), self.part(order.id));
        if path.exists() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let write = || {
            let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&part)?;
            file.write_all(&serde_json::to_vec(&record)?)?;
            file.sync_all()?;
            fs::rename(&part, &path)?;
            self.sync()
        };
        write().inspect_err(|_: &io::Error| {
            let _ = fs::remove_file(&part);
            let _ = fs::remove_file(&path);
        })
    }

    /// Removes a fault's record. That there is none is no error.
    ///
    /// # Errors
    /// The disk. The sweep finds it later.
    pub fn remove(&self, id: FaultId) -> io::Result<()> {
        remove(&self.folder, &self.path(id))
    }

    fn make_folder(&self) -> io::Result<()> {
        match DirBuilder::new().mode(0o700).create(&self.folder) {
            Ok(()) => File::open(self.folder.parent().unwrap_or(Path::new("/")))?.sync_all(),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(e) => Err(e),
        }
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.folder)?.sync_all()
    }

    fn path(&self, id: FaultId) -> PathBuf {
        self.folder.join(format!("{id}.json"))
    }

    /// The name says who writes it, so that the sweep can tell one that is left over from one under way.
    fn part(&self, id: FaultId) -> PathBuf {
        let Holder { pid, start_ticks } = self.holder;
        self.folder.join(format!("{id}.{pid}.{start_ticks}.part"))
    }
}

fn remove(folder: &Path, path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Ok(()) => File::open(folder)?.sync_all(),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests;
