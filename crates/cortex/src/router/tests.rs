//! The decider by itself, on a memory journal: what it rests on, told at the top of its module.

use std::time::Duration;

use grace_kernel::{Decider as _, Decision as Decided, Outcome as Said};
use grace_log::note::SignerKey;
use grace_types::{
    chance::SeededEntropy,
    intent::{Era, IntentId, Json, Refused, Submitted},
    time::{Clock as _, ManualClock, Timestamp},
};
use serde_json::json;

use super::{Effect, Router, State};
use crate::{
    case::{Generation, Grant, InForce, Owed, Verdict, Word},
    charter,
    command::{Answered, Arrived, Asked, Command, Decision, DecisionState, Outcome, Query, Reply, Taken},
    limits, policy,
    request::{Actor, ActorKind},
};

mod again;
mod alike;
mod changes;
mod leave;
mod malformed;
mod reserve;
mod votes;

struct World {
    state: State,
    clock: ManualClock,
    effects: Vec<Effect>,
    happened: Vec<&'static str>,
    records: Vec<String>,
}

impl World {
    fn new() -> Self {
        let clock = ManualClock::starting_at(Timestamp::from_nanos(1_764_000_000_000_000_000));
        let mut world = Self {
            state: State::default(),
            clock,
            effects: Vec::new(),
            happened: Vec::new(),
            records: Vec::new(),
        };
        world.begin("one", "resize_image");
        world
    }

    fn begin(&mut self, boot: &str, declared: &str) {
        let declared = vec![declared.to_owned()];
        self.done(&Command::Configure { era: Era::from_bits(7), declared, boot: boot.into() });
    }

    /// Decides, and lives on from what a replay would read.
    fn give(&mut self, command: &Command) -> Said<Reply, crate::command::Refusal> {
        let decided = Router::decide(&self.state, self.clock.now(), command);
        self.live_on(&decided)
    }

    /// As the host does while the last of the disk is kept for emergencies: `None` where it refuses.
    fn give_in_reserve(&mut self, command: &Command) -> Option<Said<Reply, crate::command::Refusal>> {
        let decided = Router::decide_in_reserve(&self.state, self.clock.now(), command);
        let events = decided.events();
        let belongs = |event| Router::is_for_emergency(&self.state, event, events);
        events.iter().all(belongs).then(|| self.live_on(&decided))
    }

    fn live_on(&mut self, decided: &Decided<Router>) -> Said<Reply, crate::command::Refusal> {
        for record in decided.events() {
            let text = serde_json::to_string(record).unwrap();
            let record: grace_kernel::Recorded<super::Event> = serde_json::from_str(&text).unwrap();
            assert!(!record.why().reasons().is_empty());
            Router::evolve(&mut self.state, record.event());
            self.effects.extend(Router::effects(&self.state, &record));
            self.happened.push(Router::what(record.event()));
            self.records.push(text);
        }
        // A restart from a snapshot at any point changes nothing.
        let snapshot = serde_json::to_string(&self.state).unwrap();
        self.state = serde_json::from_str(&snapshot).unwrap();
        assert_eq!(serde_json::to_string(&self.state).unwrap(), snapshot);
        decided.outcome().clone()
    }

    fn done(&mut self, command: &Command) -> Reply {
        match self.give(command) {
            Said::Done(reply) => reply,
            Said::Refused(refusal) => panic!("{refusal:?}"),
        }
    }

    fn refused(&mut self, command: &Command) -> String {
        match self.give(command) {
            Said::Done(reply) => panic!("{reply:?}"),
            Said::Refused(refusal) => refusal.code,
        }
    }

    fn ask(&mut self, arrived: Arrived) -> Answered {
        let Reply::Submitted { mut results } = self.done(&Command::Decide { intents: vec![arrived] }) else {
            panic!()
        };
        results.remove(0)
    }

    fn decide(&mut self, arrived: Arrived) -> Decision {
        match self.ask(arrived) {
            Answered::Decided(decision) => *decision,
            refused @ Answered::Refused(_) => panic!("{refused:?}"),
        }
    }

