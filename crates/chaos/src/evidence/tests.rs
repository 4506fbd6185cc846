//! A whole run's evidence on a small real log, from the empty folder to a bundle that is accepted elsewhere.

use std::{
    cell::RefCell,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use grace_log::{
    append::Appender,
    checkpoint::Trust,
    note::{SignerKey, VerifierKey},
};
use grace_types::{
    chance::SeededEntropy,
    evidence::{Blob, JournalId, Source, write_blob_entry, write_entry},
    time::{Hlc, ManualClock},
};
use serde_json::json;

use super::*;
use crate::{
    bundle::{unpack, verify},
    record::{
        DetectionRecord, FaultRecord, HostRecord, Judgement, JudgementReason, LogPoint, LogRecord, Phase,
        PhaseRecord, ProbeRecord, RecoveryRecord, SafeguardRecord, ScenarioRecord, TelemetryRecord,
        VerificationRecord,
    },
};

pub(crate) const RUN: &str = "run_01JDC5M3Q8V5S0A6T4ZK2H9XWB";

const SCENARIO_TEXT: &str = "id: dirt-critical-kernel-kill\n# </pre><b>\n";

/// A moment of the run, so many milliseconds after its beginning.
pub(crate) fn at(millis: u64) -> Timestamp {
    Timestamp::from_nanos(1_795_446_000_000_000_000).plus(Duration::from_millis(millis))
}

/// A run that killed one component and paused another, with texts that nobody should trust.
pub(crate) fn record() -> RunRecord {
    let fault = |number, kind: &str, target: &str, bitten, ended| FaultRecord {
        number,
        kind: kind.into(),
        target: target.into(),
        pid: Some(4711),
        duration_seconds: (kind == "stop").then_some(6.0),
        ordered: Some(at(bitten - 20)),
        bitten: Some(at(bitten)),
        ended: Some(at(ended)),
        bit: true,
        undone: true,
        proof: Some("the process is gone: its pidfd polled readable".into()),
        undo_proof: None,
        error: None,
    };
    let phase = |phase, from, to| PhaseRecord { phase, from: at(from), to: at(to) };
    let probe = |phase, millis| ProbeRecord {
        name: "all_ready".into(),
        phase,
        at: at(millis),
        ok: true,
        detail: String::new(),
    };
    RunRecord {
        format: crate::record::FORMAT,
        run: RUN.into(),
        scenario: ScenarioRecord {
            id: "dirt-critical-kernel-kill".into(),
            title: "Kill every critical kernel <script>alert(1)</script>".into(),
            layer: 1,
            category: "process".into(),
            severity: "critical".into(),
            description: "What a careless operator & a bad disk do.".into(),
            origin: "built in".into(),
            sha256: bundle::digests::sha256(SCENARIO_TEXT.as_bytes()),
            text: SCENARIO_TEXT.into(),
        },
        host: HostRecord {
            grace: "0.1.0".into(),
            kernel: "Linux 6.1.0".into(),
            architecture: "x86_64".into(),
            processors: 2,
            memory_bytes: 24 << 30,
        },
        started: at(0),
        ended: at(42_000),
        phases: vec![
            phase(Phase::Before, 0, 8_000),
            phase(Phase::Faults, 8_000, 20_000),
            phase(Phase::Observation, 20_000, 32_000),
            phase(Phase::After, 32_000, 41_000),
            phase(Phase::Verification, 41_000, 42_000),
        ],
        faults: vec![
            fault(1, "kill", "message_bus", 9_000, 9_000),
            fault(2, "stop", "health_monitor", 12_000, 18_000),
        ],
        detections: vec![DetectionRecord {
            event: "evt_01JDC5M3Q8V5S0A6T4ZK2H9XWB".into(),
            what: "dev.grace.control_plane.exited.v1".into(),
            target: "message_bus".into(),
            at: at(9_040),
            why: "killed by SIGKILL".into(),
        }],
        recoveries: vec![
            RecoveryRecord {
                component: "message_bus".into(),
                down: at(9_000),
                ready: Some(at(9_900)),
                seconds: Some(0.9),
            },
            RecoveryRecord {
                component: "health_monitor".into(),
                down: at(14_500),
                ready: Some(at(19_000)),
                seconds: Some(4.5),
            },
        ],
        down_at_once: 1,
        recovery_seconds: Some(1.25),
        safeguards: vec![SafeguardRecord {
            name: "restart_supervision".into(),
            title: "Restarts a component that ended".into(),
            expected: true,
            fired: true,
            seconds: Some(0.04),
            event: Some("evt_01JDC5M3Q8V5S0A6T4ZK2H9XWB".into()),
            detail: None,
        }],
        playbooks: vec![],
        telemetry: vec![TelemetryRecord { subject: "grace.log.checkpoint".into(), messages: 12 }],
        steady_state: vec![probe(Phase::Before, 7_000), probe(Phase::After, 40_000)],
        verifications: vec![VerificationRecord {
            name: "log_continuity".into(),
            ok: true,
            detail: String::new(),
        }],
        load: None,
        log: None,
        judgement: Judgement {
            passed: true,
            reasons: vec![JudgementReason {
                code: "chaos.passed".into(),
                text: "everything that was asked for was so".into(),
            }],
        },
        facts: json!({"down_at_once": 1}),
        evidence_errors: vec![],
    }
}

/// The timeline of such a run, a reading every second.
pub(crate) fn samples() -> Vec<ResourceLine> {
    let component = |name: &str, second: u64, pid: Option<u32>, load: f64| ComponentSample {
        name: name.into(),
        pid,
        cpu_seconds: pid.map(|_| second as f64 * load),
        memory_bytes: pid.map(|_| (24 << 20) + (second * 7 % 13) * 120_000),
        threads: Some(5),
        open_files: Some(21),
        state: Some('S'),
    };
    (0..=42)
        .map(|second| {
            let bus = if second == 9 { None } else { Some(if second < 9 { 4711 } else { 4800 }) };
            let paused = if (12..18).contains(&second) { 0.02 } else { 0.11 };
            let components = vec![
                component("control_plane", second, Some(40), 0.05),
                component("message_bus", second, bus, 0.32),
                component("health_monitor", second, Some(4712), paused),
            ];
            let sample = Sample { components, host: HostSample::default() };
            ResourceLine { at: at(second * 1000), cause: "every 1 s".into(), sample }
        })
        .collect()
}

/// A data folder with a log, to which the test is the kernel.
pub(crate) struct Data {
    pub(crate) folder: tempfile::TempDir,
    key: SignerKey,
    log: RefCell<(Appender, u64)>,
}

impl Data {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = SignerKey::generate("grace/0011223344556677", &mut SeededEntropy::new(8)).unwrap();
        fs::create_dir_all(folder.path().join("keys")).unwrap();
        fs::create_dir_all(folder.path().join("log/blobs")).unwrap();
        fs::write(folder.path().join("keys/immutable_log.vkey"), format!("{}\n", key.verifier())).unwrap();
        Self { folder, key, log: RefCell::new((Appender::new(), 0)) }
    }

    pub(crate) fn key(&self) -> &VerifierKey {
        self.key.verifier()
    }

    /// Logs an event of the chaos component; a long one lies beside the log.
    pub(crate) fn log(&self, action: &str, event: &serde_json::Value) {
        let record = json!({"event": {
            "id": "evt_01JDC5M3Q8V5S0A6T4ZK2H9XWB", "type": format!("dev.grace.chaos.{action}.v1"),
            "time": at(0), "hlc": Hlc::default(), "who": "chaos", "correlation": "cor_01JDC5M3Q8V5S0A6T4ZK2H9XWB",
            "record": {"event": event, "why": [{"code": "a.b", "text": "because"}], "how": "scenario", "where": ""},
        }})
        .to_string();
        let source = Source::new("chaos", JournalId(7)).unwrap();
        let (appender, sequence) = &mut *self.log.borrow_mut();
        *sequence += 1;
        let mut entry = Vec::new();
        if record.len() > 60_000 {
            let sha256 = bundle::digests::sha256(record.as_bytes());
            fs::write(self.folder.path().join("log/blobs").join(&sha256), &record).unwrap();
            write_blob_entry(&mut entry, &source, *sequence, &Blob { sha256, size: record.len() as u64 });
        } else {
            write_entry(&mut entry, &source, *sequence, record.as_bytes());
        }
        appender.append(&entry).unwrap();
    }

    /// Seals what was logged.
    pub(crate) fn seal(&self) -> LogPoint {
        let plan = self.log.borrow_mut().0.seal(self.key.verifier().name(), &[&self.key]).unwrap();
        for write in plan.writes {
            let path = self.folder.path().join("log").join(&write.path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, write.bytes).unwrap();
        }
        let note = fs::read_to_string(self.folder.path().join("log/checkpoint")).unwrap();
        let opened = Trust::in_log(self.key().clone()).open(note.as_bytes()).unwrap();
        LogPoint { size: opened.checkpoint.size, root: opened.checkpoint.root.to_string(), note }
    }

    /// The record of a run during which `entries` were logged, one of them long.
    pub(crate) fn run(&self, entries: usize) -> RunRecord {
        for n in 0..3 {
            self.log("earlier", &json!({"n": n}));
        }
        let before = self.seal();
        for n in 0..entries {
            self.log(
                "bitten",
                &json!({"n": n, "text": if n == 1 { "x".repeat(70_000) } else { String::new() }}),
            );
        }
        let after = self.seal();
        let log = LogRecord {
            before,
            after,
            consistent: Some(true),
            continuous: Some(true),
            gaps: Some(0),
            duplicates: Some(0),
            errors: vec![],
        };
        RunRecord { log: Some(log), ..record() }
    }

    /// Goes through a run's evidence; `seal` is what happens to the event that is to seal it.
    pub(crate) fn evidence(
        &self,
        record: &RunRecord,
        seal: &mut dyn FnMut(&SealEvent) -> Result<(), String>,
    ) -> Finished {
        let path = self.folder.path().join("runs").join(&record.run);
        let mut folder = Folder::create(path, &record.scenario.text).unwrap();
        folder.dump(at(0), "every 5 s", &json!({"state": "running"})).unwrap();
        folder.dump(at(9_000), "fault 1 bit: ../../etc", &json!({"state": "degraded"})).unwrap();
        for line in samples() {
            folder.resources(line.at, &line.cause, &line.sample).unwrap();
        }
        folder.message(at(1), "grace.log.checkpoint", b"\xff{}").unwrap();
        folder.message(at(2), "big", &vec![b'x'; limits::PAYLOAD_BYTES + 1]).unwrap();
        // A clock that has no patience: what is not there at once will not come.
        let clock = Impatient::default();
        folder
            .finish(record, Sources { data: self.folder.path(), narratives: &[], seal, clock: &clock })
            .unwrap()
    }

    pub(crate) fn sealed(&self, entries: usize) -> PathBuf {
        self.sealed_with(entries, &record().judgement)
    }

    /// The same, with this judgement in the log.
    pub(crate) fn sealed_with(&self, entries: usize, judged: &Judgement) -> PathBuf {
        let record = self.run(entries);
        let finished = self.evidence(&record, &mut |event| {
            let mut of_this_run = serde_json::to_value(judged).unwrap();
            of_this_run["run"] = json!(RUN);
            self.log(
                "judged",
                &json!({"run": "run_01JDC5M3Q8V5S0A6T4ZK2H9XWC", "passed": false, "reasons": []}),
            );
            self.log("judged", &of_this_run);
            self.log("unrelated", &json!({"run": RUN, "digest": event.digest}));
            self.log("evidence_sealed", &serde_json::to_value(event).unwrap());
            self.seal();
            Ok(())
        });
        assert_eq!((finished.unsealed, finished.errors), (None, vec![]));
        finished.bundle
    }
}

