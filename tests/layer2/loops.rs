//! Policies that set each other off: what is stopped and why is published, told and shown, and others go on.

use std::collections::BTreeMap;

use grace_bus::Message;
use serde_json::Value;

use crate::{
    bench::{Sender, event, until_notes, up},
    instance::{Instance, until},
};

/// The policies of the longest loop.
const TEN: [&str; 10] = ["ten0", "ten1", "ten2", "ten3", "ten4", "ten5", "ten6", "ten7", "ten8", "ten9"];

/// Loops of one, two and ten policies, one that may come again in its chain, and one that has nothing to do with them.
fn manifest() -> String {
    let step = |name: &str, next: &str| {
        format!("  {name}: {{match: [com.shop.{name}], then: [{{emit: {{type: com.shop.{next}}}}}]}}\n")
    };
    let mut text = "policies:\n".to_owned();
    text += &step("one", "one");
    text += &(step("ping", "pong") + &step("pong", "ping"));
    for (name, next) in TEN.iter().zip(TEN.iter().cycle().skip(1)) {
        text += &step(name, next);
    }
    text += "  again: {match: [com.shop.again], repeat: 100, then: [{emit: {type: com.shop.again}}]}\n";
    text += "  noted: {match: [com.shop.paid], then: [{submit: {intent: note, payload: {text: \"${event.id}\"}}}]}\n";
    text
}

fn rows(instance: &Instance) -> BTreeMap<String, Value> {
    let rows = instance.told(&["policy", "list"]).into_iter();
    rows.map(|row| (row["name"].as_str().unwrap().to_owned(), row)).collect()
}

#[test]
fn loops_of_one_two_and_ten_policies_are_stopped_where_they_close_or_are_too_deep_and_others_go_on() {
    let instance = up(&manifest());
    let sender = Sender::to(&instance).patient();
    let mut published = sender.listen("grace.event.event_policy.cascade_stopped");
    let deep = "10 causes lie before the event, and a chain may have 10";
    for (first, why, all, times) in [
        ("one", "a loop: one → one", &["one"][..], 1),
        ("ping", "a loop: ping → pong → ping", &["ping", "pong"], 1),
        ("ten0", deep, &TEN, 1),
        ("again", deep, &["again"], 10),
    ] {
        sender.send(&format!("com.shop.{first}"), first, "");
        let told: Value = serde_json::from_slice(&published.next().payload).unwrap();
        let told = told.to_string();
        assert!(told.contains(why) && told.contains(&format!("\"{first}\"")), "{told}");
        let rows = rows(&instance);
        for name in all {
            assert_eq!(rows[*name]["fired"], times, "{name}: {rows:#?}");
        }
        assert_eq!((&rows[first]["stopped"], &rows[first]["guard"]), (&1.into(), &"open".into()));
        let shown = instance.grace(&["policy", "show", first]);
        assert_eq!(shown.code, Some(0), "{shown}");
        assert!(shown.out.starts_with(&format!("{first}  rests: {why}")), "{shown}");
    }
    let told = until("the stories are told", || {
        let told = instance.told(&["narratives", "--action", "cascade_stopped"]);
        (told.len() >= 4).then_some(told)
    });
    assert_eq!(told.len(), 4, "{told:#?}");

    // Who rests does not act, who has nothing to do with it does, and an operator may end a rest.
    assert_eq!(sender.send("com.shop.one", "later", "")["done"]["fired"], 0);
    assert_eq!(sender.send("com.shop.paid", "paid", "")["done"]["fired"], 1);
    until_notes(&instance, 1);
    assert_eq!(instance.grace(&["policy", "reset", "one"]).code, Some(0));
    assert_eq!(sender.send("com.shop.one", "reset", "")["done"]["fired"], 1);
    instance.down();
}

/// An event of somebody outside, who says what he likes of where it comes from.
fn forged(kind: &str, id: &str, said: &[(&str, &str)]) -> Message {
    let mut message = event(&format!("events.{kind}"), kind, id, "");
    for (name, value) in said {
        message.headers.append(format!("ce-{name}"), *value);
    }
    message
}

#[test]
fn what_a_sender_says_of_his_chain_makes_it_no_longer_and_stops_nobody_elses() {
    let instance = up("policies:
  go: {match: [com.shop.go], repeat: 100, then: [{emit: {type: com.shop.gone}}]}
  end: {match: [com.shop.gone], repeat: 100, then: [{emit: {type: com.shop.over}}]}
");
    let sender = Sender::to(&instance).patient();
    let ask = |message: Message| {
        until("it is answered", || {
            sender.request(message.clone()).ok().filter(|answer| answer["error"].is_null())
        })
    };
    // Too deep, as he says himself: nothing follows, and what others send is acted upon.
    for id in ["1", "2"] {
        let answer = ask(forged("com.shop.go", id, &[("hops", "10")]));
        assert_eq!(answer["done"]["fired"], 0, "{answer}");
    }
    let answer = ask(forged("com.shop.go", "3", &[("hops", "-1")]));
    assert_eq!(answer["refused"]["code"], "malformed_event", "{answer}");
    let row = rows(&instance)["go"].clone();
    assert_eq!((&row["stopped"], &row["guard"]), (&1.into(), &"closed".into()), "told once: {row}");

    // Somebody goes on with what policies publish, as if nothing had been before it.
    let mut gone = sender.listen("events.com.shop.gone");
    let mut fired = 0;
    let mut next = forged("com.shop.go", "r0", &[]);
    while ask(next)["done"]["fired"] == 1 {
        fired += 1;
        let cause = gone.next();
        let cause = cause.headers.get("ce-id").unwrap();
        next = forged("com.shop.go", &format!("r{fired}"), &[("hops", "0"), ("causationid", cause)]);
    }
    assert_eq!(fired, 5, "each time two causes are added, and a chain may have ten");
    let shown = instance.grace(&["policy", "show", "go"]);
    assert!(shown.out.starts_with("go  rests: 10 causes lie before the event"), "{shown}");
    instance.down();
}
