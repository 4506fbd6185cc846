//! Intents that change governance itself: from a sender on any road to what is in force.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::instance::{Instance, Ran, kill, until};

struct World {
    instance: Instance,
}

impl World {
    fn up() -> Self {
        let instance = Instance::of("").with_people();
        instance.up();
        instance.told(&["approvals", "enroll", "ann"]);
        Self { instance }
    }

    fn submit(&self, kind: &str, payload: &Value) -> Ran {
        let payload = payload.to_string();
        self.instance.grace(&["--json", "intent", "submit", kind, "--actor", "eve", "--payload", &payload])
    }

    /// One that waits for people.
    fn asked(&self, kind: &str, payload: &Value) -> String {
        let ran = self.submit(kind, payload);
        let shown: Value = serde_json::from_str(&ran.out).unwrap_or_else(|e| panic!("{e}: {ran}"));
        assert_eq!(shown["decision"], "waiting", "{ran}");
        let id = shown["id"].as_str().unwrap().to_owned();
        until("governance has the case", || {
            (self.instance.grace(&["approvals", "show", &id]).code == Some(0)).then_some(())
        });
        id
    }

    fn approve(&self, id: &str) {
        self.instance.told(&["approvals", "approve", id, "--as", "ann", "--reason", "seen"]);
    }

    /// What is known of it once it is over.
    fn over(&self, id: &str) -> Value {
        until("it is over", || {
            let ran = self.instance.grace(&["--json", "intent", "show", id]);
            let shown: Value = serde_json::from_str(&ran.out).ok()?;
            ["succeeded", "failed", "denied"].contains(&shown["state"].as_str()?).then_some(shown)
        })
    }

    fn policies(&self) -> String {
        let shown = self.instance.told(&["governance", "show"]).remove(0);
        shown["generation"]["policies"].as_str().unwrap().to_owned()
    }

    fn generations(&self) -> usize {
        self.instance.told(&["governance", "history"]).len()
    }
}

#[test]
fn an_approved_intent_changes_what_is_in_force_once_also_when_killed_in_between() {
    let world = World::up();
    let more = "\n@id(\"bot\") @tier(\"2\") permit (principal == Agent::\"bot\", action == Action::\"deploy_model\", resource);\n";
    let policies = json!({"a.cedar": world.policies(), "b.cedar": more});
    let first = world.asked("modify_governance", &json!({"policies": policies, "reason": "bot deploys"}));
    assert_eq!(world.generations(), 1, "nothing before somebody said yes");
    world.approve(&first);
    // Wherever they are on the way: between the yes, what the cortex says to it, the change, and its end.
    for component in ["governance", "cortex"] {
        let pid = world.instance.ready(component).pid;
        kill(pid.unwrap(), Signal::KILL);
        world.instance.until_component(component, "is ready again", |c| c.ready && c.pid != pid);
    }
    let done = world.over(&first);
    assert_eq!(done["state"], "succeeded", "{done}");
    assert!(done["reasons"].to_string().contains("ann approved: seen"), "{done}");
    assert_eq!(world.generations(), 2, "once");
    assert!(world.policies().contains("@id(\"bot\")"));
    let told = until("it is told", || {
        let told = world.instance.told(&["narratives", "--action", "generation_approved"]);
        (!told.is_empty()).then_some(told)
    });
    assert_eq!(told.len(), 1, "{told:?}");

    // Two over the same generation: the second one would undo the first.
    let charter = |weight: &str| {
        let kept = world.instance.told(&["governance", "show"]).remove(0);
        let number = kept["generation"]["number"].clone();
        let text = kept["generation"]["charter"].as_str().unwrap();
        let text = text.replace("learning: 0.6", &format!("learning: {weight}"));
        json!({"charter": text, "over": number})
    };
    let one = world.asked("change_charter", &charter("0.7"));
    let other = world.asked("change_charter", &charter("0.5"));
    world.approve(&one);
    assert_eq!(world.over(&one)["state"], "succeeded");
    world.approve(&other);
    let failed = world.over(&other);
    assert_eq!(failed["state"], "failed", "{failed}");
    assert!(failed["reasons"].to_string().contains("it did not take effect: it was made over"), "{failed}");
    assert_eq!(world.generations(), 3);
    world.instance.down();
}

