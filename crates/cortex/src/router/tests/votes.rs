//! Votes: opened, counted, refused, over; and counted again from the records.

use std::collections::BTreeMap;

use grace_kernel::{
    Recorded,
    vote::{Ballot, Proposal, Vote},
};
use grace_log::note::SignerKey;
use grace_types::{chance::SeededEntropy, reason::Reason};

use super::*;
use crate::{
    router::event::{Event, What},
    unified::{Poll, Standing, VOTERS, Voter},
};

const ALL: [&str; 5] = ["governance", "health_monitor", "layer2_watchdog", "clarity", "immutable_log"];

fn key(name: &str) -> SignerKey {
    SignerKey::generate(name, &mut SeededEntropy::new(name.len() as u64)).unwrap()
}

impl World {
    fn known(&mut self, names: &[&str]) {
        for name in names {
            let key = key(name).verifier().to_string();
            self.done(&Command::Voter { name: (*name).to_owned(), key });
        }
    }

    fn proposal(&self) -> Proposal {
        let told = |effect| match effect {
            Effect::Propose(proposal) => Some(*proposal),
            _ => None,
        };
        Router::outstanding(&self.state).into_iter().find_map(told).unwrap()
    }

    fn note(&self, proposal: &Proposal, name: &str, vote: Vote) -> String {
        let seen = [Reason::new("seen", format!("{name} looked"))];
        Ballot::sign(proposal, vote, &seen, self.clock.now().wall, &key(name))
    }

    fn cast(&mut self, name: &str, vote: Vote) {
        let proposal = self.proposal();
        let note = self.note(&proposal, name, vote);
        self.done(&Command::Ballot { voter: name.to_owned(), note });
    }

    fn send(&mut self, from: &str, note: String) -> String {
        self.refused(&Command::Ballot { voter: from.to_owned(), note })
    }

    fn over(&mut self) {
        self.clock.advance(limits::VOTE_WAIT);
        self.done(&Command::Tick);
    }

    /// The poll of the intent as the records alone tell it.
    fn recount(&self, id: IntentId) -> (Poll, Option<Standing>) {
        let (mut voters, mut poll, mut counted) = (BTreeMap::<String, Voter>::new(), None::<Poll>, None);
        for record in &self.records {
            let record: Recorded<Event> = serde_json::from_str(record).unwrap();
            match record.event().what.clone() {
                What::VoterKnown { name, voter } => {
                    if let Some(poll) = &mut poll {
                        poll.join(&name, &voter);
                    }
                    voters.insert(name, voter);
                }
                What::Decided { decision, actor, asked, .. } if decision.id == id => {
                    let proposal = Proposal {
                        intent: id,
                        digest: decision.digest.clone(),
                        kind: decision.kind.clone(),
                        actor: decision.actor.clone(),
                        actor_kind: actor.kind.word().into(),
                        target: asked.target.unwrap_or_else(|| "instance".into()),
                        circumstances: asked.circumstances.unwrap_or_default(),
                        since: decision.since,
                        until: decision.expires.unwrap(),
                    };
                    poll = Some(Poll::open(proposal, voters.clone()));
                }
                What::BallotCast { intent, voter, note, .. } if intent == id => {
                    poll.as_mut().unwrap().add(voter, note);
                }
                What::VoteCounted { intent, standing, .. } if intent == id => counted = Some(standing),
                _ => {}
            }
        }
        (poll.unwrap(), counted)
    }

    fn voted(&self, id: IntentId) -> bool {
        let (poll, counted) = self.recount(id);
        let again = poll.count(self.clock.now().wall).standing;
        assert_eq!(counted, Some(again), "counted again it is the same");
        again == Standing::Carried
    }
}

