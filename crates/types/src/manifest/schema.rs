//! The JSON Schema of the manifest, for editors (`# yaml-language-server: $schema=…`). It says what has the right shape;
//! whether names exist and texts mean something, only loading tells.

use super::raw::RawManifest;

/// The JSON Schema (draft 2020-12) of a manifest. What it says about work is open here; Layer 2 puts its own in.
#[must_use]
pub fn json_schema() -> serde_json::Value {
    schemars::schema_for!(RawManifest).to_value()
}
