//! Reading and compiling intent types.

use std::path::Path as FilePath;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Definition, IntentType, Plan, Task};
use crate::{expression::Scope, limits, written::read};

const GOOD: &str = r#"
intents:
  resize_image:
    payload: {type: object, required: [path], properties: {path: {type: string}}}
    plan:
      task: {kind: exec, command: ["convert", "${payload.path}", "-resize", "50%", "out.png"], timeout: 30s}
  publish_book:
    priority: high
    deadline: 5m
    concurrency: {most: 4, key: "${payload.author}", per_key: 2}
    rate: {count: 10, per: 1s}
    plan:
      sequence:
        - task: {name: fetch, kind: http, url: "https://x/${payload.id}", expect: {status: [200]}}
        - parallel:
            - task: {name: print, kind: press, input: {text: "${tasks.fetch.body}"}, labels: [paper], compensation: {kind: press, input: {burn: true}}}
            - sequence:
                - task: {name: bind, kind: press}
                - task: {name: ship, kind: exec, command: [ship], retry: {attempts: 5, backoff: 2s, jitter: 0.5}, after: [print]}
        - task: {kind: publish, subject: "books.done", message: {id: "${payload.id}"}}
x-mine: {}
"#;

fn compiled(name: &str) -> Definition {
    let types = read(GOOD, FilePath::new("grace.yaml")).unwrap_or_else(|e| panic!("{e}")).intents;
    Definition::compile(name, types[name].clone()).unwrap()
}

fn told(text: &str) -> String {
    read(text, FilePath::new("i.yaml")).unwrap_err().to_string()
}

#[test]
fn a_tree_becomes_dependencies() {
    let book = compiled("publish_book");
    let waits: Vec<(&str, u16, Vec<&str>)> = book.tasks[..book.forward]
        .iter()
        .map(|t| (&*t.name, t.missing, t.before.iter().map(|n| &*book.tasks[usize::from(*n)].name).collect()))
        .collect();
    assert_eq!(
        waits,
        [
            ("fetch", 0, vec!["print", "bind"]),
            ("print", 1, vec!["ship", "task_5"]),
            ("bind", 1, vec!["ship"]),
            ("ship", 2, vec!["task_5"]),
            ("task_5", 2, vec![]),
        ]
    );
    assert_eq!(book.tasks[1].compensation, Some(5));
    assert_eq!(&*book.tasks[5].name, "undo_print");
    assert_eq!((book.deadline_ms, book.caps.most), (Some(300_000), Some(4)));
    assert_eq!(book.concurrency_key(&json!({"author": "ana"})).unwrap().as_deref(), Some("ana"));
    assert!(book.concurrency_key(&json!({})).is_err());
    let ship = book.tasks[3].backoff;
    assert_eq!((ship.wait_ms(1, 0), ship.wait_ms(2, 0), ship.wait_ms(1, u64::MAX)), (2000, 4000, 1000));
    assert_eq!(ship.wait_ms(40, 0), 300_000);
}

#[test]
fn inputs_are_mapped() {
    let image = compiled("resize_image");
    let payload = json!({"path": "a b.png"});
    let scope = Scope::new().with("payload", &payload);
    let input = image.input(&image.tasks[0], &scope).unwrap();
    assert_eq!(input, json!({"command": ["convert", "a b.png", "-resize", "50%", "out.png"]}));
    assert_eq!(image.check(&json!({})).len(), 1);
}

#[test]
fn a_definition_survives_its_json() {
    for name in ["resize_image", "publish_book"] {
        let source = compiled(name).source;
        let text = serde_json::to_string(&source).unwrap();
        assert_eq!(serde_json::from_str::<IntentType>(&text).unwrap(), source);
    }
}

#[test]
fn every_fault_is_told_at_its_place() {
    let text = "\
intents:
  Bad Name:
    plan: {task: {kind: wait, for: 1s}}
  a:
    payload: {type: object, propertys: {}}
    priority: urgent
    plan:
      sequence:
        - task: {name: x, kind: exec, url: 'http://x', timeout: 5}
        - task: {name: x, kind: http, url: 'http://${payload.}', after: [y]}
        - task: {kind: mine, inputs: 3}
        - parallel: []
        - {}
";
    let told = told(text);
    for part in [
        "i.yaml:2:3: error: intents.Bad Name: the name of an intent type has 1 to 63",
        "i.yaml:5:29: error: intents.a.payload.propertys: `propertys` is no keyword that is checked here",
        "did you mean `properties`?",
        "i.yaml:6:15: error: intents.a.priority: expected `critical`, `high`, `normal` or `low`, found `urgent`",
        "intents.a.plan.sequence[0].task.url: a task of kind `exec` has no `url`",
        "intents.a.plan.sequence[0].task: a task of kind `exec` needs `command`",
        "write `5s` for seconds",
        "intents.a.plan.sequence[1].task.name: another task of this plan is called `x` too",
        "intents.a.plan.sequence[1].task.url: this is not a CEL expression",
        "intents.a.plan.sequence[1].task.after[0]: there is no task `y` in this plan",
        "intents.a.plan.sequence[2].task.inputs: unknown key",
        "did you mean `input`?",
        "intents.a.plan.sequence[3].parallel: expected at least one part",
        "intents.a.plan.sequence[4]: expected exactly one of `task`, `sequence` and `parallel`",
    ] {
        assert!(told.contains(part), "{part}\nis not in\n{told}");
    }
}

