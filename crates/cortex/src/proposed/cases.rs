//! People's own tests: what policies and charter should decide, written down, and held to what they do decide.
//!
//! The JSON Schema in `schemas/governance-test.schema.json` is generated from these types, so their comments are what an editor shows beside
//! each key.

use std::{collections::BTreeSet, fmt, path::Path as FilePath};

use grace_types::yaml::{Diagnostic, Document, Path};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::matrix::{ANYBODY, Cell};
use crate::{
    charter::Charter,
    judge::{Judgement, Outcome, Standing, judge},
    limits,
    policy::Policies,
    request::{Actor, ActorKind, Circumstances, INSTANCE, Request},
    tier::Tier,
};

/// What policies and charter should decide.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping with `cases`")]
#[schemars(title = "Grace governance test")]
pub struct Cases {
    /// Version of this format; 1 when not given.
    #[serde(default = "one")]
    version: u32,
    /// Types of intents that the manifest declares; when left out those of the instance's manifest, if there is one.
    #[serde(default)]
    pub declared: Option<Vec<String>>,
    /// Each is judged by itself.
    pub cases: Vec<Case>,
}

/// One intent, and what should become of it.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping with `name`, `type` and `expect`")]
pub struct Case {
    /// What it shows, in one sentence; no two cases have the same.
    pub name: String,
    /// The intent's type.
    #[serde(rename = "type")]
    pub kind: String,
    /// What kind of actor asks for it; `operator` when left out.
    #[serde(default = "operator")]
    pub actor_kind: ActorKind,
    /// Its name; `anybody` when left out.
    #[serde(default = "anybody")]
    pub actor: String,
    /// What it is about, for policies; `instance` when left out.
    #[serde(default = "instance")]
    pub target: String,
    /// What is asked for. A payload is data: no policy sees it, and whatever it says changes no decision.
    #[serde(default)]
    pub payload: serde_json::Value,
    /// What matters besides.
    #[serde(default)]
    pub circumstances: Circumstances,
    /// Whether an emergency grant is live for whoever asks.
    #[serde(default)]
    pub grant: bool,
    /// What should become of it.
    pub expect: Expected,
}

/// What should become of an intent. What is left out may be anything.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping with `outcome`")]
pub struct Expected {
    /// Allowed, denied, or what is waited for.
    pub outcome: Outcome,
    /// The tier, 0 to 4.
    #[serde(default)]
    pub tier: Option<Tier>,
    /// How many different people have to say yes, 1 to 9, where it waits for people.
    #[serde(default)]
    #[schemars(range(min = 1, max = 9))]
    pub quorum: Option<u8>,
    /// Whether somebody has to look at it afterwards.
    #[serde(default)]
    pub review: Option<bool>,
    /// The policies that determine it, all of them, in any order.
    #[serde(default)]
    pub policies: Option<Vec<String>>,
    /// How much it matters, 0.0 to 1.0.
    #[serde(default)]
    pub score: Option<Bounds>,
}

/// Between which a score lies, both included.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping with `at_least`, `at_most` or both")]
pub struct Bounds {
    /// The lowest; 0.0 when left out.
    #[serde(default)]
    pub at_least: f64,
    /// The highest; 1.0 when left out.
    #[serde(default = "whole")]
    pub at_most: f64,
}

const fn one() -> u32 {
    1
}

const fn operator() -> ActorKind {
    ActorKind::Operator
}

fn anybody() -> String {
    ANYBODY.to_owned()
}

fn instance() -> String {
    INSTANCE.to_owned()
}

const fn whole() -> f64 {
    1.0
}

/// Sums of terms are not exact to the last bit, and nobody means that by a bound.
const ROUNDING: f64 = 1e-9;

/// Everything that is wrong with a file of cases.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct CaseErrors(pub Vec<Diagnostic>);

impl fmt::Display for CaseErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|one| write!(f, "{one}"))
    }
}

/// What became of a case.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Tried {
    /// The case, by its name.
    pub name: String,
    /// Whether everything is as expected.
    pub passed: bool,
    /// What is not, a line each.
    pub wrong: Vec<Wrong>,
    /// What was decided, and why.
    pub decided: Judgement,
}

/// Something that is not as expected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Wrong {
    /// Which key of `expect`.
    pub what: &'static str,
    /// What it says.
    pub expected: String,
    /// What was decided.
    pub found: String,
}

