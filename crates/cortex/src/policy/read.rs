//! Policies from their texts, with everything that is wrong with them, in its place.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
};

use cedar_policy::{
    Authorizer, Effect, EntityUid, Policy, PolicyId, PolicySet, Schema, ValidationMode, Validator,
};
use grace_types::yaml::nearest;
use miette::Diagnostic;

use super::{
    DECLARED, KNOWN, Note, Policies, SCHEMA, Slices, Type, UNKNOWN,
    ask::Names,
    never::{self, Overruled},
    slice,
};
use crate::{limits, request::ActorKind, tier::Tier};

/// One thing that is wrong with a text of policies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyFault {
    /// The text's name.
    pub origin: String,
    /// Line and column, from 1, where they are known.
    pub place: Option<(usize, usize)>,
    /// What is wrong, and what was expected.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

impl fmt::Display for PolicyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.origin)?;
        if let Some((line, column)) = self.place {
            write!(f, ":{line}:{column}")?;
        }
        write!(f, ": error: {}", self.message)?;
        self.help.as_ref().map_or(Ok(()), |help| write!(f, "\n   help: {help}"))
    }
}

/// Everything that is wrong; nothing of it is in force.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct PolicyFaults(pub Vec<PolicyFault>);

impl fmt::Display for PolicyFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|fault| writeln!(f, "{fault}"))
    }
}

const ANNOTATIONS: [&str; 4] = ["id", "tier", "quorum", "advice"];

impl Policies {
    /// Reads the policies of these texts, each with its name, for an instance whose manifest declares these types of intents.
    ///
    /// # Errors
    /// Everything that is wrong: a text that is not Cedar, a policy that does not fit the schema or has no name, a permit without a tier,
    /// a set after which nobody could change the policies any more, and a policy that can never take effect.
    pub fn read(texts: &[(&str, &str)], declared: &[String]) -> Result<Self, PolicyFaults> {
        let (policies, mut reading) = Self::assembled(texts, declared)?;
        for at in never::impossible(&policies) {
            reading.impossible(&policies.notes, at);
        }
        for Overruled { permit, by } in never::overruled(&policies) {
            reading.overruled(&policies.notes, permit, &by);
        }
        reading.sound()?;
        Ok(policies)
    }

    /// The policies, whether or not each of them can take effect.
    pub(super) fn assembled(
        texts: &[(&str, &str)],
        declared: &[String],
    ) -> Result<(Self, Reading), PolicyFaults> {
        let mut reading = Reading::default();
        for (origin, text) in texts {
            reading.text(origin, text);
        }
        if reading.policies.len() > limits::POLICIES {
            reading.fault("policies", format!("more than {} policies", limits::POLICIES));
        }
        for name in declared.iter().filter(|name| [DECLARED, UNKNOWN].contains(&name.as_str())) {
            reading.fault(
                "manifest",
                format!("`{name}` is a group of types in policies: call the type something else"),
            );
        }
        reading.sound()?;
        let all = PolicySet::from_policies(reading.policies.iter().cloned());
        let all = all.map_err(|e| reading.failed(e.to_string()))?;
        reading.validate(&all, declared);
        reading.sound()?;
        let policies = reading.ready(declared).map_err(|message| reading.failed(message))?;
        if !policies.can_be_governed() {
            return Err(reading.failed(
                "no person could change the policies any more: permit modify_governance to the operator"
                    .to_owned(),
            ));
        }
        Ok((policies, reading))
    }
}

#[derive(Default)]
pub(super) struct Reading {
    faults: Vec<PolicyFault>,
    policies: Vec<Policy>,
    notes: Vec<Note>,
    places: HashMap<PolicyId, usize>,
    /// Where each policy is written: its text's name, line and column.
    written: Vec<(String, Option<(usize, usize)>)>,
}

impl Reading {
    fn fault(&mut self, origin: &str, message: String) {
        let fault = PolicyFault { origin: origin.to_owned(), place: None, message, help: None };
        self.faults.push(fault);
    }

    fn failed(&self, message: String) -> PolicyFaults {
        PolicyFaults(vec![PolicyFault { origin: "policies".to_owned(), place: None, message, help: None }])
    }

    fn sound(&mut self) -> Result<(), PolicyFaults> {
        self.faults.truncate(limits::FAULTS);
        if self.faults.is_empty() { Ok(()) } else { Err(PolicyFaults(std::mem::take(&mut self.faults))) }
    }

