//! What is refused or left alone is so by redress's own checks: ministack, an independent emulator, does much that AWS
//! refuses (it releases an address in use, and logs to a bucket that is not there), and none of it is asked of it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::sync::Arc;

use redress_router::{
    audit::{Stage, Verb},
    engine::Done,
};
use redress_sandbox::scenarios::{Expect, OnMinistack, SCENARIOS};
use redress_tests::{
    deployment::sdk_config,
    ministack::Options,
    scene::{Scene, holds, is_settled},
    subject::{ACCOUNT, REGION, Sessions, Subject, place},
};

/// Cases that ministack can't be brought into, or does not show: remediator and name.
const NOT_THERE: [(&str, &str); 4] = [
    // It says nothing of a trail's log group.
    ("cloudtrail.deliver_to_logs", "that delivers"),
    // It has neither ModifyAddressAttribute nor EnableAddressTransfer.
    ("ec2.release_address", "with a name of its own"),
    ("ec2.release_address", "that is handed over"),
    // At AWS a queue is encrypted with keys of SQS's from the start, and there it is not.
    ("sqs.encrypt_at_rest", "of keys that SQS manages"),
];

#[tokio::test]
async fn what_is_left_alone_is_so_where_nothing_else_forbids_it() {
    let only = std::env::var("REDRESS_CASES").unwrap_or_default();
    let ministack = Options::default().account(ACCOUNT).region(REGION).start().await.unwrap();
    let sessions = Arc::new(Sessions::new(sdk_config(ministack.url(), ACCOUNT)));
    let (mut tried, mut wrong) = (0, Vec::new());
    for scenarios in SCENARIOS.iter().copied() {
        if matches!(scenarios.ministack, OnMinistack::No(_)) || !scenarios.remediator.contains(&only) {
            continue;
        }
        for case in scenarios.cases.iter().filter(|case| !case.expect.changes()) {
            let judged = async {
                let subject =
                    Subject::make(scenarios, case, place(ministack.url()), sessions.clone(), "").await?;
                let before = subject.look().await?;
                let done = subject.ask(Verb::Fix, "event").await?;
                let Some(Done::Outcome(outcome)) = &done else { return Err(format!("{done:?}")) };
                let reason = outcome.reason.clone().unwrap_or_default();
                let expected = match case.expect {
                    Expect::Compliant => outcome.stage == Stage::Compliant,
                    Expect::Refused(why) => outcome.stage == Stage::Refused && reason.contains(why),
                    Expect::Exempt(why) => outcome.stage == Stage::Exempt && reason.contains(why),
                    _ => false,
                };
                holds(expected, || format!("{:?} {reason}", outcome.stage))?;
                holds(subject.look().await? == before, || "it was changed".to_owned())?;
                is_settled(subject.memory()).await
            };
            let there = !NOT_THERE.contains(&(scenarios.remediator, case.name));
            tried += usize::from(there);
            match judged.await {
                Ok(()) if !there => wrong.push(format!("{} {} is there", scenarios.remediator, case.name)),
                Err(why) if there => {
                    wrong.push(format!("{}, {} {}: {why}", scenarios.remediator, case.control, case.name));
                }
                _ => {}
            }
        }
    }
    println!("{tried} cases");
    assert!(wrong.is_empty(), "{} of {tried}: {wrong:#?}", wrong.len());
}
