//! Fuzzes the protocol parser and what lies behind it; the properties are in `src/protocol.rs`.
#![no_main]

#[path = "../src/protocol.rs"]
mod protocol;

libfuzzer_sys::fuzz_target!(|data: &[u8]| protocol::check(data));
