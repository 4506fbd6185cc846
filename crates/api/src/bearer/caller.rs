//! Who asks: what an extractor makes of the `Authorization` header before a handler sees the request.
//!
//! A wrong token costs its peer one of the guesses that it has in a second, and a right one costs its owner one of his requests. A peer that
//! guesses does not keep others at the same address out: behind a loopback address everybody has the same one.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, StatusCode, header, request::Parts},
};
use grace_cortex::request::Actor;
use grace_types::time::Monotonic;

use super::record::{Record, Scope, Standing, parts};
use crate::{
    api::{Api, too_many},
    limits,
    problem::Problem,
    rate::Bucket,
};

/// The address that a request came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Peer(pub IpAddr);

/// Who asks. A handler that takes one is closed to everybody without a token.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The token's name.
    pub token: String,
    /// For whom it speaks.
    pub actor: Actor,
    scopes: Vec<Scope>,
    per_second: u32,
}

impl Caller {
    /// That the token may be used for this.
    ///
    /// # Errors
    /// Status 403.
    pub fn needs(&self, scope: Scope) -> Result<(), Problem> {
        if self.has(scope) {
            return Ok(());
        }
        let detail = format!("{} does not have the scope `{scope}`", self.token);
        Err(Problem::new(StatusCode::FORBIDDEN, "missing_scope", detail))
    }

    /// Whether the token may be used for this.
    #[must_use]
    pub fn has(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }
}

impl FromRequestParts<Arc<Api>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        let peer = parts.extensions.get::<Peer>().copied();
        let Record { id, actor, kind, scopes, per_second, .. } = api.holder(&parts.headers, peer)?;
        let actor = Actor { kind: kind.into(), name: actor };
        let caller = Self { token: id, actor, scopes, per_second };
        api.spend(&caller, 1)?;
        Ok(caller)
    }
}

impl Api {
    /// The token that a request shows.
    fn holder(&self, headers: &HeaderMap, peer: Option<Peer>) -> Result<Record, Problem> {
        let shown = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let shown = shown.and_then(|value| value.split_once(' '));
        let shown = shown.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        let Some((id, secret)) = shown.and_then(|(_, text)| parts(text.trim())) else {
            return Err(self
                .refused(peer, "this needs `Authorization: Bearer TOKEN`; `grace token create` makes one"));
        };
        let known = self.tokens.now().map_err(|e| {
            grace_kernel::process::tell(&format!("nobody can be known by a token: {e}"));
            Problem::unavailable("unavailable", "the tokens cannot be read", limits::RETRY_AFTER)
        })?;
        let holder = known.iter().find(|record| record.id == id).filter(|record| record.is_secret(secret));
        let Some(record) = holder else { return Err(self.refused(peer, "there is no such token")) };
        match record.standing(self.clock.now().wall) {
            Standing::Live => Ok(record.clone()),
            Standing::Expired => Err(self.refused(peer, &format!("{id} ended at {}", record.expires))),
            Standing::Revoked => Err(self.refused(peer, &format!("{id} was revoked"))),
        }
    }

    /// Takes so many requests of what the caller has in a second.
    ///
    /// # Errors
    /// Status 429.
    pub(crate) fn spend(&self, caller: &Caller, count: usize) -> Result<(), Problem> {
        self.allowances.spend(caller, self.now(), count)
    }

    /// Whether a token can still be used.
    pub(crate) fn is_live(&self, token: &str) -> bool {
        let now = self.clock.now().wall;
        let live = |record: &Record| record.id == token && record.standing(now) == Standing::Live;
        self.tokens.now().is_ok_and(|known| known.iter().any(live))
    }

    /// Status 401; 429 for a peer that shows too many wrong ones.
    pub(crate) fn refused(&self, peer: Option<Peer>, detail: &str) -> Problem {
        match self.allowances.guess(peer, self.now()) {
            Ok(()) => Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail),
            Err(wait) => too_many("too many requests with a wrong token").after(wait),
        }
    }
}

/// What peers and tokens have left in this second.
#[derive(Debug, Default)]
pub(crate) struct Allowances {
    guesses: Mutex<HashMap<Option<Peer>, Bucket>>,
    requests: Mutex<HashMap<String, Bucket>>,
}

impl Allowances {
    fn guess(&self, peer: Option<Peer>, now: Monotonic) -> Result<(), std::time::Duration> {
        let mut guesses = self.guesses.lock().unwrap_or_else(PoisonError::into_inner);
        if guesses.len() >= limits::GUESSERS && !guesses.contains_key(&peer) {
            guesses.retain(|_, bucket| !bucket.is_full(now));
        }
        // When so many guess at the same time, further ones share what a peer without an address has.
        let peer = peer.filter(|_| guesses.len() < limits::GUESSERS || guesses.contains_key(&peer));
        let bucket = guesses.entry(peer).or_insert_with(|| Bucket::new(limits::WRONG_TOKENS_PER_SECOND));
        bucket.take(now, 1)
    }

    /// Takes so much of what a token has in a second.
    fn spend(&self, caller: &Caller, now: Monotonic, count: usize) -> Result<(), Problem> {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        if requests.len() >= limits::TOKENS && !requests.contains_key(&caller.token) {
            requests.retain(|_, bucket| !bucket.is_full(now));
        }
        let bucket = requests.entry(caller.token.clone()).or_insert_with(|| Bucket::new(caller.per_second));
        bucket.take(now, count).map_err(|wait| {
            too_many(&format!("more than {} requests a second with {}", caller.per_second, caller.token))
                .after(wait)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn each_peer_has_its_own_guesses_and_their_number_is_bounded() {
        let allowances = Allowances::default();
        let now = Monotonic::from_nanos(5_000_000_000);
        let peer = |n: u32| Some(Peer(IpAddr::V4(Ipv4Addr::from_bits(n))));
        let taken = |peer| (0..100).take_while(|_| allowances.guess(peer, now).is_ok()).count();
        assert_eq!(taken(peer(1)), limits::WRONG_TOKENS_PER_SECOND as usize);
        assert_eq!(taken(peer(2)), limits::WRONG_TOKENS_PER_SECOND as usize);
        for n in 0..5000 {
            let _ = allowances.guess(peer(n), now);
        }
        assert!(allowances.guesses.lock().unwrap().len() <= limits::GUESSERS + 1);
        assert!(allowances.guess(peer(9_999_999), now).is_err(), "they share one when so many guess");
    }
}
