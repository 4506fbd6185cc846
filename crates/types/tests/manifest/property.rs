//! No text makes the parser panic, and what it accepts survives the journey to the kernels as JSON.

use std::path::Path;

use grace_types::manifest::{self, BootPlan, DEFAULT_YAML, Manifest};
use proptest::prelude::*;

/// Parses with files that are never there; a panic is the failure looked for.
fn parse(text: &str) -> Option<Manifest> {
    let mut no_files = |_: &Path| Err(std::io::ErrorKind::NotFound.into());
    match manifest::parse_with(text, Path::new("grace.yaml"), &mut no_files) {
        Ok(manifest) => Some(manifest),
        Err(errors) => {
            assert!(!errors.errors.is_empty(), "refused without a reason: {text:?}");
            assert!(errors.to_string().lines().count() >= errors.errors.len());
            assert!(errors.errors.iter().all(|error| error.line > 0), "a fault without a place in {text:?}");
            None
        }
    }
}

fn survives(manifest: &Manifest) {
    let json = serde_json::to_string(manifest).expect("a manifest is JSON");
    assert_eq!(&serde_json::from_str::<Manifest>(&json).expect("and comes back"), manifest);
    BootPlan::of(manifest.processes.values()).expect("what was accepted has an order");
}

const FULL: &str = r#"
x-probe: &probe {tcp: {port: 6379}, period: 2s}
bus: {port: 0, max_payload: 2MiB, max_connections: 10}
api: {host: "::", allow_remote: true, port: 0, events_per_second: 10}
telemetry: {otlp: "https://otlp.example/x/"}
processes:
  db:
    command: ["store", "--port", 6379]
    readiness_probe: *probe
    liveness_probe: {<<: *probe, failure_threshold: 5}
    resources: {memory: 512MiB, cpu: 1.5, open_files: 100, processes: 10}
    log: {max_size: 1MiB, max_files: 2}
  web:
    command: "serve --name 'a b'"
    args: [--verbose]
    environment: {A: 1, B: , C: "x y"}
    working_dir: sub
    replicas: 3
    depends_on: {db: {condition: ready}, init: {condition: completed_successfully}}
    startup_probe: {exec: {command: "test -e x"}, timeout_seconds: 5}
    readiness_probe: {http_get: {port: 80, path: "/ready?x=1"}, initial_delay: 1.5s}
    start_timeout: 1m30s
    availability: {restart: on_failure, intensity: 5, period: 2m, backoff: {initial: 1s, max: 1m, factor: 1.7, jitter: 0.3}}
    shutdown: {signal: INT, timeout: 3s}
    watchdog: {interval: 250ms}
    permissions: {publish: {allow: [app.>], deny: [app.secret.*]}, subscribe: [_INBOX.>]}
    critical: true
  init: {command: [init], availability: {restart: no}, ready_log_line: "done [0-9]+"}
alerts:
  - {name: big, component: web, metric: memory_bytes, above: 1GiB, for: 10s, severity: critical}
  - {name: ill, metric: health, below: 0.35}
"#;

#[test]
fn the_full_manifest_survives() {
    survives(&parse(FULL).unwrap());
}

/// Pieces that mean something to the parser, so that mutations reach past its first check.
fn piece() -> impl Strategy<Value = String> {
    let words = [
        "\n",
        "  ",
        ": ",
        "- ",
        "{",
        "}",
        "[",
        "]",
        "&a ",
        "*a",
        "<<: ",
        "|\n",
        ">",
        "\"",
        "'",
        "#",
        "null",
        "no",
        "1",
        "-1",
        "1e999",
        "2s",
        "99999999999d",
        "1KiB",
        "processes:",
        "web:",
        "command:",
        "depends_on:",
        "x-",
        "!!str ",
        "---\n",
        "\t",
        "\u{0}",
        "é",
        "\u{feff}",
        "%YAML 1.1\n",
        "replicas: 100",
        "notify: true",
        "\r\n",
        "a -> b",
    ];
    prop_oneof![
        4 => proptest::sample::select(words.to_vec()).prop_map(str::to_owned),
        1 => any::<String>(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let text = String::from_utf8_lossy(&bytes);
        parse(&text);
        let _ = manifest::procfile(&text, Path::new("Procfile"));
    }

    #[test]
    fn no_heap_of_pieces_panics(pieces in proptest::collection::vec(piece(), 0..40)) {
        let text = pieces.concat();
        if let Some(manifest) = parse(&text) {
            survives(&manifest);
        }
        let _ = manifest::procfile(&text, Path::new("Procfile"));
    }

    #[test]
    fn no_mutation_panics(
        full in any::<bool>(),
        edits in proptest::collection::vec((any::<prop::sample::Index>(), 0usize..12, piece()), 1..6),
    ) {
        let mut text = if full { FULL } else { DEFAULT_YAML }.to_owned();
        for (at, cut, piece) in edits {
            let places: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
            if places.is_empty() {
                break;
            }
            let from = at.index(places.len());
            let to = (from + cut).min(places.len() - 1);
            text.replace_range(places[from]..places[to], &piece);
        }
        if let Some(manifest) = parse(&text) {
            survives(&manifest);
        }
    }

    #[test]
    fn env_files_never_panic(pieces in proptest::collection::vec(
        prop_oneof![piece(), proptest::sample::select(vec!["A=", "export ", "=", "\\", "\"", "'", "$"]).prop_map(str::to_owned)],
        0..30,
    )) {
        let file = pieces.concat();
        let mut files = |_: &Path| Ok(file.clone());
        let text = "processes: {web: {command: [x], env_file: env}}";
        if let Ok(manifest) = manifest::parse_with(text, Path::new("grace.yaml"), &mut files) {
            survives(&manifest);
        }
    }

    #[test]
    fn any_numbers_survive(factor in 1.0f64..100.0, jitter in 0.0f64..=1.0, threshold in any::<f64>(), nanos in 0u64..u64::MAX / 1000) {
        let mut manifest = parse(FULL).unwrap();
        let spec = manifest.processes.get_mut("db").unwrap();
        spec.availability.backoff.factor = factor;
        spec.availability.backoff.jitter = jitter;
        spec.start_timeout = std::time::Duration::from_nanos(nanos);
        manifest.alerts[0].threshold = if threshold.is_finite() { threshold } else { 0.0 };
        survives(&manifest);
    }
}
