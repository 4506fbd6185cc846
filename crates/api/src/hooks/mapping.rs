//! Which call means which type of intent. The JSON Schema in `schemas/hooks.schema.json` is generated from these types, so their comments
//! are what an editor shows beside each key.

use std::{
    collections::BTreeMap,
    path::{Component, Path as FilePath, PathBuf},
};

use grace_types::{
    manifest::ManifestErrors,
    yaml::{Diagnostic, Document, Path},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{agent::Agent, shell};
use crate::limits;

/// The rules that hold where nobody wrote others.
pub const DEFAULT: &str = include_str!("../../../../config/hooks.yaml");

/// What a coding agent's tool calls mean to Grace.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping with `rules`")]
#[schemars(title = "Grace hooks")]
pub struct Mapping {
    /// Version of this format; 1 when not given.
    #[serde(default = "one")]
    version: u32,
    /// Whether Grace's own rules come after these.
    #[serde(default = "yes")]
    defaults: bool,
    /// The first one that fits a call counts. A call that none fits is denied.
    #[serde(default)]
    rules: Vec<Rule>,
}

/// What some calls mean.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping with `tools` and `intent`")]
pub struct Rule {
    /// Of which agents; of all when left out.
    #[serde(default)]
    agents: Vec<Agent>,
    /// Names of tools; `*` stands for any text.
    tools: Vec<String>,
    /// Arguments by name, with a pattern for the text of each; `*` stands for any text. All must fit.
    #[serde(default)]
    arguments: BTreeMap<String, String>,
    /// Patterns of commands, one of which has to stand in the call's command line, from the beginning of any word on: `rm *`.
    #[serde(default)]
    mentions: Vec<String>,
    /// Patterns of commands: the call's command line has to consist of commands that fit one each, and nothing is replaced or redirected in it.
    #[serde(default)]
    commands: Vec<String>,
    /// The argument whose path has to lie in the folder in which the agent works, or several of which the first one that is there counts.
    #[serde(default)]
    inside: Names,
    /// The type of intent that is judged.
    intent: String,
    /// The argument that says what it is about, or several of which the first one that is there counts; the tool's name where none is.
    #[serde(default)]
    target: Names,
    /// What is said while Grace cannot be reached.
    #[serde(default)]
    unreachable: Unreachable,
}

/// One name or several.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "a name, or a list of names")]
pub enum Names {
    /// One.
    One(String),
    /// Several.
    Several(Vec<String>),
}

impl Default for Names {
    fn default() -> Self {
        Self::Several(Vec::new())
    }
}

impl Names {
    fn list(&self) -> &[String] {
        match self {
            Self::One(name) => std::slice::from_ref(name),
            Self::Several(names) => names,
        }
    }
}

/// Arguments that hold a command line; the first one that is there counts.
const COMMAND_LINES: [&str; 3] = ["command", "cmd", "script"];

/// What is said while Grace cannot be reached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unreachable {
    /// No.
    #[default]
    Deny,
    /// The agent's user is asked, where the agent can ask and somebody is there; else no.
    Ask,
}

const fn one() -> u32 {
    1
}

const fn yes() -> bool {
    true
}

/// A use of a tool, as far as rules look at it.
#[derive(Debug, Clone, Copy)]
pub struct Use<'a> {
    /// By whom, where it is an agent with a hook.
    pub agent: Option<Agent>,
    /// The tool's name.
    pub tool: &'a str,
    /// Its arguments.
    pub arguments: &'a Map<String, Value>,
    /// The folder in which the agent works.
    pub folder: Option<&'a str>,
}

/// What a call means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meaning {
    /// The type of intent.
    pub intent: String,
    /// What it is about.
    pub target: String,
    /// What is said while Grace cannot be reached.
    pub unreachable: Unreachable,
}

impl Mapping {
    /// The embedded one, after the rules of `own` (a text, and the file that it is from), if there are any.
    ///
    /// # Errors
    /// Everything that is wrong with the file, each with its place.
    pub fn read(own: Option<(&str, &FilePath)>) -> Result<Self, ManifestErrors> {
        let default = || parse(DEFAULT, FilePath::new("config/hooks.yaml"));
        let Some((text, origin)) = own else { return default() };
        let mut own = parse(text, origin)?;
        if own.defaults {
            own.rules.extend(default()?.rules);
        }
        Ok(own)
    }

    /// What a call means; `None` when no rule fits it, which is a no.
    #[must_use]
    pub fn meaning(&self, call: Use<'_>) -> Option<Meaning> {
        let rule = self.rules.iter().find(|rule| rule.fits(call))?;
        Some(Meaning {
            intent: rule.intent.clone(),
            target: rule.target_of(call),
            unreachable: rule.unreachable,
        })
    }
}

impl Rule {
    fn fits(&self, call: Use<'_>) -> bool {
        (self.agents.is_empty() || call.agent.is_some_and(|agent| self.agents.contains(&agent)))
            && self.tools.iter().any(|pattern| fits(pattern, call.tool))
            && self
                .arguments
                .iter()
                .all(|(name, pattern)| call.arguments.get(name).is_some_and(|v| fits(pattern, &plain(v))))
            && self.fits_line(call)
            && (self.inside.list().is_empty() || self.lies_inside(call))
    }

