#![no_main]
//! [`redress_tests::fuzz::event`] under `cargo fuzz`.

libfuzzer_sys::fuzz_target!(|input: &[u8]| redress_tests::fuzz::event(input));