#[test]
fn a_request_that_could_not_be_sent_is_told() {
    let text = "\
intents:
  a:
    plan:
      sequence:
        - task: {kind: http, url: 'ftp://x/', method: post, expect: {status: [99]}}
        - task: {kind: http, url: 'https://ann:secret@x/', headers: {Grace-Token: '1', 'a b': x, Host: y}}
        - task: {kind: http, url: '${payload.url}', method: '${payload.method}', headers: {x-a: '${payload.a}'}}
        - task: {kind: http, url: 'http://${payload.host}:80/x', method: PATCH, headers: {Idempotency-Key: '${intent.key}'}}
";
    let told = told(text);
    for part in [
        "i.yaml:5:35: error: intents.a.plan.sequence[0].task.url: expected `http://` or `https://` and a host",
        "i.yaml:5:55: error: intents.a.plan.sequence[0].task.method: expected a method in capital letters, such as `POST`, found `post`",
        "intents.a.plan.sequence[0].task.expect.status[0]: expected an HTTP status from 100 to 599, found `99`",
        "intents.a.plan.sequence[1].task.url: a URL must not hold a user or a password",
        "the header `Grace-Token` is the worker's to set",
        "expected the name of a header, such as `X-Shop`, found `a b`",
        "the header `Host` is the worker's to set",
    ] {
        assert!(told.contains(part), "{part}\nis not in\n{told}");
    }
    assert!(!told.contains("sequence[2]") && !told.contains("sequence[3]"), "{told}");
}

#[test]
fn cycles_are_found_and_told() {
    let text = "\
intents:
  a:
    plan:
      sequence:
        - task: {name: one, kind: k, after: [three]}
        - task: {name: two, kind: k}
        - task: {name: three, kind: k}
";
    let told = told(text);
    assert!(told.contains("a cycle: `one` waits for `three` waits for `two` waits for `one`"), "{told}");
    let own = text.replace("after: [three]", "after: [one]");
    let told = self::told(&own);
    assert!(told.contains("a cycle: `one` waits for `one`"), "{told}");
}

#[test]
fn plans_are_bounded() {
    let task = || Plan { task: Some(Task { kind: "k".into(), ..Task::default() }), ..Plan::default() };
    let parallel = |n| Plan { parallel: Some(vec![task(); n]), ..Plan::default() };
    let of = |plan| Definition::compile("t", IntentType { plan: Some(plan), ..IntentType::default() });
    let first = |plan| of(plan).unwrap_err()[0].message.clone();
    assert!(of(parallel(limits::PLAN_TASKS - 1)).is_ok());
    assert!(first(parallel(limits::PLAN_TASKS + 1)).starts_with("a plan has at most 256 tasks"));
    let sequence = |parts| Plan { sequence: Some(parts), ..Plan::default() };
    assert!(of(sequence(vec![parallel(60), parallel(60)])).is_ok());
    assert!(first(sequence(vec![parallel(100), parallel(100)])).starts_with("more than 8192 dependencies"));
    let mut deep = task();
    for _ in 0..30 {
        deep = sequence(vec![deep]);
    }
    assert!(first(deep).starts_with("a plan is at most 16 levels deep"));
    let large =
        IntentType { description: Some("x".repeat(limits::DEFINITION_BYTES)), ..IntentType::default() };
    assert!(Definition::compile("t", large).unwrap_err()[0].message.starts_with("a type of "));
}

fn plans() -> impl Strategy<Value = Plan> {
    let names = prop::collection::vec("[a-e]", 0..3);
    let leaf = (prop::option::of("[a-e]"), names, any::<bool>()).prop_map(|(name, after, undo)| Plan {
        task: Some(Task {
            name,
            kind: "k".into(),
            after,
            compensation: undo.then(|| Box::new(Task { kind: "undo".into(), ..Task::default() })),
            ..Task::default()
        }),
        ..Plan::default()
    });
    leaf.prop_recursive(3, 20, 4, |inner| {
        let parts = prop::collection::vec(inner, 1..4);
        (parts, any::<bool>()).prop_map(|(parts, sequence)| match sequence {
            true => Plan { sequence: Some(parts), ..Plan::default() },
            false => Plan { parallel: Some(parts), ..Plan::default() },
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_plan_that_compiles_can_be_run_to_its_end(plan in plans()) {
        let Ok(definition) = Definition::compile("t", IntentType { plan: Some(plan), ..IntentType::default() })
        else { return Ok(()) };
        let tasks = &definition.tasks[..definition.forward];
        let mut missing: Vec<u16> = tasks.iter().map(|task| task.missing).collect();
        let mut free: Vec<usize> = (0..tasks.len()).filter(|n| missing[*n] == 0).collect();
        let mut done = 0;
        while let Some(next) = free.pop() {
            done += 1;
            for n in &tasks[next].before {
                missing[usize::from(*n)] -= 1;
                if missing[usize::from(*n)] == 0 {
                    free.push(usize::from(*n));
                }
            }
        }
        prop_assert_eq!(done, tasks.len());
    }

    #[test]
    fn no_text_panics(text in "[a-z:{}\\[\\]\\n ,'$.-]{0,200}") {
        let _ = read(&format!("intents:\n  a:\n    plan: {text}"), FilePath::new("x"));
    }

    #[test]
    fn no_document_panics(kind in "[a-z]{0,8}", value in "[\\[{\"a:1,}\\]]{0,40}") {
        let value: Value = serde_json::from_str(&value).unwrap_or(Value::Null);
        let task = json!({"kind": kind, "input": value});
        if let Ok(source) = serde_json::from_value(json!({"payload": value, "plan": {"task": task}})) {
            let _ = Definition::compile("a", source);
        }
    }
}
