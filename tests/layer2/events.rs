//! Events from wherever they come, and what triggers and policies make of them: what is taken is done once, whoever dies meanwhile.

use std::collections::BTreeSet;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::{
    bench::{Sender, done, event, kill_and_wait, kill_ready, notes, until_notes, up},
    instance::{Instance, holds, kill, until},
};

const ADDED: &str = "com.shop.picture.added";

/// Each picture is noted, but for those without a path.
const PICTURES: &str = r#"triggers:
  pictures:
    types: [com.shop.picture.added]
    filter: size(data.path) > 0
    action: {submit: {intent: note, payload: {text: "${data.path}"}}}
"#;

fn fired(count: u64) -> Value {
    json!({"done": {"fired": count}})
}

#[test]
fn an_event_fires_an_intent_once_and_what_is_no_event_is_refused_with_words() {
    // Of Grace's own events the door hears those that somebody takes.
    let rebuilt = "  rebuilt: {types: [dev.grace.web.rebuilt.v1], action: {submit: {intent: note, payload: {text: no}}}}\n";
    let instance = up(&format!("{PICTURES}{rebuilt}"));
    let sender = Sender::to(&instance);
    let data = r#"{"path": "a.png"}"#;
    assert_eq!(sender.send(ADDED, "A-1", data), fired(1));
    assert_eq!(sender.send(ADDED, "A-1", data), fired(0), "a duplicate fires nothing");
    assert_eq!(sender.send(ADDED, "A-2", r#"{"path": ""}"#), fired(0), "the filter is false");
    assert_eq!(sender.send("com.shop.paid", "A-1", data), fired(0), "nobody takes it");

    let refused = |message, code: &str, words: &str| {
        let answer = sender.request(message).unwrap();
        assert_eq!(answer["refused"]["code"], code, "{answer}");
        assert!(answer["message"].as_str().unwrap().contains(words), "{answer}");
    };
    let subject = format!("events.{ADDED}");
    refused(event(&subject, "com.shop.picture.removed", "A-3", data), "wrong_type", "its subject says");
    let own = "dev.grace.control_plane.exited.v1";
    refused(event(&format!("events.{own}"), own, "A-4", data), "wrong_type", "Grace's own");
    refused(event("grace.event.web.exited", own, "A-4", data), "wrong_type", "no type of web's");
    refused(event(&subject, ADDED, "A-5", "{no json"), "malformed_event", "the event's data is not valid");
    let mut nameless = event(&subject, ADDED, "A-6", data);
    nameless.headers = nameless.headers.iter().filter(|(name, _)| *name != "ce-id").collect();
    refused(nameless, "malformed_event", "`id` is missing");
    // What the bus carries and is more than is kept; and what it does not even carry.
    let large =
        |bytes: usize| event(&subject, ADDED, "A-7", &format!(r#"{{"path": "{}"}}"#, "x".repeat(bytes)));
    refused(large(700 << 10), "too_large", "as JSON; at most 524288 are taken");
    let why = sender.request(large(2 << 20)).unwrap_err();
    assert!(why.contains("are more than the broker's limit of"), "{why}");

    assert_eq!(sender.send(ADDED, "A-8", r#"{"path": "b.png"}"#), fired(1), "it goes on");
    let mut notes = until_notes(&instance, 2);
    notes.sort_unstable();
    assert_eq!(notes, ["a.png", "b.png"]);
    let intents = instance.told(&["intent", "list"]);
    assert_eq!(intents.len(), 2, "{intents:?}");
    assert!(intents.iter().all(|intent| intent["actor"] == "trigger:pictures"), "{intents:?}");
    instance.down();
}

#[test]
fn no_acknowledged_event_is_lost_or_done_twice_while_all_on_its_way_are_killed() {
    const EVENTS: usize = 200;
    let instance = up(PICTURES);
    let sender = Sender::to(&instance);
    let mut victims = ["trigger_mesh", "event_policy", "htm", "message_bus"].into_iter().cycle();
    for n in 0..EVENTS {
        if n % 25 == 12 {
            kill_ready(&instance, victims.next().unwrap());
        }
        let answer = sender.send(ADDED, &format!("P-{n}"), &format!(r#"{{"path": "p{n}"}}"#));
        assert!(answer["done"]["fired"].is_u64(), "{answer}");
    }
    let expected: BTreeSet<String> = (0..EVENTS).map(|n| format!("p{n}")).collect();
    holds("each has left its note", || notes(&instance).into_iter().collect::<BTreeSet<_>>() == expected);
    let intents = until("each intent has succeeded", || {
        let intents = instance.told(&["intent", "list", "-n", "1000"]);
        intents.iter().all(|intent| intent["state"] == "succeeded").then_some(intents)
    });
    assert_eq!(intents.len(), EVENTS, "one for each event");
    let of: BTreeSet<String> =
        intents.iter().map(|intent| intent["payload"]["text"].as_str().unwrap().to_owned()).collect();
    assert_eq!(of, expected);
    instance.all_ready();
    // An answer that was lost with its connection is asked for again.
    let row = until("each delivery is known to be done", || {
        Some(instance.told(&["trigger", "list"]).remove(0)).filter(|row| row["done"] == EVENTS)
    });
    assert_eq!((&row["fired"], &row["dead"]), (&EVENTS.into(), &0.into()), "{row}");
    instance.down();
    let done = done(&instance);
    assert_eq!(done.len(), EVENTS);
    assert!(done.values().all(|times| *times == 1), "{done:?}");
}

#[test]
fn a_trigger_that_was_added_outlives_the_mesh_and_a_declared_one_stays() {
    let instance = up(PICTURES);
    std::fs::write(
        instance.file("paid.yaml"),
        "types: [com.shop.*]\nfilter: data.n > 10\naction: {submit: {intent: note, payload: {text: \"paid ${data.n}\"}}}\n",
    )
    .unwrap();
    let added = instance.grace(&["trigger", "add", "paid", "--file", "paid.yaml"]);
    assert_eq!(added.code, Some(0), "{added}");
    kill_and_wait(&instance, "trigger_mesh");
    let rows = instance.told(&["trigger", "list"]);
    let declared: Vec<_> = rows.iter().map(|row| (row["name"].as_str().unwrap(), &row["declared"])).collect();
    assert_eq!(declared, [("paid", &false.into()), ("pictures", &true.into())]);
    assert_eq!(Sender::to(&instance).send("com.shop.paid", "1", r#"{"n": 11}"#), fired(1));
    assert_eq!(until_notes(&instance, 1), ["paid 11"]);

    let kept = instance.grace(&["trigger", "remove", "pictures"]);
    assert_eq!(kept.code, Some(1), "{kept}");
    assert!(kept.err.contains("`pictures` is declared in the manifest: change it there"), "{kept}");
    let test = r#"{"type": "com.shop.paid", "source": "/shop", "data": {"n": 3}}"#;
    std::fs::write(instance.file("event.json"), test).unwrap();
    let ran = instance.grace(&["trigger", "test", "event.json"]);
    assert_eq!(ran.code, Some(0), "{ran}");
    for why in ["its filter is false", "the event's type is none of its types"] {
        assert!(ran.out.contains(why), "{ran}");
    }

    assert_eq!(instance.grace(&["trigger", "remove", "paid"]).code, Some(0));
    kill_and_wait(&instance, "trigger_mesh");
    let names: Vec<Value> =
        instance.told(&["trigger", "list"]).iter().map(|row| row["name"].clone()).collect();
    assert_eq!(names, ["pictures"]);
    instance.down();
}

/// From the event that came from outside to the intent at the end, each says what caused it and what it all belongs to.
#[test]
fn a_chain_of_triggers_says_at_each_step_what_caused_it() {
    let instance = up(r#"triggers:
  first:
    types: [com.shop.picture.added]
    action: {publish: {type: com.shop.picture.seen, data: {path: "${data.path}"}}}
  second:
    types: [com.shop.picture.seen]
    action: {submit: {intent: note, payload: {text: "${data.path}"}}}
"#);
    let sender = Sender::to(&instance);
    let mut heard = sender.listen("events.com.shop.picture.seen");
    assert_eq!(sender.send(ADDED, "C-1", r#"{"path": "c.png"}"#), fired(1));
    let seen = heard.next();
    let header = |name: &str| seen.headers.get(name).map(str::to_owned).unwrap();
    assert_eq!(header("ce-source"), "/grace/trigger_mesh/first");
    assert_eq!(header("ce-hops"), "1");
    let (cause, belongs) = (header("ce-causationid"), header("ce-correlationid"));
    assert!(!cause.is_empty() && cause != header("ce-id"), "{seen:?}");
    until_notes(&instance, 1);
    let records = instance.records_of("htm");
    let submitted = |record: &Value| {
        record["event"]["record"]["event"]["what"]["submitted"]["intents"][0]["origin"].clone()
    };
    let origin = records.iter().map(submitted).find(|origin| !origin.is_null()).unwrap();
    assert_eq!(
        (&origin["causation"], &origin["correlation"]),
        (&header("ce-id").into(), &belongs.into()),
        "{origin}"
    );
    assert_eq!(origin["hops"], 2, "{origin}");
    instance.down();
}

/// Puts a file there as it should be done: under another name first.
fn put(instance: &Instance, name: &str, text: &str) {
    let folder = instance.data().join("events");
    std::fs::write(folder.join("new"), text).unwrap();
    std::fs::rename(folder.join("new"), folder.join(name)).unwrap();
}

#[test]
fn events_in_files_are_taken_and_what_is_none_is_moved_away_with_its_reason() {
    let instance = up(PICTURES);
    let picture = |id: &str| json!({"specversion": "1.0", "id": id, "source": "/scanner", "type": ADDED, "data": {"path": id}});
    let refused = instance.data().join("events/refused");
    holds("the folder is there", || refused.is_dir());
    put(&instance, "one.json", &picture("f1").to_string());
    put(&instance, "list.json", &json!([picture("f2"), picture("f3"), picture("f1")]).to_string());
    put(&instance, "half.json", "{\"specversion\": ");
    let mut forged = picture("f4");
    forged["type"] = "dev.grace.htm.submitted.v1".into();
    put(&instance, "forged.json", &json!([picture("f5"), forged]).to_string());
    let mut notes = until_notes(&instance, 3);
    notes.sort_unstable();
    assert_eq!(notes, ["f1", "f2", "f3"]);
    for (name, why) in [("half.json", "it is not JSON"), ("forged.json", "event 2: types that begin with")] {
        let reason = until("it is moved away", || {
            let reason = std::fs::read_to_string(refused.join(format!("{name}.reason"))).ok()?;
            refused.join(name).is_file().then_some(reason)
        });
        assert!(reason.contains(why), "{reason}");
    }
    let left = || std::fs::read_dir(instance.data().join("events")).unwrap().count();
    holds("nothing but the folder of refused ones is left", || left() == 1);
    assert_eq!(instance.told(&["intent", "list"]).len(), 3, "of a file with a bad one none is taken");
    instance.down();
}

#[test]
fn the_end_of_a_users_process_sets_off_work() {
    let instance = up(r#"processes:
  web: {command: [sleep, "1000"]}
triggers:
  died:
    types: [dev.grace.control_plane.exited.v1]
    filter: data.event.component == "web"
    action: {submit: {intent: note, payload: {text: "${data.event.component} is dead"}}}
"#);
    kill(instance.ready("web").pid.unwrap(), Signal::KILL);
    assert_eq!(until_notes(&instance, 1), ["web is dead"]);
    instance.ready("web");
    instance.down();
}
