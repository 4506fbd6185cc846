//! Whatever was asked for, in whatever circumstances, replaying what was in force gives what was decided.

use proptest::prelude::*;

use super::{leave::leave, *};
use crate::{
    proposed::replay::{Replay, Report},
    request::Circumstances,
    rules::Rules,
};

fn replayed(world: &World, policies: &str) -> Report {
    let text = Generation { number: 1, policies: policies.into(), charter: charter::DEFAULT.into() };
    let read = |declared: &[String]| Rules::read(Some(&text), declared);
    let mut replay = Replay::new(&read, Vec::new(), (None, None), 10);
    for record in &world.records {
        let record: grace_kernel::Recorded<super::super::Event> = serde_json::from_str(record).unwrap();
        replay.take(grace_types::evidence::JournalId(1), record.event());
    }
    replay.report()
}

#[derive(Debug, Clone)]
enum Step {
    Ask(usize, usize, Circumstances),
    Grants(bool, bool, u64),
    Declare(bool),
    Later(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let circumstances = (any::<bool>(), any::<bool>(), 0..=100u8);
    let circumstances = circumstances.prop_map(|(user_facing, emergency, percent)| Circumstances {
        user_facing,
        emergency,
        revenue_impact: f64::from(percent) / 100.0,
    });
    prop_oneof![
        6 => (0..policy::KNOWN.len() + 2, 0..ActorKind::ALL.len(), circumstances)
            .prop_map(|(kind, actor, circumstances)| Step::Ask(kind, actor, circumstances)),
        2 => (any::<bool>(), any::<bool>(), 1..200u64).prop_map(|(any, own, lasts)| Step::Grants(any, own, lasts)),
        1 => any::<bool>().prop_map(Step::Declare),
        1 => (1..120u64).prop_map(Step::Later),
    ]
}

fn lived(steps: Vec<Step>) -> World {
    let mut world = World::new();
    for step in steps {
        match step {
            Step::Ask(kind, actor, circumstances) => {
                let more = ["resize_image", "surprise"];
                let kind = policy::KNOWN.get(kind).copied().unwrap_or_else(|| more[kind % 2]);
                let mut arrived = by(ActorKind::ALL[actor], "one", kind);
                arrived.asked.circumstances = Some(circumstances);
                world.decide(arrived);
            }
            Step::Grants(any, own, lasts) => {
                let now = world.clock.now().wall;
                let grant = |id: &str, actor| Grant {
                    id: id.into(),
                    actor,
                    by: "bob".into(),
                    reason: "fire".into(),
                    since: now,
                    until: now.plus(Duration::from_secs(lasts)),
                };
                let one = Actor { kind: ActorKind::Operator, name: "one".into() };
                let all = [any.then(|| grant("emg-1", None)), own.then(|| grant("emg-2", Some(one)))];
                let all: Vec<Grant> = all.into_iter().flatten().collect();
                let now = leave(&world, world.state.revision + 1, &all);
                world.done(&told(now));
            }
            Step::Declare(resize) => {
                let declared = if resize { vec!["resize_image".to_owned()] } else { Vec::new() };
                world.done(&Command::Configure { era: Era::from_bits(7), declared, boot: String::new() });
            }
            Step::Later(seconds) => {
                world.clock.advance(Duration::from_secs(seconds));
                world.done(&Command::Tick);
            }
        }
    }
    world
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn what_was_in_force_gives_what_was_decided(steps in prop::collection::vec(step(), 1..24)) {
        let world = lived(steps);
        let report = replayed(&world, policy::DEFAULT);
        prop_assert_eq!((report.different, report.only_score), (0, 0), "{:?}", report);
        prop_assert!(report.not_replayed.is_empty());
        let decided = world.happened.iter().filter(|what| ["allowed", "denied", "waits"].contains(what)).count();
        prop_assert_eq!(report.intents, decided as u64);
    }
}

#[test]
fn what_another_set_decides_differently_is_listed_and_what_it_cannot_decide_is_counted() {
    let mut world = World::new();
    let first = world.decide(operator("modify_config"));
    world.decide(operator("query_knowledge"));
    let changed = policy::DEFAULT
        .replace("@id(\"operator.change\")\n@tier(\"1\")", "@id(\"operator.change\")\n@tier(\"0\")");
    let report = replayed(&world, &changed);
    assert_eq!((report.different, report.intents), (1, 2), "{report:?}");
    assert_eq!(report.groups[0].intents[0].id, first.id);
    assert_eq!(report.groups[0].after.to_string(), "0 approval");
    let broken = replayed(&world, "permit (");
    assert_eq!((broken.different, broken.not_replayed.values().sum::<u64>()), (0, 2), "{broken:?}");
}
