use serde_json::{Value, json};

use super::ssm;
use crate::scenarios::{
    Case, Error,
    Expect::{Compliant, Fixed},
    OnMinistack, Place, Scenarios,
};

const SETTING: &str = "/ssm/documents/console/public-sharing-permission";

pub(in crate::scenarios) const SCENARIOS: Scenarios = Scenarios {
    remediator: "ssm.block_public_sharing",
    resource_type: "AwsAccount",
    absent: None,
    cases: &[
        Case::new("that nobody has set", "SSM.7", |at| Box::pin(set(at, None)), Fixed),
        Case::new("that somebody has allowed", "SSM.7", |at| Box::pin(set(at, Some("Enable"))), Fixed),
        Case::new("that is blocked", "SSM.7", |at| Box::pin(set(at, Some("Disable"))), Compliant),
    ],
    look: |at, _| Box::pin(look(at)),
    ministack: OnMinistack::No("it asks for leave on no setting"),
};

async fn set(at: &Place, value: Option<&str>) -> Result<String, Error> {
    match value {
        Some(value) => {
            ssm(at).update_service_setting().setting_id(SETTING).setting_value(value).send().await?;
        }
        None => {
            ssm(at).reset_service_setting().setting_id(SETTING).send().await?;
        }
    }
    Ok(format!("AWS::::Account:{}", at.account))
}

async fn look(at: &Place) -> Result<Value, Error> {
    let found = ssm(at).get_service_setting().setting_id(SETTING).send().await?.service_setting;
    Ok(json!(found.map(|found| (found.setting_value, found.status))))
}
