//! The charter: what the mission rests on, and how much an intent matters for it.
//!
//! The score is a sum of terms, each of which can be told: the pillar's weight times the base score of the intent's type, then what the
//! circumstances add, cut to 0.0 to 1.0. It orders the task manager's queue; it never makes anything allowed.

use std::{collections::BTreeMap, fmt, path::Path as FilePath};

use grace_types::yaml::{Diagnostic, Document, Path, nearest};
use serde::{Deserialize, Serialize};

use crate::{limits, request::Request};

/// The charter that is in force where nobody wrote another one.
pub const DEFAULT: &str = include_str!("../../../charter.yaml");

/// See the module's page.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Charter {
    /// Weights of the pillars, 0.0 to 1.0, by name.
    pub pillars: BTreeMap<String, f64>,
    /// Which pillar each type of intent serves, and how much it does so.
    pub types: BTreeMap<String, Standing>,
    /// The same for types that are not named.
    pub default: Standing,
    /// What circumstances add.
    #[serde(default)]
    pub adjust: Adjustments,
}

/// How a type of intent stands to the mission.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Standing {
    /// The pillar that it serves.
    pub pillar: String,
    /// How much, 0.0 to 1.0.
    pub base: f64,
}

/// What circumstances add to a score, -1.0 to 1.0 each.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Adjustments {
    /// In an emergency.
    pub emergency: f64,
    /// Where people outside would notice.
    pub user_facing: f64,
    /// Times the revenue impact.
    pub revenue_impact: f64,
}

/// How much an intent matters, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// 0.0 to 1.0.
    pub value: f64,
    /// What it is the sum of, before it is cut.
    pub terms: Vec<Term>,
}

/// One term of a score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Term {
    /// How much.
    pub value: f64,
    /// What for.
    pub text: String,
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2}", self.value)?;
        for (n, term) in self.terms.iter().enumerate() {
            let sign = if n == 0 { " = " } else { " + " };
            write!(f, "{sign}{:.2} ({})", term.value, term.text)?;
        }
        Ok(())
    }
}

/// Everything that is wrong with a charter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct CharterErrors(pub Vec<Diagnostic>);

impl fmt::Display for CharterErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|one| write!(f, "{one}"))
    }
}

impl Charter {
    /// Reads a charter from the text of the file `origin`.
    ///
    /// # Errors
    /// Everything that is wrong with it, with its place.
    pub fn read(text: &str, origin: &FilePath) -> Result<Self, CharterErrors> {
        if text.len() > limits::CHARTER_BYTES {
            let message = format!("{} bytes; at most {} are taken", text.len(), limits::CHARTER_BYTES);
            return Err(CharterErrors(vec![Diagnostic::of_file(origin, message, None)]));
        }
        let mut document = Document::parse(text);
        let charter = document.decode::<Self>();
        if let Some(charter) = &charter {
            charter.check(&mut document);
        }
        match charter {
            Some(charter) if document.is_sound() => Ok(charter),
            _ => {
                let faults = document.into_faults().into_iter();
                Err(CharterErrors(faults.map(|fault| Diagnostic::new(origin, text, fault)).collect()))
            }
        }
    }

    fn check(&self, document: &mut Document) {
        let root = Path::default();
        let within = |value: f64, least: f64| value >= least && value <= 1.0;
        for (name, weight) in &self.pillars {
            if !within(*weight, 0.0) {
                document.fault(&root.key("pillars").key(name), "a weight is from 0.0 to 1.0", None);
            }
        }
        let types = self.types.iter().map(|(name, standing)| (root.key("types").key(name), standing));
        for (at, standing) in types.chain([(root.key("default"), &self.default)]) {
            if !within(standing.base, 0.0) {
                document.fault(&at.key("base"), "a base score is from 0.0 to 1.0", None);
            }
            if !self.pillars.contains_key(&standing.pillar) {
                let known = self.pillars.keys().map(String::as_str);
                let help = nearest(&standing.pillar, known).map(|name| format!("did you mean `{name}`?"));
                let message = format!("there is no pillar `{}`", standing.pillar);
                document.fault(&at.key("pillar"), message, help);
            }
        }
        let Adjustments { emergency, user_facing, revenue_impact } = self.adjust;
        for (name, value) in
            [("emergency", emergency), ("user_facing", user_facing), ("revenue_impact", revenue_impact)]
        {
            if !within(value, -1.0) {
                document.fault(&root.key("adjust").key(name), "an adjustment is from -1.0 to 1.0", None);
            }
        }
    }

