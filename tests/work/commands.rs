//! What a person asks for, and what they are told.

use serde_json::Value;

use crate::{
    bench::{lines, show, submit, until_state, up},
    instance::until,
};

#[test]
fn an_intent_runs_to_its_end_and_every_step_says_why() {
    let instance = up();
    let done = submit(&instance, "steps", &["--payload", r#"{"text": "hello"}"#, "--wait"]);
    let id = done["id"].as_str().unwrap();
    assert_eq!((&done["state"], &done["decision"]), (&"succeeded".into(), &"allowed".into()), "{done}");
    assert_eq!(
        (&done["tier"], &done["approved_by"]),
        (&2.into(), &"policy operator.declared".into()),
        "{done}"
    );
    let states: Vec<&Value> = done["tasks"].as_array().unwrap().iter().map(|task| &task["state"]).collect();
    assert_eq!(states, ["succeeded"; 3], "{done}");
    assert_eq!(done["tasks"][0]["output"]["stdout"], "hello");
    // In the journal at once, among the narratives a moment later.
    let why = until("the story is told", || {
        let ran = instance.grace(&["why", id]);
        let wanted = ran.out.contains("ann wants steps") && ran.out.matches("tasks_done").count() >= 3;
        (ran.code == Some(0) && wanted).then_some(ran.out)
    });
    assert!(why.contains("loads of those that asked"), "{why}");
    let told = until("the dispatches are told", || {
        let ran = instance.grace(&["--json", "narratives", "--action", "dispatched"]);
        (ran.code == Some(0) && ran.out.lines().count() >= 1).then_some(ran.out)
    });
    assert!(told.contains("loads of those that asked"), "{told}");
    instance.down();
}

#[test]
fn an_invalid_intent_is_refused_with_all_that_is_wrong_with_it() {
    let instance = up();
    let args = ["intent", "submit", "mark", "--actor", "ann", "--payload", r#"{"text": 1, "size": 2}"#];
    let ran = instance.grace(&args);
    assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""), "{ran}");
    for fault in ["/text", "/count", "/size", "error[bad_payload]", "in 3 places"] {
        assert!(ran.err.contains(fault), "{fault}: {ran}");
    }
    let listed = instance.grace(&["intent", "list"]);
    assert_eq!(listed.out, "no intents\n", "nothing was taken");
    let unknown = instance.grace(&["intent", "submit", "mrak", "--actor", "ann"]);
    assert_eq!(unknown.code, Some(0), "it may be asked for, and is reviewed: {unknown}");
    assert!(unknown.out.contains("no tasks for `mrak`") && unknown.out.contains("`mark`"), "{unknown}");
    instance.down();
}

#[test]
fn the_same_key_gives_the_same_intent_and_another_payload_under_it_is_refused() {
    let instance = up();
    let payload = r#"{"text": "once", "count": 1}"#;
    let ids: Vec<Value> = (0..3)
        .map(|_| submit(&instance, "mark", &["--payload", payload, "--key", "k", "--wait"])["id"].clone())
        .collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert_eq!(lines(&instance, "marks").len(), 1);
    let other = r#"{"text": "other", "count": 1}"#;
    let ran =
        instance.grace(&["intent", "submit", "mark", "--actor", "ann", "--key", "k", "--payload", other]);
    assert_eq!(ran.code, Some(1), "{ran}");
    assert!(ran.err.contains("error[key_reused]"), "{ran}");
    instance.down();
}

#[test]
fn a_paused_type_takes_intents_and_gives_out_nothing_until_it_is_resumed() {
    let instance = up();
    let ran = instance.grace(&["intent", "pause", "steps", "--reason", "the disk is full"]);
    assert!(ran.code == Some(0) && ran.out.contains("paused: the disk is full"), "{ran}");
    let (payload, delayed) = (["--payload", r#"{"text": "x"}"#], ["--delay", "20s", "--deadline", "1ms"]);
    let id = submit(&instance, "steps", &payload)["id"].as_str().unwrap().to_owned();
    let late = submit(&instance, "steps", &[&payload[..], &delayed[..]].concat())["id"].clone();
    let types = instance.grace(&["intent", "types"]);
    assert!(types.out.contains("steps  1 waiting, 0 running  paused"), "{types}");
    let call = types.out.lines().find(|line| line.starts_with("call  ")).unwrap();
    assert!(call.ends_with("0 running  http"), "{types}");
    assert_eq!(show(&instance, &id)["state"], "waiting");
    assert_eq!(instance.grace(&["intent", "resume", "steps"]).code, Some(0));
    until_state(&instance, &id, "succeeded");
    let late = show(&instance, late.as_str().unwrap());
    assert_eq!((&late["late"], &late["tasks"][0]["state"]), (&true.into(), &"delayed".into()), "{late}");
    let listed = instance.grace(&["task", "list", "--state", "delayed"]);
    assert_eq!(listed.out.lines().count(), 1, "{listed}");
    let unknown = instance.grace(&["intent", "pause", "stpes"]);
    assert_eq!(unknown.code, Some(2), "{unknown}");
    instance.down();
}

#[test]
fn a_cancelled_intent_ends_its_program_at_once() {
    let instance = up();
    let id = submit(&instance, "hold", &[])["id"].as_str().unwrap().to_owned();
    until("it runs", || (lines(&instance, "held").len() == 1).then_some(()));
    let task = show(&instance, &id)["tasks"][0]["id"].as_str().unwrap().to_owned();
    let ran = instance.grace(&["task", "cancel", &task, "--reason", "wrong folder"]);
    assert_eq!(ran.code, Some(0), "{ran}");
    let ended = until_state(&instance, &id, "cancelled");
    assert!(ended["reasons"].to_string().contains("wrong folder"), "{ended}");
    // It had 25 seconds; nothing of it is left when the instance is down.
    instance.down();
}

#[test]
fn a_task_that_fails_for_good_is_a_dead_letter_and_gets_another_chance() {
    let instance = up();
    let ran = instance.grace(&["--json", "intent", "submit", "broken", "--actor", "ann", "--wait"]);
    assert_eq!(ran.code, Some(1), "{ran}");
    let failed: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(
        (&failed["state"], &failed["tasks"][0]["attempts"]),
        (&"failed".into(), &2.into()),
        "{failed}"
    );
    let dead = instance.grace(&["task", "list", "--dead"]);
    assert!(dead.out.contains("no such picture") && dead.out.contains("2 attempts"), "{dead}");
    let task = failed["tasks"][0]["id"].as_str().unwrap();
    assert_eq!(instance.grace(&["task", "retry", task]).code, Some(0));
    until_state(&instance, failed["id"].as_str().unwrap(), "failed");
    let again = instance.grace(&["task", "retry", "tsk_00000-1.0"]);
    assert_eq!(again.code, Some(2), "{again}");
    assert!(again.err.contains("error[not_found]"), "{again}");
    instance.down();
}
