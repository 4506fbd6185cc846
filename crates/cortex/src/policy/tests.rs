//! Policies: what they say, what is refused, and that a slice never changes an answer.

use proptest::prelude::*;

use super::*;
use crate::request::{Actor, Circumstances};

fn request(kind: ActorKind, name: &str, asked: &str) -> Request {
    let actor = Actor { kind, name: name.into() };
    let circumstances = Circumstances { user_facing: false, emergency: false, revenue_impact: 0.25 };
    Request { actor, kind: asked.into(), target: "web".into(), circumstances }
}

fn read(text: &str) -> Result<Policies, PolicyFaults> {
    // The rule that keeps the rules changeable, so that a test can be about something else.
    let governed = "@id(\"governed\") @tier(\"0\") permit (principal is Operator, action == Action::\"modify_governance\", resource);";
    Policies::read(&[("default.cedar", governed), ("own.cedar", text)], &["resize_image".to_owned()])
}

#[test]
fn forbidden_not_permitted_and_undecided_are_told_apart() {
    let policies = read(
        r#"
@id("agents") @tier("2") permit (principal is Agent, action in Action::"declared", resource);
@id("careful") @tier("1") permit (principal is Agent, action == Action::"resize_image", resource == Target::"web");
@id("not_bob") @advice("ask ann") forbid (principal == Agent::"bob", action, resource);
@id("broken") @tier("2") permit (principal is Agent, action == Action::"generate_summary", resource) when { context.revenue_percent * 9223372036854775807 > 0 };
"#,
    )
    .unwrap();
    let rule = |kind, name: &str, asked: &str| policies.rule(&request(kind, name, asked));
    let by = vec!["agents".to_owned(), "careful".to_owned()];
    assert_eq!(
        rule(ActorKind::Agent, "amy", "resize_image"),
        Ruling::Permitted { tier: Tier::Reviewed, quorum: 1, by, advice: vec![] },
        "the stricter of two"
    );
    assert_eq!(
        rule(ActorKind::Agent, "bob", "resize_image"),
        Ruling::Forbidden { by: vec!["not_bob".into()], advice: vec!["ask ann".into()] }
    );
    assert_eq!(rule(ActorKind::Remote, "amy", "resize_image"), Ruling::NotPermitted);
    assert_eq!(rule(ActorKind::Agent, "amy", "no_such_type"), Ruling::NotPermitted);
    let undecided = rule(ActorKind::Agent, "amy", "generate_summary");
    assert!(matches!(&undecided, Ruling::Failed { errors } if errors[0].contains("broken")), "{undecided:?}");
    for group in ["declared", "unknown"] {
        let passed_for_all = rule(ActorKind::Agent, "amy", group);
        assert!(matches!(passed_for_all, Ruling::Failed { .. }), "{passed_for_all:?}");
    }
    let nameless = rule(ActorKind::Agent, "", "resize_image");
    assert!(matches!(nameless, Ruling::Failed { .. }), "{nameless:?}");
}

#[test]
fn a_name_with_quotes_keeps_its_tier() {
    let policies = read(
        r#"@id("nobody's") @tier("2") permit (principal is Agent, action == Action::"call_tool", resource is Target);"#,
    );
    assert_eq!(
        policies.unwrap().rule(&request(ActorKind::Agent, "amy", "call_tool")),
        Ruling::Permitted {
            tier: Tier::Autonomous,
            quorum: 1,
            by: vec![r"nobody\'s".into()],
            advice: vec![]
        }
    );
}

