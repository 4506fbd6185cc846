//! Governance: whose word counts, when, for what, and what follows from it.

use std::time::Duration;

use grace_kernel::{Decider as _, Decision, Outcome};
use grace_log::note::SignerKey;
use grace_types::{
    chance::SeededEntropy,
    intent::{Era, IntentId, Json},
    reason::Reason,
    time::{Monotonic, Now, Timestamp},
};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    Command, Governance, Refusal, Reply,
    binding::{Answer, Said},
    command::Query,
    state::{Fate, State},
};
use crate::{
    case::{Case, Owed, Word},
    charter, limits, policy,
    request::{Actor, ActorKind},
    tier::Tier,
};

fn at(seconds: u64) -> Now {
    let nanos = (1_000_000 + seconds) * 1_000_000_000;
    Now { wall: Timestamp::from_nanos(nanos), mono: Monotonic::from_nanos(seconds * 1_000_000_000) }
}

fn key(name: &str) -> SignerKey {
    let seed = name.bytes().fold(7u64, |seed, byte| seed * 31 + u64::from(byte));
    SignerKey::generate(name, &mut SeededEntropy::new(seed)).unwrap()
}

struct Bench {
    state: State,
    now: Now,
}

impl Bench {
    fn new(approvers: &[&str]) -> Self {
        let mut bench = Self { state: State::default(), now: at(0) };
        let begin =
            Command::Begin { boot: "b".into(), declared: vec![], instance: "governance+1+key".into() };
        bench.done(&begin);
        for (name, n) in approvers.iter().zip(1000..) {
            let public_key = key(name).verifier().to_string();
            if bench.state.approvers.is_empty() {
                bench.done(&first(name, &public_key));
            } else {
                bench.carry(&allowed(
                    n,
                    "grant_permissions",
                    &json!({"approver": name, "public_key": public_key}),
                ));
            }
        }
        assert_eq!(bench.state.approvers.len(), approvers.len());
        bench
    }

    fn give(&mut self, command: &Command) -> Outcome<Reply, Refusal> {
        let decision: Decision<Governance> = Governance::decide(&self.state, self.now, command);
        for event in decision.events() {
            Governance::evolve(&mut self.state, event.event());
        }
        decision.outcome().clone()
    }

    fn done(&mut self, command: &Command) -> Reply {
        match self.give(command) {
            Outcome::Done(reply) => reply,
            Outcome::Refused(refusal) => panic!("{command:?}: {refusal:?}"),
        }
    }

    fn refused(&mut self, command: &Command) -> String {
        match self.give(command) {
            Outcome::Refused(refusal) => refusal.code,
            Outcome::Done(reply) => panic!("{command:?}: {reply:?}"),
        }
    }

    fn said(&self, name: &str, case: &Case, answer: Answer) -> Said {
        let instance = self.state.instance.clone();
        Said::sign((case.intent, &case.digest), answer, (self.now.wall, None), &key(name), &instance)
    }

    fn owe(&mut self, case: &Case) {
        self.done(&Command::Owe { cases: vec![case.clone()] });
    }

    /// Has it approved by ann, and told as allowed.
    fn carry(&mut self, change: &Case) {
        if self.state.closed(change.intent).is_none() {
            self.owe(&Case { owed: Owed::Approval, ..change.clone() });
            let yes = self.said("ann", change, Answer::Approve);
            self.done(&Command::Approve(yes));
        }
        self.owe(change);
    }

    fn sound(&mut self, kind: &str, payload: &Value) -> Outcome<Reply, Refusal> {
        self.give(&Command::Query(Query::Sound {
            kind: kind.into(),
            payload: Json::of(payload),
            by: "ann".into(),
        }))
    }

    fn unsound(&mut self, kind: &str, payload: &Value) -> String {
        match self.sound(kind, payload) {
            Outcome::Refused(refusal) => refusal.code,
            Outcome::Done(reply) => panic!("{kind} {payload}: {reply:?}"),
        }
    }

