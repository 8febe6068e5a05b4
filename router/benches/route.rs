//! What comes after decoding, on one core: routing by rules, matching patterns, planning without I/O.
//!
//! `cargo bench --bench route`

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use redress_remediators::{REGISTRY, RawAsk, find};
use redress_router::{
    event::{Decoded, decode},
    pattern::Pattern,
    rules::RuleSet,
};
use serde_json::{Value, json};

const RUNS: usize = 11;
const RUN: Duration = Duration::from_millis(100);

fn main() {
    let path = format!("{}/tests/events/imported-s3-14.json", env!("CARGO_MANIFEST_DIR"));
    let event = std::fs::read(&path).unwrap_or_else(|error| fail(&format!("{path}: {error}")));
    let finding = match decode(&event).map(|mut incoming| incoming.findings.pop()) {
        Ok(Some(Decoded::Finding(finding))) => *finding,
        other => fail(&format!("{path}: {other:?}")),
    };
    let rules = RuleSet::builtin().unwrap_or_else(|error| fail(&error.to_string()));
    println!("{:<52} {:>14} {:>10}", "one core", "a second", "each");
    report("decode and route: a finding that a rule wants", || {
        let decoded = decode(&event).map(|mut incoming| incoming.findings.pop());
        matches!(decoded, Ok(Some(Decoded::Finding(finding))) if rules.route(&finding).is_some())
    });
    report("route: the rules built in", || rules.route(&finding).is_some());
    for (what, pattern) in [
        (
            "pattern: two exact fields",
            json!({ "Severity": { "Label": ["LOW", "HIGH", "MEDIUM"] }, "RecordState": ["ACTIVE"] }),
        ),
        (
            "pattern: resources of one object",
            json!({ "Resources": { "Type": ["AwsS3Bucket"], "Partition": ["aws"] } }),
        ),
        ("pattern: wildcard", json!({ "Id": [{ "wildcard": "arn:*:securityhub:*finding*" }] })),
        (
            "pattern: anything-but, exists",
            json!({ "AwsAccountId": [{ "anything-but": ["999999999999"] }], "Note": [{ "exists": false }] }),
        ),
    ] {
        let pattern = Pattern::compile(&pattern).unwrap_or_else(|error| fail(&error.to_string()));
        report(what, || pattern.matches(&finding.json));
    }
    let fields = std::collections::BTreeMap::new();
    let ask = RawAsk {
        control: "S3.14",
        params: &Value::Null,
        control_params: None,
        at: Timestamp::UNIX_EPOCH,
        since: None,
        seen: None,
        fields: &fields,
        by_person: false,
    };
    let state = json!({ "status": "never" });
    let Some(remediator) = find("s3.enable_versioning") else { fail("it is not in the registry") };
    report("plan: s3.enable_versioning", || remediator.plan(&state, &ask).is_ok());
    println!("{} remediators", REGISTRY.len());
}

fn report(what: &str, answers: impl Fn() -> bool) {
    let mut rates: Vec<f64> = (0..RUNS)
        .map(|_| {
            let (start, mut count) = (Instant::now(), 0_u32);
            while start.elapsed() < RUN {
                for _ in 0..50 {
                    if !black_box(answers()) {
                        fail(&format!("{what}: not so"));
                    }
                }
                count += 50;
            }
            f64::from(count) / start.elapsed().as_secs_f64()
        })
        .collect();
    rates.sort_by(f64::total_cmp);
    let rate = rates.get(RUNS / 2).copied().unwrap_or_default();
    println!("{what:<52} {rate:>14.0} {:>7.2} us", 1e6 / rate);
}

fn fail(why: &str) -> ! {
    eprintln!("{why}");
    std::process::exit(1);
}
