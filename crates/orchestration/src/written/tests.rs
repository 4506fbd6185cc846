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
    assert_eq!(written.counts(), [1; 4], "{text}");
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
}

/// A folder with these files.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    folder
}

fn read_in(folder: &tempfile::TempDir) -> Result<Written, String> {
    let path = folder.path().join("grace.yaml");
    let read = read_manifest(&std::fs::read_to_string(&path).unwrap(), &path);
    read.map_err(|e| e.to_string().replace(&format!("{}/", folder.path().display()), ""))
}

const SUBMIT: &str = "triggers: {a: {types: [x], action: {submit: {intent: b, payload: {n: 1}}}}}\n";

fn intent(kind: &str) -> String {
    format!(
        "intents: {{b: {{payload: {{properties: {{n: {{type: {kind}}}}}}}, plan: {{task: {{kind: k}}}}}}}}\n"
    )
}

#[test]
fn what_included_files_say_counts_as_if_it_stood_in_one() {
    let include = "x-mine: 1\ninclude: [work/*.yaml, work/t.yaml, '*.yaml']\nprocesses: {}\n";
    let files = |kind: &str| {
        let intent = intent(kind);
        folder(&[
            ("grace.yaml", include),
            ("work/t.yaml", SUBMIT),
            ("work/.t.yaml", "{"),
            ("work/notes.txt", "{"),
            ("work/sub.yaml/x", "{"),
            ("more.yaml", &intent),
        ])
    };
    let good = files("integer");
    assert_eq!(read_in(&good).map(|written| written.counts()), Ok([1, 1, 0, 0]));
    let wrong = read_in(&files("string")).unwrap_err();
    assert!(
        wrong.starts_with("work/t.yaml:1:70: error: triggers.a.action.submit.payload.n: it does not fit `b`"),
        "{wrong}"
    );
    // A type that is declared and wrong is told of once.
    let broken = read_in(&files("strin")).unwrap_err();
    assert!(broken.starts_with("more.yaml:1:") && !broken.contains("no type of intents"), "{broken}");
}

#[test]
fn faults_of_included_files_and_of_the_list_name_their_place() {
    let twice = intent("integer");
    let folder = folder(&[
        (
            "grace.yaml",
            "include: [one.yaml, two.yaml]\nschedules: {s: {when: {every: 1h}, action: {submit: {intent: b}}}}\n",
        ),
        ("one.yaml", &format!("# one\n{twice}{SUBMIT}")),
        (
            "two.yaml",
            &format!("include: [one.yaml]\nprocesses: {{}}\n{twice}triggers: {{a: {{types: []}}}}\n"),
        ),
    ]);
    let told = read_in(&folder).unwrap_err();
    for part in [
        "two.yaml:1:1: error: include: unknown key",
        "two.yaml:2:1: error: processes: unknown key",
        "two.yaml:3:11: error: intents.b: `b` is declared in one.yaml:2:11, too",
    ] {
        assert!(told.contains(part), "{part}\nis not in\n{told}");
    }
    let list = "include:\n  - none.yaml\n  - '*.yml'\n  - ''\n  - one.yaml\nintents: {b: {plan: {task: {kind: wait}}}}\n";
    std::fs::write(folder.path().join("grace.yaml"), list).unwrap();
    std::fs::write(folder.path().join("one.yaml"), SUBMIT).unwrap();
    let told = read_in(&folder).unwrap_err();
    for part in [
        "grace.yaml:2:5: error: include[0]: `none.yaml` cannot be read: No such file",
        "grace.yaml:3:5: error: include[1]: no file is meant by `*.yml`",
        "help: paths start at the manifest's folder",
        "grace.yaml:4:5: error: include[2]: expected the path of a file, or a pattern such as `intents/*.yaml`",
        "grace.yaml:6:",
    ] {
        assert!(told.contains(part), "{part}\nis not in\n{told}");
    }
    assert!(!told.contains("no type of intents"), "{told}");
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