    fn word(&self, intent: IntentId) -> Option<Word> {
        self.state.closed(intent).map(|closed| closed.verdict.word)
    }
}

fn first(approver: &str, public_key: &str) -> Command {
    Command::EnrollFirst { approver: approver.into(), public_key: public_key.into(), by: "root".into() }
}

fn case(number: u64, actor: &str, quorum: u8) -> Case {
    Case {
        intent: IntentId::new(Era::from_bits(9), number),
        owed: Owed::Approval,
        digest: format!("{number:064x}"),
        actor: Actor { kind: ActorKind::Operator, name: actor.into() },
        kind: "modify_governance".into(),
        target: "instance".into(),
        payload: Json::default(),
        tier: Tier::Approval,
        quorum,
        reasons: vec![Reason::new("tier", "tier 0")],
        since: at(0).wall,
        until: Some(at(60).wall),
    }
}

#[test]
fn an_approval_takes_the_key_the_case_and_another_person() {
    let mut bench = Bench::new(&["ann", "bob"]);
    let case = case(1, "Ann", 1);
    bench.owe(&case);
    bench.owe(&case);
    let own = bench.said("ann", &case, Answer::Approve);
    assert_eq!(bench.refused(&Command::Approve(own.clone())), "own_intent");
    let stolen = Said { approver: "bob".into(), ..own };
    assert_eq!(bench.refused(&Command::Approve(stolen)), "forged");
    let stranger = bench.said("eve", &case, Answer::Approve);
    assert_eq!(bench.refused(&Command::Approve(stranger)), "unknown_approver");
    let other = Case { digest: "f".repeat(64), ..case.clone() };
    let about_another = bench.said("bob", &other, Answer::Approve);
    assert_eq!(bench.refused(&Command::Approve(about_another)), "wrong_digest");
    let no = bench.said("bob", &case, Answer::Deny);
    assert_eq!(bench.refused(&Command::Approve(no)), "forged", "a no is no yes");
    let mut elsewhere = bench.said("bob", &case, Answer::Approve);
    elsewhere = Said { signature: "— bob AAAA".into(), ..elsewhere };
    assert_eq!(bench.refused(&Command::Approve(elsewhere)), "forged");
    let yes = bench.said("bob", &case, Answer::Approve);
    bench.done(&Command::Approve(yes.clone()));
    assert_eq!(bench.word(case.intent), Some(Word::Approved));
    let again = bench.done(&Command::Approve(yes.clone()));
    assert!(matches!(again, Reply::Counted { repeated: true, .. }));
    let late = Said { at: at(1).wall, ..yes };
    assert_eq!(bench.refused(&Command::Approve(late)), "forged");
    assert!(bench.state.untold.contains_key(&case.intent));
    bench.done(&Command::Told { intents: vec![case.intent], refused: None });
    assert!(!bench.state.untold.contains_key(&case.intent));
    let changed = Case { digest: "e".repeat(64), ..case };
    assert_eq!(bench.refused(&Command::Owe { cases: vec![changed] }), "wrong_digest");
}

#[test]
fn an_answer_that_was_kept_or_comes_too_late_is_refused() {
    let mut bench = Bench::new(&["ann"]);
    let long = Case { until: Some(at(100_000).wall), ..case(1, "eve", 1) };
    let short = case(2, "eve", 1);
    bench.owe(&long);
    bench.owe(&short);
    let (kept, late) =
        (bench.said("ann", &long, Answer::Approve), bench.said("ann", &short, Answer::Approve));
    bench.now = at(61);
    assert_eq!(bench.refused(&Command::Approve(late)), "expired");
    assert_eq!(bench.word(short.intent), Some(Word::Expired));
    bench.now = at(301);
    assert_eq!(bench.refused(&Command::Approve(kept)), "replayed");
    // The wall clock is set back by a day: the other clock ends it all the same.
    bench.now = Now { wall: at(0).wall.minus(Duration::from_secs(86_400)), mono: at(100_001).mono };
    bench.done(&Command::Tick);
    assert_eq!(bench.word(long.intent), Some(Word::Expired));
}

