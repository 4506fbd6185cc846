//! What changes governance: it waits for people whatever a policy says, and only where there are enough of them.

use super::*;

fn named(kind: &str, payload: &serde_json::Value, others: usize) -> Arrived {
    let mut arrived = operator(kind);
    arrived.asked.payload = Json::of(payload);
    Arrived { others, ..arrived }
}

fn refusal(answered: Answered) -> Refused {
    match answered {
        Answered::Refused(refused) => refused,
        decided @ Answered::Decided(_) => panic!("{decided:?}"),
    }
}

#[test]
fn what_nobody_else_could_approve_is_refused_when_it_is_asked_for() {
    let mut world = World::new();
    let two = "\n@id(\"two\") @tier(\"0\") @quorum(\"2\")\npermit (principal is Operator, action == Action::\"change_charter\", resource);\n";
    adopt(&mut world, 1, &format!("{}{two}", policy::DEFAULT)).unwrap();
    let charter = json!({"charter": charter::DEFAULT});
    for others in [0, 1] {
        let refused = refusal(world.ask(named("change_charter", &charter, others)));
        assert_eq!(refused.code, "no_approver");
        let told = format!("takes 2 people other than ann to say yes, and {others} of the approvers are");
        assert!(refused.message.contains(&told), "{refused:?}");
    }
    assert!(world.state.waiting.is_empty());
    assert_eq!(world.decide(named("change_charter", &charter, 2)).quorum, 2);
    // A question changes nothing: whoever asked acts on the answer.
    assert_eq!(world.decide(operator("change_charter")).outcome, Outcome::WaitsForApproval);
    let mut aside = named("change_charter", &charter, 2);
    aside.asked.target = Some("elsewhere".into());
    assert_eq!(refusal(world.ask(aside)).code, "bad_request");
}

#[test]
fn no_tier_changes_governance_without_a_person() {
    for tier in ["1", "2", "3"] {
        let mut world = World::new();
        let policies = policy::DEFAULT.replacen("@tier(\"0\")", &format!("@tier(\"{tier}\")"), 1);
        adopt(&mut world, 1, &policies).unwrap();
        let question = world.decide(operator("grant_permissions"));
        assert_ne!(question.outcome, Outcome::WaitsForApproval, "{question:?}");
        let change = world.decide(named("grant_permissions", &json!({"dismiss": "bob"}), 1));
        assert_eq!((change.outcome, change.tier), (Outcome::WaitsForApproval, Some(0)), "{change:?}");
        assert!(change.reasons.iter().any(|reason| reason.code == "change.person"), "{change:?}");
        assert_eq!(world.say(&change, Word::Approved), Taken::Taken);
        assert_eq!(world.look(change.id).outcome, Outcome::Allowed);
        assert!(world.outstanding().1.contains(&Owed::Change));
    }
}
