//! A kernel as a voter: it hears what is put to the vote, looks at it from where it stands, and says so under its own key.
//!
//! ```text
//! grace.vote.open (a proposal, told again and again while it is open) ─► View::look ─► Ballot::sign ─► grace.vote.ballot.<voter>
//! ```
//!
//! Nothing of it is durable, since nothing needs to be: a proposal is told again until the vote is over, so a voter that was killed
//! votes when it is back; one that has voted sends the same note again. Its key lies in `DATA/keys/voters`, made at the first start;
//! the public half beside it is what the electorate is made of.
//!
//! Not here: what each kernel looks at, and counting.

use std::{
    collections::VecDeque,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use grace_bus::{Bus, Message};
use grace_log::note::{SignerKey, VerifierKey};
use grace_types::{chance::Entropy, reason::Reason, time::Clock};

use super::{Context, tell};
use crate::{
    limits,
    vote::{Ballot, Proposal, Vote},
};

/// Where proposals are told, as JSON.
pub const OPEN: &str = "grace.vote.open";

/// Where a voter's ballots go, as notes.
#[must_use]
pub fn ballot_subject(voter: &str) -> String {
    format!("grace.vote.ballot.{voter}")
}

/// What a voter looks at. It is the voter's alone: nobody tells it what the others say.
pub trait View: Send + 'static {
    /// What speaks for or against the proposal from here, with at least one reason.
    fn look(&mut self, proposal: &Proposal) -> impl Future<Output = (Vote, Vec<Reason>)> + Send;
}

/// Votes from now on, on a task of its own. Where there is no bus or no key nobody votes, and it is said.
pub fn start(context: &mut Context, view: impl View) {
    let Some(bus) = context.bus.clone() else { return };
    let name = context.component().to_owned();
    match own_key(&context.environment.data, &name, &mut *context.entropy) {
        Ok(key) => {
            let voter = Voter { bus, clock: Arc::clone(&context.clock), key, view, said: VecDeque::new() };
            tokio::spawn(voter.run());
        }
        Err(e) => tell(&format!("{name} does not vote: its key: {e}")),
    }
}

/// The folder of voters' keys, in an instance's data folder.
fn folder(data: &Path) -> PathBuf {
    data.join("keys/voters")
}

/// The key of the voter `name`, made where there is none yet.
///
/// # Errors
/// It cannot be read or written, or what lies there is not this voter's key.
pub fn own_key(data: &Path, name: &str, entropy: &mut dyn Entropy) -> io::Result<SignerKey> {
    let folder = folder(data);
    let path = folder.join(format!("{name}.key"));
    let damaged = |e| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {e}", path.display()));
    let key = match read(&path) {
        Ok(text) => SignerKey::from_secret_text(text.trim_end()).map_err(damaged)?,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
            let key = SignerKey::generate(name, entropy).map_err(damaged)?;
            write(&folder, &format!("{name}.key"), &key.to_secret_text())?;
            key
        }
        Err(e) => return Err(e),
    };
    if key.verifier().name() != name {
        let what = format!("{}: it is the key of {}", path.display(), key.verifier().name());
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    let public = key.verifier().to_string();
    let known = read(&folder.join(format!("{name}.vkey"))).is_ok_and(|text| text.trim_end() == public);
    if !known {
        write(&folder, &format!("{name}.vkey"), &public)?;
    }
    Ok(key)
}