#[test]
fn the_first_approver_comes_at_once_and_each_has_a_key_of_his_own() {
    let mut bench = Bench::new(&[]);
    let keys = ["ann", "bob"].map(|name| key(name).verifier().to_string());
    assert_eq!(bench.refused(&first("Ann", &keys[0])), "bad_name");
    assert_eq!(bench.refused(&first("carl", &keys[0])), "bad_key");
    bench.done(&first("ann", &keys[0]));
    assert_eq!(bench.refused(&first("ann", &keys[0])), "enrolled");
    assert_eq!(bench.refused(&first("bob", &keys[1])), "wrong_state", "a later one is an intent");
    let grant = |approver: &str, public_key: &str| json!({"approver": approver, "public_key": public_key});
    for (payload, code) in [
        (grant("Bob", &keys[1]), "bad_name"),
        (grant("carl", &keys[1]), "bad_key"),
        (grant("ann", &keys[1]), "bad_key"),
        (grant("ann", &keys[0]), "enrolled"),
        (json!({"approver": "bob", "public_key": keys[1], "reason": ""}), "bad_request"),
    ] {
        assert_eq!(bench.unsound("grant_permissions", &payload), code, "{payload}");
    }
    let bob = allowed(1, "grant_permissions", &grant("bob", &keys[1]));
    bench.carry(&bob);
    bench.carry(&bob);
    assert_eq!(bench.state.approvers["bob"].by, "root");
    assert_eq!(bench.state.results.len(), 1, "and the cortex is told what came of it");
}

#[test]
fn a_generation_is_in_force_once_the_cortex_says_so() {
    let mut bench = Bench::new(&["ann"]);
    let policies = |text: &str| json!({"policies": text});
    assert_eq!(bench.unsound("modify_governance", &policies("permit (principal")), "bad_policies");
    let locked = "@id(\"a\") forbid (principal, action, resource);";
    assert_eq!(bench.unsound("modify_governance", &policies(locked)), "bad_policies");
    assert_eq!(bench.unsound("modify_governance", &policies(policy::DEFAULT)), "unchanged");
    let more = format!(
        "{}\n{}",
        policy::DEFAULT,
        "@id(\"no_eve\") forbid (principal == Agent::\"eve\", action, resource);"
    );
    let adopt = |bench: &mut Bench, intent: u64, refused: Option<String>| {
        bench.carry(&allowed(intent, "modify_governance", &policies(&more)));
        let number = bench.state.on_its_way.unwrap();
        assert_ne!(bench.state.in_force, number, "the old one decides");
        assert_eq!(bench.unsound("modify_governance", &policies("")), "wrong_state", "one at a time");
        bench.done(&Command::Adopted { number, revision: bench.state.revision, refused });
        number
    };
    let refused = adopt(&mut bench, 1, Some("no".into()));
    assert_eq!((bench.state.in_force, bench.state.on_its_way), (0, None));
    assert_eq!(bench.state.generation(refused).unwrap().fate, Fate::Refused("no".into()));
    let taken = adopt(&mut bench, 2, None);
    assert_eq!(bench.state.in_force, taken);
    assert!(charter::DEFAULT == bench.state.generation(taken).unwrap().generation.charter);
}

/// Two people for whatever changes the policies.
const TWO: &str = "@id(\"two\") @tier(\"0\") @quorum(\"2\") permit (principal is Operator, action == Action::\"modify_governance\", resource);";

/// An intent that the cortex allowed, with what it is to change.
fn allowed(number: u64, kind: &str, payload: &Value) -> Case {
    Case { owed: Owed::Change, kind: kind.into(), payload: Json::of(payload), ..case(number, "root", 1) }
}

