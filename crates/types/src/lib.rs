//! The nouns of Grace, shared by every floor above.
//!
//! Nothing here does IO, but for [`manifest::load`], which reads the files it is given. Time and chance come in as arguments ([`time::Clock`], [`chance::Entropy`]), so that
//! everything built on these types replays byte for byte in the simulator.
//!
//! | Module | What it holds |
//! |---|---|
//! | [`id`] | typed, sortable identifiers |
//! | [`time`] | timestamps, hybrid logical clock, the clock trait |
//! | [`chance`] | the entropy trait and its seeded twin |
//! | [`event`] | the CloudEvents envelope and its NATS headers |
//! | [`evidence`] | a journal's record as an entry of the tamper-evident log |
//! | [`intent`] | what somebody wants done, as it travels |
//! | [`narrative`] | the 5W1H of one recorded decision, for people |
//! | [`reason`] | reasons and the 5W1H of a decision |
//! | [`limits`] | every bound, with its reason |
//! | [`trace`] | W3C Trace Context: which trace something belongs to |
//! | [`manifest`] | what the user asks Grace to run |
//! | [`yaml`] | YAML that knows where every value stands |

pub mod chance;
pub mod event;
pub mod evidence;
pub mod id;
pub mod intent;
pub mod limits;
pub mod manifest;
pub mod narrative;
pub mod reason;
mod text;
pub mod time;
pub mod trace;
pub mod yaml;
