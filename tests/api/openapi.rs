//! The interface against its own description, by somebody else's program: Schemathesis makes requests of all kinds out of the document.

use std::process::Command;

use crate::{
    caller::{token, up},
    client::{get, url},
};

const SCOPES: [&str; 9] = [
    "intents:submit",
    "intents:read",
    "approvals:read",
    "approvals:decide",
    "reviews:read",
    "narratives:read",
    "evaluate",
    "evaluate:others",
    "hooks",
];

#[test]
fn every_answer_is_as_described_whatever_is_asked() {
    let instance = up();
    let served = get(&instance, "/v1/openapi.json");
    let committed = concat!(env!("CARGO_MANIFEST_DIR"), "/../schemas/openapi.json");
    assert_eq!(served.body, std::fs::read_to_string(committed).unwrap());
    let mut more = vec!["--ttl", "1h", "--rate", "10000"];
    more.extend(SCOPES.iter().flat_map(|scope| ["--scope", *scope]));
    let token = token(&instance, "fuzz", &more);
    let checks =
        "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance";
    let output = Command::new("python3")
        .args(["-m", "schemathesis.cli", "run", &format!("{}/v1/openapi.json", url(&instance))])
        .args(["-H", &format!("Authorization: Bearer {token}"), "--checks", checks])
        // The same requests each time, and so many that it is over within a minute on a busy machine.
        .args(["--phases", "coverage,fuzzing", "--max-examples", "10", "--seed", "1", "--no-color"])
        .args(["--generation-deterministic", "--suppress-health-check", "all"])
        // Status 503 is what it says of an instance of which a part is away.
        .args(["--exclude-path", "/readyz", "--request-timeout", "60"])
        .current_dir(instance.file(""))
        .output()
        .expect("python3 is missing: install the Debian package python3");
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.success(),
        "python3 -m pip install schemathesis, if it is missing\n{told}\n{errors}"
    );
    assert!(told.contains("18 selected / 19 total"), "{told}");
    instance.down();
}
