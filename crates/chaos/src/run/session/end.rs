//! The end of a run: the facts are gathered and judged, the record is made, and the evidence is closed.

use grace_types::{
    narrative::Narrative,
    time::{Clock as _, Now},
};
use sha2::{Digest as _, Sha256};

use super::{
    super::{
        Outcome, RunError,
        journals::CONTROL_PLANE,
        load::Written,
        log::Survey,
        verdict::{self, Gathered},
    },
    News, Session,
};
use crate::{
    evidence::{SealEvent, Sources},
    limits,
    record::{
        ExpectedRecord, FORMAT, HostRecord, LoadRecord, LogRecord, Phase, RunRecord, SafeguardRecord,
        ScenarioRecord, VerificationRecord,
    },
    runner::Command,
};

/// What was gathered in the end.
#[derive(Default)]
pub(super) struct Findings {
    verifications: Vec<VerificationRecord>,
    safeguards: Vec<SafeguardRecord>,
    playbooks: Vec<ExpectedRecord>,
    load: Option<LoadRecord>,
    log: Option<LogRecord>,
    facts: serde_json::Value,
}

impl Session<'_> {
    pub(super) fn verify(&mut self) -> Result<(), RunError> {
        self.look_at_the_system(true);
        self.journals.read(true, self.clock.now().wall);
        let writers = self.back.tally.writers();
        let mut load = (!writers.is_empty()).then(|| self.back.tally.record());
        let surveyed = self.survey(&writers, load.as_mut());
        let log = surveyed.as_ref().map_err(Clone::clone);
        let telemetry = self.back.telemetry();
        let status = match (&self.watch.status, &self.watch.trouble) {
            (Some(status), None) => Ok(status),
            (_, trouble) => Err(trouble.clone().unwrap_or_else(|| "there is none".to_owned())),
        };
        let told = &self.journals.told;
        let narratives = if self.journals.follows_the_control_plane() {
            Ok(told.as_slice())
        } else {
            Err(format!("the journal of {CONTROL_PLANE} cannot be read: {}", self.journals.errors.join("; ")))
        };
        let facts = verdict::facts(&Gathered {
            status,
            faults: &self.account.faults,
            narratives,
            log,
            load: load.as_ref(),
            recovery_seconds: self.account.recovery_seconds,
            down_at_once: self.watch.down_at_once,
            telemetry: &telemetry,
        });
        let verifications = verdict::verifications(self.job.scenario, &facts);
        let safeguards = verdict::safeguards(self.job.safeguards, told, &self.account.faults, &self.marks);
        let playbooks = verdict::playbooks(self.job.scenario);
        let (against, checked) = verdict::against(&verifications, &safeguards, &playbooks, &telemetry);
        (self.tell)(&News::Verified(&verifications, &safeguards));
        let facts = facts.document().clone();
        self.findings = Findings { verifications, safeguards, playbooks, load, log: surveyed.ok(), facts };
        self.command(vec![Command::Verified { against, checked }])
    }

    /// Looks through the log; waits, for a bounded time, until every acknowledged record of the load is in it.
    fn survey(&mut self, writers: &[Written], load: Option<&mut LoadRecord>) -> Result<LogRecord, String> {
        let (log, before) = self.log.as_ref().map_err(Clone::clone)?;
        let deadline = self.clock.now().mono.plus(limits::GATHER_PATIENCE);
        let mut survey = Survey::new(self.run, before.clone(), writers);
        let (after, read) = loop {
            let after = log.point()?;
            let read = survey.go_on(log, &after);
            let (lost, _) = survey.load(writers);
            if read.is_err() || lost == 0 || self.clock.now().mono >= deadline {
                break (after, read);
            }
            std::thread::park_timeout(limits::LOOK_EVERY);
        };
        if let (Some(load), Ok(())) = (load, &read) {
            let (lost, duplicated) = survey.load(writers);
            (load.lost, load.duplicated) = (Some(lost), Some(duplicated));
        }
        Ok(survey.record(log, &after, read))
    }

    pub(super) fn finish(mut self) -> Result<Outcome, RunError> {
        self.keep_what_was_heard();
        self.journals.read(true, self.clock.now().wall);
        if self.findings.log.is_none() {
            // A run that ended early has evidence to be sealed as well.
            self.findings.log = self.survey(&[], None).ok();
        }
        let record = self.record();
        let Self { job, clock, mut desk, back, folder, journals, .. } = self;
        let mut narratives: Vec<Narrative> = journals.told.into_iter().map(|told| told.narrative).collect();
        narratives.sort_by_key(|told| (told.hlc, told.id));
        let mut warnings = Vec::new();
        let mut seal = |event: &SealEvent| {
            let command = Command::Seal { run: event.run.clone(), digest: event.digest.clone() };
            desk.tell(vec![command]).map_err(|error| error.to_string())?;
            back.written(desk.durable());
            Ok(())
        };
        let sources =
            Sources { data: &job.place.data, narratives: &narratives, seal: &mut seal, clock: &clock };
        let bundle = match folder.finish(&record, sources) {
            Ok(finished) => {
                warnings.extend(finished.unsealed.map(|why| format!("the bundle has no seal: {why}")));
                warnings.extend(finished.errors);
                Some(finished.bundle)
            }
            Err(error) => {
                warnings.push(format!("the evidence could not be completed: {error}"));
                None
            }
        };
        let snapshot = desk.snapshot_if_due();
        warnings.extend(snapshot.err().map(|error| format!("the journal of the runs: {error}")));
        back.finish();
        Ok(Outcome { record, bundle, warnings })
    }

    fn record(&mut self) -> RunRecord {
        let scenario = self.job.scenario;
        let Now { wall: ended, .. } = self.clock.now();
        self.account.enter(ended, Phase::Judged);
        let targets = self.job.plan.targets();
        let told = &self.journals.told;
        let detections = self
            .first_order
            .map(|(mark, since)| verdict::detections(&told[mark..], &targets, since).collect());
        let mut findings = std::mem::take(&mut self.findings);
        if findings.facts.is_null() {
            findings.verifications = verdict::not_verified(scenario);
            findings.safeguards =
                verdict::safeguards(self.job.safeguards, told, &self.account.faults, &self.marks);
            findings.playbooks = verdict::playbooks(scenario);
            findings.load = (!scenario.load.is_empty()).then(|| self.back.tally.record());
        }
        let mut evidence_errors = std::mem::take(&mut self.evidence_errors);
        evidence_errors.extend(self.journals.errors.iter().cloned());
        if self.journals.left_out > 0 {
            evidence_errors.push(format!(
                "{} narratives were left out: {} are kept",
                self.journals.left_out,
                limits::NARRATIVES
            ));
        }
        match self.back.dropped() {
            0 => {}
            dropped => {
                evidence_errors.push(format!("{dropped} messages came faster than they could be kept"));
            }
        }
        RunRecord {
            format: FORMAT,
            run: self.run.to_string(),
            scenario: ScenarioRecord {
                id: scenario.id.clone(),
                title: scenario.title.clone(),
                layer: scenario.layer,
                category: scenario.category.clone(),
                severity: scenario.severity.word().to_owned(),
                description: scenario.description.clone(),
                origin: scenario.origin.to_string(),
                sha256: sha256(&scenario.text),
                text: scenario.text.clone(),
            },
            host: host(&self.job.place.version),
            started: self.started,
            ended,
            phases: std::mem::take(&mut self.account.phases),
            faults: self.account.faults.clone(),
            detections: detections.unwrap_or_default(),
            recoveries: std::mem::take(&mut self.watch.recoveries),
            down_at_once: self.watch.down_at_once,
            recovery_seconds: self.account.recovery_seconds,
            safeguards: findings.safeguards,
            playbooks: findings.playbooks,
            telemetry: self.back.telemetry(),
            steady_state: std::mem::take(&mut self.account.steady_state),
            verifications: findings.verifications,
            load: findings.load,
            log: findings.log,
            judgement: self.account.judgement.clone(),
            facts: findings.facts,
            evidence_errors,
        }
    }
}

pub(super) fn sha256(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn host(version: &str) -> HostRecord {
    let name = rustix::system::uname();
    let memory = rustix::system::sysinfo();
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    HostRecord {
        grace: version.to_owned(),
        kernel: format!("{} {}", name.sysname().to_string_lossy(), name.release().to_string_lossy()),
        architecture: std::env::consts::ARCH.to_owned(),
        processors: u32::try_from(processors).unwrap_or(u32::MAX),
        memory_bytes: memory.totalram.saturating_mul(u64::from(memory.mem_unit)),
    }
}