#[test]
fn a_vote_that_carries_lets_it_run_as_soon_as_nothing_can_change_it() {
    let mut world = World::new();
    world.known(&ALL);
    world.begin("one", "optimize_system");
    let decision = world.decide(operator("optimize_system"));
    assert_eq!((decision.outcome, decision.tier), (Outcome::WaitsForVote, Some(3)));
    assert_eq!((decision.state, decision.review), (DecisionState::Waiting, false));
    assert!(world.outstanding().0.is_empty(), "nothing undecided runs");
    world.cast("health_monitor", Vote::Yes);
    world.cast("clarity", Vote::Abstain);
    world.cast("immutable_log", Vote::Yes);
    assert_eq!(world.look(decision.id).outcome, Outcome::WaitsForVote, "the veto is out");
    let proposal = world.proposal();
    world.cast("governance", Vote::Yes);
    let carried = world.look(decision.id);
    assert_eq!((carried.outcome, carried.state), (Outcome::Allowed, DecisionState::Waiting));
    assert_eq!(world.outstanding().0, [decision.id]);
    let by = world.state.submission(decision.id).unwrap().origin.unwrap().approved_by.clone().unwrap();
    assert!(by.starts_with("unified logic: weights of 3 for it and 0 against it"), "{by}");
    assert!(world.effects.contains(&Effect::Resolved(decision.id)));
    // Who comes late is still heard, and changes nothing.
    let late = world.note(&proposal, "layer2_watchdog", Vote::No);
    world.done(&Command::Ballot { voter: "layer2_watchdog".into(), note: late });
    let shown = world.look(decision.id).ballots;
    let shown: Vec<(&str, &str)> = shown.iter().map(|b| (b.voter.as_str(), b.vote.as_str())).collect();
    assert_eq!(shown.len(), 5);
    assert!(shown.contains(&("layer2_watchdog", "no")) && shown.contains(&("clarity", "abstain")));
    assert_eq!(world.look(decision.id).outcome, Outcome::Allowed);
    assert!(world.voted(decision.id));
}

#[test]
fn a_veto_or_a_majority_against_it_is_a_no_with_the_ballots_reasons() {
    for no in [vec!["governance"], vec!["health_monitor", "clarity", "immutable_log"]] {
        let mut world = World::new();
        world.known(&ALL);
        let decision = world.decide(operator("self_improve"));
        no.iter().for_each(|name| world.cast(name, Vote::No));
        let denied = world.look(decision.id);
        assert_eq!((denied.outcome, denied.state), (Outcome::Denied, DecisionState::Denied));
        let told = format!("{} (weight 1) says no: {0} looked", no[0]);
        assert!(denied.reasons.iter().any(|reason| reason.text == told), "{denied:?}");
        assert!(!world.voted(decision.id) && world.state.voting.is_empty());
    }
}

#[test]
fn too_few_voters_or_ballots_are_a_no_at_the_end() {
    for (known, say) in [(&ALL[..0], &ALL[..0]), (&ALL[..4], &ALL[..4]), (&ALL[..], &ALL[..2])] {
        let mut world = World::new();
        world.known(known);
        let decision = world.decide(operator("self_improve"));
        say.iter().for_each(|name| world.cast(name, Vote::Yes));
        world.done(&Command::Tick);
        assert_eq!(world.look(decision.id).outcome, Outcome::WaitsForVote);
        world.over();
        assert_eq!(world.look(decision.id).outcome, Outcome::Denied, "{known:?} {say:?}");
        assert!(!world.voted(decision.id));
    }
}

#[test]
fn a_voter_that_becomes_known_while_it_is_open_votes() {
    let mut world = World::new();
    let decision = world.decide(operator("self_improve"));
    world.known(&ALL);
    ALL.iter().take(3).for_each(|name| world.cast(name, Vote::Yes));
    assert_eq!(world.look(decision.id).outcome, Outcome::Allowed);
    assert!(world.voted(decision.id));
}

