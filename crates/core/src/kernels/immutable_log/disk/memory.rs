//! A disk in memory that crashes when it is told to, and then loses what was not synced: file contents by sectors, names one by
//! one, folders with all that is in them.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::{Arc, Mutex, MutexGuard},
};

use grace_log::append::Write;
use grace_types::chance::{Entropy as _, SeededEntropy};

use super::{Disk, Durable, InPlace, parent};

const SECTOR: usize = 512;

/// What a crash makes of what was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    /// All of it is gone.
    All,
    /// All of it is there, the operation that was cut off by half.
    None,
    /// Of each sector and each name either the old or the new.
    Mixed(u64),
}

#[derive(Debug, Clone, Default)]
struct Node {
    durable: Vec<u8>,
    current: Vec<u8>,
}

#[derive(Debug, Default)]
struct State {
    nodes: Vec<Node>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    folders: BTreeSet<String>,
    durable_folders: BTreeSet<String>,
    operations: u64,
    crash_at: Option<u64>,
    /// Bytes that may still be written.
    room: Option<usize>,
    /// Files below it cannot be made.
    sealed_off: Option<String>,
}

/// See the module's page. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct MemoryDisk(Arc<Mutex<State>>);

impl MemoryDisk {
    /// Crashes at the operation of this number, from 0, counted from now.
    pub(crate) fn crash_at(&self, operation: u64) {
        let mut state = self.state();
        state.operations = 0;
        state.crash_at = Some(operation);
    }

    /// Whether it has crashed.
    pub(crate) fn has_crashed(&self) -> bool {
        let state = self.state();
        state.crash_at.is_some_and(|at| state.operations > at)
    }

    /// Has room for so many bytes, or for any number.
    pub(crate) fn room(&self, bytes: Option<usize>) {
        self.state().room = bytes;
    }

    /// No file whose path begins so can be written anew; `None` ends that.
    pub(crate) fn seal_off(&self, prefix: Option<&str>) {
        self.state().sealed_off = prefix.map(str::to_owned);
    }

    /// Every file with its bytes.
    pub(crate) fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let state = self.state();
        state.names.iter().map(|(path, node)| (path.clone(), state.nodes[*node].current.clone())).collect()
    }

    /// Puts bytes in a file's place, durably; removes it for `None`.
    pub(crate) fn put(&self, path: &str, bytes: Option<Vec<u8>>) {
        let mut state = self.state();
        state.names.remove(path);
        state.durable_names.remove(path);
        if let Some(bytes) = bytes {
            state.make_folders(path);
            state.nodes.push(Node { durable: bytes.clone(), current: bytes });
            let node = state.nodes.len() - 1;
            state.names.insert(path.to_owned(), node);
            state.durable_names.insert(path.to_owned(), node);
            state.durable_folders = state.folders.clone();
        }
    }

    /// The disk as it is found after the crash.
    pub(crate) fn after(&self, loss: Loss) -> Self {
        let state = self.state();
        let mut chance = SeededEntropy::new(if let Loss::Mixed(seed) = loss { seed } else { 0 });
        let mut newer = || match loss {
            Loss::All => false,
            Loss::None => true,
            Loss::Mixed(_) => chance.below(2) == 0,
        };
        let nodes: Vec<Vec<u8>> = state.nodes.iter().map(|node| node.after(&mut newer)).collect();
        let kept = |folder: &String, newer: &mut dyn FnMut() -> bool| {
            state.durable_folders.contains(folder) || newer()
        };
        let folders: BTreeSet<String> =
            state.folders.iter().filter(|folder| kept(folder, &mut newer)).cloned().collect();
        let paths: BTreeSet<&String> = state.names.keys().chain(state.durable_names.keys()).collect();
        let found = Self::default();
        for path in paths {
            let (now, before) = (state.names.get(path), state.durable_names.get(path));
            let node = if now == before || newer() { now } else { before };
            let mut folder = parent(path);
            let mut reachable = true;
            while !folder.is_empty() {
                reachable &= folders.contains(folder);
                folder = parent(folder);
            }
            if let (Some(node), true) = (node, reachable) {
                found.put(path, Some(nodes[*node].clone()));
            }
        }
        found
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// One operation. `None` while it works; otherwise whether it is the one that is cut off.
    fn operation(&self) -> (MutexGuard<'_, State>, Option<bool>) {
        let mut state = self.state();
        let at = state.operations;
        state.operations += 1;
        let crashed = state.crash_at.filter(|crash| at >= *crash).map(|crash| at == crash);
        (state, crashed)
    }
}

