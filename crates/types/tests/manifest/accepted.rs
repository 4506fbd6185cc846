//! What good manifests mean.

use std::{collections::BTreeMap, path::Path, time::Duration};

use grace_types::manifest::{
    self, BootPlan, Check, ComponentKind, Condition, DEFAULT_YAML, Manifest, Probe, ProcessSpec,
    RestartPolicy,
};

use super::{assert_golden, here, workspace};

fn parse(text: &str) -> Manifest {
    manifest::parse(text, Path::new("grace.yaml")).unwrap_or_else(|errors| panic!("{errors}"))
}

fn one(body: &str) -> ProcessSpec {
    let manifest = parse(&format!("processes:\n  web:\n    command: [serve]\n    {body}\n"));
    manifest.processes["web"].clone()
}

#[test]
fn the_default_file_says_what_the_code_does() {
    let shown = parse(DEFAULT_YAML);
    let nothing = parse("processes: {example: {command: [sleep, infinity]}}");
    assert_eq!(shown, nothing);
    assert_eq!(parse(""), Manifest::default());
    let code = ProcessSpec::new("example", ComponentKind::Process, vec!["sleep".into(), "infinity".into()]);
    let replica = BTreeMap::from([("GRACE_REPLICA".to_owned(), Some("1".to_owned()))]);
    assert_eq!(nothing.processes["example"], ProcessSpec { environment: replica, ..code });
}

#[test]
fn the_timings_in_the_default_file_are_those_of_a_probe() {
    let uncommented: String = DEFAULT_YAML
        .lines()
        .skip_while(|line| !line.contains("# readiness_probe:"))
        .take_while(|line| !line.trim().is_empty())
        .filter(|line| {
            ["exec", "http_get", "notify"].iter().all(|check| !line.contains(&format!("#   {check}:")))
        })
        .map(|line| line.replacen("    # ", "    ", 1) + "\n")
        .collect();
    let text = format!("processes:\n  web:\n    command: [serve]\n{uncommented}");
    let expected = Probe::of(Check::Tcp { host: "127.0.0.1".into(), port: 6379 });
    assert_eq!(parse(&text).processes["web"].readiness, Some(expected));
}

