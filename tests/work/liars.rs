//! What is not as it should be: intents that do not fit, workers that lie, programs that do not end.

use serde_json::{Value, json};

use crate::{
    bench::{lines, show, submit, until_state, up},
    instance::{holds, state_of, until},
    line::Line,
};

#[test]
fn of_ten_thousand_intents_half_are_refused_with_what_is_wrong_and_the_others_end() {
    let instance = up();
    let line = Line::to(&instance);
    let wrong = [
        (json!({}), vec!["/n"]),
        (json!({"n": -1, "tag": 7}), vec!["/n", "/tag"]),
        (json!({"n": "many"}), vec!["/n"]),
        (json!([]), vec![""]),
    ];
    let mut accepted = 0;
    for batch in 0..10 {
        let intents: Vec<Value> = (0..1000)
            .map(|n: usize| {
                let payload =
                    if n.is_multiple_of(2) { json!({ "n": n }) } else { wrong[n / 2 % 4].0.clone() };
                json!({"type": "quick", "actor": "ann", "payload": payload, "key": format!("{batch}-{n}")})
            })
            .collect();
        let answer = line.ask("grace.cmd.cortex", &json!({"submit": {"intents": intents}}));
        let results = answer["done"]["submitted"]["results"].as_array().unwrap();
        assert_eq!(results.len(), 1000);
        for (n, result) in results.iter().enumerate() {
            if n.is_multiple_of(2) {
                assert!(result["decided"]["id"].is_string(), "{result}");
                accepted += 1;
            } else {
                let refused = &result["refused"];
                assert_eq!(refused["code"], "invalid", "{result}");
                let violations = refused["violations"].as_array().unwrap();
                let places: Vec<&str> = violations.iter().map(|v| v["pointer"].as_str().unwrap()).collect();
                assert_eq!(places, wrong[n / 2 % 4].1, "each is named: {result}");
            }
        }
    }
    assert_eq!(accepted, 5000);
    let succeeded = || {
        let overview = line.ask("grace.cmd.htm", &json!({"query": "overview"}));
        overview["done"]["overview"]["totals"]["succeeded"].as_u64().unwrap()
    };
    for goal in 1..=5 {
        holds(&format!("{goal},000 have succeeded"), || succeeded() >= goal * 1000);
    }
    assert_eq!(succeeded(), 5000);
    instance.down();
}

#[test]
fn a_worker_that_lies_changes_nothing() {
    let instance = up();
    let line = Line::to(&instance);
    line.register("liar");
    line.register("honest");
    let id = submit(&instance, "own", &[])["id"].as_str().unwrap().to_owned();
    let (task, token) = line.lease("liar");
    let refused = |verdict: &Value, why: &str| {
        assert!(verdict["refused"].as_str().is_some_and(|told| told.contains(why)), "{why}: {verdict}");
    };
    refused(&line.answer("honest", &task, token, "mine"), "another worker's");
    refused(&line.answer("liar", &task, token + 1, "mine"), "token");
    let other = json!({"answer": {"worker": "honest", "answers": [{"task": task, "token": token}]}});
    let answer = line.ask("grace.work.answer.liar", &other);
    assert_eq!(answer["error"]["code"], "bad_request", "{answer}");
    assert_eq!(line.answer("liar", &task, token, "done"), "taken");
    assert_eq!(line.answer("liar", &task, token, "done"), "taken", "the same again");
    refused(&line.answer("liar", &task, token, "something else"), "over");
    assert_eq!(until_state(&instance, &id, "succeeded")["tasks"][0]["output"], "done");

    // An answer after the lease's end is nobody's.
    let id = submit(&instance, "own", &[])["id"].as_str().unwrap().to_owned();
    let (task, late) = line.lease("liar");
    until("the lease is over", || {
        show(&instance, &id)["tasks"][0]["reason"].as_str().filter(|why| why.contains("in time")).map(drop)
    });
    refused(&line.answer("liar", &task, late, "late"), "");
    let (again, token) = line.lease("honest");
    assert!(again == task && token > late, "{token} after {late}");
    refused(&line.answer("liar", &task, late, "later"), "stale");
    assert_eq!(line.answer("honest", &task, token, "in time"), "taken");
    assert_eq!(until_state(&instance, &id, "succeeded")["tasks"][0]["output"], "in time");
    instance.down();
}

#[test]
fn a_program_that_spins_is_ended_with_its_group_at_its_timeout_and_tried_again() {
    let instance = up();
    let ran = instance.grace(&["intent", "submit", "spin", "--actor", "ann", "--wait"]);
    assert_eq!(ran.code, Some(1), "{ran}");
    assert!(ran.out.contains("not done within 3000 ms") && ran.out.contains("2 attempts"), "{ran}");
    let spun: Vec<u32> = lines(&instance, "spun").iter().map(|pid| pid.parse().unwrap()).collect();
    assert_eq!(spun.len(), 4, "two attempts of two processes each");
    holds("none of them is left", || spun.iter().all(|pid| state_of(*pid).is_none_or(|state| state == 'Z')));
    instance.down();
}