    fn look(&mut self, id: IntentId) -> Decision {
        match self.done(&Command::Query(Query::Intent(id))) {
            Reply::Intent(decision) => *decision,
            other => panic!("{other:?}"),
        }
    }

    fn say(&mut self, decision: &Decision, word: Word) -> Taken {
        let verdict = Verdict {
            intent: decision.id,
            digest: decision.digest.clone(),
            word,
            by: vec!["bob".into()],
            reasons: Vec::new(),
        };
        self.verdict(verdict)
    }

    fn verdict(&mut self, verdict: Verdict) -> Taken {
        match self.done(&Command::Resolve { verdicts: vec![verdict] }) {
            Reply::Resolved { mut results } => results.remove(0),
            other => panic!("{other:?}"),
        }
    }

    fn settle(&mut self, id: IntentId, submitted: Submitted) {
        self.done(&Command::Settle { results: vec![(id, submitted)] });
    }

    /// What would be handed on, and what would be told, after a restart.
    fn outstanding(&self) -> (Vec<IntentId>, Vec<Owed>) {
        let (mut handing, mut owed) = (Vec::new(), Vec::new());
        for effect in Router::outstanding(&self.state) {
            match effect {
                Effect::HandOn(submission) => {
                    assert_eq!(submission.key, submission.id.map(|id| id.to_string()));
                    handing.extend(submission.id);
                }
                Effect::Tell(case) => owed.push(case.owed),
                Effect::Propose(proposal) => assert!(self.state.voting.contains(&proposal.intent)),
                Effect::Resolved(_) => panic!("a hint is not owed"),
            }
        }
        (handing, owed)
    }
}

fn operator(kind: &str) -> Arrived {
    by(ActorKind::Operator, "ann", kind)
}

fn by(of: ActorKind, name: &str, kind: &str) -> Arrived {
    let asked = Asked { kind: kind.into(), actor: name.into(), ..Asked::default() };
    Arrived { actor: Actor { kind: of, name: name.into() }, asked, wrong: None, others: 0 }
}

fn keyed(mut arrived: Arrived, key: &str) -> Arrived {
    arrived.asked.key = Some(key.into());
    arrived
}

fn accepted(id: IntentId) -> Submitted {
    Submitted::Accepted { id, repeated: false }
}

fn refused(code: &str) -> Submitted {
    Submitted::Refused(Refused::new(code, "no"))
}

#[test]
fn what_is_allowed_is_handed_on_until_the_task_manager_has_it() {
    let mut world = World::new();
    let decision = world.decide(operator("resize_image"));
    assert_eq!((decision.outcome, decision.tier), (Outcome::Allowed, Some(2)));
    assert_eq!((decision.state, decision.planned), (DecisionState::Waiting, true));
    assert_eq!(world.outstanding().0, [decision.id]);
    let [Effect::HandOn(submission)] = world.effects.as_slice() else { panic!("{:?}", world.effects) };
    let origin = submission.origin.as_deref().unwrap();
    assert_eq!((origin.tier.as_deref(), origin.score), (Some("2"), Some(decision.score)));
    world.settle(decision.id, accepted(decision.id));
    assert_eq!(world.look(decision.id).state, DecisionState::Running);
    assert_eq!(world.outstanding(), (Vec::new(), Vec::new()));
    // Said again, it changes nothing.
    let before = world.happened.len();
    world.settle(decision.id, refused("invalid"));
    assert_eq!((world.look(decision.id).state, world.happened.len()), (DecisionState::Running, before));
}

#[test]
fn what_the_task_manager_refuses_for_good_has_failed_with_its_reason() {
    let mut world = World::new();
    let decision = world.decide(operator("resize_image"));
    world.settle(decision.id, refused("invalid"));
    let failed = world.look(decision.id);
    assert_eq!(failed.state, DecisionState::Failed);
    assert!(failed.reasons.iter().any(|reason| reason.code == "task_manager.invalid"), "{failed:?}");
    assert!(world.outstanding().0.is_empty());
}

