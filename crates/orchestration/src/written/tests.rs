//! What is written about work: that all of it is read, and what is told of mistakes.

use std::path::Path as FilePath;

use super::*;

const GOOD: &str = r#"
processes: {web: {command: [sleep, 1d]}}
intents:
  resize_image:
    payload: {type: object, required: [path], properties: {path: {type: string}}}
    plan: {task: {kind: exec, command: [convert, "${payload.path}"]}}
triggers:
  thumbnails:
    types: [com.shop.picture.added]
    filter: data.size < 10000000
    throttle: {once_within: 1s}
    action: {submit: {intent: resize_image, payload: {path: "${data.path}"}}}
policies:
  too_many_refunds:
    match: [com.shop.refund]
    window: {within: 10m, by: data.customer}
    when: count > 3
    then: [{emit: {type: com.shop.refunds.suspicious, data: {customer: "${data.customer}"}}}]
schedules:
  nightly:
    when: {cron: {pattern: "30 2 * * *", zone: Europe/Berlin}}
    action: {submit: {intent: resize_image, payload: {path: all.png}}}
    overlap: skip
"#;

fn told(text: &str) -> String {
    read_manifest(text, FilePath::new("grace.yaml")).unwrap_err().to_string()
}

#[test]
fn a_manifest_carries_all_of_it() {
    let written = read_manifest(GOOD, FilePath::new("grace.yaml")).unwrap_or_else(|e| panic!("{e}"));
    let mut manifest = Manifest::default();
    written.put_into(&mut manifest).unwrap();
    assert_eq!(typed(&manifest.intents).unwrap(), written.intents);
    assert_eq!(typed(&manifest.triggers).unwrap(), written.triggers);
    assert_eq!(typed(&manifest.policies).unwrap(), written.policies);
    assert_eq!(typed(&manifest.schedules).unwrap(), written.schedules);
    assert_eq!((written.triggers.len(), written.policies.len(), written.schedules.len()), (1, 1, 1));
}

#[test]
fn the_embedded_examples_can_be_used() {
    // Every commented example of the four sections, as a user would uncomment it.
    let mut text = String::new();
    let mut taken = false;
    for line in manifest::DEFAULT_YAML.lines() {
        let bare = line.strip_prefix("# ").unwrap_or_default();
        taken =
            SECTIONS.iter().any(|section| bare == format!("{section}:")) || taken && bare.starts_with(' ');
        if taken {
            text += &format!("{bare}\n");
        }
    }
    let written = read_manifest(&text, FilePath::new("default.yaml")).unwrap_or_else(|e| panic!("{e}"));
    let counts =
        [written.intents.len(), written.triggers.len(), written.policies.len(), written.schedules.len()];
    assert_eq!(counts, [1; 4], "{text}");
}

#[test]
fn every_fault_is_told_at_its_place() {
    let told = told(
        "\
intents:
  resize_image:
    payload: {type: object, required: [path], properties: {path: {type: string}}}
    plan: {task: {kind: wait, for: 1s}}
  broken:
    plan: {task: {kind: wait}}
triggers:
  a b: {types: [x], action: {publish: {type: com.x}}}
  two:
    types: [x.*.*]
    filter: data.size <
    action: {submit: {intent: resize_imag, payload: {path: '${data.path}'}}}
  three: 3
  four: {types: [x], action: {submit: {intent: broken}}}
policies:
  one:
    match: [x]
    then:
      - submit: {intent: resize_image, payload: {path: 7}}
      - submit: {intent: nothing_like_it}
schedules:
  one:
    when: {cron: {pattern: 61 * * * *}}
    action: {submit: {intent: resize_image}}
  two:
    when: {every: 100ms, after: 1s}
    action: {publish: {type: com.x}}
  three: {when: {every: 100ms}, action: {publish: {type: com.x}}, overlap: never}
",
    );
    for part in [
        "grace.yaml:8:3: error: triggers.a b: a name has letters",
        "grace.yaml:10:13: error: triggers.two.types[0]: only one `*`",
        "grace.yaml:11:13: error: triggers.two.filter: this is not a CEL expression",
        "grace.yaml:12:31: error: triggers.two.action.submit.intent: there is no type of intents `resize_imag`",
        "help: did you mean `resize_image`?",
        "grace.yaml:13:10: error: triggers.three: expected a mapping with `types` and `action`, found `3`",
        "grace.yaml:19:56: error: policies.one.then[0].submit.payload.path: it does not fit `resize_image`: expected a text",
        "grace.yaml:20:26: error: policies.one.then[1].submit.intent: there is no type of intents `nothing_like_it`",
        "help: known: resize_image",
        "grace.yaml:23:28: error: schedules.one.when.cron.pattern: ",
        "grace.yaml:24:14: error: schedules.one.action.submit.payload: it does not fit `resize_image`: expected",
        "grace.yaml:26:5: error: schedules.two.when: say exactly one of `cron`, `once`, `every` or `after`",
        "grace.yaml:28:25: error: schedules.three.when.every: at least 1s",
        "grace.yaml:28:76: error: schedules.three.overlap: expected `allow`, `skip` or `queue`, found `never`",
    ] {
        assert!(told.contains(part), "{part}\nis not in\n{told}");
    }
    // An intent that is there and wrong is told of once.
    assert!(!told.contains("`broken`"), "{told}");
}

#[test]
fn a_file_of_its_own_may_submit_what_is_declared_elsewhere() {
    let file = FilePath::new("t.yaml");
    let text = "triggers: {a: {types: [x], action: {submit: {intent: b, payload: {n: 1}}}}}\n";
    assert_eq!(read(text, file).unwrap().triggers.len(), 1);
    assert!(told(text).contains("declare it under `intents:`"));
    let typo = read(&text.replace("triggers", "trigers"), file).unwrap_err().to_string();
    assert!(typo.contains("t.yaml:1:1: error: trigers: unknown key"), "{typo}");
    let declared = |kind: &str| {
        let text = format!(
            "intents: {{b: {{payload: {{properties: {{n: {{type: {kind}}}}}}}, plan: {{task: {{kind: k}}}}}}}}"
        );
        Page::read(&text, file, |_| false).unwrap().definitions
    };
    for (kind, fits) in [("integer", true), ("string", false)] {
        let mut page = Page::read(text, file, |_| false).unwrap();
        page.check_intents(&declared(kind));
        assert_eq!(page.finish().is_ok(), fits, "{kind}");
    }
}

#[test]
fn the_committed_schema_is_current() {
    let parts = |value: Value, part: &str| value[part].as_object().cloned().unwrap_or_default();
    for (name, schema) in parts(schemars::schema_for!(Written).to_value(), "$defs") {
        let other = parts(manifest::json_schema(), "$defs").get(&name).cloned();
        assert!(other.is_none_or(|other| other == schema), "two different parts are called `{name}`");
    }
    let path = FilePath::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas/manifest.schema.json");
    let actual = serde_json::to_string_pretty(&manifest_schema()).unwrap() + "\n";
    if std::env::var_os("UPDATE_GOLDEN").is_some_and(|value| value == "1") {
        std::fs::write(path, actual).unwrap();
        return;
    }
    let expected = std::fs::read_to_string(path).unwrap();
    assert!(expected == actual, "run again with UPDATE_GOLDEN=1 if the change is wanted:\n{actual}");
}
