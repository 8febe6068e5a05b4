//! How many events one core looks at, and decodes, in a second of its time. Prints the median of several
//! runs; time that other processes had the core is not counted where the system tells (Linux).
//!
//! `cargo bench --bench decode`

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use redress_router::event::{Decoded, Glance, decode, glance};

const RUNS: usize = 11;
const RUN: Duration = Duration::from_millis(150);

fn main() {
    let read = |name: &str| {
        let path = format!("{}/tests/events/{name}.json", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read(&path).unwrap_or_else(|error| fail(&format!("{path}: {error}")));
        // EventBridge delivers without white space.
        let value: serde_json::Value =
            serde_json::from_slice(&text).unwrap_or_else(|error| fail(&format!("{path}: {error}")));
        value.to_string().into_bytes()
    };
    let wanted = |control: &str| control == "S3.14";
    let other = |control: &str| control == "EC2.12";
    let drops =
        |event: &[u8], wanted: &dyn Fn(&str) -> bool| matches!(glance(event, wanted), Glance::Drop(_));

    println!("{:<44} {:>6} {:>12} {:>10}", "one core", "bytes", "events/s", "each");
    for (what, name) in [
        ("glance: dropped, PASSED", "imported-passed"),
        ("glance: dropped, RESOLVED", "imported-resolved"),
        ("glance: dropped, not a control", "imported-guardduty"),
        ("glance: dropped, OCSF, PASSED", "ocsf-passed"),
    ] {
        let event = read(name);
        report(what, &event, || drops(&event, &wanted));
    }
    let event = read("imported-s3-14");
    report("glance: dropped, no rule names the control", &event, || drops(&event, &other));
    report("glance: kept", &event, || !drops(&event, &wanted));
    report("decode: ASFF", &event, || is_finding(&event));
    let event = read("ocsf-s3-14");
    report("decode: OCSF", &event, || is_finding(&event));
}

fn is_finding(event: &[u8]) -> bool {
    decode(event).is_ok_and(|incoming| matches!(incoming.findings.first(), Some(Decoded::Finding(_))))
}

/// Measures a function that must answer `true`.
fn report(what: &str, event: &[u8], answers: impl Fn() -> bool) {
    let mut rates: Vec<f64> = (0..RUNS)
        .map(|_| {
            let (start, on_core, mut count) = (Instant::now(), time_on_core(), 0_u32);
            while start.elapsed() < RUN {
                for _ in 0..100 {
                    if !black_box(answers()) {
                        fail(&format!("{what}: not so"));
                    }
                }
                count += 100;
            }
            let took = match (on_core, time_on_core()) {
                (Some(before), Some(after)) => after.saturating_sub(before),
                _ => start.elapsed(),
            };
            f64::from(count) / took.as_secs_f64()
        })
        .collect();
    rates.sort_by(f64::total_cmp);
    let median = rates.get(RUNS / 2).copied().unwrap_or_default();
    println!("{what:<44} {:>6} {median:>12.0} {:>7.2} µs", event.len(), 1e6 / median);
}

/// The time for which this thread has had a core.
fn time_on_core() -> Option<Duration> {
    let line = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    line.split(' ').next()?.parse().ok().map(Duration::from_nanos)
}

fn fail(what: &str) -> ! {
    eprintln!("{what}");
    std::process::exit(1)
}
