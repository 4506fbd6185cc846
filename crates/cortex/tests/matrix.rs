//! The permission matrix of the default policies: every type of intent, every kind of actor, with and without an emergency grant. It is
//! a committed file that changes only on purpose: `UPDATE_GOLDEN=1 cargo test -p grace-cortex`.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{fmt::Write as _, path::Path};

use grace_cortex::{
    charter::{self, Charter},
    judge::{Standing, judge},
    policy::{self, KNOWN, Policies},
    proposed::{cases, matrix::Cell},
    request::{Actor, ActorKind, Circumstances, Request},
};

const SCHEMA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../schemas/governance-test.schema.json");
const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/governance/cases.yaml");
const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/permission-matrix.txt");

fn matrix() -> String {
    let policies =
        Policies::read(&[("default.cedar", policy::DEFAULT)], &["resize_image".to_owned()]).unwrap();
    let charter = Charter::read(charter::DEFAULT, Path::new("charter.yaml")).unwrap();
    let actors: Vec<Actor> = ActorKind::ALL
        .into_iter()
        .map(|kind| Actor { kind, name: "one".into() })
        .chain([Actor { kind: ActorKind::Kernel, name: "self_healing".into() }])
        .collect();
    let mut text = String::from(
        "tier and outcome by type and actor; resize_image is declared in the manifest, surprise is not\n",
    );
    for (title, grant) in
        [("no emergency grant is live", None), ("an emergency grant is live", Some("eg-1".to_owned()))]
    {
        write!(text, "\n{title}\n{:<20}", "").unwrap();
        for actor in &actors {
            let name = if actor.name == "one" { actor.kind.entity_type() } else { actor.name.as_str() };
            write!(text, " {name:<17}").unwrap();
        }
        for kind in KNOWN.iter().chain(&["resize_image", "surprise"]) {
            write!(text, "\n{kind:<20}").unwrap();
            for actor in &actors {
                let request = Request {
                    actor: actor.clone(),
                    kind: (*kind).into(),
                    target: "instance".into(),
                    circumstances: Circumstances::default(),
                };
                let judgement = judge(&request, &policies, &charter, &Standing { grant: grant.clone() });
                assert!(judgement.reasons.len() >= 3, "{judgement:?}");
                write!(text, " {:<17}", Cell::from(&judgement).to_string()).unwrap();
            }
        }
        text.push('\n');
    }
    let trimmed: Vec<&str> = text.lines().map(str::trim_end).collect();
    trimmed.join("\n") + "\n"
}

/// A person's credential may speak for an agent, and that is safe for this reason alone.
#[test]
fn an_agent_may_nothing_that_the_operator_may_not() {
    let policies =
        Policies::read(&[("default.cedar", policy::DEFAULT)], &["resize_image".to_owned()]).unwrap();
    let strictness = |kind: ActorKind, asked: &str| {
        let request = Request {
            actor: Actor { kind, name: "one".into() },
            kind: asked.into(),
            target: "instance".into(),
            circumstances: Circumstances::default(),
        };
        match policies.rule(&request) {
            policy::Ruling::Permitted { tier, .. } => Some(tier.strictness()),
            _ => None,
        }
    };
    for asked in KNOWN.iter().chain(&["resize_image", "surprise"]) {
        let (agent, operator) = (strictness(ActorKind::Agent, asked), strictness(ActorKind::Operator, asked));
        assert!(agent.is_none() || operator.is_some_and(|own| agent >= Some(own)), "{asked}");
    }
}

fn assert_golden(path: &str, actual: &str) {
    if std::env::var_os("UPDATE_GOLDEN").is_some_and(|value| value == "1") {
        std::fs::write(path, actual).unwrap();
        return;
    }
    let expected = std::fs::read_to_string(path).unwrap_or_default();
    assert!(expected == actual, "{path} is not current; UPDATE_GOLDEN=1 writes it anew\n{actual}");
}

#[test]
fn the_permission_matrix_is_as_committed() {
    assert_golden(GOLDEN, &matrix());
}

#[test]
fn the_schema_of_a_file_of_cases_is_as_committed() {
    let schema = serde_json::to_string_pretty(&cases::json_schema()).unwrap() + "\n";
    assert_golden(SCHEMA, &schema);
}

/// What people are given to begin with has to be right.
#[test]
fn the_example_of_cases_passes_on_the_default_policies() {
    let text = std::fs::read_to_string(EXAMPLE).unwrap();
    let cases = cases::Cases::read(&text, Path::new(EXAMPLE)).unwrap();
    let policies =
        Policies::read(&[("default.cedar", policy::DEFAULT)], &cases.declared.clone().unwrap()).unwrap();
    let charter = Charter::read(charter::DEFAULT, Path::new("charter.yaml")).unwrap();
    for tried in cases.run(&policies, &charter) {
        assert!(tried.passed, "{tried:?}");
    }
}