#[test]
fn the_default_file_has_every_key() {
    fn keys(schema: &serde_json::Value, found: &mut Vec<String>) {
        match schema {
            serde_json::Value::Object(map) => {
                if let Some(properties) = map.get("properties").and_then(|value| value.as_object()) {
                    found.extend(properties.keys().cloned());
                }
                map.values().for_each(|value| keys(value, found));
            }
            serde_json::Value::Array(list) => list.iter().for_each(|value| keys(value, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    keys(&manifest::json_schema(), &mut found);
    assert!(found.len() > 60);
    for key in found {
        // `below` is the other of a pair, in a comment.
        let shown = DEFAULT_YAML.contains(&format!("{key}:")) || key == "below";
        assert!(shown, "config/default.yaml does not explain `{key}`");
    }
}

#[test]
fn words_that_yaml_takes_for_something_else_stay_words() {
    assert_eq!(one("availability: {restart: no}").availability.restart, RestartPolicy::No);
    assert_eq!(one("availability: {restart: \"no\"}").availability.restart, RestartPolicy::No);
    assert_eq!(one("availability: {restart: false}").availability.restart, RestartPolicy::No);
    let spec =
        one("environment: {A: no, B: 012, C: 1.50, D: null, E: \"\", F: 0x1F, G: 2026-01-01, H: \"null\"}");
    let expected = [
        ("A", Some("no")),
        ("B", Some("012")),
        ("C", Some("1.50")),
        ("D", None),
        ("E", Some("")),
        ("F", Some("0x1F")),
        ("G", Some("2026-01-01")),
        ("GRACE_REPLICA", Some("1")),
        ("H", Some("null")),
    ];
    let expected: BTreeMap<String, Option<String>> =
        expected.into_iter().map(|(name, value)| (name.to_owned(), value.map(str::to_owned))).collect();
    assert_eq!(spec.environment, expected);
    assert_eq!(one("args: [8080, yes, 1e3]").command, ["serve", "8080", "yes", "1e3"]);
}

#[test]
fn short_and_long_forms_mean_the_same() {
    let argv = parse("processes: {web: {command: \"sh -c 'a b' \\\"c\\\\\\\"d\\\" e\\\\ f\"}}");
    assert_eq!(argv.processes["web"].command, ["sh", "-c", "a b", "c\"d", "e f"]);
    assert_eq!(one("environment: [A=1, B=x=y, C]"), one("environment: {A: 1, B: x=y, C: }"));
    assert_eq!(one("permissions: {publish: [a.>]}"), one("permissions: {publish: {allow: [a.>]}}"));
    assert_eq!(
        one("availability: {backoff: 2s}").availability.backoff,
        one("availability: {backoff_seconds: 2}").availability.backoff
    );
    assert_eq!(one("shutdown: {signal: INT}"), one("shutdown: {signal: 2}"));
    assert_eq!(one("shutdown: {signal: sigint}"), one("shutdown: {signal: SIGINT}"));
    assert_eq!(
        one("readiness_probe: {tcp: {port: 1}, initial_delay_seconds: 5, period_seconds: 2}"),
        one("readiness_probe: {tcp: {host: 127.0.0.1, port: 1}, initial_delay: 5s, period: 2000ms}")
    );
    let depends = |text: &str| {
        let text = format!("processes:\n  a: {{command: [x]}}\n  b: {{command: [x], depends_on: {text}}}\n");
        parse(&text).processes["b"].depends_on.clone()
    };
    let ready = BTreeMap::from([("a".to_owned(), Condition::Ready)]);
    for text in ["[a]", "{a: {}}", "{a: {condition: ready}}", "{a: {condition: process_healthy}}", "{a: }"] {
        assert_eq!(depends(text), ready, "{text}");
    }
}

#[test]
fn replicas_are_processes_of_their_own_and_dependents_wait_for_all() {
    let manifest = parse(
        "processes:\n  db: {command: [store], replicas: 3}\n  web: {command: [serve], depends_on: [db]}\n\
         alerts: [{name: big, component: db, metric: memory_bytes, above: 1KiB, for: 5s}]\n",
    );
    let names: Vec<&str> = manifest.processes.keys().map(String::as_str).collect();
    assert_eq!(names, ["db-1", "db-2", "db-3", "web"]);
    assert_eq!(manifest.processes["db-2"].environment["GRACE_REPLICA"], Some("2".to_owned()));
    let waits: Vec<&str> = manifest.processes["web"].depends_on.keys().map(String::as_str).collect();
    assert_eq!(waits, ["db-1", "db-2", "db-3"]);
    let rules: Vec<(&str, &str)> =
        manifest.alerts.iter().map(|rule| (&*rule.name, rule.component.as_deref().unwrap())).collect();
    assert_eq!(rules, [("big-1", "db-1"), ("big-2", "db-2"), ("big-3", "db-3")]);
    assert_eq!((manifest.alerts[0].threshold, manifest.alerts[0].hold), (1024.0, Duration::from_secs(5)));
}

#[test]
fn anchors_merges_and_extensions_work() {
    let manifest = parse(
        "x-common: &common\n  availability: {restart: on_failure}\n  critical: true\n\
         processes:\n  a: {<<: *common, command: [x]}\n  b: {<<: [*common], command: [x], critical: false}\n",
    );
    assert_eq!(manifest.processes["a"].availability.restart, RestartPolicy::OnFailure);
    assert_eq!([manifest.processes["a"].critical, manifest.processes["b"].critical], [true, false]);
}

#[test]
fn relative_paths_start_at_the_folder_of_the_manifest() {
    let text = "processes:\n  a: {command: [x], working_dir: sub}\n  b: {command: [x]}\n  c: {command: [x], working_dir: /abs}\n";
    let manifest = manifest::parse(text, Path::new("/srv/app/grace.yaml")).unwrap();
    let folder = |name: &str| manifest.processes[name].working_dir.clone().unwrap();
    assert_eq!(
        [folder("a"), folder("b"), folder("c")],
        ["/srv/app/sub", "/srv/app", "/abs"].map(std::path::PathBuf::from)
    );
}

#[test]
fn environment_files_are_read_in_order_and_lose_to_the_manifest() {
    let text = "processes:\n  web: {command: [x], env_file: [one, two], environment: {C: manifest}}\n";
    let mut files = |path: &Path| match path.to_str() {
        Some("/app/one") => Ok("A=one\nB=one\nC=one\n".to_owned()),
        Some("/app/two") => Ok("B=two\n".to_owned()),
        other => panic!("{other:?}"),
    };
    let manifest = manifest::parse_with(text, Path::new("/app/grace.yaml"), &mut files).unwrap();
    let environment = &manifest.processes["web"].environment;
    let values = ["A", "B", "C"].map(|name| environment[name].clone().unwrap());
    assert_eq!(values, ["one", "two", "manifest"]);
}

#[test]
fn a_procfile_becomes_a_manifest() {
    let manifest = manifest::procfile(
        "# app\nweb: bundle exec serve -p $PORT\r\n\nworker: run\n",
        Path::new("/app/Procfile"),
    )
    .unwrap();
    let web = &manifest.processes["web"];
    assert_eq!(web.command, ["/bin/sh", "-c", "bundle exec serve -p $PORT"]);
    assert_eq!(web.environment["PORT"].as_deref(), Some("5000"));
    assert_eq!(manifest.processes["worker"].environment["PORT"].as_deref(), Some("5100"));
    assert_eq!(web.working_dir.as_deref(), Some(Path::new("/app")));
}

#[test]
fn the_examples_are_good_and_boot_in_this_order() {
    let examples = workspace().join("examples");
    let mut plans = String::new();
    for name in ["minimal.yaml", "Procfile", "shop/grace.yaml"] {
        let manifest = manifest::load(&examples.join(name)).unwrap_or_else(|errors| panic!("{errors}"));
        plans += &format!("== {name}\n{}", manifest.boot_plan().unwrap());
    }
    assert_golden(&here().join("boot_plans.txt"), &plans);
}

#[test]
fn a_plan_that_cannot_be_made_says_why() {
    let mut a = ProcessSpec::new("a", ComponentKind::Kernel, vec!["x".into()]);
    let mut b = a.clone();
    b.name = "b".into();
    a.depends_on.insert("b".into(), Condition::Ready);
    assert_eq!(BootPlan::of([&a, &b]).unwrap().waves.len(), 2);
    let error = BootPlan::of([&a]).unwrap_err();
    assert_eq!(error.to_string(), "`a` waits for `b`, which does not exist");
    b.depends_on.insert("a".into(), Condition::Ready);
    let error = BootPlan::of([&a, &b]).unwrap_err();
    assert_eq!(error.to_string(), "these wait for each other for ever: a -> b -> a");
}