    fn text(&mut self, origin: &str, text: &str) {
        if text.len() > limits::POLICY_TEXT_BYTES {
            let (found, most) = (text.len(), limits::POLICY_TEXT_BYTES);
            return self.fault(origin, format!("{found} bytes; at most {most} are taken"));
        }
        let set: PolicySet = match text.parse() {
            Ok(set) => set,
            Err(errors) => {
                let errors: cedar_policy::ParseErrors = errors;
                return self.faults.extend(errors.iter().map(|error| told(origin, text, error)));
            }
        };
        if set.templates().next().is_some() {
            self.fault(
                origin,
                "templates (policies with `?principal` or `?resource`) are not taken".to_owned(),
            );
        }
        let mut policies: Vec<&Policy> = set.policies().collect();
        // As they stand in the text: Cedar numbers them.
        policies.sort_by_key(|policy| number(policy));
        for policy in policies {
            self.policy(origin, text, policy);
        }
    }

    fn policy(&mut self, origin: &str, text: &str, policy: &Policy) {
        let Some(name) = policy.annotation("id").filter(|id| !id.is_empty()).map(str::to_owned) else {
            let nth = number(policy) + 1;
            return self.fault(origin, format!("policy {nth} has no name: write @id(\"…\") before it"));
        };
        for (key, _) in policy.annotations() {
            if !ANNOTATIONS.contains(&key) {
                let help = nearest(key, ANNOTATIONS).map(|known| format!("did you mean @{known}?"));
                let message = format!("{name}: there is no annotation @{key}");
                self.faults.push(PolicyFault { origin: origin.to_owned(), place: None, message, help });
            }
        }
        let tier = policy.annotation("tier").map(str::parse::<Tier>);
        let permits = policy.effect() == Effect::Permit;
        let tier = match (tier, permits) {
            (Some(Ok(tier)), true) => Some(tier),
            (None, false) => None,
            (Some(_), false) => return self.fault(origin, format!("{name}: what is forbidden has no tier")),
            (Some(Err(why)), true) => return self.fault(origin, format!("{name}: @tier: {why}")),
            (None, true) => {
                return self
                    .fault(origin, format!("{name}: a permit says its tier: @tier(\"0\") to @tier(\"4\")"));
            }
        };
        let quorum = match policy.annotation("quorum").map(|text| quorum(text, tier)).transpose() {
            Ok(quorum) => quorum,
            Err(why) => return self.fault(origin, format!("{name}: @quorum: {why}")),
        };
        let advice = policy.annotation("advice").map(str::to_owned);
        let id = PolicyId::new(&name);
        if self.places.insert(id.clone(), self.policies.len()).is_some() {
            return self.fault(origin, format!("there are two policies called `{name}`"));
        }
        // A name is told without line ends and the like.
        self.notes.push(Note { name: id.to_string(), permits, tier, quorum, advice });
        self.policies.push(policy.new_id(id));
        self.written.push((origin.to_owned(), written(text, &policy.to_string())));
    }

    /// Something is wrong with one policy.
    fn fault_at(&mut self, at: Option<usize>, message: String, help: Option<String>) {
        let written = at.and_then(|at| self.written.get(at)).cloned();
        let (origin, place) = written.unwrap_or_else(|| ("policies".to_owned(), None));
        self.faults.push(PolicyFault { origin, place, message, help });
    }

    fn validate(&mut self, all: &PolicySet, declared: &[String]) {
        let schema = match schema(declared) {
            Ok(schema) => schema,
            Err(message) => return self.fault("schema", message),
        };
        let result = Validator::new(schema).validate(all, ValidationMode::Strict);
        for error in result.validation_errors() {
            let at = self.places.get(error.policy_id()).copied();
            self.fault_at(at, error.to_string(), None);
        }
    }

    /// No request can meet this policy, whatever the others say.
    fn impossible(&mut self, notes: &[Note], at: usize) {
        let message = format!(
            "{}: its scope and its conditions can never hold together, so it never takes effect",
            notes[at].name
        );
        let help = "compare the principal, the action and the target with each `when` and `unless`: mend it or remove it";
        self.fault_at(Some(at), message, Some(help.to_owned()));
    }

    fn overruled(&mut self, notes: &[Note], permit: usize, by: &[usize]) {
        let forbids: Vec<String> = by
            .iter()
            .map(|&at| {
                let (origin, place) = &self.written[at];
                let place = place.map(|(line, _)| format!(":{line}")).unwrap_or_default();
                format!("{} ({origin}{place})", notes[at].name)
            })
            .collect();
        let message = format!(
            "{}: it can never take effect: all that it permits is forbidden without conditions by {}",
            notes[permit].name,
            forbids.join(" and ")
        );
        let help = "narrow what is forbidden by a `when`, or remove the permit".to_owned();
        self.fault_at(Some(permit), message, Some(help));
    }

