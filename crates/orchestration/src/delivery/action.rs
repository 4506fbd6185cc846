//! What is to be done when something fires: submit an intent or publish an event; as written, compiled, and rendered.

use grace_types::{
    event::Event,
    id::{CorrelationId, EventId},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    expression::{Failed, Mapping, Scope, Template},
    intent::Priority,
    limits,
    period::Period,
};

/// What is to be done, as it is written. Texts may hold `${ CEL }`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "ActionWritten", into = "ActionWritten")]
#[schemars(with = "ActionWritten")]
pub enum Action {
    /// Submit an intent.
    Submit(Submit),
    /// Publish an event.
    Publish(Publish),
}

/// As it is written: exactly one key.
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
struct ActionWritten {
    /// Submit an intent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    submit: Option<Submit>,
    /// Publish an event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    publish: Option<Publish>,
}

impl TryFrom<ActionWritten> for Action {
    type Error = &'static str;

    fn try_from(written: ActionWritten) -> Result<Self, Self::Error> {
        match written {
            ActionWritten { submit: Some(one), publish: None } => Ok(Self::Submit(one)),
            ActionWritten { publish: Some(one), submit: None } => Ok(Self::Publish(one)),
            _ => Err("say exactly one of `submit` or `publish`"),
        }
    }
}

impl From<Action> for ActionWritten {
    fn from(one: Action) -> Self {
        match one {
            Action::Submit(one) => Self { submit: Some(one), ..Self::default() },
            Action::Publish(one) => Self { publish: Some(one), ..Self::default() },
        }
    }
}

/// An intent to be submitted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Submit {
    /// Its type.
    pub intent: String,
    /// Its payload.
    #[serde(default)]
    pub payload: Value,
    /// How urgent it is.
    #[serde(default)]
    pub priority: Priority,
    /// By when it should be done, counted from its submission.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Period>,
}

/// An event to be published.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Publish {
    /// Its type. Types that begin with `dev.grace.` are Grace's own and cannot be published.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Its payload.
    #[serde(default)]
    pub data: Value,
}

/// One thing that is wrong with an action or what it belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// Keys and positions that lead to it.
    pub path: Vec<String>,
    /// What is wrong, and what was expected.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

impl Fault {
    /// A fault without help.
    pub fn new(path: &[&str], message: impl Into<String>) -> Self {
        Self { path: path.iter().map(|&step| step.to_owned()).collect(), message: message.into(), help: None }
    }

    /// The same in what is called `name`.
    pub(crate) fn under(mut self, name: &str) -> Self {
        self.path.insert(0, name.to_owned());
        self
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.path.join("."), self.message)?;
        self.help.as_ref().map_or(Ok(()), |help| write!(f, " ({help})"))
    }
}

/// An action, compiled.
#[derive(Debug, Clone, PartialEq)]
pub enum Plan {
    /// Submit an intent.
    Submit {
        /// Its type.
        intent: String,
        /// Its payload.
        payload: Mapping,
        /// How urgent it is.
        priority: Priority,
        /// By when, after its submission, in milliseconds.
        deadline_ms: Option<u64>,
    },
    /// Publish an event.
    Publish {
        /// Its type.
        kind: String,
        /// What it is about.
        subject: Option<Template>,
        /// Its payload.
        data: Mapping,
    },
}

/// What is to be done, with everything filled in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// Submit an intent.
    Submit {
        /// Its type.
        intent: String,
        /// Its payload.
        payload: Value,
        /// How urgent it is.
        priority: Priority,
        /// By when, after its submission, in milliseconds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        deadline_ms: Option<u64>,
    },
    /// Publish an event.
    Publish {
        /// Its type.
        #[serde(rename = "type")]
        kind: String,
        /// What it is about.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        subject: Option<String>,
        /// Its payload.
        data: Value,
    },
    /// Nothing yet: the action could not be rendered. Only dead letters have it; it is rendered again when it is requeued.
    Unrendered {
        /// What it was to be rendered over.
        event: Box<Event>,
    },
}

/// The event that set something off: what work carries on as its cause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// The event.
    pub event: EventId,
    /// Who published it.
    pub source: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation: Option<CorrelationId>,
    /// How many causes lie before it. What is published because of it has one more.
    pub hops: u32,
    /// W3C Trace Context.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
}

impl Cause {
    /// Of this event.
    #[must_use]
    pub fn of(event: &Event) -> Self {
        Self {
            event: event.id,
            source: event.source.clone(),
            kind: event.kind.clone(),
            correlation: event.correlationid,
            hops: event.hops,
            traceparent: event.traceparent.clone(),
        }
    }
}