#[test]
fn the_same_key_of_the_same_actor_gives_the_same_decision_and_of_another_its_own() {
    let mut world = World::new();
    let first = world.decide(keyed(operator("resize_image"), "k"));
    let again = world.decide(keyed(operator("resize_image"), "k"));
    assert_eq!((again.id, again.repeated), (first.id, true));
    // Also where the task manager would not take it now.
    let mut late = keyed(operator("resize_image"), "k");
    late.wrong = Some(Refused { code: "overloaded".into(), message: "full".into(), violations: Vec::new() });
    assert_eq!(world.decide(late).id, first.id);
    let mut other = keyed(operator("resize_image"), "k");
    other.asked.payload = Json::of(&json!({"path": "b"}));
    assert!(matches!(world.ask(other), Answered::Refused(Refused { code, .. }) if code == "key_reused"));
    let bob = world.decide(keyed(by(ActorKind::Operator, "bob", "resize_image"), "k"));
    assert_ne!(bob.id, first.id);
    // Two in one batch are one.
    let twice = vec![keyed(operator("resize_image"), "b"), keyed(operator("resize_image"), "b")];
    let Reply::Submitted { results } = world.done(&Command::Decide { intents: twice }) else { panic!() };
    let ids: Vec<IntentId> = results
        .iter()
        .map(|one| match one {
            Answered::Decided(decision) => decision.id,
            refused @ Answered::Refused(_) => panic!("{refused:?}"),
        })
        .collect();
    assert_eq!(ids[0], ids[1]);
    assert_eq!(world.happened.iter().filter(|what| **what == "allowed").count(), 3);
}

#[test]
fn a_type_without_a_plan_is_only_decided() {
    let mut world = World::new();
    let near = world.decide(operator("resize_imgae"));
    assert_eq!((near.outcome, near.state), (Outcome::Allowed, DecisionState::Succeeded));
    assert!(near.advice.iter().any(|advice| advice.contains("resize_image")), "{near:?}");
    let mut only = operator("resize_image");
    only.asked.only_decide = true;
    let only = world.decide(only);
    assert_eq!((only.state, only.planned, only.advice.len()), (DecisionState::Succeeded, false, 0));
    assert!(world.outstanding().0.is_empty());
}

#[test]
fn agents_get_nothing_that_no_policy_names() {
    let mut world = World::new();
    for of in [ActorKind::Agent, ActorKind::Remote, ActorKind::Program, ActorKind::Kernel] {
        for kind in ["resize_image", "change_charter", "anything"] {
            let decision = world.decide(by(of, "one", kind));
            assert_eq!((decision.outcome, decision.state), (Outcome::Denied, DecisionState::Denied));
        }
    }
    assert_eq!(world.outstanding(), (Vec::new(), Vec::new()));
    let asked = world.decide(by(ActorKind::Agent, "one", "modify_governance"));
    assert_eq!((asked.outcome, asked.tier), (Outcome::WaitsForApproval, Some(0)));
    assert_eq!(world.decide(by(ActorKind::Automation, "trigger:a", "resize_image")).tier, Some(2));
}

