//! Bearer tokens: who speaks over HTTP, and what he may ask for.
//!
//! ```text
//! grace token create ─► record (name, kind, scopes, end, digest of the secret) ─► DATA/keys/tokens.json, 0600
//! request ─► Authorization: Bearer tok_4f9a2c1b.SECRET ─► known? in time? the same digest? within its rate? ─► Caller
//! ```
//!
//! | Module | What it holds |
//! |---|---|
//! | [`record`] | what is kept of a token, and the text that its owner shows |
//! | [`file`] | the records, as the operator changes them and this interface reads them |
//! | [`caller`] | the extractor: the one way in which a handler learns who asks |
//!
//! A token says who asks; what he is allowed is for policies to say. The secret has 256 random bits, so its SHA-256 is kept and nothing slower:
//! there is no dictionary to try against it, and a digest that takes long on purpose would be paid by every request (decision 0018).
//!
//! The token of `POST /v1/events` is another one ([`crate::token`]): events come from machines that have no name here.

pub mod caller;
pub mod file;
pub mod record;

pub use self::{
    caller::{Caller, Peer},
    record::{Kind, Record, Scope},
};