/// Each look at this clock takes a minute.
#[derive(Default)]
struct Impatient(ManualClockCell);

type ManualClockCell = std::sync::Mutex<Option<ManualClock>>;

impl Clock for Impatient {
    fn now(&self) -> grace_types::time::Now {
        let mut clock = self.0.lock().unwrap();
        let clock = clock.get_or_insert_with(|| ManualClock::starting_at(at(0)));
        clock.advance(Duration::from_secs(60));
        clock.now()
    }
}

fn errors_of(path: &Path, key: Option<&VerifierKey>) -> Vec<String> {
    verify(&unpack(&fs::read(path).unwrap()).unwrap(), key).errors
}

#[test]
fn a_sealed_run_is_accepted_anywhere() {
    let data = Data::new();
    let bundle = data.sealed(5);
    let files = unpack(&fs::read(&bundle).unwrap()).unwrap();
    let verdict = verify(&files, Some(data.key()));
    assert_eq!(verdict.errors, [""; 0]);
    assert_eq!((verdict.entries, verdict.left_out, verdict.seal_index), (5, 0, Some(11)));
    assert_eq!(verdict.record.unwrap().run, RUN);
    let names: Vec<&str> = files.keys().map(String::as_str).collect();
    assert!(names.contains(&"dumps/0002-fault-1-bit-etc.json"), "{names:?}");
    let verdict = verify(&files, None);
    assert!(verdict.is_ok() && verdict.key_from_bundle);

    let folder = bundle.parent().unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(folder), mode(&bundle)), (0o700, 0o600));
    let leftovers = fs::read_dir(folder)
        .unwrap()
        .filter(|e| e.as_ref().unwrap().path().extension().is_some_and(|x| x == "tmp"));
    assert_eq!(leftovers.count(), 0);
    // One run, one folder.
    assert!(Folder::create(folder, "").is_err());
}

