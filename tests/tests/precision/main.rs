//! Only what failed is changed, over generated documents and sets: the resource is made in the embedded emulator, the
//! real engine fixes it and undoes that, and every claim is read by calls of the test's own.
//!
//! What a control wants is written here a second time, from the control's documentation, and for policies and security
//! groups as what they let through, not as what they look like.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod group;
mod lifecycle;
mod policy;
mod world;

use std::{fmt::Debug, time::UNIX_EPOCH};

use proptest::{
    strategy::Strategy,
    test_runner::{Config, RngAlgorithm, TestCaseResult, TestRng, TestRunner},
};

/// Holds a property over so many generated values; many more where `REDRESS_LONG` is set. A failure names the seed, and
/// `REDRESS_SEED` makes the same values again.
fn hold<S: Strategy<Value: Debug>>(cases: u32, values: &S, property: impl Fn(S::Value) -> TestCaseResult) {
    let seed = std::env::var("REDRESS_SEED").ok().map_or_else(
        || u64::from(UNIX_EPOCH.elapsed().unwrap().subsec_nanos()),
        |seed| seed.parse().unwrap(),
    );
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let cases = if std::env::var_os("REDRESS_LONG").is_some() { cases * 40 } else { cases };
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 2_000, ..Config::default() };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    if let Err(error) = TestRunner::new_with_rng(config, rng).run(values, property) {
        panic!("{error}\nthe same again: REDRESS_SEED={seed}");
    }
}
