//! The message bus: a broker that speaks the NATS client protocol, and the client facade over it.
//!
//! | Module | What it holds |
//! |---|---|
//! | [`message`] | messages, headers and subjects as the facade's users see them |
//! | [`client`] | the facade and its three backs |
//! | [`protocol`] | the wire: parser and encoder, both directions |
//! | [`subject`], [`trie`], [`mapping`], [`auth`] | what decides where a message goes and who may send it |
//! | [`broker`] | the broker without IO: bytes in, bytes and events out |
//! | [`shell`] | the broker's sockets |
//! | [`limits`] | every bound |

pub mod auth;
pub mod broker;
pub mod client;
pub mod limits;
pub mod mapping;
pub mod message;
pub mod protocol;
pub mod shell;
pub mod subject;
pub mod trie;
mod unix;

pub use client::{Bus, BusError, Subscription};
pub use message::{Headers, Message};