    /// The policies with their slices.
    fn ready(&mut self, declared: &[String]) -> Result<Policies, String> {
        let names = Names::new()?;
        let known = KNOWN.iter().map(|&name| (name, None));
        let own = declared.iter().map(|name| (name.as_str(), Some(DECLARED)));
        let mut types = BTreeMap::new();
        // What Grace knows by itself stays what it is, should the manifest declare a type of that name.
        for (name, group) in own.chain(known) {
            let action = names.action(name, group)?;
            let slices = self.slices(&names, Some(&action.uid), action.group.as_ref())?;
            types.insert(name.to_owned(), Type { action, slices });
        }
        // No policy can name a type that nobody has heard of, only their group.
        let unknown = self.slices(&names, None, Some(&names.action(UNKNOWN, None)?.uid))?;
        let named = names.principals.iter().map(|principal| slice::of_one(&self.policies, principal));
        let named = named.collect::<Result<_, _>>().map_err(|e| e.to_string())?;
        Ok(Policies {
            policies: std::mem::take(&mut self.policies),
            notes: std::mem::take(&mut self.notes),
            places: std::mem::take(&mut self.places),
            types,
            unknown,
            named,
            names,
            authorizer: Authorizer::new(),
        })
    }

    fn slices(
        &self,
        names: &Names,
        action: Option<&EntityUid>,
        group: Option<&EntityUid>,
    ) -> Result<Slices, String> {
        let slice = |principal| slice::of_any(&self.policies, principal, action, group);
        names.principals.iter().map(slice).collect::<Result<_, _>>().map_err(|e| e.to_string())
    }
}

/// How many people have to say yes.
fn quorum(text: &str, tier: Option<Tier>) -> Result<u8, String> {
    if tier != Some(Tier::Approval) {
        return Err("people are asked where it permits under @tier(\"0\"), and nowhere else".to_owned());
    }
    let most = limits::PEOPLE;
    let people = text.parse().ok().filter(|people| (1..=most).contains(people));
    people.ok_or_else(|| {
        format!("`{}` is no number of people from 1 to {most}, such as @quorum(\"2\")", text.escape_debug())
    })
}

/// The schema with an action for each type that the manifest declares.
fn schema(declared: &[String]) -> Result<Schema, String> {
    let kinds = ActorKind::ALL.map(ActorKind::entity_type).join(", ");
    let own: HashSet<&str> =
        declared.iter().map(String::as_str).filter(|name| !KNOWN.contains(name)).collect();
    let mut own: Vec<&str> = own.into_iter().collect();
    own.sort_unstable();
    let mut text = SCHEMA.to_owned();
    for name in own {
        let name = serde_json::Value::from(name);
        text.push_str(&format!(
            "action {name} in [Action::\"{DECLARED}\"] appliesTo {{ principal: [{kinds}], resource: [Target], context: Circumstances }};\n"
        ));
    }
    Schema::from_cedarschema_str(&text).map(|(schema, _)| schema).map_err(|e| e.to_string())
}

/// Which policy of its text it is, from 0.
fn number(policy: &Policy) -> usize {
    policy.id().to_string().strip_prefix("policy").and_then(|n| n.parse().ok()).unwrap_or(usize::MAX)
}

/// An error of Cedar's with its place in the text.
fn told(origin: &str, text: &str, error: &dyn Diagnostic) -> PolicyFault {
    let offset = error.labels().and_then(|mut labels| labels.next()).map(|label| label.offset());
    let place = offset.and_then(|offset| text.get(..offset)).map(end);
    let help = error.help().map(|help| help.to_string());
    PolicyFault { origin: origin.to_owned(), place, message: error.to_string(), help }
}

/// The line and the column, from 1, after a text.
fn end(before: &str) -> (usize, usize) {
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
    (line, column)
}

/// Where a policy stands in its text, and not in a comment.
fn written(text: &str, policy: &str) -> Option<(usize, usize)> {
    let befores = || text.match_indices(policy).filter_map(|(at, _)| text.get(..at));
    let uncommented = |before: &&str| !before.rsplit('\n').next().unwrap_or_default().contains("//");
    befores().find(uncommented).or_else(|| befores().next()).map(end)
}
