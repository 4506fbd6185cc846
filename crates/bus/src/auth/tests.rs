//! Tests of [`super`].

use super::*;

fn rules(allow: &[&str], deny: &[&str]) -> SubjectRules {
    let list = |l: &[&str]| l.iter().map(|s| (*s).to_owned()).collect();
    SubjectRules { allow: list(allow), deny: list(deny) }
}

fn user(name: &str, publish: SubjectRules, subscribe: SubjectRules) -> User {
    User {
        name: name.into(),
        credential: Credential::of_password(&format!("{name}-password")),
        permissions: Permissions { publish, subscribe },
        allow_responses: AllowResponses::on(),
    }
}

fn connect(user: &str, pass: &str) -> ConnectOptions {
    ConnectOptions { user: Some(user.into()), pass: Some(pass.into()), ..Default::default() }
}

#[test]
fn passwords() {
    let users = vec![user("web", rules(&["a.>"], &[]), rules(&[], &[]))];
    let authority = Authority::new(&AuthTable { users }).unwrap();
    assert_eq!(authority.authenticate(&connect("web", "web-password"), "").unwrap().name, "web");
    for (name, password) in [("web", ""), ("web", "web-passwore"), ("", ""), ("who", "web-password")] {
        assert!(authority.authenticate(&connect(name, password), "").is_none(), "{name} {password}");
    }
    assert!(authority.authenticate(&ConnectOptions::default(), "").is_none());
    assert!(authority.authenticate(&connect("web", &"x".repeat(CREDENTIAL_BYTES + 1)), "").is_none());
}

#[test]
fn nkeys_sign_the_nonce() {
    let pair = nkeys::KeyPair::new_user();
    let mut keyed = user("keyed", rules(&[], &[]), rules(&[], &[]));
    keyed.credential = Credential::Nkey(pair.public_key());
    let authority = Authority::new(&AuthTable { users: vec![keyed.clone()] }).unwrap();
    assert!(authority.uses_nkeys());
    let engine = base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let sign = |nonce: &str| ConnectOptions {
        nkey: Some(pair.public_key()),
        sig: Some(engine.encode(pair.sign(nonce.as_bytes()).unwrap())),
        ..Default::default()
    };
    assert!(authority.authenticate(&sign("n1"), "n1").is_some());
    assert!(authority.authenticate(&sign("n1"), "n2").is_none(), "a signature of another nonce");
    assert!(authority.authenticate(&sign(""), "").is_none(), "no nonce");
    let unsigned = ConnectOptions { sig: None, ..sign("n1") };
    assert!(authority.authenticate(&unsigned, "n1").is_none());
    assert!(authority.authenticate(&connect("keyed", ""), "").is_none(), "an nkey user has no password");
    keyed.credential = Credential::Nkey(nkeys::KeyPair::new_server().public_key());
    assert_eq!(
        Authority::new(&AuthTable { users: vec![keyed] }).unwrap_err(),
        AuthError::BadCredential("keyed".into())
    );
}

#[test]
fn deny_wins_and_nothing_is_allowed_by_silence() {
    let users = vec![
        user(
            "web",
            rules(&["app.>", "log"], &["app.secret.>"]),
            rules(&["app.>"], &["app.secret.>", "app.x"]),
        ),
        user("mute", rules(&[], &["a"]), rules(&[], &[])),
    ];
    let authority = Authority::new(&AuthTable { users }).unwrap();
    let (web, mute) = (authority.account("web").unwrap(), authority.account("mute").unwrap());
    for (subject, allowed) in
        [("app.a", true), ("log", true), ("app.secret.a", false), ("other", false), ("app", false)]
    {
        assert_eq!(web.may_publish(subject.as_bytes()), allowed, "{subject}");
        assert!(!mute.may_publish(subject.as_bytes()));
    }
    for (pattern, verdict) in [
        ("app.a", Verdict::Allowed),
        ("app.a.*", Verdict::Allowed),
        ("app.x", Verdict::Denied),
        ("app.*", Verdict::Filtered),
        ("app.>", Verdict::Filtered),
        ("app.secret.>", Verdict::Denied),
        ("app.secret.a", Verdict::Denied),
        (">", Verdict::Denied),
        ("*.a", Verdict::Denied),
    ] {
        assert_eq!(web.may_subscribe(pattern.as_bytes()), verdict, "{pattern}");
        assert_eq!(mute.may_subscribe(pattern.as_bytes()), Verdict::Denied);
    }
}

