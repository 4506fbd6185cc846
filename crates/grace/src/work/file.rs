//! What people write and try out: definitions in files, events in files, and what a decider that runs nowhere makes of them.

use std::{
    io::{self, Read},
    path::{Path, PathBuf},
};

use grace_kernel::{Decider, Outcome};
use grace_orchestration::{
    delivery::action::Fault,
    triggers::door,
    written::{self, Written},
};
use grace_types::{
    chance::{Entropy as _, OsEntropy},
    event::Event,
    id::EventId,
    limits::{EVENT_DATA_BYTES, MANIFEST_BYTES},
    manifest::ManifestErrors,
    time::{Clock as _, Now, SystemClock},
};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{
    failure::{Exit, Failure},
    limits,
    road::Asked,
};

/// Now, by this machine's clocks.
pub(super) fn now() -> Now {
    SystemClock.now()
}

/// The text of a file, or of standard input where it is `-`, and what to call it.
fn text(path: &Path, most: usize) -> Result<(String, PathBuf), Failure> {
    let mut text = String::new();
    let mut read = |from: &mut dyn Read| from.take(most as u64 + 1).read_to_string(&mut text);
    let (done, name) = match path.to_str() {
        Some("-") => (read(&mut io::stdin()), PathBuf::from("<stdin>")),
        _ => (std::fs::File::open(path).and_then(|mut file| read(&mut file)), path.to_owned()),
    };
    let unreadable = |why: String| Failure::new(Exit::Usage, "unreadable_file", why).at(&name.display());
    done.map_err(|e| unreadable(format!("it cannot be read: {e}")))?;
    if text.len() > most {
        return Err(unreadable(format!("it has more than {most} bytes")));
    }
    Ok((text, name))
}

/// The one definition in a file; `what` it is, for people.
pub(super) fn definition<T: DeserializeOwned>(
    path: &Path,
    what: &str,
    faults: impl Fn(&T) -> Vec<Fault>,
) -> Result<T, Failure> {
    let (text, name) = text(path, MANIFEST_BYTES)?;
    written::read_one(&text, &name, faults).map_err(|errors| refused(&errors, what, &name))
}

/// What a manifest, or a file of its own, says about work.
pub(super) fn sections(path: &Path) -> Result<Written, Failure> {
    let (text, name) = text(path, MANIFEST_BYTES)?;
    written::read_among(&text, &name).map_err(|errors| refused(&errors, "the file", &name))
}

/// There is nothing under `key` in a file that was given for its sake.
pub(super) fn empty(path: &Path, key: &str) -> Failure {
    Failure::new(Exit::Usage, "bad_definition", format!("there is nothing under `{key}:` in it"))
        .at(&path.display())
        .help(format!("write `{key}:`, and below it a mapping of names"))
}

fn refused(errors: &ManifestErrors, what: &str, path: &Path) -> Failure {
    let what = match errors.errors.len() {
        1 => format!("{what} has a fault, and nothing was done"),
        n => format!("{what} has {n} faults, and nothing was done"),
    };
    Failure::new(Exit::Usage, "bad_definition", what).at(&path.display()).detail(errors.to_string())
}

/// Faults that a component found in a definition.
pub(super) fn invalid(what: &str, faults: &[Fault]) -> Failure {
    let told: Vec<String> = faults.iter().map(ToString::to_string).collect();
    Failure::new(Exit::Usage, "bad_definition", format!("{what} cannot be used, and nothing was done"))
        .detail(told.join("\n"))
}

/// The CloudEvent in a file. Its `id`, `time` and `specversion` may be left out.
pub(super) fn event(path: &Path) -> Result<Event, Failure> {
    let (text, name) = text(path, EVENT_DATA_BYTES + limits::EVENT_HEAD_BYTES)?;
    let bad = |why: String| {
        Failure::new(Exit::Usage, "bad_event", format!("this is no event: {why}"))
            .at(&name.display())
            .help("write it as in {\"type\": \"com.shop.paid\", \"source\": \"/shop\", \"data\": {\"n\": 1}}")
    };
    let mut value: Value = serde_json::from_str(&text).map_err(|e| bad(format!("it is not JSON: {e}")))?;
    if let Value::Object(attributes) = &mut value {
        let id = || EventId::from_bits(OsEntropy.next_u128()).to_string().into();
        attributes.entry("id").or_insert_with(id);
        attributes.entry("specversion").or_insert_with(|| "1.0".into());
    }
    door::structured(value, now().wall).map_err(|wrong| bad(wrong.to_string()))
}

/// What a decider without a past answers to the last of these commands.
pub(super) fn dry<D: Asked>(setup: &[D::Command], question: &D::Command) -> Result<D::Reply, Failure>
where
    D::Reply: Clone,
    D::Refusal: Clone,
{
    let mut state = D::State::default();
    let mut ask = |command: &D::Command| {
        let decision = D::decide(&state, now(), command);
        for recorded in decision.events() {
            <D as Decider>::evolve(&mut state, recorded.event());
        }
        match decision.outcome().clone() {
            Outcome::Done(reply) => Ok(reply),
            Outcome::Refused(refusal) => Err(D::refused(refusal)),
        }
    };
    for command in setup {
        ask(command)?;
    }
    ask(question)
}

/// An answer to something else than was asked.
pub(super) fn odd<D: Asked>() -> Failure {
    let what = format!("{} answered something else than was asked", D::CALLED);
    Failure::new(Exit::Failed, "bad_request", what).help("use a CLI of the same version")
}
