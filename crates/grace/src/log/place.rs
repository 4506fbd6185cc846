//! Where a log lies, and with which key it is checked.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use grace_core::{
    instance::Instance,
    kernels::immutable_log::{Folder, LOG, PUBLIC_KEY, SECRET_KEY},
};
use grace_log::{
    checkpoint::{Opened, Trust},
    limits::{NAME_BYTES, NOTE_BYTES},
    note::VerifierKey,
};

use crate::{
    failure::{Exit, Failure},
    style::tame,
};

/// A verifier key's text is its name, and some 60 characters.
const KEY_BYTES: usize = NAME_BYTES + 128;

/// The files of one log, and what lies beside them.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) folder: Folder,
    /// Where they lie.
    pub(crate) log: PathBuf,
    /// The data folder that it belongs to: keys, journals, witnessed checkpoints.
    pub(crate) data: PathBuf,
}

impl Place {
    fn new(log: PathBuf, data: PathBuf) -> Self {
        Self { folder: Folder::at(&log), log, data }
    }

    /// This instance's log.
    pub(crate) fn of(instance: &Instance) -> Result<Self, Failure> {
        let place = Self::new(instance.data().join(LOG), instance.data().to_owned());
        if !place.log.is_dir() {
            return Err(
                no_log(instance.data()).help("`grace up` begins one; --data DIR names another instance")
            );
        }
        Ok(place)
    }

    /// The log in `dir`, which is its folder or a data folder.
    pub(crate) fn at(dir: &Path) -> Result<Self, Failure> {
        let absolute = std::path::absolute(dir).map_err(|e| unreadable(dir, &e))?;
        if ["checkpoint", "tile"].iter().any(|name| absolute.join(name).exists()) {
            let data = absolute.parent().unwrap_or(&absolute).to_owned();
            return Ok(Self::new(absolute, data));
        }
        let log = absolute.join(LOG);
        if log.is_dir() {
            return Ok(Self::new(log, absolute));
        }
        Err(no_log(dir).help("name a log's folder (with `checkpoint` and `tile/` in it) or a data folder"))
    }

    /// The public key, beside the log.
    pub(crate) fn key_file(&self) -> PathBuf {
        self.data.join(PUBLIC_KEY)
    }

    /// The secret key.
    pub(crate) fn secret_key_file(&self) -> PathBuf {
        self.data.join(SECRET_KEY)
    }

    /// Checkpoints that witnesses have cosigned.
    pub(crate) fn witnessed(&self) -> PathBuf {
        self.data.join("witnessed")
    }

    /// Trust in the key beside the log.
    pub(crate) fn trust(&self) -> Result<Trust, Failure> {
        let path = self.key_file();
        match key_in(&path) {
            Ok(Some(key)) => Ok(Trust::in_log(key)),
            Ok(None) => Err(Failure::new(Exit::Usage, "no_key", "the log's verifier key is not there")
                .at(&path.display())
                .help("the log makes it on its first start; `grace log verify --key VKEY` takes it from elsewhere")),
            Err(why) => Err(Failure::new(Exit::Failed, "bad_key", why).at(&path.display()).help(
                "compare it with a copy kept elsewhere; a wrong key here makes every checkpoint look forged",
            )),
        }
    }

    /// The signed checkpoint as it lies there, and opened.
    pub(crate) fn checkpoint(&self, trust: &Trust) -> Result<(Vec<u8>, Opened), Failure> {
        let note = self.note()?;
        let opened = trust.open(&note).map_err(|e| {
            Failure::new(Exit::Failed, "log_not_whole", format!("the checkpoint cannot be trusted: {e}"))
                .at(&self.log.join("checkpoint").display())
                .help("`grace log verify` looks at the whole log")
        })?;
        Ok((note, opened))
    }

    /// Opens a file of the log; `None` if there is none.
    pub(crate) fn open(&self, path: &str) -> io::Result<Option<File>> {
        match File::open(self.log.join(path)) {
            Ok(file) => Ok(Some(file)),
            // A file where a folder should be hides what would lie in it.
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// The bytes of the checkpoint.
    pub(crate) fn note(&self) -> Result<Vec<u8>, Failure> {
        let path = self.log.join("checkpoint");
        read_bounded(&path, NOTE_BYTES).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => Failure::new(Exit::Failed, "no_log", "the log has no checkpoint yet")
                .at(&path.display())
                .help(
                    "`grace status` shows whether immutable_log runs; `grace log verify` looks at the files",
                ),
            _ => unreadable(&path, &e),
        })
    }
}

fn no_log(place: &Path) -> Failure {
    Failure::new(Exit::Usage, "no_log", "there is no log here").at(&place.display())
}

pub(crate) fn unreadable(path: &Path, e: &io::Error) -> Failure {
    Failure::new(Exit::Failed, "log_unreadable", format!("a file of the log cannot be read: {e}"))
        .at(&path.display())
        .help("`grace log verify` names every file that is not as it should be")
}

/// A file of at most `limit` bytes, read whole.
pub(crate) fn read_bounded(path: &Path, limit: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > limit {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it is longer than {limit} bytes")));
    }
    Ok(bytes)
}

/// The key in a file; `None` if there is no such file.
pub(crate) fn key_in(path: &Path) -> Result<Option<VerifierKey>, String> {
    let bytes = match read_bounded(path, KEY_BYTES) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(format!("the key cannot be read: {e}")),
    };
    let text = std::str::from_utf8(&bytes).map_err(|_| "the key is not text: it is damaged".to_owned())?;
    let text = text.strip_suffix('\n').unwrap_or(text);
    let key: VerifierKey = text.parse().map_err(|e: grace_log::note::KeyError| e.to_string())?;
    // Its id may be spelled in capitals; ours never is, and a flipped bit could have made it so.
    if key.to_string() == text { Ok(Some(key)) } else { Err("the key is damaged".to_owned()) }
}

/// A key given on the command line: itself, or a file that holds it. No file's name has the form of a key.
pub(crate) fn key_given(option: &str, given: &str) -> Result<VerifierKey, Failure> {
    if let Ok(key) = given.parse() {
        return Ok(key);
    }
    let failed = |why: String| {
        Failure::new(Exit::Usage, "bad_key", format!("{option}: {why}"))
            .at(&tame(given))
            .help("a verifier key reads NAME+ID+BASE64; `grace log checkpoint` prints this log's")
    };
    match key_in(Path::new(given)) {
        Ok(Some(key)) => Ok(key),
        Ok(None) => Err(failed("this is neither a verifier key nor a file that holds one".to_owned())),
        Err(why) => Err(failed(why)),
    }
}