#[test]
fn a_bad_table_is_refused_whole() {
    let good = || user("web", rules(&["a"], &[]), rules(&[], &[]));
    let refuse = |users: Vec<User>| Authority::new(&AuthTable { users }).unwrap_err();
    assert_eq!(refuse(vec![good(), good()]), AuthError::DuplicateUser("web".into()));
    let bad = User { credential: Credential::PasswordSha256("zz".into()), ..good() };
    assert_eq!(refuse(vec![bad]), AuthError::BadCredential("web".into()));
    let bad = user("web", rules(&["a..b"], &[]), rules(&[], &[]));
    assert!(matches!(refuse(vec![bad]), AuthError::BadPattern { .. }));
    assert_eq!(refuse(vec![good(); USERS + 1]), AuthError::TooMany("users"));
}

#[test]
fn the_table_is_plain_json() {
    let json = r#"{"users":[{"name":"w","credential":{"password_sha256":"00"},"permissions":{
        "publish":{"allow":["a"],"deny":[]},"subscribe":{"allow":[],"deny":[]}}}]}"#;
    let table: AuthTable = serde_json::from_str(json).unwrap();
    assert_eq!(table.users[0].allow_responses, Some(AllowResponses::DEFAULT), "on if absent");
    let back: AuthTable = serde_json::from_str(&serde_json::to_string(&table).unwrap()).unwrap();
    assert_eq!(back, table);
}

#[test]
fn answers_are_bounded_in_number_time_and_memory() {
    let rule = AllowResponses { max: 2, expires_ms: 1000 };
    let at = |ms| Monotonic::ZERO.plus(Duration::from_millis(ms));
    let mut grants = Grants::default();
    assert!(!grants.take(b"r", at(0)));
    grants.note(rule, b"r", at(0));
    assert!(grants.take(b"r", at(1)) && grants.take(b"r", at(2)) && !grants.take(b"r", at(3)));
    grants.note(rule, b"r", at(10));
    assert!(!grants.take(b"r", at(1011)), "expired");
    for n in 0..RESPONSE_GRANTS * 3 {
        grants.note(rule, format!("r{n}").as_bytes(), at(2000));
    }
    assert!(grants.open.len() <= RESPONSE_GRANTS && grants.order.len() <= RESPONSE_GRANTS);
    assert!(
        !grants.take(b"r0", at(2000))
            && grants.take(format!("r{}", RESPONSE_GRANTS * 3 - 1).as_bytes(), at(2000))
    );
}

#[test]
fn cached_decisions_are_the_decisions() {
    let users = vec![user("web", rules(&["a.*"], &["a.x"]), rules(&[], &[]))];
    let authority = Authority::new(&AuthTable { users }).unwrap();
    let account = authority.account("web").unwrap();
    let mut cache = DecisionCache::default();
    for _ in 0..3 {
        for n in 0..200 {
            for (subject, decision) in [
                (format!("a.{n}"), Decision::Allowed),
                (format!("b.{n}"), Decision::Denied),
                ("a.x".into(), Decision::Denied),
                (format!("a..{n}"), Decision::Invalid),
                ("a".repeat(5000), Decision::Invalid),
                (String::new(), Decision::Invalid),
            ] {
                let subject = subject.as_bytes();
                assert_eq!(cache.decide(&account, subject, subject::hash(subject)), decision);
            }
        }
    }
}
