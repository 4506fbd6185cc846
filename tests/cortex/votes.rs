//! Tier 3: what kernels vote on, each from its own view; that it fails closed, and that nobody votes for another.

use grace_kernel::vote::{Ballot, Vote};
use grace_log::note::{SignerKey, VerifierKey};
use grace_types::time::Timestamp;
use rustix::process::Signal;
use serde_json::Value;

use crate::{
    instance::{Instance, holds, kill, until},
    line::Line,
};

const VOTERS: [&str; 5] = ["governance", "health_monitor", "layer2_watchdog", "clarity", "immutable_log"];

/// A type of high impact that has something to run, and only waits a moment.
const MANIFEST: &str = r#"bus: {port: 0}
intents:
  optimize_system: {plan: {task: {kind: wait, for: 1ms}}}
"#;

fn up() -> Instance {
    let instance = Instance::of("");
    instance.write_manifest(MANIFEST);
    instance.up();
    until("the voters are known", || (known(&instance) == VOTERS.len()).then_some(()));
    instance
}

/// The cortex's records of what happened, of one kind.
fn happened(instance: &Instance, what: &str) -> Vec<Value> {
    let records = instance.records_of("cortex").into_iter();
    records
        .map(|record| record["event"]["record"]["event"]["what"][what].clone())
        .filter(|one| !one.is_null())
        .collect()
}

fn known(instance: &Instance) -> usize {
    happened(instance, "voter_known").len()
}

fn grace(instance: &Instance, args: &[&str]) {
    let ran = instance.grace(args);
    assert_eq!(ran.code, Some(0), "{ran}");
}

/// Asks for it; its id.
fn submit(instance: &Instance) -> String {
    let ran = instance.grace(&["--json", "intent", "submit", "optimize_system", "--actor", "ann"]);
    let shown: Value = serde_json::from_str(&ran.out).unwrap_or_else(|e| panic!("{e}: {ran}"));
    assert_eq!(
        (ran.code, &shown["tier"], &shown["decision"]),
        (Some(0), &3.into(), &"waiting".into()),
        "{ran}"
    );
    shown["id"].as_str().unwrap().to_owned()
}

fn show(instance: &Instance, id: &str) -> Value {
    let ran = instance.grace(&["--json", "intent", "show", id]);
    serde_json::from_str(&ran.out).unwrap_or_default()
}

fn ends(instance: &Instance, id: &str, state: &str) -> Value {
    until(state, || Some(show(instance, id)).filter(|shown| shown["state"] == state))
}

fn ballots(shown: &Value) -> Vec<(String, String)> {
    let all = shown["ballots"].as_array().cloned().unwrap_or_default();
    let text = |one: &Value, field: &str| one[field].as_str().unwrap().to_owned();
    all.iter().map(|one| (text(one, "voter"), text(one, "vote"))).collect()
}

#[test]
fn five_kernels_vote_each_says_why_and_whoever_has_the_records_counts_the_same() {
    let instance = up();
    let id = submit(&instance);
    let shown = ends(&instance, &id, "succeeded");
    assert_eq!(shown["decision"], "allowed", "{shown}");
    let by = shown["approved_by"].as_str().unwrap();
    assert!(by.starts_with("unified logic: "), "{shown}");
    // Who votes after it was settled is heard, too.
    let shown = until("all five have voted", || {
        Some(show(&instance, &id)).filter(|shown| ballots(shown).len() == VOTERS.len())
    });
    for ballot in shown["ballots"].as_array().unwrap() {
        assert!(
            !ballot["reasons"][0]["text"].as_str().unwrap().is_empty() && ballot["weight"] == 1,
            "{ballot}"
        );
    }
    let ran = instance.grace(&["intent", "show", &id]);
    assert!(ran.out.contains("governance yes (weight 1, veto): generation"), "{ran}");
    until("it is told", || {
        let why = instance.grace(&["why", &id]).out;
        VOTERS.iter().all(|voter| why.contains(&format!("{voter} says "))).then_some(())
    });
    // Once it is told how this one ended, clarity has something to say of the next.
    until("its end is told", || {
        let told = instance.grace(&["narratives", "--actor", "htm", "--action", "tasks_done"]);
        (told.code == Some(0) && told.out.contains("tsk_")).then_some(())
    });
    let next = submit(&instance);
    let said = until("clarity has voted", || {
        let shown = show(&instance, &next);
        let all = shown["ballots"].as_array().cloned().unwrap_or_default();
        all.into_iter().find(|ballot| ballot["voter"] == "clarity")
    });
    assert_eq!(said["vote"], "yes", "{said}");
    assert!(said["reasons"][0]["text"].as_str().unwrap().contains("1 ended well, 0 badly"), "{said}");
    instance.down();
    let keys = happened(&instance, "voter_known");
    let keys: Vec<VerifierKey> =
        keys.iter().map(|one| one["voter"]["key"].as_str().unwrap().parse().unwrap()).collect();
    let votes: Vec<Ballot> = happened(&instance, "ballot_cast")
        .iter()
        .map(|cast| Ballot::read(cast["note"].as_str().unwrap(), &keys).unwrap())
        .collect();
    let said = |vote| votes.iter().filter(|ballot| ballot.vote == vote).count();
    assert!(said(Vote::Yes) >= 3 && said(Vote::Yes) > said(Vote::No), "{votes:?}");
    assert_eq!(happened(&instance, "vote_counted")[0]["standing"], "carried");
}

