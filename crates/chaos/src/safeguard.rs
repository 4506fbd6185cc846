//! Safeguards: what the system does by itself against trouble, and how a run recognises that it did.
//!
//! A safeguard counts only if its own detector fired: an event of the given type is about the target of a fault that took effect,
//! and was recorded after that fault was ordered. Definitions are data: built in, or `NAME.yaml` in a folder of the
//! user's, which wins.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use grace_types::{
    narrative::Narrative,
    yaml::{Diagnostic, Document, Path as Field, suggest},
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    condition::{Condition, Facts},
    scenario::{Checks, ScenarioErrors, read_text},
};

/// The facts that `when` sees.
const FACTS: [&str; 3] = ["event", "narrative", "target"];

/// The definitions in the binary.
const BUILT_IN: [(&str, &str); 3] = [
    ("auto_restart", include_str!("../../../safeguards/auto_restart.yaml")),
    ("emergency_mode", include_str!("../../../safeguards/emergency_mode.yaml")),
    ("kernel_watchdog", include_str!("../../../safeguards/kernel_watchdog.yaml")),
];

/// How a safeguard is recognised.
#[derive(Debug, Clone, PartialEq)]
pub struct Safeguard {
    /// Its name.
    pub name: String,
    /// What it is, in a line.
    pub title: String,
    /// Of the event that its detector records; a `*` is any one word between dots.
    pub event: String,
    /// Which of these events count.
    pub when: Condition,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping with `name`, `title`, `event` and `when`")]
#[schemars(title = "Grace safeguard")]
struct RawSafeguard {
    /// Its name.
    name: String,
    /// What it is, in a line.
    title: String,
    /// The type of the event that its own detector records; a `*` is any one word between dots.
    event: String,
    /// Which of these events count: CEL over `event`, `narrative` and `target` (a component that the run attacked).
    when: String,
}

/// The JSON Schema (draft 2020-12) of a safeguard.
#[must_use]
pub fn json_schema() -> Value {
    schemars::schema_for!(RawSafeguard).to_value()
}

impl Safeguard {
    /// Reads a definition.
    ///
    /// # Errors
    /// Everything that is wrong with it, each with its place.
    pub fn parse(text: &str, shown: &Path) -> Result<Self, ScenarioErrors> {
        let mut document = Document::parse(text);
        let raw: Option<RawSafeguard> = document.decode();
        let root = Field::default();
        let made = raw.and_then(|raw| {
            let mut checks = Checks { document: &mut document };
            checks.id(&root.key("name"), &raw.name);
            checks.line(&root.key("title"), &raw.title);
            checks.line(&root.key("event"), &raw.event);
            let when = checks.condition(&root.key("when"), &raw.when, &FACTS)?;
            Some(Self { name: raw.name, title: raw.title, event: raw.event, when })
        });
        match made {
            Some(safeguard) if document.is_sound() => Ok(safeguard),
            _ => {
                let faults = document.into_faults().into_iter();
                Err(ScenarioErrors { errors: faults.map(|f| Diagnostic::new(shown, text, f)).collect() })
            }
        }
    }

    /// The safeguards of these names; `None` where there is none of a name.
    ///
    /// # Errors
    /// A file of the user's has faults.
    pub fn find(
        names: &[String],
        folder: Option<&Path>,
    ) -> Result<BTreeMap<String, Option<Self>>, ScenarioErrors> {
        names.iter().map(|name| Ok((name.clone(), Self::find_one(name, folder)?))).collect()
    }

    fn find_one(name: &str, folder: Option<&Path>) -> Result<Option<Self>, ScenarioErrors> {
        let own: Option<PathBuf> =
            folder.map(|f| f.join(format!("{name}.yaml"))).filter(|path| path.is_file());
        let (text, shown) = match (&own, BUILT_IN.iter().find(|(built_in, _)| *built_in == name)) {
            (Some(path), _) => {
                let text = read_text(path).map_err(|error| ScenarioErrors {
                    errors: vec![Diagnostic::of_file(path, format!("cannot be read: {error}"), None)],
                })?;
                (text, path.clone())
            }
            (None, Some((_, text))) => ((*text).to_owned(), format!("{name}.yaml").into()),
            (None, None) => return Ok(None),
        };
        Self::parse(&text, &shown).map(Some)
    }

