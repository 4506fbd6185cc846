//! From what was gathered to what speaks against the run: the facts, the scenario's conditions, its safeguards. Pure.

use std::collections::{BTreeMap, BTreeSet};

use grace_types::time::Timestamp;
use serde_json::{Map, Value, json};

use super::{
    journals::Told,
    watch::{components_fact, load_fact, why_not},
};
use crate::{
    condition::Facts,
    limits,
    record::{
        DetectionRecord, ExpectedRecord, FaultRecord, JudgementReason, LoadRecord, LogRecord,
        SafeguardRecord, TelemetryRecord, VerificationRecord,
    },
    safeguard::Safeguard,
    scenario::Scenario,
};

/// What was really gathered. An error says why something was not.
pub(super) struct Gathered<'a> {
    /// The status at the end.
    pub(super) status: Result<&'a Value, String>,
    /// The faults with their proofs.
    pub(super) faults: &'a [FaultRecord],
    /// What was recorded during the run.
    pub(super) narratives: Result<&'a [Told], String>,
    /// The log before and after.
    pub(super) log: Result<&'a LogRecord, String>,
    /// What the load did; none where the scenario has none.
    pub(super) load: Option<&'a LoadRecord>,
    /// How long the recovery took; none where it did not happen.
    pub(super) recovery_seconds: Option<f64>,
    /// Critical components down at one moment, at most.
    pub(super) down_at_once: u32,
    /// What was heard.
    pub(super) telemetry: &'a [TelemetryRecord],
}

/// The document of facts.
#[must_use]
pub(super) fn facts(gathered: &Gathered<'_>) -> Facts {
    let (mut known, mut absent) = (Map::new(), BTreeMap::new());
    let mut put = |name: &str, value: Result<Value, String>| match value {
        Ok(value) => drop(known.insert(name.to_owned(), value)),
        Err(why) => drop(absent.insert(name.to_owned(), why)),
    };
    put("status", gathered.status.clone().cloned());
    put("components", gathered.status.clone().map(components_fact));
    put("faults", Ok(serde_json::to_value(gathered.faults).unwrap_or_default()));
    put("events", gathered.narratives.clone().and_then(events_fact));
    put("log", gathered.log.clone().map(log_fact));
    put("load", gathered.load.map(load_fact).ok_or_else(|| "the scenario has no load".to_owned()));
    let recovery = gathered.recovery_seconds.map(|seconds| json!(seconds));
    put("recovery_seconds", recovery.ok_or_else(|| "the system did not recover".to_owned()));
    put("down_at_once", Ok(json!(gathered.down_at_once)));
    let heard = gathered.telemetry.iter().map(|one| (one.subject.clone(), json!(one.messages)));
    put("telemetry", Ok(Value::Object(heard.collect())));
    Facts::new(Value::Object(known), absent)
}

fn events_fact(told: &[Told]) -> Result<Value, String> {
    if told.len() > limits::EVENTS {
        return Err(format!("{} events were recorded; at most {} are looked at", told.len(), limits::EVENTS));
    }
    let narratives: Vec<_> = told.iter().map(|told| &told.narrative).collect();
    serde_json::to_value(narratives).map_err(|error| error.to_string())
}

/// What could not be told of the log is not there.
fn log_fact(log: &LogRecord) -> Value {
    let point = |point: &crate::record::LogPoint| json!({"size": point.size, "root": point.root});
    let mut fact = json!({"before": point(&log.before), "after": point(&log.after)});
    let flags = [("consistent", log.consistent), ("continuous", log.continuous)];
    let figures = [("gaps", log.gaps), ("duplicates", log.duplicates)];
    for (name, value) in flags {
        value.into_iter().for_each(|value| fact[name] = json!(value));
    }
    for (name, value) in figures {
        value.into_iter().for_each(|value| fact[name] = json!(value));
    }
    fact
}

