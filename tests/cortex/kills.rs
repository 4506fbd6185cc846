//! `kill -9` of the cortex between a decision and its hand-over, again and again.

use std::collections::{BTreeMap, BTreeSet};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::{
    instance::{Instance, holds, kill, until},
    line::Line,
    tiers::up,
};

/// The ids that the cortex allowed, by key, and those that the task manager took.
pub(crate) fn roads(instance: &Instance) -> (BTreeMap<String, BTreeSet<String>>, BTreeMap<String, usize>) {
    let mut allowed: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (decision, _) in instance.decided() {
        if decision["outcome"] == "allowed" {
            let key = decision["key"].as_str().unwrap_or_default().to_owned();
            allowed.entry(key).or_default().insert(decision["id"].as_str().unwrap().to_owned());
        }
    }
    let mut taken: BTreeMap<String, usize> = BTreeMap::new();
    for record in instance.records_of("htm") {
        let intents = &record["event"]["record"]["event"]["what"]["submitted"]["intents"];
        for intent in intents.as_array().into_iter().flatten() {
            *taken.entry(intent["id"].as_str().unwrap().to_owned()).or_default() += 1;
        }
    }
    (allowed, taken)
}

#[test]
fn nothing_is_lost_and_nothing_runs_undecided_while_the_cortex_is_killed() {
    const ROUNDS: usize = 12;
    const EACH: usize = 25;
    let instance = up("");
    let line = Line::to(&instance);
    let mut acknowledged = BTreeSet::new();
    for round in 0..ROUNDS {
        let intents: Vec<Value> = (0..EACH)
            .map(|n| {
                let key = format!("{round}-{n}");
                json!({"type": "quick", "actor": "ann", "payload": {"n": n}, "key": key})
            })
            .collect();
        let submit = json!({"submit": {"intents": intents}});
        let pid = instance.ready("cortex").pid.unwrap();
        // In the middle of it: sent, and killed before the answer can have come.
        line.tell("grace.cmd.cortex", &submit);
        kill(pid, Signal::KILL);
        // What was not decided when it died is asked again under the same keys.
        let results = until("it is decided", || {
            line.ask("grace.cmd.cortex", &submit)["done"]["submitted"]["results"].as_array().cloned()
        });
        for result in results {
            acknowledged
                .insert(result["decided"]["id"].as_str().unwrap_or_else(|| panic!("{result}")).to_owned());
        }
    }
    assert_eq!(acknowledged.len(), ROUNDS * EACH, "one intent a key");
    let succeeded = || {
        let overview = line.ask("grace.cmd.htm", &json!({"query": "overview"}));
        overview["done"]["overview"]["totals"]["succeeded"].as_u64().unwrap()
    };
    holds("all have succeeded", || succeeded() == acknowledged.len() as u64);
    assert!(
        instance.all_ready().components.iter().any(|c| c.name == "cortex" && c.restarts as usize >= ROUNDS)
    );
    instance.down();
    let (allowed, taken) = roads(&instance);
    assert!(allowed.values().all(|ids| ids.len() == 1), "a key is decided once: {allowed:?}");
    let allowed: BTreeSet<String> = allowed.into_values().flatten().collect();
    assert_eq!(allowed, acknowledged);
    assert_eq!(
        taken.keys().cloned().collect::<BTreeSet<_>>(),
        allowed,
        "what runs was decided, and all of it runs"
    );
    assert!(taken.values().all(|times| *times == 1), "{taken:?}");
}

#[test]
fn what_is_allowed_while_the_task_manager_is_away_is_handed_on_when_it_is_back() {
    let instance = up("");
    let line = Line::to(&instance);
    assert_eq!(instance.grace(&["pause", "htm"]).code, Some(0));
    let intent = json!({"type": "quick", "actor": "ann", "payload": {"n": 1}, "key": "k"});
    let answer = line.ask("grace.cmd.cortex", &json!({"submit": {"intents": [intent]}}));
    let decided = &answer["done"]["submitted"]["results"][0]["decided"];
    assert_eq!((&decided["outcome"], &decided["state"]), (&"allowed".into(), &"waiting".into()), "{answer}");
    kill(instance.ready("cortex").pid.unwrap(), Signal::KILL);
    assert_eq!(instance.grace(&["resume", "htm"]).code, Some(0));
    let id = decided["id"].as_str().unwrap();
    holds("it has succeeded", || {
        let ran = instance.grace(&["--json", "intent", "show", id]);
        ran.code == Some(0) && ran.out.contains("\"state\":\"succeeded\"")
    });
    instance.down();
}
