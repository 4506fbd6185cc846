//! The page of a fixed run, word for word, and what it must never let through.

use std::path::Path;

use super::{
    html,
    scale::{duration, number, round_up, size},
};
use crate::evidence::tests::{record, samples};

/// Compares with a committed file. `UPDATE_GOLDEN=1 cargo test -p grace-chaos` writes it anew.
fn golden(path: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        return;
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(text == golden, "{} differs; if that is meant, run with UPDATE_GOLDEN=1", path.display());
}

#[test]
fn the_page_of_a_fixed_run() {
    let page = html(&record(), &samples()).replace("><", ">\n<");
    golden("src/report/golden/report.html", &page);
}

#[test]
fn the_schema_of_an_incident_is_the_committed_one() {
    let schema = schemars::schema_for!(crate::record::RunRecord).to_value();
    let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
    golden("../../schemas/incident.schema.json", &text);
}

#[test]
fn nothing_from_outside_runs_or_loads() {
    let page = html(&record(), &samples());
    for wrong in ["<script", "http://", "https://", "src=", "</pre><b>", "@import", "url("] {
        assert!(!page.contains(wrong), "{wrong}");
    }
    assert!(page.contains("Kill every critical kernel &lt;script&gt;"));
    assert!(page.contains("prefers-color-scheme:dark") && page.contains("name=\"viewport\""));
    assert_eq!(page.matches("<svg").count(), page.matches("role=\"img\" aria-label=\"").count());
}

#[test]
fn a_run_of_nothing_has_a_page_too() {
    let mut empty = record();
    (empty.started, empty.ended) = (crate::evidence::tests::at(5), crate::evidence::tests::at(0));
    empty.faults.clear();
    empty.judgement.passed = false;
    empty.recovery_seconds = None;
    let page = html(&empty, &[]);
    assert!(page.contains("FAILED") && page.contains("not recovered") && !page.contains("NaN"));
}

#[test]
fn numbers_as_people_write_them() {
    assert_eq!(
        [0.5, 1.0, 1.1, 7.0, 30.0, 0.003].map(round_up).map(number),
        ["0.5", "1", "2", "10", "50", "0.005"]
    );
    assert_eq!([0.0, 1023.0, 1536.0, 300e6].map(size), ["0 B", "1023 B", "1.5 KiB", "286 MiB"]);
    let shown = |millis| duration(std::time::Duration::from_millis(millis));
    assert_eq!([5, 2_346, 200_000].map(shown), ["5 ms", "2.35 s", "3 min 20 s"]);
}