#[test]
fn a_person_decides_on_exactly_what_was_asked_for_and_once() {
    let mut world = World::new();
    let asked = world.decide(operator("change_charter"));
    assert_eq!((asked.outcome, asked.tier), (Outcome::WaitsForApproval, Some(0)));
    assert_eq!(world.outstanding().1, [Owed::Approval]);
    world.done(&Command::Told { cases: vec![(asked.id, Owed::Approval)] });
    assert!(world.outstanding().1.is_empty());
    let forged = Decision { digest: "0".repeat(64), ..asked.clone() };
    assert!(
        matches!(world.say(&forged, Word::Approved), Taken::Refused { code, .. } if code == "wrong_digest")
    );
    let nobody = Decision { id: IntentId::new(Era::from_bits(7), 999), ..asked.clone() };
    assert!(
        matches!(world.say(&nobody, Word::Approved), Taken::Refused { code, .. } if code == "unknown_intent")
    );
    assert_eq!(world.look(asked.id).state, DecisionState::Waiting);
    assert_eq!(world.say(&asked, Word::Approved), Taken::Taken);
    let approved = world.look(asked.id);
    assert_eq!((approved.outcome, approved.state), (Outcome::Allowed, DecisionState::Succeeded));
    assert!(approved.reasons.iter().any(|one| one.text == "bob approved"), "{approved:?}");
    assert!(world.effects.contains(&Effect::Resolved(asked.id)));
    // Said again it counts once; a change of mind comes too late.
    assert_eq!(world.say(&asked, Word::Approved), Taken::Taken);
    assert!(matches!(world.say(&asked, Word::Denied), Taken::Refused { code, .. } if code == "not_waiting"));
    assert_eq!(world.happened.iter().filter(|what| **what == "resolved").count(), 1);
    let allowed = world.decide(operator("resize_image"));
    assert!(
        matches!(world.say(&allowed, Word::Approved), Taken::Refused { code, .. } if code == "not_waiting")
    );
}

#[test]
fn nobody_in_time_is_a_no_and_a_clock_that_is_set_back_gives_no_more_time() {
    let mut world = World::new();
    let asked = world.decide(operator("change_charter"));
    assert_eq!(asked.expires, Some(asked.since.plus(limits::APPROVAL_WAIT)));
    world.clock.advance(limits::APPROVAL_WAIT / 2);
    world.done(&Command::Tick);
    world.decide(operator("query_knowledge"));
    // The wall clock says that no time went by; the other one knows better.
    world.clock.step_wall(asked.since);
    world.clock.advance(limits::APPROVAL_WAIT / 2 - Duration::from_secs(1));
    world.done(&Command::Tick);
    assert_eq!(world.look(asked.id).state, DecisionState::Waiting);
    world.clock.advance(Duration::from_secs(1));
    // A yes that comes with the end is too late, tick or not.
    assert_eq!(world.say(&asked, Word::Approved), Taken::Taken);
    let over = world.look(asked.id);
    assert_eq!((over.outcome, over.state), (Outcome::Denied, DecisionState::Denied));
    assert!(world.happened.contains(&"expired") && !world.happened.contains(&"resolved"));
}

#[test]
fn what_the_clock_that_does_not_jump_says_holds_in_one_boot() {
    let mut world = World::new();
    let asked = world.decide(operator("change_charter"));
    // On a machine that has run for a year already.
    let year = 365 * Duration::from_secs(86_400);
    let wall = world.clock.now().wall;
    world.clock = ManualClock::starting_at(wall.minus(year));
    world.clock.advance(year);
    world.begin("two", "resize_image");
    world.done(&Command::Tick);
    assert_eq!(world.look(asked.id).state, DecisionState::Waiting);
    // Set forward by an hour and back again: the hour counts, and goes on.
    let hour = Duration::from_secs(3600);
    world.clock.step_wall(wall.plus(hour));
    world.done(&Command::Tick);
    world.done(&Command::Tick);
    assert_eq!(world.happened.iter().filter(|what| **what == "clock_ahead").count(), 1);
    world.clock.step_wall(wall);
    world.clock.advance(limits::APPROVAL_WAIT - hour);
    world.done(&Command::Tick);
    assert_eq!(world.look(asked.id).state, DecisionState::Denied);
    // And on one that was started just now.
    let asked = world.decide(operator("change_charter"));
    world.clock = ManualClock::starting_at(asked.since.plus(hour));
    world.begin("three", "resize_image");
    world.clock.step_wall(wall);
    world.clock.advance(limits::APPROVAL_WAIT - hour - Duration::from_secs(1));
    world.done(&Command::Tick);
    assert_eq!(world.look(asked.id).state, DecisionState::Waiting);
    world.clock.advance(Duration::from_secs(1));
    world.done(&Command::Tick);
    assert_eq!(world.look(asked.id).state, DecisionState::Denied);
}

