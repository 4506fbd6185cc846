//! A wall clock that a test sets and real processes read, while their monotonic clock is the machine's: libfaketime, which stands between
//! a program and the C library.
//!
//! Only who is started with it by a test reads it. The control plane gives its children no such variable.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use grace_types::time::{Clock as _, SystemClock, Timestamp};

/// See the module's page.
pub(crate) struct SetClock {
    library: PathBuf,
    /// How far it is from the machine's clock.
    offset: PathBuf,
}

impl SetClock {
    /// One that is right; its file lies in `folder`.
    pub(crate) fn new(folder: &Path) -> Self {
        let places = fs::read_dir("/usr/lib").unwrap().map(|entry| entry.unwrap().path());
        let mut libraries = places.map(|place| place.join("faketime/libfaketimeMT.so.1"));
        let library = libraries.find(|library| library.exists());
        let library = library.expect("libfaketime is missing: apt-get install libfaketime");
        let clock = Self { library, offset: folder.join("clock") };
        clock.set_ahead(0);
        clock
    }

    /// The same clock, to be set from elsewhere.
    pub(crate) fn same(&self) -> Self {
        Self { library: self.library.clone(), offset: self.offset.clone() }
    }

    /// Sets it so many seconds ahead of the machine's clock, or behind.
    pub(crate) fn set_ahead(&self, seconds: i64) {
        // Nobody reads half of it.
        let fresh = self.offset.with_extension("new");
        fs::write(&fresh, format!("{seconds:+}\n")).unwrap();
        fs::rename(fresh, &self.offset).unwrap();
    }

    /// Sets it to this time, to the second.
    pub(crate) fn set(&self, to: Timestamp) {
        let seconds = |at: Timestamp| i64::try_from(at.as_millis() / 1000).unwrap();
        self.set_ahead(seconds(to) - seconds(SystemClock.now().wall));
    }

    /// Lets a program read it.
    pub(crate) fn give_to(&self, command: &mut Command) {
        command
            .env("LD_PRELOAD", &self.library)
            .env("FAKETIME_TIMESTAMP_FILE", &self.offset)
            .env("FAKETIME_NO_CACHE", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .env("NO_FAKE_STAT", "1");
    }

    /// Removes what the library leaves behind of a process that was killed.
    pub(crate) fn left_by(pid: u32) {
        for left in [format!("faketime_shm_{pid}"), format!("sem.faketime_sem_{pid}")] {
            let _ = fs::remove_file(Path::new("/dev/shm").join(left));
        }
    }
}

/// So far, as the machine's monotonic clock says.
pub(crate) struct Watch(grace_types::time::Monotonic);

impl Watch {
    pub(crate) fn start() -> Self {
        Self(SystemClock.now().mono)
    }

    pub(crate) fn passed(&self) -> Duration {
        SystemClock.now().mono.since(self.0)
    }
}
