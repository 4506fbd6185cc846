//! Who may connect to the bus in this boot, and with which password.
//!
//! Passwords are derived from the secret that the guardian drew at boot, so a new control plane knows those that its
//! predecessor handed out, and a new boot makes all old ones worthless. The broker gets their digests only.

use std::net::SocketAddr;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use grace_bus::auth::{AllowResponses, AuthTable, Credential, User};
use grace_kernel::evidence;
use grace_types::{
    intent::{
        SUBMIT_SUBJECT,
        asked::{GOVERN_SUBJECT, OWE_SUBJECT, intent_subject},
    },
    manifest::{ComponentKind, Permissions, ProcessSpec},
};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The control plane's own user on the bus.
pub(super) const CONTROL_PLANE: &str = "control_plane";
/// The user for people at this machine: everything is allowed but to speak for the layer that governs.
pub(super) const OPERATOR: &str = "operator";

/// The user for coding agents of the local user, through `grace hook` and `grace mcp`.
pub(super) const AGENTS: &str = "agents";

/// Where the layer that governs speaks: what is approved goes to the task manager on the first, what is decided by comes on the second,
/// what people owe is told on the third, and votes are told and cast under the fourth. Whoever could publish there would have approved
/// whatever they like, or would have others approve what nobody asked for, so that nobody may whose own job it is not: not the
/// operator, and no program, whatever its manifest allows.
const GOVERNING: [&str; 4] = [SUBMIT_SUBJECT, GOVERN_SUBJECT, OWE_SUBJECT, "grace.vote.>"];

/// The kinds of actors as which a person cannot ask: who asks is to be known from the record. As an agent a person may ask, since an
/// agent may nothing that a person may not.
const IMPERSONAL: [&str; 3] = ["kernel", "automation", "program"];

/// The credentials of one boot.
#[derive(Clone)]
pub(super) struct Credentials {
    secret: String,
    address: SocketAddr,
}

impl Credentials {
    /// The credentials that follow from `secret`, for a broker at `address`.
    #[must_use]
    pub(super) const fn new(secret: String, address: SocketAddr) -> Self {
        Self { secret, address }
    }

    /// Where the broker listens for NATS clients.
    #[must_use]
    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The password of a user: 256 bits in base64url.
    #[must_use]
    #[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
    pub(super) fn password(&self, user: &str) -> String {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(self.secret.as_bytes()).expect("any key length is valid");
        mac.update(b"grace bus user\0");
        mac.update(user.as_bytes());
        URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
    }

    /// The `NATS_URL` of a user.
    #[must_use]
    pub(super) fn url(&self, user: &str) -> String {
        format!("nats://{user}:{}@{}", self.password(user), self.address)
    }

    /// What the broker needs to know: every component with what it may say and hear, the control plane, and the operator.
    pub(super) fn table<'a>(&self, specs: impl Iterator<Item = &'a ProcessSpec>) -> AuthTable {
        let user = |name: &str, permissions: Permissions| User {
            name: name.to_owned(),
            credential: Credential::of_password(&self.password(name)),
            permissions,
            allow_responses: Some(AllowResponses::DEFAULT),
        };
        let mut operator = Permissions::only([">"], [">"]);
        operator.publish.deny.extend(GOVERNING.map(str::to_owned));
        operator.publish.deny.extend(IMPERSONAL.map(|kind| intent_subject(kind, ">")));
        let mut users = vec![
            user(CONTROL_PLANE, control_plane_permissions()),
            user(OPERATOR, operator),
            user(AGENTS, agents_permissions()),
        ];
        users.extend(specs.map(|spec| {
            let mut permissions = spec.permissions.clone();
            // A worker publishes what plans say, and those are whatever somebody wrote.
            if matches!(spec.kind, ComponentKind::Process | ComponentKind::Worker) {
                permissions.publish.deny.extend(GOVERNING.map(str::to_owned));
            }
            user(&spec.name, permissions)
        }));
        AuthTable { users }
    }
}

/// An agent asks for intents as an agent, hears what was decided, and does nothing else. Which agent it is, it says itself: they all are
/// programs of one user, who could start each as any other. Whoever reads this credential's file is that user.
fn agents_permissions() -> Permissions {
    let inbox = format!("_INBOX.{AGENTS}.>");
    Permissions::only([intent_subject("agent", "*")], [inbox, "grace.cortex.decided.*".to_owned()])
}

fn control_plane_permissions() -> Permissions {
    let mut own = Permissions::only(
        ["grace.event.control_plane.>", "grace.cmd.*"],
        ["grace.control_plane.status", "grace.telemetry.health_monitor", "_INBOX.control_plane.>"],
    );
    own.publish.allow.extend(evidence::subjects(CONTROL_PLANE));
    own
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_differ_by_user_and_by_boot_and_repeat_for_a_successor() {
        let address = "127.0.0.1:4222".parse().unwrap();
        let (a, b) = (Credentials::new("a".into(), address), Credentials::new("b".into(), address));
        assert_ne!(a.password("web"), a.password("web2"));
        assert_ne!(a.password("web"), b.password("web"));
        assert_eq!(a.password("web"), Credentials::new("a".into(), address).password("web"));
        assert_eq!(a.password("web").len(), 43);
        let text = serde_json::to_string(&a.table(std::iter::empty())).unwrap();
        assert!(!text.contains(&a.password(OPERATOR)), "only digests reach the broker's file");
    }
}
