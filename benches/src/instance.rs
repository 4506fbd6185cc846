//! A running instance with a manifest of its own, driven over the bus as users' programs drive it.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use grace_bus::{
    Bus, Message,
    client::native::{self, NativeOptions, Target},
};
use grace_core::instance::Instance as Place;
use serde_json::Value;
use tokio::runtime::Runtime;

/// A kernel that does not answer for so long has failed the run.
const PATIENCE: Duration = Duration::from_secs(120);

/// A runtime for a thread of its own.
///
/// # Panics
/// Where the system does not give one.
#[must_use]
pub fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// The release binary that lies beside this program.
///
/// # Panics
/// It is not built.
#[must_use]
pub fn program() -> PathBuf {
    let program = std::env::current_exe().expect("a path").with_file_name("grace");
    assert!(program.is_file(), "build {} first: cargo build --release", program.display());
    program
}

/// An instance, which ends with this.
#[derive(Debug)]
pub struct Instance {
    folder: tempfile::TempDir,
    program: PathBuf,
}

impl Instance {
    /// Starts the release binary that lies beside this program; returns when all of it is ready.
    ///
    /// # Panics
    /// It is not built, or does not come up.
    #[must_use]
    pub fn up(manifest: &str) -> Self {
        let instance = Self { folder: tempfile::tempdir().expect("a folder"), program: program() };
        let path = instance.folder.path().join("grace.yaml");
        fs::write(&path, manifest).expect("the manifest is written");
        let mut up = instance.command();
        let up = up.args(["up", "--detach", "--manifest"]).arg(path).stdout(Stdio::null()).status();
        assert!(up.expect("it starts").success(), "the instance comes up");
        instance
    }

    /// `grace` on this instance.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--data").arg(self.folder.path().join("data"));
        command
    }

    /// Where its files are.
    #[must_use]
    pub fn place(&self) -> Place {
        Place::at(self.folder.path().join("data"))
    }

    /// Waits until the narratives have what `component` recorded.
    ///
    /// # Panics
    /// They do not get it.
    pub fn settle(&self, component: &str) -> Settled {
        let begun = Instant::now();
        runtime().block_on(async {
            let bus = connect(&self.place(), "observer").await;
            loop {
                let question = Message::new("grace.cmd.clarity", r#"{"command": {"op": "stand"}}"#);
                let answer = bus.request(question, PATIENCE).await.expect("clarity answers");
                let answer: Value = serde_json::from_slice(&answer.payload).expect("JSON");
                let sources = answer["done"]["sources"].as_array().expect("it tells of sources");
                let own = sources.iter().find(|stand| stand["source"] == component);
                let own = own.expect("it knows the component");
                if own["waiting"] == 0 {
                    return Settled { records: own["next"].as_u64().unwrap_or(1) - 1, took: begun.elapsed() };
                }
                assert!(begun.elapsed() < PATIENCE, "{own}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
    }
}

/// What [`Instance::settle`] has seen.
#[derive(Debug, Clone, Copy)]
pub struct Settled {
    /// What the component has on record.
    pub records: u64,
    /// How long it took until the narratives had all of them.
    pub took: Duration,
}

impl Drop for Instance {
    fn drop(&mut self) {
        let _ = self.command().arg("down").stdout(Stdio::null()).status();
    }
}

/// A connection of its own to the instance's bus, as the operator.
///
/// # Panics
/// There is no such instance.
pub async fn connect(place: &Place, name: &str) -> Bus {
    let url = fs::read_to_string(place.operator_url()).expect("the operator's address");
    let mut options = NativeOptions::from_url(url.trim(), name).expect("an address");
    options.target = Target::Unix(place.bus_socket());
    let bus = native::connect(options);
    bus.connected().wait_for(|connected| *connected).await.expect("a connection");
    bus
}
