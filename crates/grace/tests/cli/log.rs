//! `grace log` on a small real log: what it prints, every way to spoil a file of it, and a witness.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ed25519_dalek::{Signer as _, SigningKey};
use grace_log::{append::Appender, note::SignerKey, witness::AddCheckpoint};
use grace_store::{Journal as _, file::FileJournal};
use grace_types::{
    chance::SeededEntropy,
    evidence::{Blob, Source, write_blob_entry, write_entry},
    time::{Hlc, Timestamp},
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{
    binary::{Ran, command, grace},
    golden,
};

const ORIGIN: &str = "grace/00112233445566ff";

/// The record of the decision number `n`; one is too long for an entry.
fn record(n: u64) -> String {
    let text = if n == 4 { "x".repeat(70_000) } else { format!("because of {n}") };
    json!({"event": {
        "id": "evt_01JDC5M3Q8V5S0A6T4ZK2H9XWB", "type": "dev.grace.control_plane.started.v1",
        "time": format!("2026-11-23T15:00:0{n}.5Z"), "hlc": Hlc::default(), "who": "control_plane",
        "correlation": "cor_01JDC5M3Q8V5S0A6T4ZK2H9XWB",
        "record": {"event": {"pid": n}, "why": [{"code": "a.b", "text": text}], "how": "policy", "where": "web"},
    }})
    .to_string()
}

/// A data folder whose log was sealed after 3 and 5 entries; its journal has 6 records. `salt` makes other entries.
struct Data {
    folder: tempfile::TempDir,
    /// The checkpoint after 3 entries.
    first: Vec<u8>,
}

impl Data {
    fn new(salt: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        for name in ["", "keys", "journals", "log/blobs"] {
            fs::create_dir_all(data.join(name)).unwrap();
        }
        let key = SignerKey::generate(ORIGIN, &mut SeededEntropy::new(4)).unwrap();
        fs::write(data.join("keys/immutable_log.vkey"), format!("{}\n", key.verifier())).unwrap();
        let secret = data.join("keys/immutable_log.key");
        fs::write(&secret, format!("{}\n", key.to_secret_text())).unwrap();
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();

        let made = Timestamp::from_nanos(0x18a5_c3d2_e4f6_0718);
        let mut journal = FileJournal::open(data.join("journals/control_plane.journal"), made).unwrap();
        let records: Vec<String> = (1..=6).map(|n| record(n + if n == 2 { salt } else { 0 })).collect();
        journal.append(&records.iter().map(String::as_bytes).collect::<Vec<_>>()).unwrap();
        let source = Source::new("control_plane", journal.id()).unwrap();

        let mut appender = Appender::new();
        let mut first = Vec::new();
        for (sequence, record) in (1..=5).zip(&records) {
            let mut entry = Vec::new();
            if record.len() > 60_000 {
                let digest: String = Sha256::digest(record).iter().map(|b| format!("{b:02x}")).collect();
                fs::write(data.join("log/blobs").join(&digest), record).unwrap();
                write_blob_entry(
                    &mut entry,
                    &source,
                    sequence,
                    &Blob { sha256: digest, size: record.len() as u64 },
                );
            } else {
                write_entry(&mut entry, &source, sequence, record.as_bytes());
            }
            appender.append(&entry).unwrap();
            if sequence == 3 || sequence == 5 {
                for write in appender.seal(ORIGIN, &[&key]).unwrap().writes {
                    let path = data.join("log").join(write.path);
                    fs::create_dir_all(path.parent().unwrap()).unwrap();
                    fs::write(&path, &write.bytes).unwrap();
                    if path.ends_with("checkpoint") && sequence == 3 {
                        first = write.bytes;
                    }
                }
            }
        }
        Self { folder, first }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join("data").join(name)
    }

    fn run(&self, args: &[&str]) -> Ran {
        grace(self.folder.path(), &[&["--data", "data"], args].concat())
    }

    /// The output of all streams, with names that do not change from run to run.
    fn told(&self, args: &[&str]) -> String {
        let Ran { code, stdout, stderr } = self.run(args);
        let stderr = stderr.replace(self.folder.path().to_str().unwrap(), "FOLDER");
        let stdout = stdout.replace(self.folder.path().to_str().unwrap(), "FOLDER");
        format!("$ grace {}\n{stdout}{stderr}[{}]\n\n", args.join(" "), code.unwrap())
    }

    fn verify(&self, args: &[&str]) -> (Option<i32>, Value) {
        let ran = self.run(&[&["--json", "log", "verify"], args].concat());
        (ran.code, serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("{ran:?}")))
    }

    /// The errors that `verify` names.
    fn errors(&self, args: &[&str]) -> Vec<String> {
        let (code, json) = self.verify(args);
        let errors: Vec<String> = serde_json::from_value(json["errors"].clone()).unwrap();
        assert_eq!(
            (code, json["ok"].as_bool()),
            (Some(i32::from(!errors.is_empty())), Some(errors.is_empty()))
        );
        errors
    }

    fn blob(&self) -> String {
        fs::read_dir(self.path("log/blobs"))
            .unwrap()
            .next()
            .unwrap()
            .unwrap()
            .file_name()
            .into_string()
            .unwrap()
    }
}

