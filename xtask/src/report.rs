//! What a step of `cargo xtask test` found, and the summary of all of them.
//!
//! The last line is `N passed, N failed`, alone, so that a person and a machine find the result in the same place.

use std::{fmt::Write as _, time::Duration};

/// What one step found.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Tests that passed. A step that is not a test suite counts none.
    pub(crate) passed: u64,
    /// Tests that failed; a step that failed without naming a test counts one.
    pub(crate) failed: u64,
    /// What went wrong, a line each, repeated in the summary: the output above it is long.
    pub(crate) faults: Vec<String>,
}

impl Outcome {
    /// A check that found these faults, or none.
    pub(crate) fn of_faults(faults: Vec<String>) -> Self {
        Self { passed: 0, failed: u64::from(!faults.is_empty()), faults }
    }
}

impl From<Result<(), String>> for Outcome {
    fn from(result: Result<(), String>) -> Self {
        Self::of_faults(result.err().into_iter().collect())
    }
}

/// A step that has run.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) name: &'static str,
    pub(crate) took: Duration,
    pub(crate) outcome: Outcome,
}

/// The summary: faults, a row a step, the line that counts.
pub(crate) fn summary(steps: &[Ran]) -> String {
    let mut text = String::new();
    for step in steps.iter().filter(|s| s.outcome.failed > 0) {
        let _ = writeln!(text, "{} failed:", step.name);
        for fault in &step.outcome.faults {
            let _ = writeln!(text, "  {fault}");
        }
    }
    for Ran { name, took, outcome } in steps {
        let verdict = if outcome.failed == 0 { "ok" } else { "FAILED" };
        let _ = writeln!(text, "{name:<10} {verdict:<7} {:>7.1} s", took.as_secs_f64());
    }
    let (passed, failed) = totals(steps);
    let _ = writeln!(text, "{passed} passed, {failed} failed");
    text
}

/// Passed and failed over all steps.
pub(crate) fn totals(steps: &[Ran]) -> (u64, u64) {
    steps.iter().fold((0, 0), |(p, f), s| (p + s.outcome.passed, f + s.outcome.failed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_counts_tests_and_failed_steps() {
        let ran = |name, outcome| Ran { name, took: Duration::from_millis(1250), outcome };
        let steps = [
            ran("format", Outcome::of_faults(vec!["rustfmt would change files".into()])),
            ran("tests", Outcome { passed: 41, failed: 2, faults: vec!["a::b".into(), "c".into()] }),
            ran("doctests", Outcome { passed: 1, ..Outcome::default() }),
        ];
        let text = summary(&steps);
        assert_eq!(
            text,
            "format failed:\n  rustfmt would change files\ntests failed:\n  a::b\n  c\n\
             format     FAILED      1.2 s\ntests      FAILED      1.2 s\ndoctests   ok          1.2 s\n\
             42 passed, 3 failed\n"
        );
    }
}