impl Cases {
    /// Reads them from the text of the file `origin`.
    ///
    /// # Errors
    /// Everything that is wrong with it, with its place.
    pub fn read(text: &str, origin: &FilePath) -> Result<Self, CaseErrors> {
        if text.len() > limits::CASES_BYTES {
            let message = format!("{} bytes; at most {} are taken", text.len(), limits::CASES_BYTES);
            return Err(CaseErrors(vec![Diagnostic::of_file(origin, message, None)]));
        }
        let mut document = Document::parse(text);
        let cases = document.decode::<Self>();
        if let Some(cases) = &cases {
            cases.check(&mut document);
        }
        match cases {
            Some(cases) if document.is_sound() => Ok(cases),
            _ => {
                let faults = document.into_faults().into_iter();
                Err(CaseErrors(faults.map(|fault| Diagnostic::new(origin, text, fault)).collect()))
            }
        }
    }

    fn check(&self, document: &mut Document) {
        let root = Path::default();
        if self.version != 1 {
            document.fault(&root.key("version"), "only version 1 is known", None);
        }
        if self.cases.is_empty() {
            document.fault(&root.key("cases"), "there is no case: such a file would always pass", None);
        }
        if self.cases.len() > limits::CASES_WRITTEN {
            let message = format!("at most {} cases", limits::CASES_WRITTEN);
            document.fault(&root.key("cases"), message, None);
        }
        let mut names = BTreeSet::new();
        for (index, case) in self.cases.iter().enumerate().take(limits::CASES_WRITTEN) {
            let at = root.key("cases").index(index);
            if case.name.trim().is_empty() {
                document.fault(&at.key("name"), "it says what the case shows, and is empty", None);
            } else if !names.insert(case.name.as_str()) {
                document.fault(&at.key("name"), "another case has this name", None);
            }
            if let Some(fault) = case.request().fault() {
                document.fault(&at, format!("nothing would be decided about this: {fault}"), None);
            }
            case.expect.check(&at.key("expect"), document);
        }
    }

    /// Judges each case by these policies and this charter.
    #[must_use]
    pub fn run(&self, policies: &Policies, charter: &Charter) -> Vec<Tried> {
        self.cases.iter().map(|case| case.run(policies, charter)).collect()
    }
}

impl Case {
    fn request(&self) -> Request {
        Request {
            actor: Actor { kind: self.actor_kind, name: self.actor.clone() },
            kind: self.kind.clone(),
            target: self.target.clone(),
            circumstances: self.circumstances.clone(),
        }
    }

    fn run(&self, policies: &Policies, charter: &Charter) -> Tried {
        let standing = Standing { grant: self.grant.then(|| "of the case".to_owned()) };
        let decided = judge(&self.request(), policies, charter, &standing);
        let wrong = self.expect.wrong(&decided);
        Tried { name: self.name.clone(), passed: wrong.is_empty(), wrong, decided }
    }
}

impl Expected {
    fn check(&self, at: &Path, document: &mut Document) {
        if self.quorum.is_some_and(|people| !(1..=limits::PEOPLE).contains(&people)) {
            document.fault(
                &at.key("quorum"),
                format!("from 1 to {} people can be asked", limits::PEOPLE),
                None,
            );
        }
        let Some(Bounds { at_least, at_most }) = self.score else { return };
        let within = |bound: f64| (0.0..=1.0).contains(&bound);
        if !within(at_least) || !within(at_most) {
            document.fault(&at.key("score"), "a score is from 0.0 to 1.0", None);
        } else if at_least > at_most {
            document.fault(&at.key("score"), "no score is at least this and at most that", None);
        }
    }

    fn wrong(&self, decided: &Judgement) -> Vec<Wrong> {
        let mut wrong = Vec::new();
        let mut hold = |what, expected: String, found: String| {
            if expected != found {
                wrong.push(Wrong { what, expected, found });
            }
        };
        hold("outcome", word(self.outcome).to_owned(), word(decided.outcome).to_owned());
        if let Some(tier) = self.tier {
            let found = decided.tier.map_or_else(|| "none".to_owned(), |tier| tier.to_string());
            hold("tier", tier.to_string(), found);
        }
        if let Some(quorum) = self.quorum {
            hold("quorum", quorum.to_string(), decided.quorum.to_string());
        }
        if let Some(review) = self.review {
            hold("review", review.to_string(), decided.review.to_string());
        }
        if let Some(policies) = &self.policies {
            let list = |names: &[String]| {
                let names: BTreeSet<&str> = names.iter().map(String::as_str).collect();
                if names.is_empty() {
                    return "none".to_owned();
                }
                names.into_iter().collect::<Vec<_>>().join(", ")
            };
            hold("policies", list(policies), list(&decided.policies));
        }
        if let Some(Bounds { at_least, at_most }) = self.score {
            let score = decided.score.value;
            if score < at_least - ROUNDING || score > at_most + ROUNDING {
                let expected = format!("{at_least:.2} to {at_most:.2}");
                wrong.push(Wrong { what: "score", expected, found: decided.score.to_string() });
            }
        }
        wrong
    }
}

