//! Words with a fixed meaning, and the words of neighbouring tools that mean the same.

use serde_json::Value;

use super::{
    checks::Checks,
    model::{Condition, RestartPolicy, Signal},
    raw::{ConditionText, RestartText},
};
use crate::yaml::{Path as Field, nearest, one_of, suggest};

/// The conditions of `depends_on`: Grace's word, then those of process-compose and compose.
pub(super) const CONDITIONS: [(&str, Condition); 11] = [
    ("started", Condition::Started),
    ("ready", Condition::Ready),
    ("completed", Condition::Completed),
    ("completed_successfully", Condition::CompletedSuccessfully),
    ("process_started", Condition::Started),
    ("process_healthy", Condition::Ready),
    ("process_completed", Condition::Completed),
    ("process_completed_successfully", Condition::CompletedSuccessfully),
    ("service_started", Condition::Started),
    ("service_healthy", Condition::Ready),
    ("service_completed_successfully", Condition::CompletedSuccessfully),
];
const OWN_CONDITIONS: usize = 4;

/// The restart policies: Grace's words, then those of others, and what YAML 1.1 makes of a bare `no`.
pub(super) const RESTARTS: [(&str, RestartPolicy); 5] = [
    ("always", RestartPolicy::Always),
    ("on_failure", RestartPolicy::OnFailure),
    ("no", RestartPolicy::No),
    ("on-failure", RestartPolicy::OnFailure),
    ("false", RestartPolicy::No),
];
const OWN_RESTARTS: usize = 3;

/// The words for the schema; `false` as the boolean that an editor takes it for.
pub(super) fn schema_words<T>(words: &[(&str, T)]) -> Value {
    words
        .iter()
        .map(|(word, _)| if *word == "false" { Value::from(false) } else { Value::from(*word) })
        .collect()
}

impl Checks<'_> {
    pub(super) fn condition(&mut self, at: &Field, text: Option<&ConditionText>) -> Condition {
        let Some(ConditionText(text)) = text else { return Condition::Ready };
        self.word(at, text, &CONDITIONS, OWN_CONDITIONS).unwrap_or(Condition::Ready)
    }

    pub(super) fn restart(&mut self, at: &Field, text: Option<&RestartText>) -> Option<RestartPolicy> {
        self.word(at, &text?.0, &RESTARTS, OWN_RESTARTS)
    }

    /// The meaning of `text` among `words`, of which the first `own` are shown to users.
    fn word<T: Copy>(
        &mut self,
        at: &Field,
        text: &str,
        words: &[(&'static str, T)],
        own: usize,
    ) -> Option<T> {
        if let Some((_, meaning)) = words.iter().find(|(word, _)| *word == text) {
            return Some(*meaning);
        }
        let own: Vec<&str> = words[..own].iter().map(|(word, _)| *word).collect();
        let message = format!("expected {}, found `{}`", one_of(&own), text.escape_debug());
        let help = nearest(text, own).map(|near| format!("did you mean `{near}`?"));
        self.document.fault(at, message, help);
        None
    }

    /// A signal by name, with or without `SIG`, or by number.
    pub(super) fn signal(&mut self, at: &Field, word: &str) -> Option<Signal> {
        let folded = word.to_ascii_uppercase();
        let found = Signal::ALL.into_iter().find(|signal| {
            let name = signal.name();
            folded == name
                || Some(folded.as_str()) == name.strip_prefix("SIG")
                || word == signal.number().to_string()
        });
        if found.is_none() {
            let message = format!("expected the name of a signal, found `{}`", word.escape_debug());
            self.document.fault(at, message, suggest(&folded, Signal::ALL.map(Signal::name)));
        }
        found
    }
}