#[test]
fn an_approval_under_rules_that_deny_it_by_now_is_a_no() {
    let mut world = World::new();
    let asked = world.decide(operator("change_charter"));
    let forbid =
        "\n@id(\"no.charter\")\nforbid (principal, action == Action::\"change_charter\", resource);\n";
    let policies = format!("{}{forbid}", policy::DEFAULT);
    adopt(&mut world, 1, &policies).unwrap();
    assert_eq!(world.say(&asked, Word::Approved), Taken::Taken);
    let denied = world.look(asked.id);
    assert_eq!(denied.outcome, Outcome::Denied);
    assert!(denied.reasons.iter().any(|reason| reason.code == "policy.changed"), "{denied:?}");
}

#[test]
fn as_many_people_as_a_policy_asks_for_have_to_say_yes() {
    let mut world = World::new();
    let two = "\n@id(\"two\") @tier(\"0\") @quorum(\"2\")\npermit (principal is Operator, action == Action::\"change_charter\", resource);\n";
    adopt(&mut world, 1, &format!("{}{two}", policy::DEFAULT)).unwrap();
    assert_eq!(world.decide(operator("modify_governance")).quorum, 1);
    let asked = world.decide(operator("change_charter"));
    assert_eq!((asked.outcome, asked.quorum), (Outcome::WaitsForApproval, 2));
    assert!(
        asked.reasons.iter().any(|reason| reason.text == "2 different people have to say yes"),
        "{asked:?}"
    );
    let cases = Router::outstanding(&world.state).into_iter().filter_map(|effect| match effect {
        Effect::Tell(case) => Some(case.quorum),
        _ => None,
    });
    assert_eq!(cases.collect::<Vec<_>>(), [1, 2]);
    let said = |by: &[&str]| Verdict {
        intent: asked.id,
        digest: asked.digest.clone(),
        word: Word::Approved,
        by: by.iter().map(|name| (*name).to_owned()).collect(),
        reasons: Vec::new(),
    };
    for few in [&["bob"][..], &["bob", "bob"], &[]] {
        let taken = world.verdict(said(few));
        assert!(matches!(&taken, Taken::Refused { code, .. } if code == "too_few"), "{few:?}: {taken:?}");
    }
    assert_eq!(world.look(asked.id).state, DecisionState::Waiting);
    assert_eq!(world.verdict(said(&["bob", "cleo"])), Taken::Taken);
    assert_eq!(world.look(asked.id).outcome, Outcome::Allowed);
}

fn adopt(world: &mut World, number: u64, policies: &str) -> Result<(), String> {
    let generation = Generation { number, policies: policies.into(), charter: charter::DEFAULT.into() };
    let grants = world.state.grants.values().cloned().collect();
    match world.give(&told(in_force(world.state.revision + 1, generation, grants))) {
        Said::Done(_) => Ok(()),
        Said::Refused(refusal) => Err(refusal.code),
    }
}

#[test]
fn a_generation_that_cannot_be_read_leaves_the_old_one_in_force() {
    let mut world = World::new();
    let narrow = policy::DEFAULT.replace("@tier(\"2\")", "@tier(\"1\")");
    adopt(&mut world, 3, &narrow).unwrap();
    assert_eq!(world.decide(operator("query_knowledge")).tier, Some(1));
    for unsound in ["permit (", "", "permit (principal, action, resource);"] {
        assert_eq!(adopt(&mut world, 4, unsound), Err("bad_generation".into()), "{unsound}");
    }
    assert!(world.happened.ends_with(&["generation_refused"; 3]));
    assert_eq!(world.decide(operator("query_knowledge")).tier, Some(1));
    assert_eq!(adopt(&mut world, 2, policy::DEFAULT), Err("old_generation".into()));
    assert_eq!(adopt(&mut world, 3, policy::DEFAULT), Err("old_generation".into()));
    let before = world.happened.len();
    adopt(&mut world, 3, &narrow).unwrap();
    assert_eq!(world.happened.len(), before, "told twice, it counts once");
    // A rollback is a new generation with the old text.
    adopt(&mut world, 4, policy::DEFAULT).unwrap();
    assert_eq!(world.decide(operator("query_knowledge")).tier, Some(2));
}

