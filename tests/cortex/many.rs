//! A thousand requests, fifty at a time: consistent, and all of them on record.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::{line::Line, tiers::up};

#[test]
fn a_thousand_requests_are_decided_consistently_and_each_is_on_record_once() {
    const SENDERS: usize = 50;
    const EACH: usize = 20;
    let kinds =
        ["quick", "query_knowledge", "modify_config", "change_charter", "self_improve", "nobody_knows"];
    let instance = up("");
    let line = Line::to(&instance);
    let send = |sender: usize| -> Vec<Value> {
        (0..EACH)
            .map(|n| {
                let kind = kinds[(sender + n) % kinds.len()];
                let intent = json!({"type": kind, "actor": format!("a{sender}"), "payload": {"n": n}, "key": format!("{n}")});
                let answer = line.ask("grace.cmd.cortex", &json!({"submit": {"intents": [intent]}}));
                answer["done"]["submitted"]["results"][0]["decided"].clone()
            })
            .collect()
    };
    let decided: Vec<Value> = std::thread::scope(|scope| {
        let senders: Vec<_> = (0..SENDERS).map(|sender| scope.spawn(move || send(sender))).collect();
        senders.into_iter().flat_map(|sender| sender.join().unwrap()).collect()
    });
    let mut by_kind: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut ids = BTreeSet::new();
    for one in &decided {
        // Who had to ask again hears what became of it, which may be a vote.
        if one["repeated"] == false {
            let said = json!([one["outcome"], one["tier"], one["score"], one["policies"], one["review"]]);
            by_kind.entry(one["type"].to_string()).or_default().insert(said.to_string());
        }
        ids.insert(one["id"].as_str().unwrap_or_else(|| panic!("{one}")).to_owned());
    }
    assert_eq!((decided.len(), ids.len()), (SENDERS * EACH, SENDERS * EACH));
    assert!(by_kind.len() == kinds.len() && by_kind.values().all(|said| said.len() == 1), "{by_kind:?}");
    instance.down();
    let mut recorded = BTreeMap::<String, usize>::new();
    for (decision, record) in instance.decided() {
        *recorded.entry(decision["id"].as_str().unwrap().to_owned()).or_default() += 1;
        assert!(record["why"].as_array().unwrap().len() >= 3, "{record}");
    }
    assert_eq!(recorded.keys().cloned().collect::<BTreeSet<_>>(), ids);
    assert!(recorded.values().all(|times| *times == 1));
}
