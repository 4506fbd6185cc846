//! The NATS client protocol, both directions, without IO.
//!
//! [`parse`] turns the bytes at the front of a buffer into a [`Frame`] that borrows from it: no allocation and no
//! copy for a message. [`encode`] writes frames to the end of a buffer. Broker and client share both; which frames
//! make sense in which direction is their business, not the codec's.
//!
//! Source: the NATS documentation, "Client Protocol" (INFO, CONNECT, PUB, HPUB, SUB, UNSUB, MSG, HMSG, PING, PONG,
//! +OK, -ERR). As in nats-server, operation names take either case, blanks and tabs separate arguments, and a line
//! may end in a bare line feed; a payload must be followed by CR LF.

pub mod encode;
pub mod headers;
pub mod info;
mod parse;

pub use parse::{Bounds, Frame, ParseError, Payload, Progress, parse};