impl Plan {
    /// Compiles an action, whose expressions may use the names in `known`.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn compile(action: &Action, known: &[&str]) -> Result<Self, Vec<Fault>> {
        let mut faults = Vec::new();
        let plan = match action {
            Action::Submit(submit) => {
                if !is_name(&submit.intent) {
                    faults.push(Fault::new(&["submit", "intent"], format!("`{}` is no name", submit.intent)));
                }
                Self::Submit {
                    intent: submit.intent.clone(),
                    payload: mapping(&submit.payload, known, &["submit", "payload"], &mut faults),
                    priority: submit.priority,
                    deadline_ms: submit.deadline.map(Period::millis),
                }
            }
            Action::Publish(publish) => {
                if let Some(message) = type_fault(&publish.kind) {
                    faults.push(Fault::new(&["publish", "type"], message));
                }
                let subject = publish.subject.as_deref().and_then(|subject| {
                    Template::compile(subject, known)
                        .map_err(|bad| {
                            let fault = Fault::new(&["publish", "subject"], bad.message);
                            faults.push(Fault { help: bad.help, ..fault });
                        })
                        .ok()
                });
                Self::Publish {
                    kind: publish.kind.clone(),
                    subject,
                    data: mapping(&publish.data, known, &["publish", "data"], &mut faults),
                }
            }
        };
        if faults.is_empty() { Ok(plan) } else { Err(faults) }
    }

    /// What is to be done in this scope.
    ///
    /// # Errors
    /// An expression cannot be evaluated, or what it gives does not fit; why.
    pub fn render(&self, scope: &Scope<'_>) -> Result<Work, Failed> {
        match self {
            Self::Submit { intent, payload, priority, deadline_ms } => Ok(Work::Submit {
                intent: intent.clone(),
                payload: payload.render(scope).map_err(|why| Failed(format!("payload: {why}")))?,
                priority: *priority,
                deadline_ms: *deadline_ms,
            }),
            Self::Publish { kind, subject, data } => {
                let subject = match subject.as_ref().map(|subject| subject.evaluate(scope)).transpose() {
                    Ok(None) => None,
                    Ok(Some(Value::String(text))) if (1..=limits::SUBJECT_BYTES).contains(&text.len()) => {
                        Some(text)
                    }
                    Ok(Some(_)) => {
                        let most = limits::SUBJECT_BYTES;
                        return Err(Failed(format!("subject: it gives no text of 1 to {most} bytes")));
                    }
                    Err(why) => return Err(Failed(format!("subject: {why}"))),
                };
                let data = data.render(scope).map_err(|why| Failed(format!("data: {why}")))?;
                Ok(Work::Publish { kind: kind.clone(), subject, data })
            }
        }
    }

    /// The type of the event that it publishes, where it publishes one.
    #[must_use]
    pub fn publishes(&self) -> Option<&str> {
        match self {
            Self::Publish { kind, .. } => Some(kind),
            Self::Submit { .. } => None,
        }
    }
}

impl Work {
    /// In a few words: `submit resize_image`.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Self::Submit { intent, .. } => format!("submit {intent}"),
            Self::Publish { kind, .. } => format!("publish {kind}"),
            Self::Unrendered { event } => format!("react to {}", event.kind),
        }
    }

    /// About how many bytes it takes.
    #[must_use]
    pub fn weight(&self) -> usize {
        let document = match self {
            Self::Submit { payload, .. } => payload,
            Self::Publish { data, .. } => data,
            Self::Unrendered { event } => &event.data,
        };
        200 + crate::expression::weight(document)
    }
}

fn mapping(document: &Value, known: &[&str], at: &[&str], faults: &mut Vec<Fault>) -> Mapping {
    match Mapping::compile(document, known) {
        Ok(mapping) => mapping,
        Err(bad) => {
            for one in bad {
                let mut path: Vec<String> = at.iter().map(|&step| step.to_owned()).collect();
                path.extend(one.path);
                faults.push(Fault { path, message: one.why.message, help: one.why.help });
            }
            Mapping::Value(Value::Null)
        }
    }
}

/// Whether it can name a subscription, a policy, a schedule or a type of intents: letters, digits, `_` and `-`.
#[must_use]
pub fn is_name(name: &str) -> bool {
    let part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    (1..=limits::NAME_BYTES).contains(&name.len()) && name.chars().all(part)
}

/// What is wrong with the type of an event to be published.
fn type_fault(kind: &str) -> Option<String> {
    let word =
        |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c));
    if kind.len() > limits::SUBJECT_BYTES || !kind.split('.').all(word) {
        return Some(format!(
            "`{}` is no event type, such as `com.example.order.paid`",
            crate::expression::short(kind)
        ));
    }
    kind.starts_with("dev.grace.").then(|| "types that begin with `dev.grace.` are Grace's own".to_owned())
}
