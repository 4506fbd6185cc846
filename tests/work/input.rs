//! What people may get wrong on the command line: it is said what is wrong and where, with exit status 2, and nothing is taken.

use crate::{
    bench::{MANIFEST, submit},
    instance::Instance,
};

/// That `grace` says that it was the caller's mistake, and which, in these words; all that it says.
fn refused(instance: &Instance, args: &[&str], words: &[&str]) -> String {
    let ran = instance.grace(args);
    assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""), "{ran}");
    for word in words {
        assert!(ran.err.contains(word), "{word}: {ran}");
    }
    ran.err
}

#[test]
fn payloads_that_are_too_large_too_deep_or_no_json_are_refused_with_words_and_one_that_costs_too_much_ends() {
    let instance = Instance::of("");
    instance.write_manifest(MANIFEST);
    instance.up();
    let from_file = |text: String, words: &[&str]| {
        std::fs::write(instance.file("payload.json"), text).unwrap();
        let args = ["intent", "submit", "quick", "--actor", "ann", "--payload-file", "payload.json"];
        refused(&instance, &args, words);
    };
    let large = format!(r#"{{"n": 1, "rest": "{}"}}"#, "x".repeat(300 << 10));
    from_file(large, &["error[bad_payload]", "too large: at most 262144 bytes", "payload.json"]);
    for levels in [200, 100_000] {
        let deep = format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        from_file(deep, &["error[bad_payload]", "nested too deep: at most 127 levels"]);
    }
    from_file("{\"n\": ".to_owned(), &["not JSON", "line 1 column 6"]);
    assert_eq!(instance.grace(&["intent", "list"]).out, "no intents\n", "nothing was taken");

    // An expression over it that would take nine million steps fails its task for good, at once.
    let numbers: Vec<String> = (0..3000).map(|n| n.to_string()).collect();
    let payload = format!(r#"{{"n": [{}]}}"#, numbers.join(","));
    let ran =
        instance.grace(&["intent", "submit", "many", "--actor", "ann", "--payload", &payload, "--wait"]);
    assert_eq!(ran.code, Some(1), "{ran}");
    assert!(ran.out.contains("it takes more than 300000 steps over this input"), "{ran}");
    let after = submit(&instance, "quick", &["--payload", r#"{"n": 1}"#, "--wait"]);
    assert_eq!(after["state"], "succeeded", "{after}");
    instance.down();
}

/// Three mistakes in types of intents, and one each in a trigger and a policy.
const WRONG: &str = r#"intents:
  sum: {plan: {task: {kind: publish, subject: app.sum, message: "${payload.n +* 3}"}}}
  round:
    plan:
      parallel:
        - task: {name: a, kind: wait, for: 1s, after: [c]}
        - task: {name: b, kind: wait, for: 1s, after: [a]}
        - task: {name: c, kind: wait, for: 1s, after: [b]}
  cube:
    plan: {task: {kind: publish, subject: app.cube, message: "${payload.n.map(a, payload.n.map(b, payload.n.map(c, a + b + c)))}"}}
triggers:
  paid: {types: [com.shop.paid], filter: "data.sum >", action: {submit: {intent: sum}}}
policies:
  refunds: {match: [com.shop.refund], when: "(count", then: [{emit: {type: com.shop.alarm}}]}
"#;

#[test]
fn a_manifest_with_cycles_and_expressions_that_do_not_parse_is_refused_with_each_place_and_so_are_its_parts()
{
    let instance = Instance::of("");
    let manifest = instance.file("grace.yaml").to_string_lossy().into_owned();
    let faults = [
        "intents.sum.plan.task.message: this is not a CEL expression",
        "a cycle: `a` waits for `c` waits for `b` waits for `a`",
        "3 loops inside each other; at most 2 are taken",
        "triggers.paid.filter: ",
        "policies.refunds.when: ",
        "error[bad_manifest]: the manifest has 5 faults, and nothing was started",
    ];
    let check = |at: &str| {
        for how in ["--check", "--detach"] {
            let told = refused(&instance, &["up", how, "--manifest", &manifest], &faults);
            let places = told.lines().filter(|line| line.contains(at) && line.contains(": error: "));
            assert_eq!(places.count(), 5, "each has its file and line: {told}");
        }
        assert!(instance.processes().is_empty(), "nothing was started");
    };
    instance.write_manifest(&format!("bus: {{port: 0}}\n{WRONG}"));
    check("grace.yaml:");
    std::fs::write(instance.file("part.yaml"), WRONG).unwrap();
    instance.write_manifest("bus: {port: 0}\ninclude: [part.yaml]\n");
    check("part.yaml:");
}
