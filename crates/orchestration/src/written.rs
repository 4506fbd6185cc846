//! What is written about work: `intents:`, `triggers:`, `policies:` and `schedules:`, in a manifest or in a file of their own.
//!
//! ```text
//! text ─► Page: decoded, each entry compiled ─ check_intents ─► whatever is submitted is declared, and fits ─ finish ─► Written, or
//!                                                                                                       every fault at its place
//! ```
//!
//! A [`Page`] is one text. A manifest is one with the files that it names under `include:` ([`include`]): what they say together counts as
//! if it stood in one, so that no name may be declared twice, and what is submitted in one may be declared in another.
//!
//! What was read travels in the manifest as JSON, since the manifest is on floor 0 and knows nothing of work; [`typed`] takes it out
//! again.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path as FilePath,
};

use grace_types::{
    limits::MANIFEST_BYTES,
    manifest::{self, Manifest, ManifestErrors},
    yaml::{Diagnostic, Document, Fault, Path, Step, suggest},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    delivery::action::{self, Action, Submit, is_name},
    expression::Mapping,
    intent::{self, Definition, IntentType},
    limits,
    policies::{Policy, Then},
    scheduler::Schedule,
    triggers::Subscription,
};

/// What is written about work, by name.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(
    deny_unknown_fields,
    default,
    expecting = "a mapping with `intents`, `triggers`, `policies` or `schedules`"
)]
pub struct Written {
    /// What may be asked for, by name (a-z, 0-9, `_`, `-`): a payload and the tasks that it takes.
    pub intents: BTreeMap<String, IntentType>,
    /// Which events set off what, by name (letters, digits, `_`, `-`).
    pub triggers: BTreeMap<String, Subscription>,
    /// What follows from events and their counts, by name (letters, digits, `_`, `-`).
    pub policies: BTreeMap<String, Policy>,
    /// What is to be done at which times, by name (letters, digits, `_`, `-`).
    pub schedules: BTreeMap<String, Schedule>,
}

mod include;

/// The keys that are read here.
const SECTIONS: [&str; 4] = ["intents", "triggers", "policies", "schedules"];

/// The most entries of each.
const MOST: [usize; 4] = [limits::TYPES, limits::SUBSCRIPTIONS, limits::POLICIES, limits::SCHEDULES];

/// Types of intents, compiled.
type Definitions = BTreeMap<String, Definition>;

/// Reads a file of its own. Keys that begin with `x-` are the user's. Whether there are the intents that it submits is not asked:
/// they may be declared elsewhere.
///
/// # Errors
/// Everything that is wrong with it, each with its place.
pub fn read(text: &str, origin: &FilePath) -> Result<Written, ManifestErrors> {
    Page::read(text, origin, |key| key.starts_with("x-"))?.finish()
}

/// The same of a text whose other keys are not looked at, such as a manifest.
///
/// # Errors
/// As for [`read`].
pub fn read_among(text: &str, origin: &FilePath) -> Result<Written, ManifestErrors> {
    Page::read(text, origin, |key| !SECTIONS.contains(&key))?.finish()
}

/// Reads a manifest, whose other keys are not looked at, with the files that it includes. What they submit must be declared in one of them.
///
/// # Errors
/// Everything that is wrong with any of them, each with its place.
pub fn read_manifest(text: &str, origin: &FilePath) -> Result<Written, ManifestErrors> {
    let (files, mut errors) = include::files(text, origin);
    let mut pages = vec![Page::read(text, origin, |key| !SECTIONS.contains(&key))?];
    for (path, text) in &files {
        pages.push(Page::read(text, path, |key| key.starts_with("x-"))?);
    }
    once(&mut pages);
    let mut declared = Definitions::new();
    for page in &mut pages {
        declared.append(&mut page.definitions);
    }
    // What stands in a file that could not be read is not known.
    if errors.is_empty() {
        let asked = pages.iter().flat_map(|page| page.written.submits());
        let asked: BTreeSet<String> = asked.map(|(_, submit)| submit.intent).collect();
        let wrong =
            asked.into_iter().filter(|intent| pages.iter().any(|page| page.is_known(intent))).collect();
        pages.iter_mut().for_each(|page| page.check_intents(&declared, &wrong));
    }
    let mut whole = Written::default();
    for page in pages {
        match page.finish() {
            Ok(mut written) => whole.append(&mut written),
            Err(faults) => errors.extend(faults.errors),
        }
    }
    let counts = whole.counts().into_iter().zip(SECTIONS).zip(MOST);
    for ((_, section), most) in counts.filter(|((count, _), most)| count > most) {
        let message = format!("more than {most} {section} in it and the files that it includes");
        errors.push(Diagnostic::of_file(origin, message, None));
    }
    if errors.is_empty() { Ok(whole) } else { Err(ManifestErrors { errors }) }
}

