//! Where policies and a charter come from: from files, from governance, or from what was last on record.

use std::path::{Path, PathBuf};

use grace_core::instance::Instance;
use grace_cortex::{
    case::Generation,
    change::{self, Wanted},
    charter::{self, Charter},
    governance::{Command, Governance, Query, Reply, check},
    limits::{CHARTER_BYTES, POLICY_TEXT_BYTES},
    policy::{self, Policies},
    router::event::What,
};

use super::{
    super::{Road, approval, args::Proposed, id, odd},
    records,
};
use crate::{
    failure::{Exit, Failure},
    log::place::read_bounded,
    road::Asked as _,
};

/// Policies and a charter, and where each comes from.
pub(super) struct Source {
    /// Each with its name.
    pub(super) policies: Vec<(String, String)>,
    /// With its name.
    pub(super) charter: (String, String),
    /// In words: `the policies in new/, and the charter of generation 3, in force`.
    pub(super) told: String,
    /// Types of intents that the manifest declares.
    pub(super) declared: Vec<String>,
}

/// Policies, and a charter, each text with its name, where they are named.
type Named = (Option<Vec<(String, String)>>, Option<(String, String)>);

/// What is in force.
struct InForce {
    generation: Option<Generation>,
    /// `of generation 3, in force`.
    told: String,
    declared: Vec<String>,
}

impl Source {
    /// What is in force, or these policies with its charter.
    pub(super) fn base(instance: &Instance, policies: Option<&Path>) -> Result<Self, Failure> {
        let given = Proposed { policies: policies.map(Path::to_owned), ..Proposed::default() };
        Self::proposed(instance, &given)
    }

    /// What the command line names; what it does not name is as it is in force.
    pub(super) fn proposed(instance: &Instance, given: &Proposed) -> Result<Self, Failure> {
        let named = match &given.intent {
            Some(intent) => asked_for(instance, intent)?,
            None => (
                given.policies.as_deref().map(policies).transpose()?,
                given.charter.as_deref().map(charter_in).transpose()?,
            ),
        };
        let now = in_force(instance)?;
        let old = now.generation.map_or_else(
            || (policy::DEFAULT.to_owned(), charter::DEFAULT.to_owned()),
            |generation| (generation.policies, generation.charter),
        );
        let name = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
        let told = match (name(&given.policies), name(&given.charter)) {
            (None, None) if given.intent.is_some() => {
                format!(
                    "what {} asks for, and the rest {}",
                    given.intent.as_deref().unwrap_or_default(),
                    now.told
                )
            }
            (None, None) => format!("the policies and the charter {}", now.told),
            (Some(policies), None) => format!("the policies in {policies}, and the charter {}", now.told),
            (None, Some(charter)) => format!("the policies {}, and the charter in {charter}", now.told),
            (Some(policies), Some(charter)) => {
                format!("the policies in {policies}, and the charter in {charter}")
            }
        };
        Ok(Self {
            policies: named.0.unwrap_or_else(|| vec![("policies.cedar".to_owned(), old.0)]),
            charter: named.1.unwrap_or_else(|| ("charter.yaml".to_owned(), old.1)),
            told,
            declared: now.declared,
        })
    }

    /// Ready to be asked, for an instance that declares these types.
    pub(super) fn read(&self, declared: &[String]) -> Result<(Policies, Charter), Failure> {
        let (name, text) = &self.charter;
        check(&self.texts(), (name, text), declared).map_err(Governance::refused)
    }

    /// The policies, each with its name.
    pub(super) fn texts(&self) -> Vec<(&str, &str)> {
        self.policies.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect()
    }
}

/// Types that the manifest of the running instance declares; none where it does not run.
pub(super) fn declared(instance: &Instance) -> Vec<String> {
    let manifest = std::fs::read(instance.manifest()).unwrap_or_default();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap_or_default();
    manifest["intents"].as_object().map(|types| types.keys().cloned().collect()).unwrap_or_default()
}

/// The texts that an intent would put in force, which governance has the case of.
fn asked_for(instance: &Instance, text: &str) -> Result<Named, Failure> {
    let case = approval(&Road::to(instance)?, id(text)?)?.case;
    match change::named(&case.kind, &case.payload) {
        Some(Ok(Wanted::Adopt { policies, charter, .. })) => Ok((
            policies.map(|text| vec![("policies.cedar".to_owned(), text)]),
            charter.map(|text| ("charter.yaml".to_owned(), text)),
        )),
        _ => {
            let what = format!("{text} asks for no other policies and no other charter");
            Err(Failure::new(Exit::Usage, "bad_id", what).help("`grace approvals list` shows what waits"))
        }
    }
}

fn in_force(instance: &Instance) -> Result<InForce, Failure> {
    let asked = Road::to(instance).and_then(|road| road.ask(Command::Query(Query::Generation(None))));
    match asked {
        Ok(Reply::Generation(kept)) => {
            let told = format!("of generation {}, in force", kept.generation.number);
            Ok(InForce { generation: Some(kept.generation), told, declared: declared(instance) })
        }
        Ok(_) => Err(odd()),
        Err(failure) if failure.code == "not_running" => last_on_record(instance),
        Err(failure) => Err(failure),
    }
}

/// What was in force when Grace ran last.
fn last_on_record(instance: &Instance) -> Result<InForce, Failure> {
    let (mut generation, mut types) = (None, Vec::new());
    let read = records::each(instance, |record| {
        match record.event.map(|event| event.what) {
            Ok(What::GenerationAdopted { generation: adopted, .. }) => generation = Some(adopted),
            Ok(What::Configured { declared, .. }) => types = declared,
            _ => {}
        }
        Ok(())
    });
    match read {
        Err(failure) if failure.code != "no_log" => return Err(failure),
        _ => {}
    }
    let told = match &generation {
        Some(generation) => format!("of generation {}, the last in force", generation.number),
        None => "that Grace brings along".to_owned(),
    };
    Ok(InForce { generation, told, declared: types })
}

/// The policies of a file, or of every .cedar file in a folder, in the order of their names.
pub(super) fn policies(path: &Path) -> Result<Vec<(String, String)>, Failure> {
    if !path.is_dir() {
        return Ok(vec![(path.display().to_string(), bounded(path, POLICY_TEXT_BYTES)?)]);
    }
    let entries = std::fs::read_dir(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let entries = entries.map_err(|e| unreadable(path, &e.to_string()))?;
    let mut files: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "cedar"));
    files.sort();
    if files.is_empty() {
        return Err(unreadable(path, "there is no .cedar file in it"));
    }
    files.iter().map(|file| Ok((file.display().to_string(), bounded(file, POLICY_TEXT_BYTES)?))).collect()
}

fn charter_in(path: &Path) -> Result<(String, String), Failure> {
    Ok((path.display().to_string(), bounded(path, CHARTER_BYTES)?))
}

/// A file's text, of at most so many bytes.
pub(super) fn bounded(path: &Path, most: usize) -> Result<String, Failure> {
    let bytes = read_bounded(path, most).map_err(|e| unreadable(path, &e.to_string()))?;
    String::from_utf8(bytes).map_err(|_| unreadable(path, "it is not UTF-8"))
}

fn unreadable(path: &Path, why: &str) -> Failure {
    Failure::new(Exit::Usage, "unreadable_file", format!("it cannot be read: {why}")).at(&path.display())
}
