//! A witness and a verifier of the C2SP formats that are not ours: they cosign an instance's log, find its entries in its tiles, and
//! refuse a log that was forged with its key.

use std::{
    fs::{self, File},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Child, Command, Stdio},
};

use grace_core::kernels::immutable_log;
use grace_log::{append::Appender, files::read_entry, note::SignerKey};
use rustix::process::Signal;
use serde_json::Value;

use crate::{
    held,
    instance::{Instance, holds, kill, until},
};

/// `python3 -m MODULE ARGUMENTS`: what it printed, if it succeeded.
fn python(module: &str, args: &[&str]) -> Result<String, String> {
    let output = Command::new("python3").args(["-m", module]).args(args).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// The witness, in a folder of its own.
struct Witness {
    folder: tempfile::TempDir,
    served: Child,
    key: String,
    url: String,
}

impl Witness {
    /// One that trusts this log.
    fn of(origin: &str, key: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("witness.json").display().to_string();
        let told = |args: &[&str]| {
            python("aics_witness", &[args, &["--config", &config]].concat())
                .unwrap_or_else(|e| panic!("`cargo xtask test` installs what is missing\n{e}"))
        };
        let vkey =
            told(&["init", "--name", "witness.example/w1", "--listen", "127.0.0.1:0"]).trim().to_owned();
        told(&["add-log", "--origin", origin, "--vkey", key]);
        let said = folder.path().join("said");
        let served = Command::new("python3")
            .args(["-m", "aics_witness", "serve", "--config", &config])
            .stdin(Stdio::null())
            .stderr(File::create(&said).unwrap())
            .spawn()
            .unwrap();
        let url = until("the witness listens", || {
            let said = fs::read_to_string(&said).unwrap();
            let (_, url) = said.split_once("(add-checkpoint at ")?;
            Some(url.split_once("/add-checkpoint")?.0.to_owned())
        });
        Self { folder, served, key: vkey, url }
    }

    /// Requests that it kept, as proof of what was tried.
    fn evidence(&self) -> String {
        let config = self.folder.path().join("witness.json").display().to_string();
        python("aics_witness", &["evidence", "--config", &config]).unwrap()
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        let _ = self.served.kill();
        let _ = self.served.wait();
    }
}

/// What `grace log cosign` says.
fn cosign(instance: &Instance, witness: &Witness) -> Value {
    let ran = instance.grace(&["log", "cosign", "--url", &witness.url, "--key", &witness.key, "--json"]);
    assert_eq!(ran.code, Some(0), "{ran}");
    serde_json::from_str(&ran.out).unwrap()
}

/// A log of `size` other entries under the same key, in place of the instance's.
fn forge(data: &Path, size: u64) {
    let log = data.join(immutable_log::LOG);
    let _ = fs::remove_dir_all(&log);
    let key = fs::read_to_string(data.join(immutable_log::SECRET_KEY)).unwrap();
    let key = SignerKey::from_secret_text(key.trim_end()).unwrap();
    let mut appender = Appender::new();
    for n in 0..size {
        appender.append(format!("{{\"forged\":{n}}}").as_bytes()).unwrap();
    }
    for write in appender.seal(key.verifier().name(), &[&key]).unwrap().writes {
        let path = log.join(write.path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, write.bytes).unwrap();
    }
}

#[test]
fn a_witness_that_is_not_ours_cosigns_what_grows_and_refuses_what_was_forged() {
    let instance = Instance::of("  web: {command: [PUPPET, wait]}\n");
    instance.up();
    let checkpoint = &instance.told(&["log", "checkpoint", "--json"])[0];
    let (origin, key) = (checkpoint["origin"].as_str().unwrap(), checkpoint["key"].as_str().unwrap());
    let secret = fs::metadata(instance.data().join(immutable_log::SECRET_KEY)).unwrap();
    assert_eq!(secret.permissions().mode() & 0o7777, 0o600, "the key that was made at the first start");
    let witness = Witness::of(origin, key);

    let first = cosign(&instance, &witness)["size"].as_u64().unwrap();
    let old = instance.data().join("old");
    let kept = cosign(&instance, &witness)["file"].as_str().unwrap().to_owned();
    fs::copy(&kept, &old).unwrap();
    kill(instance.ready("web").pid.unwrap(), Signal::KILL);
    holds("the restart is in the log", || held::log_size(instance.data()) > first + 2);
    // From here on the log stands still.
    instance.all_ready();
    instance.down();
    let size = held::log_size(instance.data());
    assert_eq!(cosign(&instance, &witness)["size"], size, "with a proof from what it has seen before");
    // Who has forgotten what the witness has seen is told by it.
    fs::remove_file(&kept).unwrap();
    assert_eq!(cosign(&instance, &witness)["size"], size);
    let ran = instance.grace(&["log", "verify", "--witness", &witness.key]);
    assert_eq!(ran.code, Some(0), "{ran}");

    // The other verifier finds all that is claimed in the public files, with the keys alone.
    let log = instance.data().join(immutable_log::LOG);
    let at = log.display().to_string();
    let trust = ["--log-key", key, "--witness-key", &witness.key, "--quorum", "1", "--origin", origin];
    let verified = |args: &[&str]| python("aics_tlog", &[args, &trust].concat());
    let old = old.display().to_string();
    verified(&["verify-checkpoint", "--note", &kept]).unwrap();
    verified(&["verify-consistency", "--old-checkpoint", &old, "--checkpoint", &kept, "--tiles", &at])
        .unwrap();
    let leaf = instance.data().join("leaf");
    for index in [0, size / 2, size - 1] {
        let folder = immutable_log::Folder::at(log.clone());
        fs::write(&leaf, read_entry(&folder, size, index).unwrap()).unwrap();
        let (index, leaf) = (index.to_string(), leaf.display().to_string());
        let args =
            ["verify-inclusion", "--index", &index, "--leaf", &leaf, "--checkpoint", &kept, "--tiles", &at];
        verified(&args).unwrap();
    }
    fs::write(&leaf, "another").unwrap();
    let leaf = leaf.display().to_string();
    let other = ["verify-inclusion", "--index", "0", "--leaf", &leaf, "--checkpoint", &kept, "--tiles", &at];
    assert!(verified(&other).is_err(), "an entry that is not there");

    // Larger, as large, and smaller: none of them is what the witness has seen.
    assert!(!witness.evidence().contains("old_size"), "nothing was wrong until now: {}", witness.evidence());
    for (forged, why) in [(size + 9, "rewritten"), (size, "forked"), (size - 1, "rolled back")] {
        forge(instance.data(), forged);
        let ran = instance.grace(&["log", "cosign", "--url", &witness.url, "--key", &witness.key]);
        assert!(ran.code == Some(1) && ran.err.contains(why), "{forged} of {size}: {ran}");
    }
    assert!(witness.evidence().contains("old_size"), "{}", witness.evidence());
}