#[test]
fn another_key_is_refused() {
    let data = Data::new();
    let bundle = data.sealed(1);
    let other = SignerKey::generate(data.key().name(), &mut SeededEntropy::new(9)).unwrap();
    let errors = errors_of(&bundle, Some(other.verifier()));
    assert!(errors[0].starts_with("log/immutable_log.vkey: the bundle is of the log"), "{errors:?}");
    assert!(errors.iter().any(|error| error.starts_with("log/checkpoint: no known key")), "{errors:?}");
}

#[test]
fn without_a_log_there_is_a_bundle_and_it_says_why_it_is_not_sealed() {
    for (reason, seal) in [
        ("could not be recorded: the journal is full", Err("the journal is full".to_owned())),
        ("was not in the log within 20 s", Ok(())),
    ] {
        let data = Data::new();
        let finished = data.evidence(&data.run(2), &mut |_| seal.clone());
        assert!(finished.unsealed.as_ref().unwrap().contains(reason), "{finished:?}");
        let errors = errors_of(&finished.bundle, None);
        assert!(
            matches!(&errors[..], [only] if only.starts_with("seal.json: ") && only.contains(reason)),
            "{errors:?}"
        );
    }
    let data = Data::new();
    let finished = data.evidence(&record(), &mut |_| Ok(()));
    assert!(finished.unsealed.is_some() && finished.errors[0].contains("could not be kept"), "{finished:?}");
    assert!(!errors_of(&finished.bundle, Some(data.key())).is_empty());
}

#[test]
fn a_log_that_was_damaged_by_the_run_is_said_to_be() {
    let data = Data::new();
    let record = data.run(3);
    let bundle = data.folder.path().join("log/tile/entries/000.p/6");
    let mut bytes = fs::read(&bundle).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&bundle, bytes).unwrap();
    let finished = data.evidence(&record, &mut |_| Ok(()));
    assert!(finished.errors[0].contains("entry 5"), "{finished:?}");
}