    /// How much what is asked for matters.
    #[must_use]
    pub fn score(&self, request: &Request) -> Score {
        let standing = self.types.get(&request.kind).unwrap_or(&self.default);
        let weight = self.pillars.get(&standing.pillar).copied().unwrap_or(0.0);
        let mut terms = vec![Term {
            value: weight * standing.base,
            text: format!("{} {weight:.2} × {} {:.2}", standing.pillar, request.kind, standing.base),
        }];
        let circumstances = &request.circumstances;
        let mut add = |value: f64, text: &dyn Fn() -> String| {
            if value != 0.0 {
                terms.push(Term { value, text: text() });
            }
        };
        if circumstances.emergency {
            add(self.adjust.emergency, &|| "emergency".to_owned());
        }
        if circumstances.user_facing {
            add(self.adjust.user_facing, &|| "user facing".to_owned());
        }
        let impact = circumstances.revenue_impact;
        add(self.adjust.revenue_impact * impact, &|| format!("revenue impact {impact:.2}"));
        let value = terms.iter().map(|term| term.value).sum::<f64>().clamp(0.0, 1.0);
        Score { value, terms }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::{Actor, ActorKind, Circumstances};

    fn charter(text: &str) -> Result<Charter, CharterErrors> {
        Charter::read(text, FilePath::new("charter.yaml"))
    }

    fn request(kind: &str, circumstances: Circumstances) -> Request {
        let actor = Actor { kind: ActorKind::Operator, name: "ann".into() };
        Request { actor, kind: kind.into(), target: "instance".into(), circumstances }
    }

    #[test]
    fn the_default_holds_the_missions_pillars() {
        let charter = charter(DEFAULT).unwrap();
        let pillars: Vec<(&str, f64)> = charter.pillars.iter().map(|(name, w)| (name.as_str(), *w)).collect();
        assert_eq!(pillars, [("autonomy", 0.7), ("learning", 0.6), ("resilience", 1.0), ("revenue", 0.8)]);
    }

    #[test]
    fn a_score_is_told_term_by_term_and_stays_within_bounds() {
        let charter = charter(DEFAULT).unwrap();
        let plain = charter.score(&request("generate_summary", Circumstances::default()));
        assert_eq!(plain.terms.len(), 1);
        let all = Circumstances { user_facing: true, emergency: true, revenue_impact: 1.0 };
        let pressing = charter.score(&request("emergency_recovery", all));
        assert_eq!((pressing.value, pressing.terms.len()), (1.0, 4));
        assert!(
            pressing.to_string().starts_with("1.00 = 1.00 (resilience 1.00 × emergency_recovery 1.00) + ")
        );
    }

    #[test]
    fn every_fault_is_named_with_its_place() {
        let text = "pillars: {resilience: 1.5}\ntypes: {a: {pillar: resiliense, base: 2}}\ndefault: {pillar: resilience, base: 1}\nadjust: {emergency: 3}\n";
        let told = charter(text).unwrap_err().to_string();
        for words in
            ["charter.yaml:1:", "0.0 to 1.0", "did you mean `resilience`?", "base score", "-1.0 to 1.0"]
        {
            assert!(told.contains(words), "{words}: {told}");
        }
        assert!(charter("pillars: []").is_err());
        assert!(charter(&"#".repeat(limits::CHARTER_BYTES + 1)).is_err());
    }
}