#[test]
fn a_change_that_was_allowed_is_made_once() {
    let mut bench = Bench::new(&["ann"]);
    let in_force = bench.state.in_force;
    let policies = |more: &str| json!({"policies": format!("{}\n{more}", policy::DEFAULT), "over": in_force});
    let first = allowed(1, "modify_governance", &policies("// first"));
    let second = allowed(2, "modify_governance", &policies("// second"));
    bench.carry(&first);
    let number = bench.state.on_its_way.unwrap();
    bench.carry(&first);
    assert_eq!(
        (bench.state.on_its_way, bench.state.last),
        (Some(number), number),
        "told twice it counts once"
    );
    bench.done(&Command::Adopted { number, revision: bench.state.revision, refused: None });
    bench.carry(&first);
    bench.carry(&second);
    assert_eq!(
        (bench.state.in_force, bench.state.last),
        (number, number),
        "the second was made over another one"
    );
    assert!([&first, &second].iter().all(|case| bench.state.carried.contains(&case.intent)));
}

#[test]
fn at_the_word_of_the_cortex_alone_nothing_is_changed() {
    let mut bench = Bench::new(&["ann", "bob"]);
    let dismiss = json!({"dismiss": "bob"});
    let change = allowed(1, "grant_permissions", &dismiss);
    bench.owe(&change);
    let failed = bench.state.results[&change.intent].failed.as_deref();
    assert!(failed.is_some_and(|why| why.contains("no approval of it is on record")), "{failed:?}");
    // What was approved is done, whatever else is told under its digest.
    let keeps = allowed(2, "grant_permissions", &json!({"why": "a question"}));
    bench.owe(&Case { owed: Owed::Approval, ..keeps.clone() });
    let yes = bench.said("ann", &keeps, Answer::Approve);
    bench.done(&Command::Approve(yes));
    bench.owe(&Case { payload: Json::of(&dismiss), ..keeps });
    assert_eq!(bench.state.approvers.len(), 2);
}

#[test]
fn no_change_by_an_intent_shuts_everybody_out() {
    let two = json!({"policies": format!("{}\n{TWO}", policy::DEFAULT)});
    let mut alone = Bench::new(&["ann"]);
    assert_eq!(alone.unsound("modify_governance", &two), "no_approver");
    let last = alone.state.last;
    alone.carry(&allowed(1, "modify_governance", &two));
    assert_eq!(
        (alone.state.on_its_way, alone.state.last),
        (None, last),
        "nor if it was allowed all the same"
    );
    let dismiss = json!({"dismiss": "ann"});
    assert_eq!(alone.unsound("grant_permissions", &dismiss), "no_approver", "the only one");
    let both_texts = json!({"policies": policy::DEFAULT, "charter": charter::DEFAULT.replace("0.6", "0.5")});
    assert_eq!(alone.unsound("change_charter", &both_texts), "bad_request", "not its type");

    let mut both = Bench::new(&["ann", "bob"]);
    for (kind, payload) in [("modify_governance", &two), ("grant_permissions", &dismiss)] {
        let others = both.sound(kind, payload);
        assert_eq!(others, Outcome::Done(Reply::Sound { others: 1 }), "ann asks herself");
    }
    both.carry(&allowed(2, "modify_governance", &two));
    let number = both.state.on_its_way.unwrap();
    both.done(&Command::Adopted { number, revision: both.state.revision, refused: None });
    assert_eq!(both.unsound("grant_permissions", &dismiss), "no_approver", "two are needed now");
    both.carry(&allowed(3, "grant_permissions", &dismiss));
    assert_eq!(both.state.approvers.len(), 2);
    assert_eq!(both.unsound("grant_permissions", &json!({"dismiss": "eve"})), "not_found");
}