    fn fits_line(&self, call: Use<'_>) -> bool {
        if self.mentions.is_empty() && self.commands.is_empty() {
            return true;
        }
        let Some(line) = COMMAND_LINES.iter().find_map(|name| call.arguments.get(*name)).map(plain) else {
            return false;
        };
        let one_of = |patterns: &[String], text: &str| patterns.iter().any(|pattern| fits(pattern, text));
        let mentioned =
            self.mentions.is_empty() || shell::mentions(&line, |text| one_of(&self.mentions, text));
        let all =
            || shell::commands(&line).is_some_and(|all| all.iter().all(|one| one_of(&self.commands, one)));
        mentioned && (self.commands.is_empty() || all())
    }

    /// Told by the path's text: where links lead is the sandbox's to watch.
    fn lies_inside(&self, call: Use<'_>) -> bool {
        let path =
            self.inside.list().iter().find_map(|name| call.arguments.get(name)).and_then(Value::as_str);
        let (Some(path), Some(folder)) = (path, call.folder) else { return false };
        let (folder, mut steps) = (FilePath::new(folder), Vec::new());
        let whole = folder.join(path);
        for step in whole.components() {
            match step {
                Component::CurDir => {}
                Component::ParentDir => drop(steps.pop()),
                step => steps.push(step),
            }
        }
        folder.is_absolute() && steps.iter().collect::<PathBuf>().starts_with(folder)
    }

    fn target_of(&self, call: Use<'_>) -> String {
        let found = self.target.list().iter().find_map(|name| call.arguments.get(name).map(plain));
        let found = found.filter(|text| !text.trim().is_empty()).unwrap_or_else(|| call.tool.to_owned());
        shortened(&found)
    }
}

/// The end of a text that is too long for a target: of a path that is the part that tells most. The mark before it keeps it from passing
/// for another target.
fn shortened(text: &str) -> String {
    const MARK: &str = "…";
    if text.len() <= limits::HOOK_TARGET_BYTES {
        return text.to_owned();
    }
    let mut start = text.len() - (limits::HOOK_TARGET_BYTES - MARK.len());
    while !text.is_char_boundary(start) {
        start += 1;
    }
    format!("{MARK}{}", text.get(start..).unwrap_or_default())
}

/// A text as it is; of anything else its JSON.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Whether `text` fits a pattern in which `*` stands for any text. Takes time in proportion to the text, whatever the pattern.
fn fits(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split('*');
    let Some(mut rest) = pieces.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let mut pieces: Vec<&str> = pieces.collect();
    let Some(last) = pieces.pop() else { return rest.is_empty() };
    for piece in pieces {
        let Some(at) = rest.find(piece) else { return false };
        rest = rest.get(at + piece.len()..).unwrap_or_default();
    }
    rest.ends_with(last)
}

fn parse(text: &str, origin: &FilePath) -> Result<Mapping, ManifestErrors> {
    if text.len() > limits::HOOK_MAPPING_BYTES {
        let message = format!("it has more than {} bytes", limits::HOOK_MAPPING_BYTES);
        return Err(Diagnostic::of_file(origin, message, None).into());
    }
    let mut document = Document::parse(text);
    let mapping: Option<Mapping> = document.decode();
    if let Some(mapping) = &mapping {
        check(&mut document, mapping);
    }
    match mapping {
        Some(mapping) if document.is_sound() => Ok(mapping),
        _ => {
            let faults = document.into_faults().into_iter();
            Err(ManifestErrors { errors: faults.map(|fault| Diagnostic::new(origin, text, fault)).collect() })
        }
    }
}

fn check(document: &mut Document, mapping: &Mapping) {
    let root = Path::default();
    if mapping.version != 1 {
        document.fault(&root.key("version"), "only version 1 is known", None);
    }
    if mapping.rules.len() > limits::HOOK_RULES {
        document.fault(&root.key("rules"), format!("at most {} rules", limits::HOOK_RULES), None);
    }
    for (index, rule) in mapping.rules.iter().enumerate() {
        let at = root.key("rules").index(index);
        if rule.tools.is_empty() {
            let help = Some("`tools: [\"*\"]` fits every tool".to_owned());
            document.fault(&at.key("tools"), "no tool would ever fit", help);
        }
        let name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        let intent = &rule.intent;
        if intent.is_empty() || intent.len() > limits::HOOK_TARGET_BYTES || !intent.chars().all(name) {
            let help = Some("such as `execute_sandbox`".to_owned());
            document.fault(&at.key("intent"), "a type of intent is made of a-z, 0-9, `_`, `-` and `.`", help);
        }
    }
}

/// The JSON Schema of the file.
#[must_use]
pub fn json_schema() -> Value {
    schemars::schema_for!(Mapping).to_value()
}
