//! `kill -9` of workers and of the task manager in the middle of work.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::{
    bench::{lines, show, submit, until_state, up},
    instance::{Instance, holds, kill, until},
    line::Line,
};

fn kill_component(instance: &Instance, name: &str) {
    kill(instance.component(name).pid.unwrap(), Signal::KILL);
}

#[test]
fn a_task_of_a_worker_that_is_killed_is_given_to_another_under_a_greater_token() {
    let instance = up();
    let id = submit(&instance, "hold", &[])["id"].as_str().unwrap().to_owned();
    until("it runs", || (lines(&instance, "held").len() == 1).then_some(()));
    let worker = show(&instance, &id)["tasks"][0]["worker"].as_str().unwrap().to_owned();
    kill_component(&instance, &worker);
    let held = until("it runs again", || Some(lines(&instance, "held")).filter(|held| held.len() == 2));
    assert!(held[1].parse::<u64>().unwrap() > held[0].parse().unwrap(), "{held:?}");
    std::fs::write(instance.file("go"), "").unwrap();
    let done = until_state(&instance, &id, "succeeded");
    assert_eq!(
        done["tasks"][0]["attempts"], 2,
        "the plan allows one; a lost worker is not its fault: {done}"
    );
    instance.all_ready();
    instance.down();
}

/// For each task, the tokens under which it was done.
pub(crate) fn done(instance: &Instance) -> BTreeMap<String, Vec<u64>> {
    let mut done: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for record in instance.records_of("htm") {
        let by = &record["event"]["record"]["event"]["what"]["tasks_done"]["by"];
        let by = by.as_array().into_iter().flatten();
        for task in by.flat_map(|by| by["tasks"].as_array().into_iter().flatten()) {
            let id = task["task"].as_str().unwrap().to_owned();
            done.entry(id).or_default().push(task["token"].as_u64().unwrap());
        }
    }
    done
}

#[test]
fn every_acknowledged_intent_ends_once_while_the_task_manager_is_killed_again_and_again() {
    let instance = up();
    let mut acknowledged = BTreeSet::new();
    for n in 0..40 {
        let payload = format!(r#"{{"text": "t{n}", "count": {n}}}"#);
        let taken = submit(&instance, "mark", &["--payload", &payload]);
        acknowledged.insert(taken["id"].as_str().unwrap().to_owned());
        if n % 10 == 5 {
            kill_component(&instance, "htm");
        }
    }
    assert_eq!(acknowledged.len(), 40);
    for id in &acknowledged {
        until_state(&instance, id, "succeeded");
    }
    let restarts = instance.all_ready();
    assert_eq!(restarts.components.iter().find(|c| c.name == "htm").unwrap().restarts, 4);
    instance.down();
    let done = done(&instance);
    let expected: BTreeSet<String> =
        acknowledged.iter().map(|id| format!("{}.0", id.replacen("int_", "tsk_", 1))).collect();
    assert_eq!(done.keys().cloned().collect::<BTreeSet<_>>(), expected);
    assert!(done.values().all(|tokens| tokens.len() == 1), "{done:?}");
    // Programs may run again, but what counts ran: under its token each text is there.
    let marks = lines(&instance, "marks");
    let tokens: BTreeSet<u64> =
        marks.iter().map(|line| line.rsplit_once(' ').unwrap().1.parse().unwrap()).collect();
    assert!(done.values().all(|token| tokens.contains(&token[0])), "{marks:?}\n{done:?}");
    let first: Value = instance.records_of("htm").remove(0);
    assert!(first["event"]["record"]["why"][0]["code"].is_string(), "{first}");
}

/// Ten seconds; `KILLS=60` makes it a minute.
#[test]
fn no_task_is_lost_while_two_of_three_workers_are_killed_every_second() {
    let seconds: u64 = std::env::var("KILLS").map_or(10, |seconds| seconds.parse().unwrap());
    let tasks = 30 * seconds;
    let instance = up();
    let line = Line::to(&instance);
    let intents: Vec<Value> =
        (0..tasks).map(|n| json!({"type": "slow", "actor": "ann", "key": format!("s{n}")})).collect();
    for some in intents.chunks(300) {
        line.ask("grace.cmd.cortex", &json!({"submit": {"intents": some}}));
    }
    let totals =
        || line.ask("grace.cmd.htm", &json!({"query": "overview"}))["done"]["overview"]["totals"].clone();
    for round in 0..seconds {
        for n in [round % 3, (round + 1) % 3] {
            // One that is still away cannot be killed.
            if let Some(pid) = instance.component(&format!("task_worker-{}", n + 1)).pid {
                kill(pid, Signal::KILL);
            }
        }
        // The schedule of the faults; nothing is waited for.
        std::thread::park_timeout(Duration::from_secs(1));
    }
    assert!(totals()["leases_lost"].as_u64().unwrap() > 10, "the kills bit: {}", totals());
    holds("every task has succeeded", || totals()["succeeded"] == tasks);
    instance.all_ready();
    instance.down();
    let done = done(&instance);
    assert_eq!(done.len() as u64, tasks);
    let ran: BTreeSet<u64> = lines(&instance, "slow").iter().map(|token| token.parse().unwrap()).collect();
    assert!(done.values().all(|tokens| tokens.len() == 1 && ran.contains(&tokens[0])), "{done:?}");
}

#[test]
fn a_tree_that_is_undone_ends_once_whatever_was_last_written_when_the_task_manager_was_killed() {
    let instance = up();
    let written = |kind: &str| {
        let records = instance.records_of("htm");
        let of = |record: &&Value| !record["event"]["record"]["event"]["what"][kind].is_null();
        records.iter().filter(of).count()
    };
    // The last one is what undoes the first step.
    let moments =
        [("submitted", 1), ("dispatched", 1), ("tasks_done", 1), ("task_failed", 1), ("tasks_done", 2)];
    let mut ids = Vec::new();
    for (n, (kind, times)) in moments.into_iter().enumerate() {
        let before = written(kind);
        let payload = format!(r#"{{"text": "t{n}"}}"#);
        let args = ["--json", "intent", "submit", "undone", "--actor", "ann", "--payload", &payload];
        let ran = instance.grace(&args);
        // It may have failed already when it is shown, as it is to, and then that is the exit status.
        assert!(matches!(ran.code, Some(0 | 1)), "{ran}");
        let taken: Value = serde_json::from_str(&ran.out).unwrap_or_else(|e| panic!("{e}: {ran}"));
        holds(kind, || written(kind) >= before + times);
        kill_component(&instance, "htm");
        let id = taken["id"].as_str().unwrap().to_owned();
        until_state(&instance, &id, "failed");
        ids.push(id);
    }
    instance.all_ready();
    instance.down();
    let done = done(&instance);
    for id in &ids {
        let own = format!("{}.", id.replacen("int_", "tsk_", 1));
        let tokens: Vec<usize> =
            done.iter().filter(|(task, _)| task.starts_with(&own)).map(|(_, tokens)| tokens.len()).collect();
        assert_eq!(tokens, [1, 1], "the first step and what undoes it, each once: {done:?}");
    }
    let steps = lines(&instance, "undone");
    for n in 0..ids.len() {
        for word in ["did", "undid"] {
            let line = format!("{word} t{n} ");
            assert!(steps.iter().any(|step| step.starts_with(&line)), "{line}: {steps:?}");
        }
    }
}
