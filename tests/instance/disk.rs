//! A small disk of a test's own, which can be filled.

use std::{
    ffi::CString,
    fs::OpenOptions,
    io::Write as _,
    path::{Path, PathBuf},
};

use rustix::mount::{MountFlags, UnmountFlags, mount, mount_remount, unmount};

/// A file system of the test's own, gone with it.
pub(crate) struct Mount(PathBuf);

impl Mount {
    /// Mounts a small tmpfs; `None`, with a word on it, where this user may not.
    pub(crate) fn tmpfs(at: &Path, size: &str) -> Option<Self> {
        let options = CString::new(format!("size={size}")).unwrap();
        match mount("tmpfs", at, "tmpfs", MountFlags::NODEV, options.as_c_str()) {
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

/// Writes into `path` until no more than `left` bytes are free on its disk.
pub(crate) fn fill_but(path: &Path, left: u64) {
    let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
    loop {
        let stat = rustix::fs::fstatvfs(&file).unwrap();
        let free = (stat.f_bavail * stat.f_frsize).saturating_sub(left);
        if free == 0 {
            return;
        }
        file.write_all(&vec![0; usize::try_from(free.min(64 << 10)).unwrap()]).unwrap();
    }
}

/// Writes into `path` until nothing fits any more.
pub(crate) fn fill(path: &Path) {
    let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
    for size in [64 << 10, 4 << 10, 1] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
}
