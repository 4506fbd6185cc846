//! What a sink holds: each source's records in order, as files that the sink of the tests writes.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions, read_dir},
    io::Write as _,
    path::{Path, PathBuf},
};

use grace_kernel::evidence::{
    Sink,
    wire::{Batch, Position},
};
use grace_types::evidence::Source;

/// Records by source, the first of each at index 0.
pub(crate) type Held = BTreeMap<Source, Vec<Vec<u8>>>;

const LENGTH: usize = 4;

fn folder(data: &Path, sink: Sink) -> PathBuf {
    data.join(format!("held-{}", sink.name()))
}

/// The sink's side.
pub(crate) struct Holding {
    folder: PathBuf,
    files: BTreeMap<Source, (File, u64)>,
}

impl Holding {
    /// What was held before; a record that was cut off in the middle was never acknowledged and is cut away.
    pub(crate) fn open(data: &Path, sink: Sink) -> Self {
        let folder = folder(data, sink);
        std::fs::create_dir_all(&folder).unwrap();
        let mut files = BTreeMap::new();
        for (source, path) in sources(&folder) {
            let bytes = std::fs::read(&path).unwrap();
            let records = split(&bytes);
            let whole: usize = records.iter().map(|record| LENGTH + record.len()).sum();
            let file = OpenOptions::new().append(true).open(&path).unwrap();
            file.set_len(whole as u64).unwrap();
            files.insert(source, (file, records.len() as u64 + 1));
        }
        Self { folder, files }
    }

    /// Writes what is new, and says what is needed next when it is synced.
    pub(crate) fn take(&mut self, batch: &Batch) -> Position {
        let (file, next) = self.files.entry(batch.source.clone()).or_insert_with(|| {
            let path = self.folder.join(batch.source.to_string());
            (OpenOptions::new().append(true).create(true).open(path).unwrap(), 1)
        });
        let mut new = Vec::new();
        for (sequence, record) in batch.records() {
            if sequence == *next {
                *next += 1;
                new.extend_from_slice(&u32::try_from(record.len()).unwrap().to_le_bytes());
                new.extend_from_slice(record);
            }
        }
        file.write_all(&new).unwrap();
        file.sync_data().unwrap();
        Position::new(*next)
    }
}

fn sources(folder: &Path) -> Vec<(Source, PathBuf)> {
    let files = read_dir(folder).unwrap().map(|file| file.unwrap().path());
    files
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            let (component, journal) = name.split_once('@').unwrap();
            (Source::new(component, journal.parse().unwrap()).unwrap(), path)
        })
        .collect()
}

fn split(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<LENGTH>() {
        let Some(record) = rest.get(..u32::from_le_bytes(*length) as usize) else { break };
        records.push(record.to_vec());
        bytes = &rest[record.len()..];
    }
    records
}

/// What the sink of the tests holds.
pub(crate) fn held(data: &Path, sink: Sink) -> Held {
    let read = |path: PathBuf| split(&std::fs::read(path).unwrap());
    sources(&folder(data, sink)).into_iter().map(|(source, path)| (source, read(path))).collect()
}
