//! The committed JSON Schema is the one that the types give. `UPDATE_GOLDEN=1` rewrites it.

use grace_types::manifest;

use super::{assert_golden, workspace};

#[test]
fn the_committed_schema_is_current() {
    let mut text = serde_json::to_string_pretty(&manifest::json_schema()).unwrap();
    text.push('\n');
    assert_golden(&workspace().join("schemas/manifest.schema.json"), &text);
}
