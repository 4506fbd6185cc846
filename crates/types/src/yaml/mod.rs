//! YAML in which every value knows where it was written, decoded into serde types with every fault reported.
//!
//! Text → [`Document`] (a tree of nodes with byte ranges: aliases resolved, duplicate keys reported) → [`Document::decode`]
//! into any `Deserialize` type → the caller's own checks, which report through [`Document::fault`] by path. Serde stops
//! at the first error; here a value that does not fit is reported, taken out of the tree, and decoding starts again,
//! so that one run tells a user everything that is wrong with a file.
//!
//! A scalar keeps its text until a type asks for it. So `restart: no` is the word `no`, and `012` stays `012`, whatever
//! version of YAML the writer had in mind.
//!
//! Not here: writing YAML, several documents in one file, tags other than `!!str`.

mod decode;
mod report;
mod tree;

pub(crate) use decode::one_of;
pub use report::{Diagnostic, Fault, nearest, suggest};
pub use tree::{Document, Path, Step};
