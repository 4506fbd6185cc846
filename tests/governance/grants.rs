//! Whoever speaks on governance's subject still can put nothing in force, and give no leave, without governance's key.

use std::time::Duration;

use grace_bus::Message;
use grace_log::note::SignerKey;
use grace_types::chance::SeededEntropy;
use rustix::process::Signal;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::instance::{Instance, durable::connect_as, kill, until};

/// What is in force as governance tells it, with this grant alone, signed with a key.
fn in_force(revision: u64, generation: &Value, grant: Option<(&str, &str)>, key: &SignerKey) -> Value {
    let grants = grant.map(|(id, until)| {
        format!(
            r#"{{"id":"{id}","by":"ann","reason":"the disk fails","since":"2026-01-01T00:00:00Z","until":"{until}"}}"#
        )
    });
    let grants = format!("[{}]", grants.unwrap_or_default());
    let digest = |name: &str| -> String {
        let text = generation[name].as_str().unwrap();
        Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
    };
    let text = format!(
        "grace in force v1\nrevision {revision}\ngeneration {}\npolicies {}\ncharter {}\ngrants {grants}\n",
        generation["number"],
        digest("policies"),
        digest("charter")
    );
    let grants: Value = serde_json::from_str(&grants).unwrap();
    let signature = key.sign(&text).to_string();
    json!({"revision": revision, "generation": generation, "grants": grants, "signature": signature})
}

#[test]
fn what_is_forged_counts_for_nothing_and_what_has_ended_is_not_taken_up_again() {
    let instance = Instance::of("").with_people();
    instance.up();
    let key = std::fs::read_to_string(instance.data().join("keys/governance.key")).unwrap();
    let genuine = SignerKey::from_secret_text(key.trim_end()).unwrap();
    let stranger = SignerKey::generate("governance", &mut SeededEntropy::new(7)).unwrap();
    let generation = instance.told(&["governance", "show"]).remove(0)["generation"].take();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    // With governance's own credential: the broker lets nobody else speak there.
    let bus = runtime.block_on(async { connect_as(&instance, "governance") });
    let tell = |in_force: &Value| {
        let body =
            json!({"command": {"adopt": {"in_force": in_force, "key": stranger.verifier().to_string()}}});
        let body = body.to_string().into_bytes();
        until("the cortex answers", || {
            let message = Message::new("grace.cortex.govern", body.clone());
            let answer = runtime.block_on(bus.request(message, Duration::from_secs(2))).ok()?;
            serde_json::from_slice::<Value>(&answer.payload).ok()
        })
    };
    let recover = || {
        let args = ["--json", "intent", "submit", "emergency_recovery", "--actor", "ann"];
        let ran = instance.grace(&args);
        serde_json::from_str::<Value>(&ran.out).unwrap_or_else(|e| panic!("{e}: {ran}"))
    };
    let far = "2200-01-01T00:00:00Z";
    let forged = tell(&in_force(1, &generation, Some(("emg-7", far)), &stranger));
    assert_eq!(forged["refused"]["code"], "not_genuine", "{forged}");
    let mut other = in_force(1, &generation, None, &genuine);
    other["generation"]["number"] = 5.into();
    assert_eq!(tell(&other)["refused"]["code"], "not_genuine", "nor are other policies");
    assert_eq!(recover()["decision"], "denied");
    let expired = tell(&in_force(2, &generation, Some(("emg-8", "2026-01-02T00:00:00Z")), &genuine));
    assert!(expired.get("done").is_some(), "{expired}");
    assert_eq!(recover()["decision"], "denied");
    let begun = in_force(3, &generation, Some(("emg-9", far)), &genuine);
    let taken = tell(&begun);
    assert!(taken.get("done").is_some(), "{taken}");
    let allowed = recover();
    assert_eq!(allowed["decision"], "allowed", "{allowed}");
    assert!(allowed["reasons"].to_string().contains("emg-9"), "{allowed}");

    let ended = tell(&in_force(4, &generation, None, &genuine));
    assert!(ended.get("done").is_some(), "{ended}");
    let cortex = instance.ready("cortex").pid;
    kill(cortex.unwrap(), Signal::KILL);
    instance.until_component("cortex", "is ready again", |c| c.ready && c.pid != cortex);
    let again = tell(&begun);
    assert_eq!(again["refused"]["code"], "old_revision", "{again}");
    assert_eq!(recover()["decision"], "denied");
    until("it is told what was refused", || {
        let told = instance.told(&["narratives", "--actor", "cortex", "--action", "in_force_refused"]);
        let of = |why: &str| told.iter().any(|one| one["why"].to_string().contains(why));
        (of("it does not have governance's signature") && of("was in force before")).then_some(())
    });
    instance.told(&["emergency", "begin", "--reason", "disk", "--for", "15m"]);
    until("governance gives leave all the same", || (recover()["decision"] == "allowed").then_some(()));
    instance.down();
}
