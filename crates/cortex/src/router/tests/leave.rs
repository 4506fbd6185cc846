//! Leave to act in an emergency: whose word counts for it, and for how long.

use super::*;

/// These grants and no others, with whatever generation is known.
pub(super) fn leave(world: &World, revision: u64, grants: &[Grant]) -> InForce {
    let brought =
        || Generation { number: 0, policies: policy::DEFAULT.into(), charter: charter::DEFAULT.into() };
    in_force(revision, world.state.generation.clone().unwrap_or_else(brought), grants.to_vec())
}

fn grant(world: &World) -> Grant {
    let since = world.clock.now().wall;
    Grant {
        id: "eg-1".into(),
        actor: None,
        by: "ann".into(),
        reason: "the disk is gone".into(),
        since,
        until: since.plus(Duration::from_secs(900)),
    }
}

#[test]
fn an_emergency_is_as_long_as_its_grant() {
    let mut world = World::new();
    assert_eq!(world.decide(operator("emergency_recovery")).outcome, Outcome::Denied);
    let grant = grant(&world);
    let genuine = leave(&world, 1, std::slice::from_ref(&grant));
    let longer = Grant { until: grant.until.plus(Duration::from_secs(1)), ..grant };
    let other = Generation { number: 1, ..genuine.generation.clone() };
    let forged = [
        InForce { signature: String::new(), ..genuine.clone() },
        genuine.clone().signed(&key("governance", 2)),
        genuine.clone().signed(&key("librarian", 1)),
        InForce { grants: vec![longer], ..genuine.clone() },
        InForce { revision: 2, ..genuine.clone() },
        InForce { generation: other, ..genuine.clone() },
    ];
    for one in forged {
        assert_eq!(world.refused(&told(one)), "not_genuine");
        assert_eq!(world.happened.last(), Some(&"in_force_refused"));
    }
    let unknown = Command::Adopt { in_force: Box::new(genuine.clone()), key: None };
    assert_eq!(world.refused(&unknown), "not_genuine", "without its key nothing counts");
    assert_eq!(world.decide(operator("emergency_recovery")).outcome, Outcome::Denied);
    world.done(&told(genuine));
    let allowed = world.decide(operator("emergency_recovery"));
    assert_eq!((allowed.outcome, allowed.review), (Outcome::Allowed, true));
    assert!(!allowed.advice.iter().any(|advice| advice.contains("emergency begin")), "{allowed:?}");
    assert_eq!(world.outstanding().1, [Owed::Review]);
    world.clock.advance(Duration::from_secs(900));
    assert_eq!(world.decide(operator("emergency_recovery")).outcome, Outcome::Denied, "before any tick");
    world.done(&Command::Tick);
    assert!(world.happened.contains(&"grants_ended"));
}

#[test]
fn leave_that_was_ended_is_not_taken_up_again() {
    let mut world = World::new();
    let grant = grant(&world);
    let begun = leave(&world, 7, std::slice::from_ref(&grant));
    world.done(&told(begun.clone()));
    world.done(&told(begun.clone()));
    assert_eq!(world.decide(operator("emergency_recovery")).outcome, Outcome::Allowed);
    let ended = leave(&world, 8, &[]);
    world.done(&told(ended.clone()));
    assert_eq!(world.decide(operator("emergency_recovery")).outcome, Outcome::Denied);
    let before = world.happened.len();
    for _ in 0..3 {
        assert_eq!(world.refused(&told(begun.clone())), "old_revision", "also after a restart");
    }
    assert_eq!(world.happened[before..], ["in_force_refused"], "on record once");
    assert_eq!(world.decide(operator("emergency_recovery")).outcome, Outcome::Denied);
    let again = Grant { id: "eg-2".into(), ..grant };
    world.done(&told(leave(&world, 9, &[again])));
    assert_eq!(world.decide(operator("emergency_recovery")).outcome, Outcome::Allowed);
    assert_eq!(world.refused(&told(ended)), "old_revision", "nor can one that is live be ended so");
    assert_eq!(world.decide(operator("emergency_recovery")).outcome, Outcome::Allowed);
}

#[test]
fn the_kernel_that_heals_acts_under_the_grant_of_the_control_plane_and_nobody_else_does() {
    let mut world = World::new();
    world.begin("one", "emergency_recovery");
    let heals = || by(ActorKind::Kernel, "self_healing", "emergency_recovery");
    assert_eq!(world.decide(heals()).outcome, Outcome::Denied);
    let healer = Actor { kind: ActorKind::Kernel, name: "self_healing".into() };
    let own = Grant { actor: Some(healer), by: "control_plane".into(), ..grant(&world) };
    world.done(&told(leave(&world, 1, &[own])));
    let allowed = world.decide(heals());
    assert_eq!((allowed.outcome, allowed.tier, allowed.review), (Outcome::Allowed, Some(4), true));
    assert_eq!(crate::judge::grant_of(&allowed.reasons), Some("eg-1"), "the decision names it");
    assert_eq!(world.outstanding(), (vec![allowed.id], vec![Owed::Review]), "it runs, and is looked at");
    for other in [operator("emergency_recovery"), by(ActorKind::Kernel, "other", "emergency_recovery")] {
        assert_eq!(world.decide(other).outcome, Outcome::Denied);
    }
    // The emergency is over.
    world.done(&told(leave(&world, 2, &[])));
    assert_eq!(world.decide(heals()).outcome, Outcome::Denied);
}

/// A wall clock that is stepped by five minutes either way, while a grant is live or a vote is open.
const STEP: Duration = Duration::from_secs(300);

#[test]
fn a_stepped_clock_gives_a_grant_no_more_time_than_it_had() {
    let second = Duration::from_secs(1);
    for back in [true, false] {
        let mut world = World::new();
        let grant = grant(&world);
        world.done(&told(leave(&world, 1, std::slice::from_ref(&grant))));
        world.clock.advance(STEP);
        world.done(&Command::Tick);
        let wall = world.clock.now().wall;
        world.clock.step_wall(if back { wall.minus(STEP) } else { wall.plus(STEP) });
        world.done(&Command::Tick);
        assert_eq!(world.decide(operator("emergency_recovery")).outcome, Outcome::Allowed);
        // Set back, what is over stays over; set forward, the step counts as time that went by.
        world.clock.advance(if back { STEP * 2 - second } else { STEP - second });
        assert_eq!(world.decide(operator("emergency_recovery")).outcome, Outcome::Allowed, "back: {back}");
        world.clock.advance(second);
        assert_eq!(world.decide(operator("emergency_recovery")).outcome, Outcome::Denied, "back: {back}");
    }
}

#[test]
fn a_stepped_clock_gives_a_vote_no_more_time_than_it_had() {
    let wait = limits::VOTE_WAIT;
    for back in [true, false] {
        let mut world = World::new();
        let asked = world.decide(operator("self_improve"));
        assert_eq!(asked.outcome, Outcome::WaitsForVote);
        world.clock.advance(wait / 2);
        world.done(&Command::Tick);
        assert_eq!(world.look(asked.id).outcome, Outcome::WaitsForVote);
        let wall = world.clock.now().wall;
        world.clock.step_wall(if back { wall.minus(STEP) } else { wall.plus(STEP) });
        world.done(&Command::Tick);
        if back {
            assert_eq!(world.look(asked.id).outcome, Outcome::WaitsForVote);
            world.clock.advance(wait / 2);
            world.done(&Command::Tick);
        }
        assert_eq!(world.look(asked.id).outcome, Outcome::Denied, "back: {back}: too few voted in time");
    }
}