#[test]
fn a_use_is_on_record_with_the_grant_that_gave_the_leave_and_counts_for_that_one() {
    let mut bench = Bench::new(&["ann"]);
    for reason in ["the disk is gone", "so is the other"] {
        bench.done(&Command::BeginEmergency {
            reason: reason.into(),
            for_ms: 60_000,
            actor: None,
            by: "ann".into(),
        });
    }
    let used = |number: u64, grant: &str| Case {
        owed: Owed::Review,
        kind: "emergency_recovery".into(),
        tier: Tier::Emergency,
        until: None,
        reasons: vec![Reason::new("emergency.grant", format!("under the emergency grant {grant}"))],
        ..case(number, "bob", 1)
    };
    let record = super::emergency::used(&bench.state, &used(1, "emg-2"));
    let told = format!("{:?}", record.why());
    for words in [
        "emergency_recovery on instance (tier 4)",
        "operator bob",
        "emg-2, begun by ann, until",
        "so is the other",
    ] {
        assert!(told.contains(words), "{words}: {told}");
    }
    bench.owe(&used(1, "emg-2"));
    bench.owe(&used(1, "emg-2"));
    let uses = |bench: &Bench| bench.state.grants.values().map(|live| live.uses).collect::<Vec<_>>();
    assert_eq!(uses(&bench), [0, 1], "told twice it counts once");
    bench.done(&Command::EndEmergency { grant: "emg-2".into(), by: "ann".into() });
    bench.owe(&used(2, "emg-2"));
    assert_eq!((uses(&bench), bench.state.ended[0].uses), (vec![0], 2), "also one that is told of late");
}

/// Whether it is taken while the last of the disk is kept for emergencies; then it is.
fn in_reserve(bench: &mut Bench, command: &Command) -> bool {
    let decision: Decision<Governance> = Governance::decide_in_reserve(&bench.state, bench.now, command);
    let events = decision.events();
    let taken = events.iter().all(|event| Governance::is_for_emergency(&bench.state, event, events));
    for event in events.iter().filter(|_| taken) {
        Governance::evolve(&mut bench.state, event.event());
    }
    taken && matches!(decision.outcome(), Outcome::Done(_))
}

#[test]
fn on_a_disk_that_is_almost_full_emergencies_are_put_on_record_and_nothing_else_is() {
    let mut bench = Bench::new(&["ann"]);
    let review = |number: u64, tier: Tier| Case {
        owed: Owed::Review,
        kind: "emergency_recovery".into(),
        tier,
        until: None,
        reasons: vec![Reason::new("emergency.grant", "under the emergency grant emg-1")],
        ..case(number, "bob", 1)
    };
    let plain = case(1, "bob", 1);
    bench.owe(&plain);
    let begin = || Command::BeginEmergency {
        reason: "the disk is full".into(),
        for_ms: 60_000,
        actor: None,
        by: "ann".into(),
    };
    assert!(in_reserve(&mut bench, &begin()));
    let (number, revision) = (bench.state.in_force, bench.state.revision);
    assert!(in_reserve(&mut bench, &Command::Adopted { number, revision, refused: None }));
    assert!(in_reserve(&mut bench, &Command::Owe { cases: vec![review(2, Tier::Emergency)] }));
    assert_eq!((bench.state.reviews.len(), bench.state.grants["emg-1"].uses), (1, 1));
    for cases in [
        vec![review(3, Tier::Reviewed)],
        vec![case(4, "bob", 1)],
        vec![review(5, Tier::Emergency), review(6, Tier::Reviewed)],
    ] {
        assert!(!in_reserve(&mut bench, &Command::Owe { cases }));
    }
    let yes = bench.said("ann", &plain, Answer::Approve);
    assert!(!in_reserve(&mut bench, &Command::Approve(yes)));
    let look = Command::Accept { review: review(2, Tier::Emergency).intent, by: "ann".into(), note: None };
    assert!(!in_reserve(&mut bench, &look), "a look at it can wait");
    let declared = |declared| Command::Emergency { declared, reason: "kernels are down".into() };
    assert!(in_reserve(&mut bench, &declared(true)) && in_reserve(&mut bench, &declared(false)));
    assert!(in_reserve(&mut bench, &begin()));
    assert!(in_reserve(&mut bench, &Command::EndEmergency { grant: "emg-1".into(), by: "ann".into() }));
    // Time ends the other grant, and no approval.
    bench.now = at(1_000_000);
    assert!(in_reserve(&mut bench, &Command::Tick));
    assert!(bench.state.grants.is_empty() && bench.word(plain.intent).is_none());
    bench.done(&Command::Tick);
    assert_eq!(bench.word(plain.intent), Some(Word::Expired));
}

