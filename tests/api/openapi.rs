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

/// All checks of the default and all phases; what is left out of them is said one by one.
const CONFIGURATION: &str = r#"
headers = { Authorization = "Bearer ${GRACE_TOKEN}" }

# 422 is for what only the instance knows to be wrong: a payload that does not fit its type's own schema, a key used for something else.
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "401", "403", "404", "409", "422", "503"]

# A batch of more than its bound is 413, a body of another kind than the described ones 415.
[checks.negative_data_rejection]
expected-statuses = ["400", "401", "403", "404", "406", "413", "415", "422", "428"]

# Extension attributes have names and values of their own (CloudEvents 1.0, section 3.1), and the description leaves them open.
[[operations]]
include-path = "/v1/events"
headers = { Authorization = "Bearer ${GRACE_EVENTS_TOKEN}" }
checks.positive_data_acceptance.expected-statuses = ["2xx", "400", "401", "403", "503"]

# Every no has status 200, a wrong token's and an unreadable body's included: to an agent's host anything else is no objection (decision 0020).
[[operations]]
include-path = "/v1/hooks/{agent}"
checks.ignored_auth.enabled = false
checks.missing_required_header.enabled = false
checks.negative_data_rejection.enabled = false

# A pattern does not say how large the number in an intent's id may be, nor a format that times are from 1970 to 2261, nor that a whole number
# is written without a fraction: 400 says so.
[[operations]]
include-path = ["/v1/intents", "/v1/approvals", "/v1/approvals/{id}/approve", "/v1/approvals/{id}/deny", "/v1/reviews", "/v1/narratives"]
checks.positive_data_acceptance.expected-statuses = ["2xx", "400", "401", "403", "404", "409", "422", "503"]
"#;

#[test]
fn every_answer_is_as_described_whatever_is_asked() {
    let instance = up();
    let served = get(&instance, "/v1/openapi.json");
    let committed = concat!(env!("CARGO_MANIFEST_DIR"), "/../schemas/openapi.json");
    assert_eq!(served.body, std::fs::read_to_string(committed).unwrap());
    let mut more = vec!["--ttl", "1h", "--rate", "10000"];
    more.extend(SCOPES.iter().flat_map(|scope| ["--scope", *scope]));
    let token = token(&instance, "fuzz", &more);
    let events = std::fs::read_to_string(instance.place().api_token()).unwrap();
    std::fs::write(instance.file("schemathesis.toml"), CONFIGURATION).unwrap();
    let output = Command::new("python3")
        .args(["-m", "schemathesis.cli", "run", &format!("{}/v1/openapi.json", url(&instance))])
        .env("GRACE_TOKEN", &token)
        .env("GRACE_EVENTS_TOKEN", events.trim_end())
        // The same requests each time, and so many that it is over within a minute on a busy machine.
        .args(["--max-examples", "10", "--seed", "1", "--no-color", "--no-shrink"])
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