#[test]
fn a_liar_is_refused_on_record_and_once() {
    let mut world = World::new();
    world.known(&ALL);
    let decision = world.decide(operator("self_improve"));
    let proposal = world.proposal();
    // Another's ballot, from whoever got hold of it; and a key of the right name that nobody knows.
    let stolen = world.note(&proposal, "governance", Vote::Yes);
    let unknown = SignerKey::generate("clarity", &mut SeededEntropy::new(99)).unwrap();
    let unknown = Ballot::sign(&proposal, Vote::Yes, &[Reason::new("a", "b")], proposal.since, &unknown);
    for note in [stolen, unknown] {
        let before = world.happened.len();
        assert_eq!(world.send("clarity", note.clone()), "ballot_refused");
        assert_eq!(world.send("clarity", note), "ballot_refused");
        assert_eq!(world.happened[before..], ["ballot_refused"]);
    }
    // A second word of one that has spoken.
    world.cast("clarity", Vote::No);
    let again = world.note(&proposal, "clarity", Vote::Yes);
    assert_eq!(world.send("clarity", again), "ballot_refused");
    assert_eq!(world.look(decision.id).ballots.len(), 1);
    assert_eq!(world.state.intents[&decision.id].refused.len(), 3);
    // Another's key is nobody's, and who has no vote gets none.
    let governance = key("governance").verifier().to_string();
    assert_eq!(world.refused(&Command::Voter { name: "clarity".into(), key: governance }), "not_a_voter");
    let htm = key("htm").verifier().to_string();
    assert_eq!(world.refused(&Command::Voter { name: "htm".into(), key: htm }), "not_a_voter");
    assert_eq!(world.send("clarity", "nonsense".into()), "bad_request");
}

#[test]
fn another_key_counts_from_the_next_vote_on() {
    let mut world = World::new();
    world.known(&ALL);
    let first = world.decide(operator("self_improve"));
    let other = SignerKey::generate("clarity", &mut SeededEntropy::new(99)).unwrap();
    let count = world.happened.len();
    world.known(&ALL);
    assert_eq!(world.happened.len(), count, "what is known is not recorded again");
    world.done(&Command::Voter { name: "clarity".into(), key: other.verifier().to_string() });
    world.cast("clarity", Vote::Yes);
    assert_eq!(world.look(first.id).ballots.len(), 1);
    let second = world.decide(keyed(operator("self_improve"), "second"));
    let Some(Effect::Propose(proposal)) = world.effects.last().cloned() else { panic!() };
    assert_eq!(proposal.intent, second.id);
    let old = world.note(&proposal, "clarity", Vote::Yes);
    assert_eq!(world.send("clarity", old), "ballot_refused");
}

#[test]
fn votes_under_way_are_bounded_and_told_again_after_a_restart() {
    let mut world = World::new();
    world.known(&ALL);
    let intents = vec![operator("self_improve"); limits::VOTES];
    let Reply::Submitted { results } = world.done(&Command::Decide { intents }) else { panic!() };
    let waits =
        |one: &Answered| matches!(one, Answered::Decided(one) if one.outcome == Outcome::WaitsForVote);
    assert!(results.iter().all(waits));
    let Answered::Refused(full) = world.ask(operator("self_improve")) else { panic!() };
    assert_eq!(full.code, "overloaded");
    assert_eq!(world.decide(operator("generate_summary")).outcome, Outcome::Allowed);
    assert_eq!(Router::outstanding(&world.state).len(), limits::VOTES);
    world.over();
    assert!(world.state.voting.is_empty() && Router::outstanding(&world.state).is_empty());
}

#[test]
fn a_vote_is_not_for_people_to_resolve_and_policies_that_changed_meanwhile_count() {
    let mut world = World::new();
    world.known(&ALL);
    let decision = world.decide(operator("self_improve"));
    assert!(matches!(world.say(&decision, Word::Approved), Taken::Refused { .. }));
    let policies = format!(
        "{}\n@id(\"none\")\nforbid (principal, action == Action::\"self_improve\", resource);",
        policy::DEFAULT
    );
    let generation = Generation { number: 2, policies, charter: charter::DEFAULT.into() };
    world.done(&told(in_force(1, generation, Vec::new())));
    ALL.iter().take(3).for_each(|name| world.cast(name, Vote::Yes));
    let denied = world.look(decision.id);
    assert_eq!(denied.outcome, Outcome::Denied);
    assert!(denied.reasons.iter().any(|reason| reason.code == "policy.changed"), "{denied:?}");
    assert_eq!(VOTERS.map(|(name, ..)| name), ALL);
}