#[test]
fn every_text() {
    let data = Data::new(0);
    fs::write(data.folder.path().join("first"), &data.first).unwrap();
    fs::write(data.folder.path().join("bad.vkey"), "x\n").unwrap();
    let mut texts = String::new();
    for args in [
        &["log", "tail"][..],
        &["log", "tail", "-n", "2"],
        &["log", "tail", "-n", "1", "--json"],
        &["log", "checkpoint"],
        &["log", "checkpoint", "--json"],
        &["log", "prove", "1"],
        &["log", "prove", "1", "--json"],
        &["log", "prove", "1", "--out", "1.tlog-proof", "--entry", "1.json"],
        &["log", "prove", "5"],
        &["log", "verify"],
        &["log", "verify", "--json"],
        &["log", "verify", "data/log", "--key", "data/keys/immutable_log.vkey", "--known", "first"],
        &["log", "verify", "nowhere"],
        &["log", "verify", "--key", "bad.vkey"],
        &["log", "verify", "--known", "bad.vkey"],
        &["log", "verify", "--quorum", "1"],
        &["log", "fsck"],
        &["log", "fsck", "--json"],
        &["log", "cosign", "--url", "http://w.example", "--key", "data/keys/immutable_log.vkey"],
    ] {
        texts += &data.told(args);
    }
    golden::check("log.txt", &texts);
}

#[test]
fn every_byte_of_every_file_counts() {
    let data = Data::new(0);
    assert_eq!(data.errors(&[]), [""; 0]);
    let blob = format!("blobs/{}", data.blob());
    for (file, name) in [
        ("log/checkpoint", "checkpoint"),
        ("log/tile/0/000.p/5", "tile/0/000.p/5"),
        ("log/tile/0/000.p/3", "tile/0/000.p/3"),
        ("log/tile/entries/000.p/5", "tile/entries/000.p/5"),
        ("log/tile/entries/000.p/3", "tile/entries/000.p/3"),
        (&format!("log/{blob}"), &blob),
        ("keys/immutable_log.vkey", "keys/immutable_log.vkey"),
    ] {
        let (path, whole) = (data.path(file), fs::read(data.path(file)).unwrap());
        // Each run is a process; the library's own tests try every bit.
        for at in (0..whole.len()).step_by(whole.len() / 25 + 1) {
            let mut spoilt = whole.clone();
            spoilt[at] ^= 1 << (at % 8);
            fs::write(&path, &spoilt).unwrap();
            let errors = data.errors(&[]);
            // A key that is another one, and whole, shows in what it does not open.
            let named = |error: &String| error.starts_with(name);
            assert!(errors.iter().any(named), "{file} at {at}: {errors:?}");
        }
        for spoilt in
            [&whole[..whole.len() / 2], &whole[..whole.len() - 2], &[whole.as_slice(), b"x"].concat()]
        {
            fs::write(&path, spoilt).unwrap();
            assert!(data.errors(&[]).iter().any(|error| error.starts_with(name)), "{file} cut or longer");
        }
        fs::write(&path, &whole).unwrap();
    }
    fs::remove_file(data.path(&format!("log/{blob}"))).unwrap();
    assert_eq!(data.errors(&[]), [format!("{blob}: the file is missing (the record of entry 3)")]);
    fs::write(data.path("log/notes"), "x").unwrap();
    assert!(data.errors(&[]).contains(&"notes: this file is no part of a log".to_owned()));
    fs::remove_file(data.path("keys/immutable_log.vkey")).unwrap();
    assert_eq!(data.run(&["log", "verify"]).code, Some(2));
}

#[test]
fn a_rollback_and_a_fork_show_against_a_kept_checkpoint() {
    let (data, other) = (Data::new(0), Data::new(1));
    let kept = data.folder.path().join("kept");
    fs::copy(data.path("log/checkpoint"), &kept).unwrap();
    assert_eq!(data.errors(&["--known", "kept"]), [""; 0]);
    fs::write(data.path("log/checkpoint"), &data.first).unwrap();
    assert_eq!(data.errors(&[]), [""; 0], "whole in itself");
    let rolled_back = "checkpoint: the log was rolled back: it has 3 entries, and had 5";
    assert_eq!(data.errors(&["--known", "kept"]), [rolled_back]);
    fs::copy(&kept, other.folder.path().join("kept")).unwrap();
    assert!(other.errors(&["--known", "kept"])[0].starts_with("checkpoint: the log forked"));
    fs::write(other.folder.path().join("kept"), &data.first).unwrap();
    assert!(other.errors(&["--known", "kept"])[0].starts_with("checkpoint: the past was rewritten"));
}

