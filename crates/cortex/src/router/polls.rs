//! The voters' road: what is open is told to them again and again, and what they say is taken in from subjects of their own.
//!
//! ```text
//! Effect::Propose ─► grace.vote.open, at once and every second until Effect::Resolved
//! grace.vote.key.<voter>, grace.vote.ballot.<voter> ─► Voter, Ballot
//! ```
//!
//! Who speaks is the last word of the subject: the broker lets no other component publish there.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use grace_bus::{Bus, Message};
use grace_kernel::{
    Envelope,
    limits::BALLOT_BYTES,
    process::{later, serve::hear_also, thread::Commands, voter, wire::WireError},
    vote::Proposal,
};
use grace_types::intent::IntentId;

use super::{Router, shell::NAME};
use crate::{command::Command, limits};

/// What is told to the voters.
#[derive(Clone)]
pub(super) struct Polls {
    bus: Bus,
    open: Arc<Mutex<BTreeMap<IntentId, Proposal>>>,
}

impl Polls {
    /// Starts telling, and listening.
    pub(super) fn start(bus: &Bus, commands: &Commands<Router>) -> Self {
        let polls = Self { bus: bus.clone(), open: Arc::default() };
        for kind in [voter::KEYS, voter::BALLOTS] {
            let (bus, commands) = (bus.clone(), commands.clone());
            tokio::spawn(async move {
                let subject = format!("{kind}.*");
                hear_also(bus, commands, (NAME, &subject), |message| said(kind, message)).await;
            });
        }
        tokio::spawn(polls.clone().again());
        polls
    }

    /// From now on, until it is closed.
    pub(super) fn open(&self, proposal: Proposal) {
        let polls = self.clone();
        self.lock().insert(proposal.intent, proposal.clone());
        tokio::spawn(async move { polls.say(&proposal).await });
    }

    pub(super) fn close(&self, id: IntentId) {
        self.lock().remove(&id);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<IntentId, Proposal>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn again(self) {
        loop {
            later(limits::VOTE_TOLD).await;
            let open: Vec<Proposal> = self.lock().values().cloned().collect();
            for proposal in open {
                self.say(&proposal).await;
            }
        }
    }

    async fn say(&self, proposal: &Proposal) {
        if let Ok(body) = serde_json::to_vec(proposal) {
            // Lost while the bus is away: it is told again.
            let _ = self.bus.publish(Message::new(voter::OPEN, body)).await;
        }
    }
}

/// What a voter says on its subject of this kind.
fn said(kind: &str, message: &Message) -> Result<Envelope<Command>, WireError> {
    let from = message.subject.rsplit('.').next().unwrap_or_default().to_owned();
    if message.payload.len() > BALLOT_BYTES {
        let (found, most) = (message.payload.len(), BALLOT_BYTES);
        return Err(WireError::bad_request(format!("{found} bytes; a ballot has at most {most}")));
    }
    let text = std::str::from_utf8(&message.payload)
        .map_err(|e| WireError::bad_request(format!("not a text: {e}")))?
        .to_owned();
    Ok(Envelope::new(match kind {
        voter::KEYS => Command::Voter { name: from, key: text },
        _ => Command::Ballot { voter: from, note: text },
    }))
}
