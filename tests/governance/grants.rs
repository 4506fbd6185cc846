//! Whoever speaks on governance's subject still cannot give leave without governance's key.

use std::time::Duration;

use grace_bus::Message;
use grace_log::note::SignerKey;
use grace_types::chance::SeededEntropy;
use serde_json::{Value, json};

use crate::instance::{Instance, durable::connect_as, until};

/// A grant as governance tells it, signed with a key.
fn grant(id: &str, until: &str, key: &SignerKey) -> Value {
    let text = |signature: &str| {
        format!(
            r#"{{"id":"{id}","by":"ann","reason":"the disk fails","since":"2026-01-01T00:00:00Z","until":"{until}","signature":"{signature}"}}"#
        )
    };
    let signature = key.sign(&format!("grace emergency grant v1\n{}\n", text(""))).to_string();
    let mut grant: Value = serde_json::from_str(&text("")).unwrap();
    grant["signature"] = signature.into();
    grant
}

#[test]
fn a_forged_grant_counts_for_nothing_an_expired_one_is_over_and_a_genuine_one_gives_leave() {
    let instance = Instance::of("").with_people();
    instance.up();
    let key = std::fs::read_to_string(instance.data().join("keys/governance.key")).unwrap();
    let genuine = SignerKey::from_secret_text(key.trim_end()).unwrap();
    let stranger = SignerKey::generate("governance", &mut SeededEntropy::new(7)).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    // With governance's own credential: the broker lets nobody else speak there.
    let bus = runtime.block_on(async { connect_as(&instance, "governance") });
    let tell = |grant: Value| {
        let body = json!({"command": {"adopt": {"grants": [grant], "key": stranger.verifier().to_string()}}});
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
    let forged = tell(grant("emg-7", far, &stranger));
    assert_eq!(forged["refused"]["code"], "not_genuine", "{forged}");
    assert_eq!(recover()["decision"], "denied");
    let expired = tell(grant("emg-8", "2026-01-02T00:00:00Z", &genuine));
    assert!(expired.get("done").is_some(), "{expired}");
    assert_eq!(recover()["decision"], "denied");
    let taken = tell(grant("emg-9", far, &genuine));
    assert!(taken.get("done").is_some(), "{taken}");
    let allowed = recover();
    assert_eq!(allowed["decision"], "allowed", "{allowed}");
    assert!(allowed["reasons"].to_string().contains("emg-9"), "{allowed}");
    until("it is told that one was refused", || {
        let told = instance.told(&["narratives", "--actor", "cortex", "--action", "grant_refused"]);
        told.iter().any(|one| one["why"].to_string().contains("emg-7")).then_some(())
    });
    instance.down();
}