#[test]
fn fsck_holds_journals_and_keys_against_the_log() {
    let data = Data::new(0);
    let errors = || -> Vec<String> {
        let ran = data.run(&["--json", "log", "fsck"]);
        let json: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("{ran:?}"));
        assert_eq!(ran.code, Some(i32::from(json["ok"] != true)), "{json}");
        serde_json::from_value(json["errors"].clone()).unwrap()
    };
    assert_eq!(errors(), [""; 0]);
    let secret = data.path("keys/immutable_log.key");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(errors()[0].starts_with("keys/immutable_log.key: others may read it"), "{:?}", errors());
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let stranger = SignerKey::generate(ORIGIN, &mut SeededEntropy::new(5)).unwrap();
    let whole = fs::read(&secret).unwrap();
    fs::write(&secret, stranger.to_secret_text()).unwrap();
    assert!(errors()[0].contains("does not belong to"), "{:?}", errors());
    fs::write(&secret, whole).unwrap();

    // A journal of the same id with another record, and one that is shorter than what was acknowledged.
    let other = Data::new(1);
    for (args, expected) in [(1u64, "record 2 is not the one"), (0, "acknowledged records are gone")] {
        for entry in fs::read_dir(data.path("journals")).unwrap() {
            fs::remove_dir_all(entry.unwrap().path()).unwrap();
        }
        if args == 1 {
            for entry in fs::read_dir(other.path("journals")).unwrap() {
                let journal = entry.unwrap().path();
                let copy = data.path("journals").join(journal.file_name().unwrap());
                fs::create_dir(&copy).unwrap();
                for file in fs::read_dir(&journal).unwrap() {
                    let file = file.unwrap();
                    fs::copy(file.path(), copy.join(file.file_name())).unwrap();
                }
            }
        } else {
            let made = Timestamp::from_nanos(0x18a5_c3d2_e4f6_0718);
            FileJournal::open(data.path("journals/control_plane.journal"), made).unwrap();
        }
        assert!(errors()[0].contains(expected), "{:?}", errors());
    }
}