fn key(name: &str, seed: u64) -> SignerKey {
    SignerKey::generate(name, &mut SeededEntropy::new(seed)).unwrap()
}

fn in_force(revision: u64, generation: Generation, grants: Vec<Grant>) -> InForce {
    InForce { revision, generation, grants, signature: String::new() }.signed(&key("governance", 1))
}

/// As the intake gives it to the decider.
fn told(in_force: InForce) -> Command {
    let key = Some(key("governance", 1).verifier().to_string());
    Command::Adopt { in_force: Box::new(in_force), key }
}

#[test]
fn what_cannot_be_held_is_refused_before_it_is_decided() {
    let mut world = World::new();
    for n in 0..limits::OPEN / 1000 {
        let intents = (0..1000).map(|_| operator("resize_image")).collect();
        let Reply::Submitted { results } = world.done(&Command::Decide { intents }) else { panic!() };
        assert!(results.iter().all(|one| matches!(one, Answered::Decided(_))), "{n}");
    }
    assert!(
        matches!(world.ask(operator("resize_image")), Answered::Refused(Refused { code, .. }) if code == "overloaded")
    );
    let first = world.outstanding().0[0];
    world.settle(first, accepted(first));
    assert_eq!(world.decide(operator("resize_image")).outcome, Outcome::Allowed);
}

#[test]
fn those_that_are_over_are_forgotten_and_their_keys_are_not() {
    let mut world = World::new();
    let first = world.decide(keyed(operator("query_knowledge"), "first"));
    for _ in 0..=limits::DECIDED / 1000 {
        let intents = (0..1000).map(|_| operator("query_knowledge")).collect();
        world.done(&Command::Decide { intents });
    }
    assert_eq!(world.refused(&Command::Query(Query::Intent(first.id))), "forgotten");
    let again = world.decide(keyed(operator("query_knowledge"), "first"));
    assert_eq!((again.id, again.outcome, again.repeated), (first.id, Outcome::Allowed, true));
    let unknown = IntentId::new(Era::from_bits(7), 1 << 20);
    assert_eq!(world.refused(&Command::Query(Query::Intent(unknown))), "unknown_intent");
}

#[test]
fn bad_input_is_refused_by_itself() {
    let mut world = World::new();
    let mut nameless = operator("query_knowledge");
    nameless.actor.name.clear();
    let mut impact = operator("query_knowledge");
    impact.asked.circumstances =
        Some(crate::command::Circumstances { revenue_impact: 2.0, ..Default::default() });
    let deep: Json = serde_json::from_str(&format!("{}{}", "[".repeat(127), "]".repeat(127))).unwrap();
    let mut large = operator("query_knowledge");
    large.asked.payload = Json::of(&json!("x".repeat(limits::PAYLOAD_BYTES)));
    let mut nested = operator("query_knowledge");
    nested.asked.payload = deep;
    let intents =
        vec![nameless, impact, large, keyed(operator("a"), ""), nested, operator("query_knowledge")];
    let Reply::Submitted { results } = world.done(&Command::Decide { intents }) else { panic!() };
    let codes: Vec<&str> = results
        .iter()
        .map(|one| match one {
            Answered::Refused(Refused { code, .. }) => code.as_str(),
            Answered::Decided(_) => "",
        })
        .collect();
    assert_eq!(codes, ["bad_request", "bad_request", "too_large", "bad_request", "", ""]);
    assert_eq!(world.refused(&Command::Decide { intents: Vec::new() }), "bad_request");
    assert_eq!(world.refused(&Command::Submit { intents: Vec::new() }), "bad_request");
}
