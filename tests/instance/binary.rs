//! The programs under test: `grace`, which is built beside the tests, and the puppet.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::LazyLock,
    time::SystemTime,
};

/// Another `grace` to test, such as one of a release build; its age is not checked.
const OTHER_BINARY: &str = "GRACE_BINARY";

static GRACE: LazyLock<PathBuf> = LazyLock::new(|| match std::env::var_os(OTHER_BINARY) {
    Some(path) => path.into(),
    None => beside_the_tests(),
});

/// `target/PROFILE/grace`, for tests in `target/PROFILE/deps`.
fn beside_the_tests() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let path = tests.parent().and_then(Path::parent).unwrap().join("grace");
    let Ok(built) = fs::metadata(&path).and_then(|file| file.modified()) else {
        panic!("{} is missing: run `cargo build -p grace-grace` first", path.display());
    };
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates");
    let (newest, changed) = newest_source(&sources);
    assert!(
        built >= changed,
        "{} is older than {}: run `cargo build -p grace-grace` first",
        path.display(),
        newest.display()
    );
    path
}

/// The source of the binary that was changed last. Tests of crates are none.
fn newest_source(folder: &Path) -> (PathBuf, SystemTime) {
    let mut newest = (folder.to_owned(), SystemTime::UNIX_EPOCH);
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        let kind = entry.file_type().unwrap();
        let found = if kind.is_dir() && entry.file_name() != "tests" {
            newest_source(&path)
        } else if kind.is_file() && path.extension().is_some_and(|e| e == "rs") {
            let changed = entry.metadata().unwrap().modified().unwrap();
            (path, changed)
        } else {
            continue;
        };
        if found.1 > newest.1 {
            newest = found;
        }
    }
    newest
}

/// `grace` in an environment that holds little.
pub(super) fn grace() -> Command {
    let mut command = Command::new(&*GRACE);
    command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
    command.env("HOME", "/nonexistent").stdin(Stdio::null());
    command
}

/// The program that the tests let Grace run.
pub(crate) fn puppet() -> &'static str {
    env!("CARGO_BIN_EXE_puppet")
}

/// What a command left behind.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    pub(super) fn of(command: &mut Command) -> Self {
        let output = command.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }
}

impl fmt::Display for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "status {:?}\n--- out\n{}\n--- err\n{}", self.code, self.out, self.err)
    }
}