/// A witness that signs what it is shown if it comes from where it stands; it does not check more. Gives what it was sent.
fn witness(
    key: SigningKey,
    vkey_id: [u8; 4],
    name: &str,
    answers: usize,
) -> (String, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let name = name.to_owned();
    let served = std::thread::spawn(move || {
        let (mut latest, mut bodies) = (3u64, Vec::new());
        for _ in 0..answers {
            let (stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(&stream);
            let (mut line, mut length) = (String::new(), 0);
            while line != "\r\n" {
                line.clear();
                reader.read_line(&mut line).unwrap();
                if let Some(text) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = text.trim().parse().unwrap();
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            let request = AddCheckpoint::parse(&body).unwrap();
            bodies.push(String::from_utf8(body).unwrap());
            let (status, answer) = if request.old == latest {
                let text = &request.checkpoint.text;
                latest = text.lines().nth(1).unwrap().parse().unwrap();
                let message = format!("cosignature/v1\ntime 1700000000\n{text}");
                let signature = key.sign(message.as_bytes()).to_bytes();
                let time = 1_700_000_000u64.to_be_bytes();
                let line = STANDARD.encode([&vkey_id[..], &time, &signature].concat());
                ("200 OK", format!("— {name} {line}\n"))
            } else {
                ("409 Conflict", format!("{latest}\n"))
            };
            let head =
                format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", answer.len());
            (&stream).write_all(format!("{head}{answer}").as_bytes()).unwrap();
        }
        bodies
    });
    (url, served)
}

#[test]
fn a_cosigned_checkpoint_is_known_from_then_on() {
    let data = Data::new(0);
    let (name, key) = ("witness.example/w1", SigningKey::from_bytes(&[7; 32]));
    let public = key.verifying_key();
    let id: [u8; 4] =
        Sha256::new().chain_update(name).chain_update([b'\n', 4]).chain_update(public.as_bytes()).finalize()
            [..4]
            .try_into()
            .unwrap();
    let encoded = STANDARD.encode([&[4], public.as_bytes().as_slice()].concat());
    let vkey = format!("{name}+{:08x}+{encoded}", u32::from_be_bytes(id));
    let quorum = ["--witness", vkey.as_str()];
    assert!(data.errors(&quorum)[0].contains("0 of the known witnesses"), "{:?}", data.errors(&quorum));

    let (url, served) = witness(key, id, name, 3);
    let cosign = ["log", "cosign", "--url", &url, "--key", &vkey];
    let ran = data.run(&cosign);
    assert!(
        ran.code == Some(0) && ran.stdout.contains("has cosigned the checkpoint of 5 entries"),
        "{ran:?}"
    );
    assert_eq!(data.run(&cosign).code, Some(0), "the same once more");
    let bodies = served.join().unwrap();
    assert_eq!(
        bodies.iter().map(|b| b.lines().next().unwrap()).collect::<Vec<_>>(),
        ["old 0", "old 3", "old 5"]
    );
    let unreachable = data.run(&cosign);
    assert!(
        unreachable.code == Some(1) && unreachable.stderr.contains("witness_unreachable"),
        "{unreachable:?}"
    );

    let (code, json) = data.verify(&quorum);
    assert_eq!((code, &json["known"], &json["cosigned"][0]["witness"]), (Some(0), &json!([5]), &json!(name)));
    let kept: BTreeMap<String, Vec<u8>> = fs::read_dir(data.path("witnessed"))
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .collect();
    assert_eq!(kept.len(), 2, "{:?}", kept.keys());
    for (name, whole) in &kept {
        let path = data.path("witnessed").join(name);
        for at in (0..whole.len()).step_by(11) {
            let mut spoilt = whole.clone();
            spoilt[at] ^= 1 << (at % 8);
            fs::write(&path, spoilt).unwrap();
            assert!(data.errors(&[])[0].starts_with("witnessed/"), "{name} at {at}: {:?}", data.errors(&[]));
        }
        fs::write(&path, whole).unwrap();
    }
    fs::write(data.path("log/checkpoint"), &data.first).unwrap();
    assert!(data.errors(&[])[0].contains("rolled back"), "{:?}", data.errors(&[]));
}

#[test]
fn what_follows_is_shown() {
    let data = Data::new(0);
    let (log, now) = (data.path("log"), fs::read(data.path("log/checkpoint")).unwrap());
    fs::write(log.join("checkpoint"), &data.first).unwrap();
    let mut child = command(data.folder.path(), &["--data", "data", "log", "tail", "-n", "1", "-f"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().contains("because of 3"));
    replace(&log.join("checkpoint"), &now);
    assert!(lines.next().unwrap().unwrap().contains("       3  "));
    assert!(lines.next().unwrap().unwrap().contains("because of 5"));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_log_that_grows_is_whole_all_the_while() {
    let data = Data::new(0);
    let log = data.path("log");
    let key = SignerKey::generate(ORIGIN, &mut SeededEntropy::new(4)).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let (begin, begun) = std::sync::mpsc::channel();
    let writer = std::thread::spawn({
        let (log, stop) = (log.clone(), stop.clone());
        move || {
            let mut appender = Appender::new();
            fs::remove_dir_all(log.join("tile")).unwrap();
            let mut batch = 0;
            while !stop.load(Ordering::Relaxed) && appender.size() < 100_000 {
                batch = batch % 97 + 1;
                for _ in 0..batch {
                    appender.append(b"{\"source\":\"a\",\"journal\":\"0\",\"sequence\":1}").unwrap();
                }
                let plan = appender.seal(ORIGIN, &[&key]).unwrap();
                for write in plan.writes {
                    let path = log.join(write.path);
                    fs::create_dir_all(path.parent().unwrap()).unwrap();
                    if path.ends_with("checkpoint") {
                        // Outside the log's folder, as the kernel does.
                        replace_by_way_of(&log.with_file_name("new"), &path, &write.bytes);
                    } else {
                        fs::write(&path, &write.bytes).unwrap();
                    }
                }
                // Until then the log that lay here was half gone; nobody waits for more than the first.
                let _ = begin.send(());
                for folder in plan.superseded {
                    let _ = fs::remove_dir_all(log.join(folder));
                }
            }
        }
    });
    begun.recv_timeout(Duration::from_secs(20)).unwrap();
    for _ in 0..25 {
        assert_eq!(data.errors(&[]), [""; 0]);
        let proved = data.run(&["log", "prove", "0"]);
        assert_eq!(proved.code, Some(0), "{proved:?}");
        assert_eq!(data.run(&["log", "tail", "-n", "300"]).code, Some(0));
    }
    stop.store(true, Ordering::Relaxed);
    writer.join().unwrap();
}

fn replace_by_way_of(new: &Path, path: &Path, bytes: &[u8]) {
    fs::write(new, bytes).unwrap();
    fs::rename(new, path).unwrap();
}

/// As the log replaces its checkpoint: at once.
fn replace(path: &Path, bytes: &[u8]) {
    replace_by_way_of(&path.with_extension("tmp"), path, bytes);
}