/// Finds names that are declared twice in different files.
fn once(pages: &mut [Page<'_>]) {
    let mut places: BTreeMap<(&str, String), String> = BTreeMap::new();
    for page in pages {
        for (section, name) in page.written.names() {
            let at = Path::default().key(section).key(&name);
            if let Some(place) = places.get(&(section, name.clone())) {
                let message = format!("`{name}` is declared in {place}, too");
                let help = Some("take one of them out, or call it something else".to_owned());
                page.document.fault_at_key(&at, message, help);
            } else {
                let place = page.place(&at);
                places.insert((section, name), place);
            }
        }
    }
}

/// Reads a file of one subscription, policy or schedule, whose `faults` the type itself tells.
///
/// # Errors
/// Everything that is wrong with it, each with its place.
pub fn read_one<T: DeserializeOwned>(
    text: &str,
    origin: &FilePath,
    faults: impl Fn(&T) -> Vec<action::Fault>,
) -> Result<T, ManifestErrors> {
    let mut document = parse(text, origin)?;
    let one: Option<T> = document.decode();
    for fault in one.iter().flat_map(faults) {
        document.fault(&steps(&fault.path), fault.message, fault.help);
    }
    match one {
        Some(one) if document.is_sound() => Ok(one),
        _ => Err(errors(document, text, origin)),
    }
}

fn parse(text: &str, origin: &FilePath) -> Result<Document, ManifestErrors> {
    if text.len() > MANIFEST_BYTES {
        let message = format!("it has more than {MANIFEST_BYTES} bytes");
        return Err(Diagnostic::of_file(origin, message, None).into());
    }
    Ok(Document::parse(text))
}

fn errors(document: Document, text: &str, origin: &FilePath) -> ManifestErrors {
    let faults = document.into_faults().into_iter();
    ManifestErrors { errors: faults.map(|fault| Diagnostic::new(origin, text, fault)).collect() }
}

/// One text, read as far as it can be read alone.
#[derive(Debug)]
struct Page<'t> {
    text: &'t str,
    origin: &'t FilePath,
    document: Document,
    written: Written,
    /// Those of its intents that are sound.
    definitions: Definitions,
}

impl<'t> Page<'t> {
    /// Reads `text`, which came from the file `origin`, without the keys that are to be `ignored`.
    ///
    /// # Errors
    /// It is too large.
    fn read(text: &'t str, origin: &'t FilePath, ignored: fn(&str) -> bool) -> Result<Self, ManifestErrors> {
        let mut document = parse(text, origin)?;
        document.ignore_root_keys(ignored);
        let written: Written = document.decode().unwrap_or_default();
        let mut definitions = BTreeMap::new();
        check(&mut document, 0, &written.intents, |name, kind| {
            match Definition::compile(name, kind.clone()) {
                Ok(definition) => {
                    definitions.insert(name.to_owned(), definition);
                    Vec::new()
                }
                Err(faults) => faults,
            }
        });
        check(&mut document, 1, &written.triggers, |name, one| named(name, one.faults()));
        check(&mut document, 2, &written.policies, |name, one| named(name, one.faults()));
        check(&mut document, 3, &written.schedules, |name, one| named(name, one.faults()));
        Ok(Self { text, origin, document, written, definitions })
    }

