//! The subject mappings on disk, so that a broker that was restarted sends a canary's share where its predecessor did.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use grace_bus::mapping::SubjectMapping;

use crate::instance::Instance;

/// Where they are kept. The folder is emptied when the instance ends: mappings last as long as the boot that made them.
pub(super) fn path(instance: &Instance) -> PathBuf {
    instance.run().join("bus-mappings.json")
}

/// The mappings that were stored last; none if none were.
pub(super) fn load(path: &Path) -> io::Result<Vec<SubjectMapping>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes)?),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) => Err(e),
    }
}

/// Stores them: when this returns, file and folder are synced, and a crash leaves either the old set or the new one.
pub(super) fn store(path: &Path, mappings: &[SubjectMapping]) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(&serde_json::to_vec(mappings)?)?;
    file.sync_all()?;
    std::fs::rename(&new, path)?;
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use grace_bus::mapping::Destination;

    use super::*;

    #[test]
    fn what_was_stored_is_loaded_and_damage_is_not_taken_for_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bus-mappings.json");
        assert_eq!(load(&path).unwrap(), []);
        let destinations = vec![Destination { subject: "new".into(), weight: 10 }];
        let set = vec![SubjectMapping { source: "old".into(), destinations }];
        store(&path, &set).unwrap();
        store(&path, &set).unwrap();
        assert_eq!(load(&path).unwrap(), set);
        std::fs::write(&path, "[{").unwrap();
        assert!(load(&path).is_err());
    }
}
