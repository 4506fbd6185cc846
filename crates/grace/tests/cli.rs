//! The command line as a person meets it: the real binary, its texts against golden files, its exit statuses, and its
//! behaviour against a control plane that is made up here, so that each answer can be had.

#![expect(clippy::unwrap_used, reason = "a test's way to fail")]

mod cli {
    mod binary;
    mod errors;
    mod fake;
    mod golden;
    mod governing;
    mod help;
    mod log;
    mod narratives;
    mod reactions;
    mod running;
    mod up;
    mod verify;
}