    /// Checks that what is submitted is among `declared`, and that payloads without expressions fit. Nothing is said of what is `wrong`:
    /// it is declared somewhere, or is no name, and that was told.
    fn check_intents(&mut self, declared: &Definitions, wrong: &BTreeSet<String>) {
        for (at, submit) in self.written.submits() {
            match declared.get(&submit.intent) {
                Some(definition) => {
                    let at = at.key("payload");
                    for violation in fixed(&submit.payload).iter().flat_map(|fixed| definition.check(fixed)) {
                        let message = format!(
                            "it does not fit `{}`: expected {}, found {}",
                            submit.intent, violation.expected, violation.found
                        );
                        self.document.fault(&pointed(&at, &violation.pointer), message, None);
                    }
                }
                None if wrong.contains(&submit.intent) => {}
                None => {
                    let near = suggest(&submit.intent, declared.keys().map(String::as_str));
                    let help = near.or_else(|| Some("declare it under `intents:`".to_owned()));
                    let message = format!("there is no type of intents `{}`", submit.intent);
                    self.document.fault(&at.key("intent"), message, help);
                }
            }
        }
    }

    fn is_known(&self, intent: &str) -> bool {
        let at = Path::default().key(SECTIONS[0]).key(intent);
        !is_name(intent) || self.written.intents.contains_key(intent) || self.document.is_lost(&at)
    }

    /// Where the key at the end of `path` stands: `work.yaml:3:5`.
    fn place(&self, path: &Path) -> String {
        let span = self.document.key_span(path).unwrap_or_default();
        let fault = Fault { span, field: String::new(), message: String::new(), help: None };
        let at = Diagnostic::new(self.origin, self.text, fault);
        format!("{}:{}:{}", self.origin.display(), at.line, at.column)
    }

    /// What it says, if nothing was found to be wrong.
    ///
    /// # Errors
    /// Everything that is wrong with it, each with its place.
    fn finish(self) -> Result<Written, ManifestErrors> {
        if self.document.is_sound() {
            return Ok(self.written);
        }
        Err(errors(self.document, self.text, self.origin))
    }
}

impl Written {
    fn append(&mut self, other: &mut Self) {
        self.intents.append(&mut other.intents);
        self.triggers.append(&mut other.triggers);
        self.policies.append(&mut other.policies);
        self.schedules.append(&mut other.schedules);
    }

    fn counts(&self) -> [usize; 4] {
        [self.intents.len(), self.triggers.len(), self.policies.len(), self.schedules.len()]
    }

    /// The names that it declares, each with its section.
    fn names(&self) -> Vec<(&'static str, String)> {
        let of = |section, name: &String| (SECTIONS[section], name.clone());
        let intents = self.intents.keys().map(|name| of(0, name));
        let triggers = self.triggers.keys().map(|name| of(1, name));
        let policies = self.policies.keys().map(|name| of(2, name));
        let schedules = self.schedules.keys().map(|name| of(3, name));
        intents.chain(triggers).chain(policies).chain(schedules).collect()
    }

    /// What is submitted, and where that is said.
    fn submits(&self) -> Vec<(Path, Submit)> {
        let triggers = self.triggers.iter().map(|(name, one)| (SECTIONS[1], name, &one.action));
        let schedules = self.schedules.iter().map(|(name, one)| (SECTIONS[3], name, &one.action));
        let mut found: Vec<(Path, Submit)> = triggers
            .chain(schedules)
            .filter_map(|(section, name, action)| match action {
                Action::Submit(submit) => {
                    Some((Path::default().key(section).key(name).key("action").key("submit"), submit.clone()))
                }
                Action::Publish(_) => None,
            })
            .collect();
        for (name, policy) in &self.policies {
            let then = Path::default().key(SECTIONS[2]).key(name).key("then");
            for (index, one) in policy.then.iter().enumerate() {
                if let Then::Submit(submit) = one {
                    found.push((then.index(index).key("submit"), submit.clone()));
                }
            }
        }
        found
    }

