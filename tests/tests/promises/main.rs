//! The promises, for every remediator of the registry: no test here names one. Each is tried with the cases that
//! [`redress_sandbox::scenarios`] has of it; one that is registered without cases fails.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod clean;
mod faulty;
mod interleave;
mod sweep;
mod world;

use std::{
    sync::Mutex,
    thread::{self, available_parallelism},
};

use redress_sandbox::scenarios::{Case, SCENARIOS, Scenarios};

/// Every case there is; where `REDRESS_CASES` is set, those of remediators whose name has it in it.
fn cases() -> Vec<(&'static Scenarios, &'static Case)> {
    let only = std::env::var("REDRESS_CASES").unwrap_or_default();
    let wanted = SCENARIOS.iter().filter(|scenarios| scenarios.remediator.contains(&only));
    wanted.flat_map(|scenarios| scenarios.cases.iter().map(move |case| (*scenarios, case))).collect()
}

/// Whether everything is to be tried, however long it takes: `cargo xtask test --long`.
fn is_long() -> bool {
    std::env::var_os("REDRESS_LONG").is_some()
}

/// Does all of the work, on as many threads as there are cores, each with a clock of its own that stands still; gives
/// what went wrong.
fn all<W: Send>(work: Vec<W>, one: impl AsyncFn(&W) -> Result<(), String> + Sync) -> Vec<String> {
    let work = Mutex::new(work);
    let wrong = Mutex::new(Vec::new());
    let threads = available_parallelism().map_or(2, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            let worker = thread::Builder::new().stack_size(8 << 20);
            let run = || {
                loop {
                    let Some(piece) = work.lock().unwrap().pop() else { return };
                    let runtime = tokio::runtime::Builder::new_current_thread()
                        .enable_all()
                        .start_paused(true)
                        .build()
                        .unwrap();
                    if let Err(why) = runtime.block_on(one(&piece)) {
                        wrong.lock().unwrap().push(why);
                    }
                }
            };
            worker.spawn_scoped(scope, run).unwrap();
        }
    });
    wrong.into_inner().unwrap()
}