#[test]
fn what_the_command_line_proposes_is_an_intent_like_any_other() {
    let world = World::up();
    let folder = world.instance.file("new");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("a.cedar"), world.policies()).unwrap();
    let more = "@id(\"bot\") @tier(\"2\") permit (principal == Agent::\"bot\", action == Action::\"deploy_model\", resource);\n";
    std::fs::write(folder.join("b.cedar"), more).unwrap();
    let path = folder.to_string_lossy().into_owned();
    let propose = ["governance", "propose", "--policies", &path, "--reason", "bot deploys", "--actor"];
    let own = world.instance.grace(&[&propose[..], &["ann"]].concat());
    assert!(own.code == Some(1) && own.err.contains("error[no_approver]"), "{own}");
    let asked = world.instance.told(&[&propose[..], &["eve"]].concat()).remove(0);
    assert_eq!((&asked["type"], &asked["decision"]), (&json!("modify_governance"), &json!("waiting")));
    assert_eq!((&asked["actor"], &asked["tier"]), (&json!("eve"), &json!(0)), "{asked}");
    let id = asked["id"].as_str().unwrap();
    assert!(asked["advice"].to_string().contains(&format!("ann: `grace approvals approve {id}")), "{asked}");
    let shown = world.instance.grace(&["approvals", "show", id]);
    assert!(shown.out.contains("other policies") && shown.out.contains(": bot deploys"), "{shown}");
    let diff = world.instance.grace(&["governance", "diff", "--intent", id]);
    assert!(diff.code == Some(0) && diff.out.contains("+ policy bot"), "{diff}");
    world.approve(id);
    assert_eq!(world.over(id)["state"], "succeeded");
    let newest = world.instance.told(&["governance", "history"]).remove(0);
    assert_eq!((&newest["state"], &newest["by"]), (&json!("in_force"), &json!("eve")), "{newest}");
    assert_eq!(newest["approved_by"], json!(["ann"]), "{newest}");
    let same = world.instance.grace(&[&propose[..], &["eve"]].concat());
    assert!(same.code == Some(1) && same.err.contains("error[unchanged]"), "{same}");
    let back = ["governance", "propose", "--generation", "0", "--reason", "back", "--actor", "eve"];
    let back = world.instance.told(&back).remove(0);
    world.approve(back["id"].as_str().unwrap());
    assert_eq!(world.over(back["id"].as_str().unwrap())["state"], "succeeded");
    assert!(!world.policies().contains("@id(\"bot\")"));

    let bob = world.instance.told(&["approvals", "enroll", "bob"]).remove(0);
    assert_eq!((&bob["type"], &bob["actor"]), (&json!("grant_permissions"), &json!("bob")), "{bob}");
    world.approve(bob["id"].as_str().unwrap());
    assert_eq!(world.over(bob["id"].as_str().unwrap())["state"], "succeeded");
    let gone = world.instance.told(&["approvals", "dismiss", "bob", "--reason", "left", "--actor", "eve"]);
    world.approve(gone[0]["id"].as_str().unwrap());
    assert_eq!(world.over(gone[0]["id"].as_str().unwrap())["state"], "succeeded");
    let told = until("it is told why", || {
        let told = world.instance.told(&["narratives", "--action", "approver_dismissed"]);
        (!told.is_empty()).then_some(told)
    });
    assert!(told[0]["why"].to_string().contains("left"), "{told:?}");
    world.instance.down();
}

#[test]
fn nobody_is_asked_to_approve_nonsense_and_approvers_come_by_the_same_road() {
    let world = World::up();
    let nonsense = [
        ("modify_governance", json!({"policies": "permit (principal"}), "policies.cedar:1:"),
        ("modify_governance", json!({"policies": {"a.cedar": ""}}), "no person could change the policies"),
        ("modify_governance", json!({"policies": world.policies()}), "holds already"),
        ("change_charter", json!({"charter": "pillars: []"}), "charter.yaml:1:"),
        ("change_charter", json!({"charter": "x", "policy": "y"}), "unknown field"),
        ("grant_permissions", json!({"approver": "bob", "public_key": "bob"}), "the public key"),
        ("grant_permissions", json!({"dismiss": "ann"}), "the only approver"),
    ];
    for (kind, payload, expected) in nonsense {
        let ran = world.submit(kind, &payload);
        assert!(matches!(ran.code, Some(1 | 2)), "{ran}");
        assert!(ran.err.contains(expected), "{expected}: {ran}");
    }
    assert!(world.instance.told(&["approvals", "list"]).is_empty());

    let own =
        ["intent", "submit", "grant_permissions", "--actor", "Ann", "--payload", r#"{"dismiss": "ann"}"#];
    let ran = world.instance.grace(&own);
    assert!(ran.code == Some(1) && ran.err.contains("the only approver"), "{ran}");

    let key = "bob+37eec9ae+AQ==";
    assert!(
        world.submit("grant_permissions", &json!({"approver": "bob", "public_key": key})).err.contains("key")
    );
    let genuine =
        grace_log::note::SignerKey::generate("bob", &mut grace_types::chance::SeededEntropy::new(9));
    let key = genuine.unwrap().verifier().to_string();
    let bob = json!({"approver": "bob", "public_key": key}).to_string();
    let ran =
        world.instance.grace(&["intent", "submit", "grant_permissions", "--actor", "Ann", "--payload", &bob]);
    assert!(ran.code == Some(1) && ran.err.contains("error[no_approver]"), "{ran}");
    assert!(ran.err.contains("takes a person other than Ann"), "{ran}");
    assert!(world.instance.told(&["approvals", "list"]).is_empty(), "nothing waits for nobody");
    let id = world.asked("grant_permissions", &json!({"approver": "bob", "public_key": key}));
    world.approve(&id);
    assert_eq!(world.over(&id)["state"], "succeeded");
    let names: Vec<Value> =
        world.instance.told(&["approvals", "approvers"]).into_iter().map(|one| one["name"].clone()).collect();
    assert_eq!(names, ["ann", "bob"]);
    let id = world.asked("grant_permissions", &json!({"dismiss": "bob"}));
    world.instance.told(&["approvals", "deny", &id, "--as", "ann", "--reason", "he stays"]);
    assert_eq!(world.over(&id)["state"], "denied");
    assert_eq!(world.instance.told(&["approvals", "approvers"]).len(), 2);
    world.instance.down();
}