    /// Puts it into a manifest, in place of what that says about work.
    ///
    /// # Errors
    /// Something in it has no JSON.
    pub fn put_into(&self, manifest: &mut Manifest) -> serde_json::Result<()> {
        manifest.intents = untyped(&self.intents)?;
        manifest.triggers = untyped(&self.triggers)?;
        manifest.policies = untyped(&self.policies)?;
        manifest.schedules = untyped(&self.schedules)?;
        Ok(())
    }
}

fn untyped<T: Serialize>(section: &BTreeMap<String, T>) -> serde_json::Result<BTreeMap<String, Value>> {
    section.iter().map(|(name, one)| Ok((name.clone(), serde_json::to_value(one)?))).collect()
}

/// What a manifest has held of one kind since it was read.
///
/// # Errors
/// It was made by another version.
pub fn typed<T: DeserializeOwned>(
    section: &BTreeMap<String, Value>,
) -> serde_json::Result<BTreeMap<String, T>> {
    section.iter().map(|(name, one)| Ok((name.clone(), T::deserialize(one)?))).collect()
}

/// The JSON Schema of a manifest, with what is written about work in it.
#[must_use]
pub fn manifest_schema() -> Value {
    let mut whole = manifest::json_schema();
    let mut work = schemars::schema_for!(Written).to_value();
    for part in ["properties", "$defs"] {
        if let (Some(into), Some(Value::Object(more))) = (whole[part].as_object_mut(), work.get_mut(part)) {
            into.extend(std::mem::take(more));
        }
    }
    whole
}

fn check<T>(
    document: &mut Document,
    section: usize,
    entries: &BTreeMap<String, T>,
    mut faults: impl FnMut(&str, &T) -> Vec<intent::Fault>,
) {
    let (section, most) = (SECTIONS[section], MOST[section]);
    let at = Path::default().key(section);
    if entries.len() > most {
        document.fault(&at, format!("more than {most} {section}"), None);
    }
    for (name, entry) in entries {
        for fault in faults(name, entry) {
            let mut path = at.key(name);
            path.0.extend(fault.path.0);
            if fault.at_key {
                document.fault_at_key(&path, fault.message, fault.help);
            } else {
                document.fault(&path, fault.message, fault.help);
            }
        }
    }
}

/// A subscription's, a policy's or a schedule's fault, with what is wrong with its name, too.
fn named(name: &str, faults: Vec<action::Fault>) -> Vec<intent::Fault> {
    let bad_name = (!is_name(name)).then(|| intent::Fault {
        path: Path::default(),
        at_key: true,
        message: format!("a name has letters, digits, `_` and `-`, at most {}", limits::NAME_BYTES),
        help: None,
    });
    let placed = |fault: action::Fault| intent::Fault {
        path: steps(&fault.path),
        at_key: false,
        message: fault.message,
        help: fault.help,
    };
    bad_name.into_iter().chain(faults.into_iter().map(placed)).collect()
}

fn steps(path: &[impl AsRef<str>]) -> Path {
    let step = |step: &str| step.parse().map_or_else(|_| Step::Key(step.to_owned()), Step::Index);
    Path(path.iter().map(|one| step(one.as_ref())).collect())
}

/// The value of a payload in which no text is an expression.
fn fixed(payload: &Value) -> Option<Value> {
    match Mapping::compile(payload, &[]) {
        Ok(Mapping::Value(value)) => Some(value),
        Ok(_) | Err(_) => None,
    }
}

/// The value to which a JSON Pointer (RFC 6901) leads from `at`.
fn pointed(at: &Path, pointer: &str) -> Path {
    let tokens: Vec<String> =
        pointer.split('/').skip(1).map(|token| token.replace("~1", "/").replace("~0", "~")).collect();
    Path(at.0.iter().cloned().chain(steps(&tokens).0).collect())
}

#[cfg(test)]
mod tests;
