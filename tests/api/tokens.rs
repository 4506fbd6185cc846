//! Tokens: made, listed, wrong, without the scope, at their end, revoked, and guessed.

use std::{os::unix::fs::PermissionsExt as _, path::Path};

use crate::{
    caller::{token, told},
    client::{get, get_as, post_as},
    instance::{Instance, until},
};

const INTENTS: &str = "/v1/intents";

#[test]
fn a_token_opens_what_it_is_for_until_it_ends_or_is_revoked() {
    let instance = Instance::of("");
    let early = token(&instance, "early", &["--scope", "intents:read", "--ttl", "1h"]);
    instance.up();
    let look = |token: &str| get_as(&instance, token, INTENTS, &[]);
    assert_eq!(look(&early).status, 200, "one that was made before Grace ran");
    let reader = token(&instance, "ci", &["--scope", "intents:read", "--ttl", "1d"]);
    assert_eq!(look(&reader).status, 200);
    let wrong_scope = post_as(&instance, &reader, INTENTS, &[], r#"{"type": "query_knowledge"}"#);
    assert_eq!((wrong_scope.status, &wrong_scope.json()["code"]), (403, &"missing_scope".into()));

    let (id, secret) = reader.split_once('.').unwrap();
    let none = get(&instance, INTENTS);
    assert_eq!((none.status, none.kind.as_str()), (401, "application/problem+json"));
    let other = early.split_once('.').unwrap();
    let wrong =
        [format!("{id}.{}", other.1), format!("{}.{secret}", other.0), id.to_owned(), secret.to_owned()];
    for wrong in wrong {
        let answer = look(&wrong);
        assert_eq!((answer.status, &answer.json()["code"]), (401, &"unauthorized".into()), "{wrong}");
    }
    // The token of events is none of these.
    let events = std::fs::read_to_string(instance.place().api_token()).unwrap();
    assert_eq!(look(events.trim_end()).status, 401);

    let short = token(&instance, "short", &["--scope", "intents:read", "--ttl", "1s"]);
    until("its time is over", || {
        let answer = look(&short);
        (answer.status == 401 && answer.json()["detail"].as_str().unwrap().contains("ended at")).then_some(())
    });
    told(&instance, &["token", "revoke", id]);
    let revoked = look(&reader);
    assert_eq!(revoked.status, 401, "at once: {revoked:?}");
    assert!(revoked.json()["detail"].as_str().unwrap().contains("was revoked"), "{revoked:?}");
    assert_eq!(look(&early).status, 200, "others go on");

    let listed = instance.grace(&["--json", "token", "list"]);
    for (word, there) in [("\"revoked\"", true), ("\"expired\"", true), ("\"live\"", true), ("sha256", false)]
    {
        assert_eq!(listed.out.contains(word), there, "{word}: {listed}");
    }
    let mode = std::fs::metadata(instance.place().tokens()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    instance.down();
    assert!(!is_written(instance.data(), secret), "the secret is nowhere in the data folder");
}

/// Whether a text stands in a file in the folder, or below it.
fn is_written(folder: &Path, text: &str) -> bool {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let holds = |path: &Path| {
        let bytes = std::fs::read(path).unwrap_or_default();
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    };
    entries.into_iter().any(|path| if path.is_dir() { is_written(&path, text) } else { holds(&path) })
}

#[test]
fn guesses_and_requests_have_a_rate_and_what_makes_no_sense_is_refused() {
    let instance = Instance::of("");
    for (args, code) in [
        (&["create", "--actor", "a.b", "--scope", "evaluate", "--ttl", "1h"][..], "bad_name"),
        (&["revoke", "tok_00000000"], "not_found"),
    ] {
        let ran = instance.grace(&[&["--json", "token"], args].concat());
        assert_eq!(ran.code, Some(2), "{ran}");
        assert!(ran.err.contains(code), "{ran}");
    }
    for args in [
        &["--scope", "everything", "--ttl", "1h"][..],
        &["--scope", "evaluate", "--ttl", "366d"],
        &["--scope", "evaluate", "--ttl", "1h", "--kind", "operator"],
    ] {
        let ran = instance.grace(&[&["token", "create", "--actor", "a"], args].concat());
        assert_eq!(ran.code, Some(2), "{ran}");
    }
    instance.up();
    let good = token(&instance, "ci", &["--scope", "intents:read", "--ttl", "1h", "--rate", "5"]);
    let guess = || get_as(&instance, "tok_00000000.guess", INTENTS, &[]).status;
    let limited = |status: &dyn Fn() -> u16| until("the rate is kept", || (status() == 429).then_some(()));
    // A burst that is over before the bucket has filled up again, whatever the machine does meanwhile.
    until("guesses are limited", || {
        std::thread::scope(|scope| {
            let guesses: Vec<_> = (0..60).map(|_| scope.spawn(guess)).collect();
            let statuses: Vec<u16> = guesses.into_iter().map(|guess| guess.join().unwrap()).collect();
            assert!(statuses.iter().all(|status| matches!(status, 401 | 429)), "{statuses:?}");
            statuses.contains(&429).then_some(())
        })
    });
    let first = get_as(&instance, &good, INTENTS, &[]);
    assert_eq!(first.status, 200, "whoever has a token is not kept out by those who guess: {first:?}");
    limited(&|| get_as(&instance, &good, INTENTS, &[]).status);
    std::fs::set_permissions(instance.place().tokens(), std::fs::Permissions::from_mode(0o644)).unwrap();
    until("nobody is known by a file that others can read", || {
        let answer = get_as(&instance, &good, INTENTS, &[]);
        (answer.status == 503).then_some(())
    });
    let listed = instance.grace(&["token", "list"]);
    assert_eq!(listed.code, Some(1), "{listed}");
    assert!(listed.err.contains("error[bad_tokens]") && listed.err.contains("mode 644"), "{listed}");
    instance.down();
}