/// The public keys of everybody who has voted or may vote in the instance whose files lie in `data`. What is no key there is nobody's.
///
/// # Errors
/// The folder cannot be read. Where there is none, there is nobody.
pub fn public_keys(data: &Path) -> io::Result<Vec<VerifierKey>> {
    let entries = match fs::read_dir(folder(data)) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    let mut keys: Vec<VerifierKey> = Vec::new();
    for entry in entries.take(limits::VOTER_FILES) {
        let path = entry?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".vkey")) else {
            continue;
        };
        let key = read(&path).ok().and_then(|text| text.trim_end().parse::<VerifierKey>().ok());
        keys.extend(key.filter(|key| key.name() == name));
    }
    keys.sort_by(|a, b| a.name().cmp(b.name()));
    Ok(keys)
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(limits::VOTER_KEY_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

/// The whole file or none of it, whenever this ends.
fn write(folder: &Path, name: &str, text: &str) -> io::Result<()> {
    let fresh = folder.join(format!("{name}.new"));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    writeln!(file, "{text}")?;
    file.sync_all()?;
    fs::rename(&fresh, folder.join(name))?;
    File::open(folder)?.sync_all()
}

struct Voter<V> {
    bus: Bus,
    clock: Arc<dyn Clock>,
    key: SignerKey,
    view: V,
    /// The last ballots, so that what is told again gets the same note again.
    said: VecDeque<(Proposal, String)>,
}

impl<V: View> Voter<V> {
    async fn run(mut self) {
        let mut connected = self.bus.connected();
        loop {
            if connected.wait_for(|connected| *connected).await.is_err() {
                return;
            }
            let Ok(mut proposals) = self.bus.subscribe(OPEN, None).await else { continue };
            while let Some(message) = proposals.next().await {
                // What is no proposal is nothing to vote on.
                if let Ok(proposal) = serde_json::from_slice(&message.payload) {
                    self.vote(proposal).await;
                }
            }
        }
    }

    async fn vote(&mut self, proposal: Proposal) {
        let now = self.clock.now().wall;
        if now >= proposal.until {
            return;
        }
        let said = self.said.iter().find(|(known, _)| *known == proposal).map(|(_, note)| note.clone());
        let note = match said {
            Some(note) => note,
            None => {
                let (vote, reasons) = self.view.look(&proposal).await;
                let note = Ballot::sign(&proposal, vote, &reasons, now, &self.key);
                self.said.truncate(limits::BALLOTS_KEPT - 1);
                self.said.push_front((proposal, note.clone()));
                note
            }
        };
        // Lost while the bus is away: the proposal is told again.
        let _ = self.bus.publish(Message::new(ballot_subject(self.key.verifier().name()), note)).await;
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use grace_types::chance::SeededEntropy;

    use super::*;

    #[test]
    fn a_voters_key_is_made_once_and_is_its_own() {
        let data = tempfile::tempdir().unwrap();
        let mut entropy = SeededEntropy::new(1);
        assert!(public_keys(data.path()).unwrap().is_empty());
        let first = own_key(data.path(), "clarity", &mut entropy).unwrap();
        let again = own_key(data.path(), "clarity", &mut entropy).unwrap();
        assert_eq!(first.verifier(), again.verifier());
        assert_eq!(public_keys(data.path()).unwrap(), [first.verifier().clone()]);
        let secret = folder(data.path()).join("clarity.key");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&secret), mode(&folder(data.path()))), (0o600, 0o700));
        // Another's key under this name is refused, as is what is no key.
        fs::copy(&secret, folder(data.path()).join("htm.key")).unwrap();
        let taken = own_key(data.path(), "htm", &mut entropy).unwrap_err().to_string();
        assert!(taken.contains("the key of clarity"), "{taken}");
        fs::write(&secret, "nonsense").unwrap();
        let damaged = own_key(data.path(), "clarity", &mut entropy).unwrap_err().to_string();
        assert!(damaged.contains("clarity.key: not a key"), "{damaged}");
    }

    #[test]
    fn a_public_key_under_anothers_name_is_nobodys() {
        let data = tempfile::tempdir().unwrap();
        own_key(data.path(), "clarity", &mut SeededEntropy::new(1)).unwrap();
        let folder = folder(data.path());
        fs::copy(folder.join("clarity.vkey"), folder.join("governance.vkey")).unwrap();
        fs::write(folder.join("htm.vkey"), "nonsense").unwrap();
        let names: Vec<String> =
            public_keys(data.path()).unwrap().iter().map(|key| key.name().to_owned()).collect();
        assert_eq!(names, ["clarity"]);
    }
}