fn crashed() -> io::Error {
    io::Error::other("the machine has crashed")
}

impl Node {
    fn after(&self, newer: &mut impl FnMut() -> bool) -> Vec<u8> {
        if self.durable == self.current {
            return self.current.clone();
        }
        let length = if newer() { self.current.len() } else { self.durable.len() };
        let mut bytes = vec![0; length];
        for (at, sector) in bytes.chunks_mut(SECTOR).enumerate() {
            let from = if newer() { &self.current } else { &self.durable };
            let from = from.get(at * SECTOR..).unwrap_or_default();
            let length = sector.len().min(from.len());
            sector[..length].copy_from_slice(&from[..length]);
        }
        bytes
    }
}

impl State {
    fn make_folders(&mut self, path: &str) {
        let mut folder = parent(path);
        while !folder.is_empty() && self.folders.insert(folder.to_owned()) {
            folder = parent(folder);
        }
    }

    fn take_room(&mut self, bytes: usize) -> io::Result<()> {
        match &mut self.room {
            Some(room) if *room < bytes => Err(io::ErrorKind::StorageFull.into()),
            Some(room) => {
                *room -= bytes;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

impl Disk for MemoryDisk {
    fn read(&self, path: &str, _limit: usize) -> io::Result<Option<Vec<u8>>> {
        let state = self.state();
        Ok(state.names.get(path).map(|node| state.nodes[*node].current.clone()))
    }

    fn names(&self, folder: &str) -> io::Result<Vec<String>> {
        let state = self.state();
        let children = state.names.keys().chain(&state.folders).filter(|path| parent(path) == folder);
        Ok(children.map(|path| path.rsplit('/').next().unwrap_or_default().to_owned()).collect())
    }

    fn write(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        let (mut state, crash) = self.operation();
        let written = match crash {
            None => bytes,
            Some(true) => &bytes[..bytes.len() / 2],
            Some(false) => return Err(crashed()),
        };
        if state.sealed_off.as_ref().is_some_and(|prefix| path.starts_with(prefix)) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        state.take_room(bytes.len())?;
        state.make_folders(path);
        match state.names.get(path).copied() {
            // Truncated in place: what was synced may still be found after a crash.
            Some(node) => state.nodes[node].current = written.to_vec(),
            None => {
                state.nodes.push(Node { durable: Vec::new(), current: written.to_vec() });
                let node = state.nodes.len() - 1;
                state.names.insert(path.to_owned(), node);
            }
        }
        if crash.is_some() { Err(crashed()) } else { Ok(()) }
    }

    fn sync(&self, path: &str) -> io::Result<()> {
        let (mut guard, crash) = self.operation();
        if crash.is_some() {
            return Err(crashed());
        }
        let state = &mut *guard;
        if let Some(node) = state.names.get(path) {
            let node = &mut state.nodes[*node];
            node.durable = node.current.clone();
            return Ok(());
        }
        if !path.is_empty() && !state.folders.contains(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let inside = |name: &String| parent(name) == path;
        state.durable_names.retain(|name, _| !inside(name));
        let names = state.names.iter().filter(|(name, _)| inside(name));
        state.durable_names.extend(names.map(|(name, node)| (name.clone(), *node)));
        state.durable_folders.retain(|name| !inside(name));
        state.durable_folders.extend(state.folders.iter().filter(|name| inside(name)).cloned());
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let (mut state, crash) = self.operation();
        if crash.is_some() {
            return Err(crashed());
        }
        state.make_folders(to);
        let node = state.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.names.insert(to.to_owned(), node);
        Ok(())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let (mut state, crash) = self.operation();
        if crash.is_some() {
            return Err(crashed());
        }
        state.names.remove(path);
        Ok(())
    }

    fn remove_folder(&self, folder: &str) -> io::Result<()> {
        let (mut state, crash) = self.operation();
        let inside = |path: &String| parent(path) == folder;
        match crash {
            None => {
                state.names.retain(|path, _| !inside(path));
                state.folders.remove(folder);
                Ok(())
            }
            Some(cut_off) => {
                // One file is gone, the others are not.
                if let Some(first) = state.names.keys().find(|path| inside(path)).filter(|_| cut_off).cloned()
                {
                    state.names.remove(&first);
                }
                Err(crashed())
            }
        }
    }

    /// In turns as a disk does that can sync all at once, and one by one.
    fn store(&self, folder: &str, writes: &[Write], step: &dyn Fn()) -> io::Result<Durable> {
        let at_once = writes.len().is_multiple_of(2);
        for write in writes {
            let path = format!("{folder}/{}", write.path);
            self.write(&path, &write.bytes)?;
            if !at_once {
                self.sync(&path)?;
            }
            step();
        }
        if !at_once {
            return Ok(Durable::Bytes);
        }
        let (mut guard, crash) = self.operation();
        if crash.is_some() {
            return Err(crashed());
        }
        let state = &mut *guard;
        for node in &mut state.nodes {
            node.durable = node.current.clone();
        }
        state.durable_names = state.names.clone();
        state.durable_folders = state.folders.clone();
        Ok(Durable::BytesAndNames)
    }

    fn open(&self, path: &str) -> io::Result<Box<dyn InPlace>> {
        let (mut state, crash) = self.operation();
        if crash.is_some() {
            return Err(crashed());
        }
        state.make_folders(path);
        if !state.names.contains_key(path) {
            state.nodes.push(Node::default());
            let node = state.nodes.len() - 1;
            state.names.insert(path.to_owned(), node);
        }
        let node = state.names[path];
        drop(state);
        Ok(Box::new(MemoryFile { disk: self.clone(), node }))
    }
}

struct MemoryFile {
    disk: MemoryDisk,
    node: usize,
}

impl InPlace for MemoryFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.disk.state().nodes[self.node].current.len() as u64)
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<usize> {
        let state = self.disk.state();
        let from = state.nodes[self.node].current.get(offset as usize..).unwrap_or_default();
        let length = bytes.len().min(from.len());
        bytes[..length].copy_from_slice(&from[..length]);
        Ok(length)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let (mut state, crash) = self.disk.operation();
        let written = match crash {
            None => bytes,
            Some(true) => {
                // A sector is written whole or not at all.
                let half = (offset as usize + bytes.len() / 2) / SECTOR * SECTOR;
                &bytes[..half.saturating_sub(offset as usize)]
            }
            Some(false) => return Err(crashed()),
        };
        let end = offset as usize + written.len();
        let grows = end.saturating_sub(state.nodes[self.node].current.len());
        state.take_room(grows)?;
        let current = &mut state.nodes[self.node].current;
        current.resize(current.len().max(end), 0);
        current[offset as usize..end].copy_from_slice(written);
        if crash.is_some() { Err(crashed()) } else { Ok(()) }
    }

    fn sync(&mut self) -> io::Result<()> {
        let (mut state, crash) = self.disk.operation();
        if crash.is_some() {
            return Err(crashed());
        }
        let node = &mut state.nodes[self.node];
        node.durable = node.current.clone();
        Ok(())
    }
}
