//! An approver's private key: a file that only its owner can read, in the person's own place.

use std::{
    fs::{DirBuilder, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use grace_log::note::SignerKey;
use grace_types::chance::OsEntropy;

use crate::{
    failure::{Exit, Failure},
    limits,
};

/// Where the key of `name` is.
pub(super) fn path(name: &str, given: Option<&Path>) -> Result<PathBuf, Failure> {
    if let Some(given) = given {
        return Ok(given.to_owned());
    }
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let config = absolute("XDG_CONFIG_HOME").or_else(|| absolute("HOME").map(|home| home.join(".config")));
    let config = config.ok_or_else(|| {
        Failure::new(Exit::Usage, "bad_key", "neither XDG_CONFIG_HOME nor HOME says where keys are")
            .help("name the file with --key")
    })?;
    Ok(config.join("grace").join("approvers").join(format!("{name}.key")))
}

/// The key of `name` in a file.
pub(super) fn read(path: &Path, name: &str) -> Result<SignerKey, Failure> {
    let bad = |what: String| Failure::new(Exit::Usage, "bad_key", what).at(&path.display());
    let file = File::open(path).map_err(|e| {
        bad(format!("the private key of {name} cannot be read: {e}"))
            .help("make one with `grace approvals enroll NAME`, or name the file with --key")
    })?;
    let mode = file.metadata().map_err(|e| bad(e.to_string()))?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(bad(format!("others can read it (mode {mode:03o})")).help("chmod 600"));
    }
    let mut text = String::new();
    file.take(limits::KEY_BYTES as u64).read_to_string(&mut text).map_err(|e| bad(e.to_string()))?;
    let key = SignerKey::from_secret_text(text.trim_end()).map_err(|e| bad(e.to_string()))?;
    if key.verifier().name() != name {
        return Err(bad(format!("this is the key of {}", key.verifier().name())));
    }
    Ok(key)
}

/// The key in the file, or a new one in it.
pub(super) fn read_or_make(path: &Path, name: &str) -> Result<SignerKey, Failure> {
    if path.exists() {
        return read(path, name);
    }
    let key = SignerKey::generate(name, &mut OsEntropy)
        .map_err(|e| Failure::new(Exit::Usage, "bad_name", e.to_string()))?;
    write(path, &key).map_err(|e| {
        Failure::new(Exit::Failed, "system", format!("the key cannot be written: {e}")).at(&path.display())
    })?;
    Ok(key)
}

fn write(path: &Path, key: &SignerKey) -> io::Result<()> {
    let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(format!("{}\n", key.to_secret_text()).as_bytes())?;
    file.sync_all()?;
    File::open(folder)?.sync_all()
}
