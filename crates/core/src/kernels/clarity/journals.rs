//! The journals that lie in an instance's folder: `NAME.journal`, and `NAME.damaged-<milliseconds>.journal`, which were set aside.

use std::{io, path::Path};

use grace_store::{
    JournalReader, StoreError,
    file::{EXTENSION, FileReader},
    narrative::Journals,
};
use grace_types::evidence::Source;

use super::limits;

/// What was found.
pub struct Found<'a> {
    /// Those that can be read.
    pub journals: Journals<'a>,
    /// Those that cannot, with the reason.
    pub unreadable: Vec<StoreError>,
}

/// Opens every journal in `folder`. `step` is called before each reading, as a sign that it goes on.
///
/// # Errors
/// The folder cannot be listed. That there is none means no journals.
pub fn open<'a>(folder: &Path, step: &'a (dyn Fn() + Sync)) -> io::Result<Found<'a>> {
    let mut found = Found { journals: Vec::new(), unreadable: Vec::new() };
    let listed = match std::fs::read_dir(folder) {
        Ok(listed) => listed,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(found),
        Err(e) => return Err(e),
    };
    let mut paths: Vec<_> = listed.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<_>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == EXTENSION));
    paths.sort();
    for path in paths.into_iter().take(limits::JOURNALS) {
        let Some(stem) = path.file_stem().and_then(|stem| stem.to_str()) else { continue };
        let component = stem.split_once(".damaged-").map_or(stem, |(component, _)| component);
        match FileReader::open(&path) {
            Ok(reader) => {
                if let Some(source) = Source::new(component, reader.id()) {
                    found.journals.push((source, Box::new(Stepping { reader, step })));
                }
            }
            // Begun and not used yet.
            Err(StoreError::Missing { .. }) => {}
            Err(error) => found.unreadable.push(error),
        }
    }
    Ok(found)
}

/// Says that it goes on.
struct Stepping<'a> {
    reader: FileReader,
    step: &'a (dyn Fn() + Sync),
}

impl JournalReader for Stepping<'_> {
    fn id(&self) -> grace_types::evidence::JournalId {
        self.reader.id()
    }

    fn last(&mut self) -> Result<grace_store::Seq, StoreError> {
        self.reader.last()
    }

    fn read(
        &mut self,
        from: grace_store::Seq,
        max_bytes: usize,
        visit: &mut dyn FnMut(grace_store::Record<'_>) -> std::ops::ControlFlow<()>,
    ) -> Result<(), StoreError> {
        (self.step)();
        self.reader.read(from, max_bytes, visit)
    }
}
