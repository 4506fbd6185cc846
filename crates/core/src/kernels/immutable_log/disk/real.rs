//! The disk itself, and a log's folder for readers.

use std::{
    borrow::Cow,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use grace_log::{append::Write, files::Files};

use super::{
    Disk, Durable, InPlace,
    sync::{self, FileSystem, MANY},
};

/// Files of one store at a time that are synced one by one: each is open until it is. Far below the usual limit of 1,024 open files.
const OPEN_AT_ONCE: usize = 256;

/// Files under one folder.
#[derive(Debug, Clone)]
pub struct RealDisk {
    root: PathBuf,
    /// Held for as long as a clone of this is there.
    lock: Option<Arc<File>>,
    system: Arc<FileSystem>,
}

impl RealDisk {
    /// The files under `root`, which exists.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), lock: None, system: Arc::default() }
    }

    /// The same for one process alone: `None` if another one holds the lock, the file at `path`.
    ///
    /// # Errors
    /// The file cannot be made or locked.
    pub fn lock(mut self, path: &str) -> io::Result<Option<Self>> {
        let file = self.create(path)?;
        match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => self.lock = Some(Arc::new(file)),
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        }
        Ok(Some(self))
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    fn create(&self, path: &str) -> io::Result<File> {
        let path = self.path(path);
        let open =
            || OpenOptions::new().create(true).truncate(true).read(true).write(true).mode(0o600).open(&path);
        match (open(), path.parent()) {
            (Err(e), Some(folder)) if e.kind() == io::ErrorKind::NotFound => {
                DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
                open()
            }
            (opened, _) => opened,
        }
    }
}

impl Disk for RealDisk {
    fn read(&self, path: &str, limit: usize) -> io::Result<Option<Vec<u8>>> {
        read(&self.path(path), limit)
    }

    fn names(&self, folder: &str) -> io::Result<Vec<String>> {
        let listed = match fs::read_dir(self.path(folder)) {
            Ok(listed) => listed,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(e),
        };
        listed.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn write(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        self.create(path)?.write_all(bytes)
    }

    fn sync(&self, path: &str) -> io::Result<()> {
        File::open(self.path(path))?.sync_all()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let (from, to) = (self.path(from), self.path(to));
        match (fs::rename(&from, &to), to.parent()) {
            (Err(e), Some(folder)) if e.kind() == io::ErrorKind::NotFound => {
                DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
                fs::rename(&from, &to)
            }
            (done, _) => done,
        }
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        missing_is_fine(fs::remove_file(self.path(path)))
    }

    fn remove_folder(&self, folder: &str) -> io::Result<()> {
        missing_is_fine(fs::remove_dir_all(self.path(folder)))
    }

    fn open(&self, path: &str) -> io::Result<Box<dyn InPlace>> {
        let path = self.path(path);
        if let Some(folder) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        let file =
            OpenOptions::new().create(true).truncate(false).read(true).write(true).mode(0o600).open(path)?;
        Ok(Box::new(RealFile(file)))
    }

    /// All are written before the first is synced: then one commit of the file system carries most of them.
    fn store(&self, folder: &str, writes: &[Write], step: &dyn Fn()) -> io::Result<Durable> {
        if let Some(handle) = self.system.of(&self.root).filter(|_| writes.len() >= MANY) {
            for write in writes {
                self.write(&format!("{folder}/{}", write.path), &write.bytes)?;
                step();
            }
            sync::everything(handle, step)?;
            return Ok(Durable::BytesAndNames);
        }
        for some in writes.chunks(OPEN_AT_ONCE) {
            let mut files = Vec::with_capacity(some.len());
            for write in some {
                let mut file = self.create(&format!("{folder}/{}", write.path))?;
                file.write_all(&write.bytes)?;
                files.push(file);
                step();
            }
            sync::each(&files)?;
            step();
        }
        Ok(Durable::Bytes)
    }
}

fn missing_is_fine(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

fn read(path: &Path, limit: usize) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    let mut bytes = Vec::new();
    file.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

struct RealFile(File);

impl InPlace for RealFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, offset: u64, mut bytes: &mut [u8]) -> io::Result<usize> {
        let (all, mut at) = (bytes.len(), offset);
        while !bytes.is_empty() {
            match self.0.read_at(bytes, at) {
                Ok(0) => break,
                Ok(n) => {
                    at += n as u64;
                    bytes = &mut bytes[n..];
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(all - bytes.len())
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }
}

/// The folder of a log, for whoever reads or verifies it. It only reads, so it may be used while the kernel writes: what a
/// checkpoint names stays as it is.
#[derive(Debug, Clone)]
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// The log in `path`.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }
}

impl Files for Folder {
    fn read(&self, path: &str, limit: usize) -> io::Result<Option<Cow<'_, [u8]>>> {
        Ok(read(&self.path.join(path), limit)?.map(Cow::Owned))
    }

    /// Records that lie beside the log, in `blobs`, are not listed: the tree does not cover them, the entries' digests do.
    fn list(&self) -> io::Result<Vec<String>> {
        let mut found = Vec::new();
        let mut folders = vec![String::new()];
        while let Some(folder) = folders.pop() {
            let listed = match fs::read_dir(self.path.join(&folder)) {
                // Partial tiles go, with their folder, when the full one is there.
                Err(e) if e.kind() == io::ErrorKind::NotFound && !folder.is_empty() => continue,
                listed => listed?,
            };
            for entry in listed {
                let entry = entry?;
                let name = entry.file_name().to_string_lossy().into_owned();
                let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
                match entry.file_type()? {
                    kind if !kind.is_dir() => found.push(path),
                    _ if path == super::super::BLOBS => {}
                    _ => folders.push(path),
                }
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicBool, Ordering},
        thread,
    };

    use super::*;

    /// The kernel removes folders of partial tiles while others read.
    #[test]
    fn a_folder_that_goes_while_it_is_listed_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let partials: Vec<_> = (0..200).map(|n| folder.path().join(format!("tile/0/{n:03}.p"))).collect();
        let make = |partial: &PathBuf| fs::create_dir_all(partial).unwrap();
        partials.iter().for_each(make);
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    for partial in &partials {
                        fs::remove_dir_all(partial).unwrap();
                        make(partial);
                    }
                }
            });
            let listed: io::Result<Vec<_>> = (0..300).map(|_| Folder::at(folder.path()).list()).collect();
            done.store(true, Ordering::Relaxed);
            assert_eq!(listed.unwrap().concat(), Vec::<String>::new());
        });
        assert!(Folder::at(folder.path().join("none")).list().is_err());
    }
}
