//! A kernel as a voter: it hears what is put to the vote, looks at it from where it stands, and says so under its own key.
//!
//! ```text
//! at its start: grace.vote.key.<voter> (its public key), until the cortex has it on disk
//! grace.vote.open (a proposal, told again and again while it is open) ─► View::look ─► Ballot::sign ─► grace.vote.ballot.<voter>
//! ```
//!
//! Whose key it is, the subject says: the broker lets nobody but the component of that name publish there. Nothing of a vote is durable
//! here, since nothing needs to be: a proposal is told again until the vote is over, so a voter that was killed votes when it is back; one
//! that has voted sends the same note again. Its key lies in `DATA/keys/voters`, made at the first start.
//!
//! Not here: what each kernel looks at, and counting.

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    sync::Arc,
};

use grace_bus::{Bus, Message};
use grace_log::note::SignerKey;
use grace_types::{chance::OsEntropy, manifest::Permissions, reason::Reason, time::Clock};

use super::{Context, later, tell};
use crate::{
    limits, private,
    vote::{Ballot, Proposal, Vote},
};

/// Where proposals are told, as JSON.
pub const OPEN: &str = "grace.vote.open";
/// Where voters' public keys and ballots go, before the voter's name.
pub const KEYS: &str = "grace.vote.key";
/// See [`KEYS`].
pub const BALLOTS: &str = "grace.vote.ballot";

fn key_subject(voter: &str) -> String {
    format!("{KEYS}.{voter}")
}

fn ballot_subject(voter: &str) -> String {
    format!("{BALLOTS}.{voter}")
}

/// What a component may say and hear, and what it takes to vote besides.
#[must_use]
pub fn permitted(mut own: Permissions, name: &str) -> Permissions {
    own.publish.allow.extend([key_subject(name), ballot_subject(name)]);
    own.subscribe.allow.push(OPEN.to_owned());
    own
}

/// What a voter looks at. It is the voter's alone: nobody tells it what the others say.
pub trait View: Send + 'static {
    /// What speaks for or against the proposal from here, with at least one reason.
    fn look(&mut self, proposal: &Proposal) -> impl Future<Output = (Vote, Vec<Reason>)> + Send;
}

/// A component that may vote, before it does.
pub struct Voter {
    bus: Bus,
    clock: Arc<dyn Clock>,
    key: Arc<SignerKey>,
}

impl Voter {
    /// The component itself as a voter. Where there is no bus or no key nobody votes, and it is said.
    #[must_use]
    pub fn of(context: &Context) -> Option<Self> {
        let bus = context.bus.clone()?;
        let name = context.component();
        match private::signer_key(&key_path(&context.environment.data, name), name, &mut OsEntropy) {
            Ok(key) => Some(Self { bus, clock: Arc::clone(&context.clock), key: Arc::new(key) }),
            Err(e) => {
                tell(&format!("{name} does not vote: its key: {e}"));
                None
            }
        }
    }

    /// Votes from now on, on a task of its own.
    pub fn start(self, view: impl View) {
        tokio::spawn(introduce(self.bus.clone(), Arc::clone(&self.key)));
        let Self { bus, clock, key } = self;
        tokio::spawn(Voting { bus, clock, key, view, said: VecDeque::new() }.run());
    }
}

/// Tells the own public key until the cortex has it on disk.
async fn introduce(bus: Bus, key: Arc<SignerKey>) {
    loop {
        let message = Message::new(key_subject(key.verifier().name()), key.verifier().to_string());
        let answer = bus.request(message, limits::VOTER_KNOWN).await;
        match answer.map(|answer| serde_json::from_slice::<serde_json::Value>(&answer.payload)) {
            Ok(Ok(answer)) if answer.get("done").is_some() => return,
            Ok(Ok(answer)) if answer.get("refused").is_some() => {
                return tell(&format!("the cortex does not know this voter: {}", answer["message"]));
            }
            // Nobody is there yet.
            _ => later(limits::VOTER_KNOWN_AGAIN).await,
        }
    }
}

/// Where the key of the voter `name` is, in an instance's data folder.
fn key_path(data: &Path, name: &str) -> PathBuf {
    data.join("keys/voters").join(format!("{name}.key"))
}

struct Voting<V> {
    bus: Bus,
    clock: Arc<dyn Clock>,
    key: Arc<SignerKey>,
    view: V,
    /// The last ballots, so that what is told again gets the same note again.
    said: VecDeque<(Proposal, String)>,
}

impl<V: View> Voting<V> {
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
        let name = self.key.verifier().name().to_owned();
        let said = self.said.iter().find(|(known, _)| *known == proposal).map(|(_, note)| note.clone());
        let note = match said {
            Some(note) => note,
            None => {
                // Whoever counts may have lost it since.
                let key = Message::new(key_subject(&name), self.key.verifier().to_string());
                let _ = self.bus.publish(key).await;
                let (vote, reasons) = self.view.look(&proposal).await;
                let note = Ballot::sign(&proposal, vote, &reasons, now, &self.key);
                self.said.truncate(limits::BALLOTS_KEPT - 1);
                self.said.push_front((proposal, note.clone()));
                note
            }
        };
        // Lost while the bus is away: the proposal is told again.
        let _ = self.bus.publish(Message::new(ballot_subject(&name), note)).await;
    }
}
