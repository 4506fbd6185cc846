//! Files that only their owner may read: keys, and what is kept of tokens.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
};

use grace_log::note::SignerKey;
use grace_types::chance::Entropy;

use crate::limits::KEY_FILE_BYTES;

/// Reads a file; nothing where there is none.
///
/// # Errors
/// It cannot be read, others can read it, or it has more than `most` bytes.
pub fn read(path: &Path, most: u64) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    let mode = file.metadata()?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(io::Error::other(format!("others can read it (mode {mode:03o}): chmod 600")));
    }
    let mut content = Vec::new();
    file.take(most + 1).read_to_end(&mut content)?;
    if content.len() as u64 > most {
        return Err(io::Error::other(format!("it has more than {most} bytes")));
    }
    Ok(Some(content))
}

/// Writes a file, in a folder that is made where there is none. Complete and synced under another name first: after a crash there is what
/// was there before, or the whole of this.
///
/// # Errors
/// What the system says.
pub fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    // What a crash left under that name may be anybody's to read.
    match fs::remove_file(&fresh) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    File::open(folder)?.sync_all()
}

/// The signing key of `name` in a file, made where there is none yet.
///
/// # Errors
/// It cannot be read or written, or what lies there is no key, or another's.
pub fn signer_key(path: &Path, name: &str, entropy: &mut dyn Entropy) -> io::Result<SignerKey> {
    let damaged =
        |what: String| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {what}", path.display()));
    let named = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", path.display()));
    let Some(text) = read(path, KEY_FILE_BYTES).map_err(named)? else {
        let key = SignerKey::generate(name, entropy).map_err(|e| damaged(e.to_string()))?;
        write(path, format!("{}\n", key.to_secret_text()).as_bytes()).map_err(named)?;
        return Ok(key);
    };
    let text = String::from_utf8(text).map_err(|e| damaged(e.to_string()))?;
    let key = SignerKey::from_secret_text(text.trim_end()).map_err(|e| damaged(e.to_string()))?;
    if key.verifier().name() != name {
        return Err(damaged(format!("it is the key of {}", key.verifier().name())));
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    use grace_types::chance::SeededEntropy;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_file_is_its_owners_alone_and_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys/one.json");
        assert!(read(&path, 8).unwrap().is_none());
        write(&path, b"first").unwrap();
        write(&path, b"second").unwrap();
        assert_eq!(read(&path, 6).unwrap().unwrap(), b"second");
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        assert!(read(&path, 5).unwrap_err().to_string().contains("more than 5 bytes"));
        // What a crash left behind is not written into: it could be open to others.
        fs::write(folder.path().join("keys/one.json.new"), "torn").unwrap();
        write(&path, b"third").unwrap();
        assert_eq!((mode(&path), read(&path, 8).unwrap().unwrap()), (0o600, b"third".to_vec()));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let open = read(&path, 8).unwrap_err().to_string();
        assert!(open.contains("others can read it (mode 640)"), "{open}");
    }

    #[test]
    fn a_key_is_made_once_and_is_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys/clarity.key");
        let mut entropy = SeededEntropy::new(1);
        let first = signer_key(&path, "clarity", &mut entropy).unwrap();
        let again = signer_key(&path, "clarity", &mut entropy).unwrap();
        assert_eq!(first.verifier(), again.verifier());
        let taken = signer_key(&path, "htm", &mut entropy).err().unwrap().to_string();
        assert!(taken.contains("the key of clarity"), "{taken}");
        write(&path, b"nonsense").unwrap();
        let damaged = signer_key(&path, "clarity", &mut entropy).err().unwrap().to_string();
        assert!(damaged.contains("clarity.key: not a key"), "{damaged}");
    }
}