/// The scenario's conditions over the facts.
#[must_use]
pub(super) fn verifications(scenario: &Scenario, facts: &Facts) -> Vec<VerificationRecord> {
    let one = |condition: &crate::scenario::Verification| {
        let (ok, detail) = match condition.check.holds(facts) {
            Ok(true) => (true, String::new()),
            Ok(false) => (false, why_not(&condition.check, facts)),
            Err(why) => (false, format!("it cannot be evaluated: {why}")),
        };
        VerificationRecord { name: condition.name.clone(), ok, detail }
    };
    scenario.verifications.iter().map(one).collect()
}

/// Conditions that were never looked at, since the run ended before.
#[must_use]
pub(super) fn not_verified(scenario: &Scenario) -> Vec<VerificationRecord> {
    let detail = "the run ended before it was looked at";
    let one = |condition: &crate::scenario::Verification| VerificationRecord {
        name: condition.name.clone(),
        ok: false,
        detail: detail.to_owned(),
    };
    scenario.verifications.iter().map(one).collect()
}

/// A fault that was ordered: where in what was told that was, and what came after it.
pub(super) type Marks = BTreeMap<u32, usize>;

/// Each safeguard that is expected: whether it fired, and how long after the first fault. Only what was told after a fault that
/// took effect was ordered counts, and only about that fault's target.
#[must_use]
pub(super) fn safeguards(
    expected: &BTreeMap<String, Option<Safeguard>>,
    told: &[Told],
    faults: &[FaultRecord],
    marks: &Marks,
) -> Vec<SafeguardRecord> {
    // An order comes before its bite, and a detector may be faster than the proof.
    let began = faults.iter().filter(|fault| fault.bit).filter_map(|fault| fault.ordered).min();
    let mut hit: BTreeMap<&str, (usize, Timestamp)> = BTreeMap::new();
    for fault in faults.iter().filter(|fault| fault.bit) {
        if let (Some(mark), Some(ordered)) = (marks.get(&fault.number), fault.ordered) {
            let first = hit.entry(&fault.target).or_insert((*mark, ordered));
            *first = (*first).min((*mark, ordered));
        }
    }
    let one = |(name, safeguard): (&String, &Option<Safeguard>)| {
        let fired = safeguard.as_ref().and_then(|safeguard| {
            let after = hit.iter().flat_map(|(target, (mark, since))| {
                let told = told.iter().skip(*mark).filter(|told| safeguard.fired(&told.narrative, target));
                told.map(|told| (told.at(*since), told.narrative.id))
            });
            after.min()
        });
        let detail = match (safeguard, &fired, began) {
            (_, Some(_), _) => None,
            (None, ..) => Some(Safeguard::unknown(name)),
            (Some(_), None, None) => Some("no fault took effect".to_owned()),
            (Some(safeguard), None, Some(_)) => {
                Some(format!("no event {} about a target was recorded", safeguard.event))
            }
        };
        SafeguardRecord {
            name: name.clone(),
            title: safeguard.as_ref().map(|safeguard| safeguard.title.clone()).unwrap_or_default(),
            expected: true,
            fired: fired.is_some(),
            seconds: fired.zip(began).map(|((at, _), began)| at.since(began).as_secs_f64()),
            event: fired.map(|(_, id)| id.to_string()),
            detail,
        }
    };
    expected.iter().map(one).collect()
}

/// The playbooks that are expected. There are none that could run.
#[must_use]
pub(super) fn playbooks(scenario: &Scenario) -> Vec<ExpectedRecord> {
    let one = |name: &String| ExpectedRecord {
        name: name.clone(),
        seen: false,
        detail: Some(unknown_playbook(name)),
    };
    scenario.playbooks.iter().map(one).collect()
}

/// What to say about a name that no playbook has.
#[must_use]
pub fn unknown_playbook(name: &str) -> String {
    format!("there is no playbook `{name}`: Grace has none")
}