    /// What to say about a name that no safeguard has.
    #[must_use]
    pub fn unknown(name: &str) -> String {
        let help = suggest(name, BUILT_IN.map(|(name, _)| name));
        let help = help.map(|help| format!("; {help}")).unwrap_or_default();
        format!("there is no safeguard `{name}`{help}")
    }

    /// Whether this record shows that it fired about `target`.
    #[must_use]
    pub fn fired(&self, told: &Narrative, target: &str) -> bool {
        let about = told.place == target || mentions(&told.event, target);
        if !about || !matches(&self.event, &told.what) {
            return false;
        }
        let facts = json!({"event": told.event, "narrative": told, "target": target});
        self.when.holds(&Facts::new(facts, BTreeMap::new())) == Ok(true)
    }
}

/// Whether an event type fits a pattern, word by word.
fn matches(pattern: &str, kind: &str) -> bool {
    let (mut pattern, mut kind) = (pattern.split('.'), kind.split('.'));
    loop {
        match (pattern.next(), kind.next()) {
            (None, None) => return true,
            (Some(wanted), Some(word)) if wanted == "*" || wanted == word => {}
            _ => return false,
        }
    }
}

/// Whether a text occurs in an event as a value of its own. Bounded by the depth that serde_json reads.
fn mentions(value: &Value, text: &str) -> bool {
    match value {
        Value::String(found) => found == text,
        Value::Array(list) => list.iter().any(|value| mentions(value, text)),
        Value::Object(object) => object.values().any(|value| mentions(value, text)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use grace_types::{
        id::{CorrelationId, EventId},
        reason::Reason,
        time::{Hlc, Timestamp},
    };

    use super::*;

    fn told(what: &str, place: &str, event: Value) -> Narrative {
        Narrative {
            id: EventId::from_bits(1),
            time: Timestamp::EPOCH,
            hlc: Hlc::default(),
            who: "control_plane".into(),
            what: format!("dev.grace.control_plane.{what}.v1"),
            place: place.into(),
            why: vec![Reason::new("a", "b")],
            how: "c".into(),
            correlation: CorrelationId::from_bits(1),
            causation: None,
            event,
        }
    }

    fn built_in(name: &str) -> Safeguard {
        Safeguard::find(&[name.to_owned()], None).unwrap().remove(name).unwrap().unwrap()
    }

    #[test]
    fn a_safeguard_counts_only_for_its_own_detector_and_the_target() {
        let watchdog = built_in("kernel_watchdog");
        let hang = |detector: &str| json!({"component": "clarity", "hang": {"detector": detector}});
        let fired = |told: &Narrative| watchdog.fired(told, "clarity");
        assert!(fired(&told("hang_detected", "clarity", hang("watchdog"))));
        assert!(!fired(&told("hang_detected", "clarity", hang("stopped"))), "another detector");
        assert!(!fired(&told("hang_detected", "web", json!({"hang": {"detector": "watchdog"}}))));
        assert!(!fired(&told("exited", "clarity", hang("watchdog"))), "another event");
        assert!(!fired(&told("hang_detected", "clarity", json!({}))), "cannot be evaluated");
    }

    #[test]
    fn the_emergency_is_about_what_is_down() {
        let emergency = built_in("emergency_mode");
        let down = |names: &[&str]| told("emergency_declared", "", json!({"down": names}));
        assert!(emergency.fired(&down(&["message_bus", "x"]), "message_bus"));
        assert!(!emergency.fired(&down(&["x"]), "message_bus"));
    }

    #[test]
    fn every_built_in_definition_is_sound() {
        for (name, _) in BUILT_IN {
            assert_eq!(built_in(name).name, name);
        }
        assert_eq!(Safeguard::find(&["nothing".to_owned()], None).unwrap()["nothing"], None);
        assert!(Safeguard::unknown("auto_restar").contains("did you mean `auto_restart`?"));
    }

    #[test]
    fn a_bad_definition_names_its_fault() {
        let text = "name: x\ntitle: X\nevent: a.b\nwhen: evnt.x == 1\n";
        let errors = Safeguard::parse(text, Path::new("x.yaml")).unwrap_err().to_string();
        assert!(errors.contains("x.yaml:4:7: error: when: there is no fact `evnt`"), "{errors}");
        assert!(errors.contains("did you mean `event`?"), "{errors}");
    }
}
