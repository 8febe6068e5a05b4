use aws_sdk_macie2::{
    Client,
    types::{FindingPublishingFrequency, MacieStatus},
};
use serde_json::{Value, json};

use crate::scenarios::{
    Case, Error,
    Expect::{Compliant, Fixed, FixedOneWay},
    OnMinistack, Place, Scenarios,
};

pub(in crate::scenarios) const SCENARIOS: Scenarios = Scenarios {
    remediator: "macie2.turn_on_session",
    resource_type: "AwsAccount",
    absent: None,
    cases: &[
        Case::new(
            "without Macie",
            "Macie.1",
            |at| Box::pin(async { Ok(account(at)) }),
            FixedOneWay(r#"["PAUSED","SIX_HOURS"]"#),
        ),
        Case::new("where Macie is paused", "Macie.1", |at| Box::pin(with(at, MacieStatus::Paused)), Fixed),
        Case::new("with Macie", "Macie.1", |at| Box::pin(with(at, MacieStatus::Enabled)), Compliant),
    ],
    look: |at, _| Box::pin(look(at)),
    ministack: OnMinistack::No("it has no Macie"),
};

fn client(at: &Place) -> Client {
    Client::new(&at.config)
}

fn account(at: &Place) -> String {
    format!("AWS::::Account:{}", at.account)
}

async fn with(at: &Place, status: MacieStatus) -> Result<String, Error> {
    let enable = client(at).enable_macie().status(status);
    enable.finding_publishing_frequency(FindingPublishingFrequency::OneHour).send().await?;
    Ok(account(at))
}

async fn look(at: &Place) -> Result<Value, Error> {
    match client(at).get_macie_session().send().await {
        Ok(found) => Ok(json!([
            found.status().map(MacieStatus::as_str),
            found.finding_publishing_frequency().map(FindingPublishingFrequency::as_str),
        ])),
        Err(error) => match error.as_service_error().and_then(|error| error.meta().message()) {
            Some(message) if message.starts_with("Macie is not enabled") => Ok(Value::Null),
            _ => Err(error.into()),
        },
    }
}