#[test]
fn the_most_people_that_a_determining_policy_asks_for_count() {
    let policies = read(
        r#"
@id("all") @tier("2") permit (principal is Remote, action == Action::"deploy_model", resource);
@id("one") @tier("0") permit (principal is Agent, action == Action::"deploy_model", resource);
@id("two") @tier("0") @quorum("2") permit (principal is Agent, action == Action::"deploy_model", resource == Target::"web");
@id("three") @tier("0") @quorum("3") permit (principal == Agent::"bob", action == Action::"deploy_model", resource);
"#,
    )
    .unwrap();
    let people = |kind, name: &str, target: &str| {
        let mut request = request(kind, name, "deploy_model");
        request.target = target.to_owned();
        match policies.rule(&request) {
            Ruling::Permitted { quorum, .. } => quorum,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(people(ActorKind::Remote, "amy", "web"), 1);
    assert_eq!((people(ActorKind::Agent, "amy", "db"), people(ActorKind::Agent, "amy", "web")), (1, 2));
    assert_eq!((people(ActorKind::Agent, "bob", "db"), people(ActorKind::Agent, "bob", "web")), (3, 3));
}

#[test]
fn what_is_wrong_with_a_text_is_named_in_its_place() {
    for (text, words) in [
        ("permit (principal, action, resource", "own.cedar:1:36"),
        ("@tier(\"2\") permit (principal, action, resource);", "policy 1 has no name"),
        ("@id(\"a\") permit (principal, action, resource);", "a: a permit says its tier"),
        (
            "@id(\"a\") @tier(\"7\") permit (principal, action, resource);",
            "a: @tier: a tier is a number from 0 to 4",
        ),
        ("@id(\"a\") @tier(\"1\") forbid (principal, action, resource);", "a: what is forbidden has no tier"),
        (
            "@id(\"a\") @tier(\"0\") @quorum(\"0\") permit (principal, action, resource);",
            "own.cedar: error: a: @quorum: `0` is no number of people from 1 to 9",
        ),
        (
            "@id(\"a\") @tier(\"0\") @quorum(\"10\") permit (principal, action, resource);",
            "`10` is no number",
        ),
        (
            "@id(\"a\") @tier(\"0\") @quorum(\"two\") permit (principal, action, resource);",
            "`two` is no number",
        ),
        ("@id(\"a\") @tier(\"0\") @quorum permit (principal, action, resource);", "`` is no number"),
        (
            "@id(\"a\") @tier(\"2\") @quorum(\"2\") permit (principal, action, resource);",
            "a: @quorum: people are asked where it permits under @tier(\"0\")",
        ),
        (
            "@id(\"a\") @quorum(\"2\") forbid (principal, action, resource);",
            "people are asked where it permits",
        ),
        (
            "@id(\"a\") @tier(\"0\") @qorum(\"2\") permit (principal, action, resource);",
            "did you mean @quorum?",
        ),
        ("@id(\"a\") @teir(\"1\") @tier(\"1\") permit (principal, action, resource);", "did you mean @tier?"),
        (
            "@id(\"governed\") forbid (principal is Agent, action, resource);",
            "two policies called `governed`",
        ),
        ("@id(\"a\") @tier(\"1\") permit (principal is Robot, action, resource);", "Robot"),
        ("@id(\"a\") @tier(\"1\") permit (principal, action, resource) when { context.mood == 1 };", "mood"),
        (
            "@id(\"a\") forbid (principal is Operator, action, resource);",
            "no person could change the policies",
        ),
    ] {
        let told = read(text).unwrap_err().to_string();
        assert!(told.contains(words), "{text}: {told}");
    }
    let long = "/".repeat(limits_bytes() + 1);
    assert!(read(&long).unwrap_err().to_string().contains("bytes; at most"));
}

fn limits_bytes() -> usize {
    crate::limits::POLICY_TEXT_BYTES
}

/// The lines that are wrong with the default policies and these after them.
fn beside_the_default(text: &str) -> String {
    let texts = [("default.cedar", DEFAULT), ("own.cedar", text)];
    Policies::read(&texts, &["resize_image".to_owned()])
        .err()
        .map(|faults| faults.to_string())
        .unwrap_or_default()
}

#[test]
fn a_policy_that_can_never_hold_is_refused() {
    for (text, place) in [
        (
            "// Nobody is both.\n@id(\"both\") @tier(\"2\") permit (principal is Operator, action, resource) when { principal is Agent };",
            "own.cedar:2:1: error: both: its scope and its conditions can never hold together",
        ),
        (
            "@id(\"torn\") @tier(\"2\") permit (principal, action, resource) when { context.emergency && !context.emergency };",
            "own.cedar:1:1: error: torn: its scope",
        ),
        (
            "@id(\"beyond\") forbid (principal, action, resource) when { context.revenue_percent > 100 };",
            "own.cedar:1:1: error: beyond: its scope",
        ),
        (
            "@id(\"apart\") forbid (principal == Agent::\"bob\", action, resource == Target::\"web\") when { principal == Agent::\"amy\" || resource == Target::\"db\" };",
            "own.cedar:1:1: error: apart: its scope",
        ),
        (
            "@id(\"idle\") forbid (principal, action, resource)\nunless { true };",
            "own.cedar:1:1: error: idle: its scope",
        ),
        (
            "@id(\"group\") @tier(\"2\") permit (principal, action == Action::\"declared\", resource);",
            "own.cedar:1:1: error: group: its scope",
        ),
    ] {
        let told = beside_the_default(text);
        assert!(told.contains(place) && told.contains("mend it or remove it"), "{text}: {told}");
        assert_eq!(told.matches("error:").count(), 1, "{text}: {told}");
    }
    for holds in [
        "context.revenue_percent == 73 && context.emergency && !context.user_facing",
        "principal == Agent::\"amy\" && resource == Target::\"db\" && action == Action::\"resize_image\"",
        "action in Action::\"unknown\" && !(principal is Operator)",
    ] {
        let policy = format!("@id(\"some\") forbid (principal, action, resource) when {{ {holds} }};");
        assert_eq!(beside_the_default(&policy), "");
    }
    assert!(Policies::read(&[("default.cedar", DEFAULT)], &[]).is_ok(), "with no type declared");
    assert_eq!(beside_the_default(""), "");
}

#[test]
fn a_permit_that_is_forbidden_as_a_whole_is_refused() {
    // "own" permits deploy_model and modify_config to agents; modify_config is permitted by the default set too.
    let own = "@id(\"own\") @tier(\"2\") permit (principal is Agent, action in [Action::\"deploy_model\", Action::\"modify_config\"], resource);\n";
    let wrong = |forbids: &str| beside_the_default(&format!("{own}{forbids}"));
    for left in [
        // One of its types, one of those whom it is for, one target, some of the time.
        "@id(\"f\") forbid (principal, action == Action::\"deploy_model\", resource);",
        "@id(\"f\") forbid (principal == Agent::\"bob\", action, resource);",
        "@id(\"f\") forbid (principal is Agent, action, resource == Target::\"web\");",
        "@id(\"f\") forbid (principal is Agent, action, resource) when { context.emergency };",
        "@id(\"f\") forbid (principal is Remote, action, resource);",
    ] {
        assert_eq!(wrong(left), "", "{left}");
    }
    let told = wrong(
        "@id(\"f\") forbid (principal is Agent, action in [Action::\"modify_config\", Action::\"deploy_model\"], resource is Target);",
    );
    assert_eq!(
        told,
        "own.cedar:1:1: error: own: it can never take effect: all that it permits is forbidden without conditions by f (own.cedar:2)\n   help: narrow what is forbidden by a `when`, or remove the permit\n"
    );
    let told = wrong(
        "@id(\"f\") forbid (principal, action == Action::\"modify_config\", resource);\n@id(\"g\") forbid (principal is Agent, action == Action::\"deploy_model\", resource);",
    );
    assert!(
        told.contains("own.cedar:1:1: error: own:")
            && told.contains("by f (own.cedar:2) and g (own.cedar:3)"),
        "{told}"
    );
    // Of the default set: whole permits, and a group with whatever the manifest will declare.
    let told = beside_the_default(
        "@id(\"f\") forbid (principal is Automation, action in Action::\"declared\", resource);\n@id(\"g\") forbid (principal, action in [Action::\"emergency_recovery\", Action::\"critical_incident\"], resource);",
    );
    for name in ["automation.declared", "operator.emergency", "self_healing.emergency"] {
        assert!(told.contains(&format!("error: {name}: it can never")), "{told}");
    }
    assert_eq!(told.matches("error:").count(), 3, "{told}");
    // A type that is declared today is not all of the group.
    assert_eq!(
        beside_the_default("@id(\"f\") forbid (principal, action == Action::\"resize_image\", resource);"),
        ""
    );
}

/// Policies of every form of scope.
fn policy(n: usize) -> impl Strategy<Value = String> {
    let principal = prop::sample::select(vec![
        "principal",
        "principal is Agent",
        "principal == Agent::\"amy\"",
        "principal is Operator",
        "principal == Kernel::\"self_healing\"",
        "principal in Agent::\"bob\"",
        "principal is Agent in Agent::\"amy\"",
        "principal is Agent in Operator::\"amy\"",
    ]);
    let action = prop::sample::select(vec![
        "action",
        "action == Action::\"resize_image\"",
        "action in [Action::\"self_improve\", Action::\"resize_image\"]",
        "action in Action::\"declared\"",
        "action in Action::\"unknown\"",
        "action in [Action::\"unknown\", Action::\"declared\", Action::\"self_improve\"]",
        "action == Action::\"unknown\"",
        "action == Action::\"declared\"",
        "action == Action::\"generate_summary\"",
    ]);
    let rest = prop::sample::select(vec![
        "",
        " when { context.emergency }",
        " unless { context.user_facing }",
        " when { resource == Target::\"web\" }",
        " when { context.revenue_percent * 9223372036854775807 > 0 }",
    ]);
    let resource = prop::sample::select(vec![
        "resource",
        "resource == Target::\"web\"",
        "resource is Target",
        "resource in Target::\"db\"",
    ]);
    // Of any tier; how many people and what to do next, where it may say so.
    let notes = (0..5u8, 0..4u8, any::<bool>());
    (principal, action, resource, rest, notes, prop::bool::weighted(0.8)).prop_map(
        move |(principal, action, resource, rest, (tier, people, advice), permit)| {
            let (effect, mut notes) =
                if permit { ("permit", format!("@tier(\"{tier}\") ")) } else { ("forbid", String::new()) };
            if permit && tier == 0 && people > 0 {
                notes.push_str(&format!("@quorum(\"{people}\") "));
            }
            if advice {
                notes.push_str(&format!("@advice(\"ask {n}\") "));
            }
            // Nobody may lock everybody out.
            let rest = if permit || !rest.is_empty() { rest } else { " when { context.emergency }" };
            format!("@id(\"p{n}\") {notes}{effect} ({principal}, {action}, {resource}){rest};\n")
        },
    )
}

fn policies() -> impl Strategy<Value = String> {
    (0..12usize)
        .prop_flat_map(|count| (0..count).map(policy).collect::<Vec<_>>())
        .prop_map(|all| all.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]
    #[test]
    fn a_slice_never_changes_an_answer(text in policies(), user_facing: bool, emergency: bool, impact in 0..3u8) {
        let governed = "@id(\"governed\") @tier(\"0\") permit (principal is Operator, action == Action::\"modify_governance\", resource);\n";
        let text = format!("{governed}{text}");
        // Whether each of them can take effect is not what this is about.
        let read = Policies::assembled(&[("some.cedar", text.as_str())], &["resize_image".to_owned()]);
        // A set that happens to lock everybody out is refused as a whole.
        let Ok((policies, _)) = read else { return Ok(()) };
        for kind in ActorKind::ALL {
            for name in ["amy", "bob", "self_healing"] {
                for asked in ["resize_image", "self_improve", "generate_summary", "unheard_of"] {
                    let mut request = request(kind, name, asked);
                    request.circumstances = Circumstances { user_facing, emergency, revenue_impact: f64::from(impact) / 2.0 };
                    prop_assert_eq!(policies.rule(&request), policies.rule_by_all(&request), "{:?}\n{}", request, text);
                }
            }
        }
    }
}
