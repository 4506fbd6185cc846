//! The programs under test: `grace`, which is built beside the tests, and the puppet.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::LazyLock,
};

/// Another `grace` to test, such as one of a release build; its age is not checked.
const OTHER_BINARY: &str = "GRACE_BINARY";

static GRACE: LazyLock<PathBuf> = LazyLock::new(|| match std::env::var_os(OTHER_BINARY) {
    Some(path) => path.into(),
    None => beside_the_tests(),
});

/// `target/PROFILE/grace`, for tests in `target/PROFILE/deps`. `cargo test --workspace` builds it for the tests of its own
/// package; `cargo test -p grace-tests` alone does not.
fn beside_the_tests() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let path = tests.parent().and_then(Path::parent).unwrap().join("grace");
    let build = "run `cargo build -p grace-grace` first";
    let changed = |path: &Path| fs::metadata(path).and_then(|file| file.modified());
    let Ok(built) = changed(&path) else { panic!("{} is missing: {build}", path.display()) };
    // Cargo lists the binary's sources beside it, as a rule of make.
    let rule = fs::read_to_string(path.with_extension("d")).unwrap_or_default();
    for source in rule.split_once(": ").map_or("", |(_, sources)| sources).split_whitespace() {
        let newer = changed(Path::new(source)).is_ok_and(|changed| changed > built);
        assert!(!newer, "{} is older than {source}: {build}", path.display());
    }
    path
}

/// The `grace` under test.
pub(super) fn program() -> &'static Path {
    &GRACE
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
