//! The message bus: a broker that speaks the NATS client protocol, and the client facade over it.
//!
//! | Module | What it holds |
//! |---|---|
//! | [`message`] | messages, headers and subjects as the facade's users see them |
//! | [`client`] | the facade and its three backs |

pub mod client;
pub mod message;

pub use client::{Bus, BusError, Subscription};
pub use message::{Headers, Message};