/// What the control plane found out about targets of the run, of what was told `since` the first fault was ordered.
pub(super) fn detections<'a>(
    told: &'a [Told],
    targets: &'a BTreeSet<String>,
    since: Timestamp,
) -> impl Iterator<Item = DetectionRecord> + 'a {
    const FINDINGS: [&str; 6] =
        ["exited", "hang_detected", "restart_scheduled", "start_failed", "gave_up", "emergency_declared"];
    let about = move |told: &&Told| {
        let told = &told.narrative;
        let finding = FINDINGS.contains(&told.action()) && told.what.starts_with("dev.grace.control_plane.");
        finding && (targets.contains(&told.place) || told.action() == "emergency_declared")
    };
    told.iter().filter(about).map(move |told| DetectionRecord {
        event: told.narrative.id.to_string(),
        what: told.narrative.what.clone(),
        target: told.narrative.place.clone(),
        at: told.at(since),
        why: told.narrative.why.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
    })
}

/// What speaks against the run, and how many conditions were looked at.
#[must_use]
pub(super) fn against(
    verifications: &[VerificationRecord],
    safeguards: &[SafeguardRecord],
    playbooks: &[ExpectedRecord],
    telemetry: &[TelemetryRecord],
) -> (Vec<JudgementReason>, u32) {
    let checked = verifications.len() + safeguards.len() + playbooks.len() + telemetry.len();
    let reason = |code: &str, text: String| JudgementReason { code: format!("chaos.{code}"), text };
    let failed = verifications.iter().filter(|one| !one.ok);
    let failed = failed.map(|one| reason("verification", format!("{}: {}", one.name, one.detail)));
    let idle = safeguards.iter().filter(|one| one.expected && !one.fired);
    let idle = idle.map(|one| {
        let detail = one.detail.as_deref().unwrap_or_default();
        reason("safeguard", format!("the safeguard {} did not fire: {detail}", one.name))
    });
    let unseen = playbooks.iter().filter(|one| !one.seen);
    let unseen = unseen.map(|one| reason("playbook", format!("the playbook {} did not run", one.name)));
    let unheard = telemetry.iter().filter(|one| one.messages == 0);
    let unheard = unheard.map(|one| reason("telemetry", format!("nothing was heard on {}", one.subject)));
    let all = failed.chain(idle).chain(unseen).chain(unheard).collect();
    (all, u32::try_from(checked).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::scenario::{Origin, parse};

    fn scenario(check: &str) -> Scenario {
        let text = format!(
            "id: x\ntitle: X\ncategory: c\nseverity: low\nverifications: [{{name: v, check: \"{check}\"}}]\n"
        );
        parse(&text, Path::new("x.yaml"), Origin::BuiltIn).unwrap()
    }

    fn gathered<'a>() -> Gathered<'a> {
        Gathered {
            status: Err("nobody answers".into()),
            faults: &[],
            narratives: Ok(&[]),
            log: Err("there is no log".into()),
            load: None,
            recovery_seconds: None,
            down_at_once: 0,
            telemetry: &[],
        }
    }

    #[test]
    fn what_could_not_be_gathered_fails_what_needs_it_with_the_reason() {
        let facts = facts(&gathered());
        for (check, told) in [
            ("log.gaps == 0", "it cannot be evaluated: the fact `log` is not known: there is no log"),
            ("recovery_seconds < 180", "the system did not recover"),
            ("components.all(n, components[n].ready)", "nobody answers"),
            ("load.lost == 0", "the scenario has no load"),
        ] {
            let result = &verifications(&scenario(check), &facts)[0];
            assert!(!result.ok && result.detail.contains(told), "{result:?}");
            let (against, checked) = against(std::slice::from_ref(result), &[], &[], &[]);
            assert_eq!((against.len(), checked), (1, 1));
        }
        let ok = &verifications(&scenario("events.size() == 0 && faults.size() == 0"), &facts)[0];
        assert!(ok.ok, "{ok:?}");
    }

    #[test]
    fn a_part_of_the_log_that_is_not_known_is_not_there() {
        let point = crate::record::LogPoint { size: 1, root: String::new(), note: String::new() };
        let log = LogRecord {
            before: point.clone(),
            after: point,
            consistent: Some(true),
            continuous: None,
            gaps: None,
            duplicates: None,
            errors: vec![],
        };
        let facts = facts(&Gathered { log: Ok(&log), ..gathered() });
        assert!(verifications(&scenario("log.consistent"), &facts)[0].ok);
        assert!(verifications(&scenario("log.gaps == 0"), &facts)[0].detail.contains("gaps"));
    }

    #[test]
    fn an_expected_safeguard_that_there_is_not_speaks_against_the_run() {
        let expected = BTreeMap::from([("nothing".to_owned(), None)]);
        let safeguards = safeguards(&expected, &[], &[], &Marks::new());
        let (against, _) = against(&[], &safeguards, &[], &[]);
        assert!(against[0].text.contains("there is no safeguard `nothing`"), "{against:?}");
    }

    /// A restart of `place`, recorded at `recorded` seconds by the machine's calendar and read at `seen`.
    fn restarted(id: u128, place: &str, recorded: u64, seen: u64) -> Told {
        use grace_types::{
            id::{CorrelationId, EventId},
            narrative::Narrative,
            reason::Reason,
            time::Hlc,
        };
        let seconds = |seconds: u64| Timestamp::from_nanos(seconds * 1_000_000_000);
        let narrative = Narrative {
            id: EventId::from_bits(id),
            time: seconds(recorded),
            hlc: Hlc::default(),
            who: "control_plane".into(),
            what: "dev.grace.control_plane.restart_scheduled.v1".into(),
            place: place.into(),
            why: vec![Reason::new("a", "b")],
            how: "c".into(),
            correlation: CorrelationId::from_bits(1),
            causation: None,
            event: json!({}),
        };
        Told { narrative, seen: seconds(seen) }
    }

    /// A kill of `target` that was ordered at so many seconds.
    fn kill(number: u32, target: &str, ordered: u64, bit: bool) -> FaultRecord {
        let ordered = Some(Timestamp::from_nanos(ordered * 1_000_000_000));
        FaultRecord {
            number,
            kind: "kill".into(),
            target: target.into(),
            pid: None,
            duration_seconds: None,
            ordered,
            bitten: ordered.filter(|_| bit),
            ended: None,
            bit,
            undone: false,
            proof: None,
            undo_proof: None,
            error: None,
        }
    }

    #[test]
    fn a_safeguard_counts_only_after_a_fault_that_bit_on_its_target_whatever_the_calendar_says() {
        let name = "auto_restart".to_owned();
        let expected = Safeguard::find(std::slice::from_ref(&name), None).unwrap();
        let faults = [kill(1, "a", 1000, true), kill(2, "b", 1060, true), kill(3, "c", 1000, false)];
        let marks = Marks::from([(1, 1), (2, 3), (3, 1)]);
        let fired = |told: &[Told]| {
            let one = safeguards(&expected, told, &faults, &marks).remove(0);
            (one.fired, one.seconds)
        };
        let nothing = || restarted(9, "x", 1, 1);
        // Told before the order, though the calendar was set back since.
        assert_eq!(fired(&[restarted(1, "a", 1290, 990)]), (false, None));
        // About the target of a fault that comes later, and of one that did not bite.
        let others = [nothing(), restarted(1, "b", 1001, 1002), restarted(2, "c", 1001, 1002)];
        assert_eq!(fired(&others), (false, None));
        assert_eq!(fired(&[nothing(), restarted(1, "a", 1002, 1003)]), (true, Some(2.0)));
        // The calendar was set by five minutes after the order.
        for recorded in [702, 1302] {
            assert_eq!(fired(&[nothing(), restarted(1, "a", recorded, 1003)]), (true, Some(3.0)));
        }
    }
}
