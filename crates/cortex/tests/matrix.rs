//! The permission matrix of the default policies: every type of intent, every kind of actor, with and without an emergency grant. It is
//! a committed file that changes only on purpose: `UPDATE_GOLDEN=1 cargo test -p grace-cortex`.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{fmt::Write as _, path::Path};

use grace_cortex::{
    charter::{self, Charter},
    judge::{Judgement, Outcome, Standing, judge},
    policy::{self, KNOWN, Policies},
    request::{Actor, ActorKind, Circumstances, Request},
};

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/permission-matrix.txt");

/// As short as it can be told.
fn cell(judgement: &Judgement) -> String {
    let tier = judgement.tier.map_or_else(|| "-".to_owned(), |tier| tier.to_string());
    let outcome = match judgement.outcome {
        Outcome::Allowed if judgement.review => "allowed, review",
        Outcome::Allowed => "allowed",
        Outcome::WaitsForApproval => "approval",
        Outcome::WaitsForVote => "vote",
        Outcome::Denied => "denied",
    };
    format!("{tier} {outcome}")
}

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
                write!(text, " {:<17}", cell(&judgement)).unwrap();
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

#[test]
fn the_permission_matrix_is_as_committed() {
    let actual = matrix();
    if std::env::var_os("UPDATE_GOLDEN").is_some_and(|value| value == "1") {
        std::fs::write(GOLDEN, &actual).unwrap();
        return;
    }
    let expected = std::fs::read_to_string(GOLDEN).unwrap_or_default();
    assert!(expected == actual, "{GOLDEN} is not current; UPDATE_GOLDEN=1 writes it anew\n{actual}");
}
