//! Schedules: no occurrence is lost or doubled when the scheduler is killed, and they do as they are told.

use serde_json::Value;

use crate::{
    bench::{kill_and_wait, up},
    instance::{Instance, until},
};

/// The keys of a schedule's intents, oldest first.
fn keys(instance: &Instance, schedule: &str) -> Vec<String> {
    let intents = instance.told(&["intent", "list", "-n", "1000"]);
    // One that was decided between the two looks of a listing tells its key with the next.
    let keys = intents.iter().rev().filter_map(|intent| intent["key"].as_str().map(str::to_owned));
    keys.filter(|key| key.starts_with(&format!("sch:{schedule}:"))).collect()
}

/// The numbers of its occurrences by time.
fn numbers(instance: &Instance, schedule: &str) -> Vec<u64> {
    let keys = keys(instance, schedule);
    keys.iter().filter_map(|key| key.rsplit_once('#')?.1.parse().ok()).collect()
}

fn until_number(instance: &Instance, schedule: &str, number: u64) -> Vec<u64> {
    until(&format!("{schedule} #{number}"), || {
        Some(numbers(instance, schedule)).filter(|numbers| numbers.iter().any(|n| *n >= number))
    })
}

#[test]
fn no_occurrence_is_lost_or_doubled_while_the_scheduler_is_killed() {
    let instance = up(r#"schedules:
  tick: {when: {every: 1s}, action: {submit: {intent: note, payload: {text: "${schedule.key}"}}}}
"#);
    for round in 1..=3 {
        until_number(&instance, "tick", round);
        kill_and_wait(&instance, "scheduler");
    }
    let last = *until_number(&instance, "tick", 5).last().unwrap();
    let mut all = numbers(&instance, "tick");
    all.sort_unstable();
    assert!(all.iter().copied().eq(1..=all.len() as u64), "{all:?}");
    assert!(all.len() as u64 >= last);
    instance.all_ready();
    instance.down();
}

#[test]
fn a_schedule_is_paused_resumed_and_run_by_hand() {
    let instance = up(r#"schedules:
  tick: {when: {every: 1s}, action: {submit: {intent: note, payload: {text: "${schedule.key}"}}}}
  other: {when: {every: 1s}, action: {submit: {intent: note, payload: {text: "${schedule.key}"}}}}
"#);
    until_number(&instance, "tick", 1);
    let order = |args: &[&str]| {
        let ran = instance.grace(&[&["schedule"], args].concat());
        assert_eq!(ran.code, Some(0), "{ran}");
    };
    order(&["pause", "tick"]);
    let before = fired(&instance);
    // Paused, it is also when the scheduler was killed.
    kill_and_wait(&instance, "scheduler");
    let gone_on = numbers(&instance, "other").last().unwrap() + 2;
    until_number(&instance, "other", gone_on);
    assert_eq!(fired(&instance), before);

    let asked = instance.told(&["schedule", "run", "tick"]).remove(0)["key"].as_str().unwrap().to_owned();
    assert!(asked.ends_with(":asked-1"), "{asked}");
    until("it ran by hand", || keys(&instance, "tick").contains(&asked).then_some(()));
    assert_eq!(fired(&instance), before + 1);

    order(&["resume", "tick"]);
    let after = until_number(&instance, "tick", gone_on);
    let mut distinct = after.clone();
    distinct.dedup();
    assert_eq!(distinct, after);
    let kept = instance.grace(&["schedule", "remove", "tick"]);
    assert_eq!(kept.code, Some(1), "{kept}");
    assert!(kept.err.contains("declared in the manifest"), "{kept}");
    instance.down();
}

/// How often `tick` fired, as the scheduler tells.
fn fired(instance: &Instance) -> u64 {
    let rows = instance.told(&["schedule", "list"]);
    let tick: &Value = rows.iter().find(|row| row["name"] == "tick").unwrap();
    tick["fired"].as_u64().unwrap()
}
