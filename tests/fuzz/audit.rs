#![no_main]
//! [`redress_tests::fuzz::audit`] under `cargo fuzz`.

libfuzzer_sys::fuzz_target!(|input: &[u8]| redress_tests::fuzz::audit(input));