/// As it is written in a file of cases.
#[must_use]
pub const fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Allowed => "allowed",
        Outcome::WaitsForApproval => "waits_for_approval",
        Outcome::WaitsForVote => "waits_for_vote",
        Outcome::Denied => "denied",
    }
}

/// What a case decided, in short.
impl Tried {
    /// Its cell in the permission matrix.
    #[must_use]
    pub fn cell(&self) -> Cell {
        Cell::from(&self.decided)
    }
}

/// The JSON Schema of the file.
#[must_use]
pub fn json_schema() -> serde_json::Value {
    schemars::schema_for!(Cases).to_value()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{charter, policy};

    fn read(text: &str) -> Result<Cases, String> {
        Cases::read(text, FilePath::new("cases.yaml")).map_err(|e| e.to_string())
    }

    fn tried(text: &str) -> Vec<Tried> {
        let policies = Policies::read(&[("default.cedar", policy::DEFAULT)], &[]).unwrap();
        let charter = Charter::read(charter::DEFAULT, FilePath::new("charter.yaml")).unwrap();
        read(text).unwrap().run(&policies, &charter)
    }

    #[test]
    fn what_is_not_as_expected_is_told_key_by_key() {
        let all = tried(
            "cases:\n  - name: right\n    type: read_secrets\n    actor_kind: agent\n    payload: {say: 'permit everything'}\n    expect: {outcome: waits_for_approval, tier: 0, review: false, policies: [agent.risky]}\n  - name: wrong\n    type: query_knowledge\n    expect: {outcome: denied, tier: 1, quorum: 2, review: true, policies: [], score: {at_least: 0.9}}\n",
        );
        assert!(all[0].passed, "{all:?}");
        let wrong: Vec<&str> = all[1].wrong.iter().map(|one| one.what).collect();
        assert_eq!(wrong, ["outcome", "tier", "quorum", "review", "policies", "score"]);
        assert_eq!(all[1].wrong[4].found, "operator.everyday");
        assert!(!all[1].decided.reasons.is_empty());
    }

    #[test]
    fn a_grant_counts_for_the_case_that_names_it() {
        let case = |grant: bool, outcome: &str| {
            format!(
                "cases:\n  - name: a\n    type: emergency_recovery\n    grant: {grant}\n    expect: {{outcome: {outcome}, tier: 4}}\n"
            )
        };
        assert!(tried(&case(true, "allowed"))[0].passed);
        assert!(tried(&case(false, "denied"))[0].passed);
    }

    #[test]
    fn a_bad_file_is_told_with_place_and_field() {
        let bad = [
            ("cases: []\n", "cases.yaml:1:"),
            ("cases:\n  - {name: a, type: b, expect: {outcome: maybe}}\n", "cases[0].expect.outcome"),
            ("cases:\n  - {name: a, type: b, expect: {outcome: denied, teir: 1}}\n", "did you mean `tier`?"),
            ("cases:\n  - {name: a, type: b, expect: {outcome: denied, tier: 7}}\n", "cases[0].expect.tier"),
            (
                "cases:\n  - {name: a, type: b, expect: {outcome: denied, quorum: 10}}\n",
                "cases[0].expect.quorum",
            ),
            ("cases:\n  - {name: a, type: '', expect: {outcome: denied}}\n", "cases[0]"),
            (
                "cases:\n  - {name: a, type: b, expect: {outcome: denied}}\n  - {name: a, type: b, expect: {outcome: denied}}\n",
                "cases[1].name: another case has this name",
            ),
            (
                "cases:\n  - {name: a, type: b, expect: {outcome: denied, score: {at_least: 0.5, at_most: 0.4}}}\n",
                "cases[0].expect.score",
            ),
        ];
        for (text, expected) in bad {
            let told = read(text).unwrap_err();
            assert!(told.contains(expected), "{expected}: {told}");
        }
        assert!(read(&"#".repeat(limits::CASES_BYTES + 1)).is_err());
    }

    proptest! {
        #[test]
        fn whatever_a_file_holds_is_a_set_of_cases_or_an_error(text in ".{0,200}") {
            let _ = read(&text);
        }
    }
}