#[test]
fn three_are_enough_and_with_fewer_it_is_denied_at_the_end() {
    let instance = up();
    for name in ["clarity", "layer2_watchdog"] {
        kill(instance.ready(name).pid.unwrap(), Signal::KILL);
    }
    let carried = submit(&instance);
    ends(&instance, &carried, "succeeded");
    VOTERS.iter().for_each(|name| drop(instance.ready(name)));
    let away = ["health_monitor", "layer2_watchdog", "clarity", "immutable_log"];
    away.iter().for_each(|name| grace(&instance, &["pause", name]));
    let id = submit(&instance);
    let shown = ends(&instance, &id, "denied");
    assert_eq!(ballots(&shown), [("governance".to_owned(), "yes".to_owned())], "{shown}");
    let reasons = shown["reasons"].to_string();
    assert!(reasons.contains("1 voted in time, and the quorum is 3"), "{shown}");
    away.iter().for_each(|name| grace(&instance, &["resume", name]));
    instance.down();
}

#[test]
fn a_voter_that_is_killed_while_a_vote_is_open_keeps_its_ballot_and_the_vote_ends() {
    let instance = up();
    // Nothing is carried without it, so the vote stays open.
    grace(&instance, &["pause", "governance"]);
    let id = submit(&instance);
    until("the others have voted", || (ballots(&show(&instance, &id)).len() == 4).then_some(()));
    // Of the two only one is critical: an emergency would be governance's reason for a no.
    for name in ["health_monitor", "clarity"] {
        kill(instance.ready(name).pid.unwrap(), Signal::KILL);
    }
    let shown = show(&instance, &id);
    assert_eq!((&shown["state"], ballots(&shown).len()), (&Value::from("waiting"), 4), "{shown}");
    grace(&instance, &["resume", "governance"]);
    ends(&instance, &id, "succeeded");
    VOTERS.iter().for_each(|name| drop(instance.ready(name)));
    let mut voted: Vec<String> = ballots(&show(&instance, &id)).into_iter().map(|(voter, _)| voter).collect();
    voted.sort_unstable();
    voted.dedup();
    assert_eq!(voted.len(), VOTERS.len(), "each of them once: {voted:?}");
    instance.down();
}

#[test]
fn a_vote_outlives_the_cortex_and_a_voter_that_lies_about_who_it_is_is_refused() {
    let instance = up();
    let path = |name: &str| instance.data().join(format!("keys/voters/{name}.key"));
    // Nothing is carried without it.
    grace(&instance, &["pause", "governance"]);
    let id = submit(&instance);
    until("the others have voted", || (ballots(&show(&instance, &id)).len() == 4).then_some(()));
    kill(instance.ready("cortex").pid.unwrap(), Signal::KILL);
    // Another's ballot with another's key, on its own subject, and on the other's.
    let shown = until("the cortex is back", || {
        Some(show(&instance, &id)).filter(|shown| shown["state"] == "waiting")
    });
    assert_eq!(ballots(&shown).len(), 4, "{shown}");
    let stolen = std::fs::read_to_string(path("governance")).unwrap();
    let stolen = SignerKey::from_secret_text(stolen.trim_end()).unwrap();
    let (time, digest) = (Timestamp::from_nanos(1), shown["digest"].as_str().unwrap());
    let text = format!("grace ballot v1\nintent {id}\ndigest {digest}\nvote yes\ntime {time}\nwhy a b\n");
    let lie = format!("{text}\n{}\n", stolen.sign(&text));
    Ballot::read(&lie, &[stolen.verifier().clone()]).unwrap();
    let liar = Line::as_component(&instance, "clarity");
    let refused = until("it is answered", || liar.try_say("grace.vote.ballot.clarity", &lie));
    assert!(refused.to_string().contains("clarity sent a ballot that governance signed"), "{refused}");
    let other = SignerKey::generate("governance", &mut grace_types::chance::OsEntropy).unwrap();
    let (key, note) = (other.verifier().to_string(), "grace.vote.ballot.governance");
    assert_eq!(liar.try_say("grace.vote.key.governance", &key), None, "the broker lets nobody else say it");
    assert_eq!(liar.try_say(note, &lie), None);
    assert_eq!(Line::to(&instance).try_say(note, &lie), None, "not even the operator");
    assert_eq!(show(&instance, &id)["state"], "waiting");
    grace(&instance, &["resume", "governance"]);
    ends(&instance, &id, "succeeded");
    holds("the refusal is told", || instance.grace(&["why", &id]).out.contains("nobody votes for another"));
    instance.down();
    assert_eq!(happened(&instance, "ballot_refused")[0]["from"], "clarity");
    assert_eq!(known(&instance), VOTERS.len());
}