#[test]
fn an_emergency_is_bounded_and_ends() {
    let mut bench = Bench::new(&[]);
    let begin = |for_ms: u64| Command::BeginEmergency {
        reason: "disk".into(),
        for_ms,
        actor: None,
        by: "ann".into(),
    };
    let most = u64::try_from(limits::EMERGENCY.as_millis()).unwrap();
    assert_eq!(bench.refused(&begin(0)), "bad_request");
    assert_eq!(bench.refused(&begin(most + 1)), "bad_request");
    bench.done(&begin(10_000));
    bench.done(&begin(most));
    bench.done(&Command::EndEmergency { grant: "emg-2".into(), by: "ann".into() });
    assert_eq!(
        bench.refused(&Command::EndEmergency { grant: "emg-2".into(), by: "ann".into() }),
        "wrong_state"
    );
    bench.now = at(11);
    bench.done(&Command::Tick);
    assert!(bench.state.grants.is_empty());
    for declared in [true, true, false, false] {
        bench.done(&Command::Emergency { declared, reason: "two are down".into() });
        assert_eq!(bench.state.grants.len(), usize::from(declared));
    }
    assert_eq!(bench.state.ended.len(), 3);
}

#[test]
fn a_review_is_closed_once_and_told_by_whom() {
    let mut bench = Bench::new(&[]);
    let owed = Case { owed: Owed::Review, until: None, ..case(1, "eve", 1) };
    bench.owe(&owed);
    bench.owe(&owed);
    assert_eq!(bench.state.reviews.len(), 1);
    let flag = Command::Flag { review: owed.intent, by: "ann".into(), note: "why?".into() };
    bench.done(&flag);
    assert_eq!(bench.refused(&flag), "wrong_state");
    assert_eq!(bench.state.reviewed[0].flagged, Some(true));
}

proptest! {
    #[test]
    fn never_by_the_one_who_asked_never_below_quorum_never_too_late(
        quorum in 1u8..4,
        steps in prop::collection::vec((0usize..4, any::<bool>(), 0u64..30), 1..12),
    ) {
        let names = ["ann", "bob", "carl", "dora"];
        let mut bench = Bench::new(&names);
        let case = case(1, "dora", quorum);
        bench.owe(&case);
        let mut yes = std::collections::BTreeSet::new();
        for (who, says_yes, passes) in steps {
            let open = bench.state.open.contains_key(&case.intent);
            let answer = if says_yes { Answer::Approve } else { Answer::Deny };
            let said = bench.said(names[who], &case, answer);
            let command = if says_yes { Command::Approve(said) } else { Command::Deny(said) };
            let counted = matches!(bench.give(&command), Outcome::Done(_));
            if open && counted && says_yes {
                prop_assert!(bench.now.wall < at(60).wall);
                prop_assert_ne!(names[who], "dora");
                yes.insert(names[who]);
            }
            let approved = bench.word(case.intent) == Some(Word::Approved);
            prop_assert!(!approved || yes.len() >= usize::from(quorum));
            let seconds = bench.now.mono.as_nanos() / 1_000_000_000 + passes;
            bench.now = at(seconds);
            bench.done(&Command::Tick);
        }
    }
}
