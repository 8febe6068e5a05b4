use aws_sdk_guardduty::{Client, types::FindingPublishingFrequency};
use serde_json::{Value, json};

use crate::scenarios::{
    Case, Error,
    Expect::{Compliant, Fixed, FixedOneWay},
    OnMinistack, Place, Scenarios,
};

pub(in crate::scenarios) const SCENARIOS: Scenarios = Scenarios {
    remediator: "guardduty.turn_on_detector",
    resource_type: "AwsAccount",
    absent: None,
    cases: &[
        Case::new(
            "without a detector",
            "GuardDuty.1",
            |at| Box::pin(async { Ok(account(at)) }),
            FixedOneWay(r#"[["DISABLED","SIX_HOURS"]]"#),
        ),
        Case::new("whose detector is suspended", "GuardDuty.1", |at| Box::pin(with(at, false)), Fixed),
        Case::new("with a detector", "GuardDuty.1", |at| Box::pin(with(at, true)), Compliant),
    ],
    look: |at, _| Box::pin(look(at)),
    ministack: OnMinistack::No("it has no GuardDuty"),
};

fn client(at: &Place) -> Client {
    Client::new(&at.config)
}

fn account(at: &Place) -> String {
    format!("AWS::::Account:{}", at.account)
}

async fn with(at: &Place, enabled: bool) -> Result<String, Error> {
    let create = client(at).create_detector().enable(enabled);
    create.finding_publishing_frequency(FindingPublishingFrequency::FifteenMinutes).send().await?;
    Ok(account(at))
}

async fn look(at: &Place) -> Result<Value, Error> {
    let mut found = Vec::new();
    for id in client(at).list_detectors().send().await?.detector_ids() {
        let detector = client(at).get_detector().detector_id(id).send().await?;
        found.push(json!([
            detector.status().map(aws_sdk_guardduty::types::DetectorStatus::as_str),
            detector.finding_publishing_frequency().map(FindingPublishingFrequency::as_str),
        ]));
    }
    Ok(found.into())
}
