//! Whatever comes in, well formed or not: nothing panics, each intent gets one answer, and what makes no sense is not decided.

use proptest::prelude::*;

use super::*;
use crate::request::Circumstances;

fn name() -> impl Strategy<Value = String> {
    let odd = [
        "",
        " ",
        "ann",
        "\u{0}",
        "\"; permit(principal, action, resource);",
        "amy\"",
        "\u{202e}x",
        "é",
        "declared",
    ];
    prop_oneof![
        prop::sample::select(odd.to_vec()).prop_map(str::to_owned),
        any::<String>(),
        (0..3usize).prop_map(|more| "n".repeat(limits::NAME_BYTES - 1 + more)),
    ]
}

fn kind() -> impl Strategy<Value = String> {
    let known =
        policy::KNOWN.into_iter().chain(["resize_image", "unknown", "declared", "Action::\"unknown\""]);
    prop_oneof![3 => prop::sample::select(known.collect::<Vec<_>>()).prop_map(str::to_owned), 1 => name()]
}

fn number() -> impl Strategy<Value = f64> {
    prop_oneof![3 => 0.0..=1.0, 1 => any::<f64>(), 1 => prop::sample::select(vec![-0.0, 1.0, f64::NAN, f64::INFINITY])]
}

fn payload() -> impl Strategy<Value = Json> {
    let deep = format!("{}{}", "[".repeat(1000), "]".repeat(1000));
    let texts = [
        "null",
        "1e999",
        "\"\\ud83d\\ude00\"",
        "{\"a\": 1, \"a\": {\"type\": \"grant_permissions\"}}",
        &deep,
    ];
    let texts: Vec<Json> = texts.iter().filter_map(|text| serde_json::from_str(text).ok()).collect();
    prop::sample::select(texts)
}

fn arrived() -> impl Strategy<Value = Arrived> {
    let actor = (prop::sample::select(ActorKind::ALL.to_vec()), name());
    let circumstances = prop::option::of((any::<bool>(), any::<bool>(), number()));
    let times = (any::<Option<u64>>(), any::<Option<u64>>());
    let rest = (prop::option::of(name()), prop::option::of(name()), any::<bool>());
    (actor, kind(), payload(), circumstances, times, rest).prop_map(
        |((of, name), kind, payload, circumstances, (deadline_ms, delay_ms), (target, key, only_decide))| {
            let circumstances = circumstances.map(|(user_facing, emergency, revenue_impact)| Circumstances {
                user_facing,
                emergency,
                revenue_impact,
            });
            let mut arrived = by(of, &name, &kind);
            arrived.asked = Asked {
                payload,
                key,
                deadline_ms,
                delay_ms,
                target,
                circumstances,
                only_decide,
                ..arrived.asked
            };
            arrived
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn what_makes_no_sense_is_refused_and_the_rest_decided(intents in prop::collection::vec(arrived(), 1..20)) {
        let mut world = World::new();
        let Reply::Submitted { results } = world.done(&Command::Decide { intents: intents.clone() }) else { panic!() };
        prop_assert_eq!(results.len(), intents.len());
        for (arrived, answered) in intents.iter().zip(results) {
            let fault = super::super::request(&arrived.actor, &arrived.asked).fault();
            match answered {
                Answered::Decided(decision) => {
                    prop_assert!(fault.is_none(), "{:?}", arrived);
                    prop_assert!((0.0..=1.0).contains(&decision.score) && !decision.reasons.is_empty());
                }
                Answered::Refused(refused) => prop_assert!(fault.is_none() || refused.code == "bad_request"),
            }
        }
    }

    #[test]
    fn a_damaged_command_is_not_one_or_is_answered(
        intents in prop::collection::vec(arrived(), 1..4),
        damage in prop::collection::vec((any::<prop::sample::Index>(), prop::sample::select(b"\"\\{}[]:,0-9e.\x00 tn".to_vec())), 1..4),
    ) {
        let mut text = serde_json::to_vec(&Command::Decide { intents }).unwrap();
        for (at, byte) in damage {
            let at = at.index(text.len());
            text[at] = byte;
        }
        if let Ok(command) = serde_json::from_slice::<Command>(&text) {
            World::new().give(&command);
        }
    }
}
