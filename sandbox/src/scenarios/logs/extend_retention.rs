use aws_sdk_cloudwatchlogs::{
    Client,
    types::{LogGroup, LogGroupClass},
};
use serde_json::{Value, json};

use crate::scenarios::{
    Case, Error,
    Expect::{Compliant, Fixed, Refused},
    OnMinistack, Place, Scenarios,
};

pub(in crate::scenarios) const SCENARIOS: Scenarios = Scenarios {
    remediator: "logs.extend_retention",
    resource_type: "AwsLogsLogGroup",
    absent: Some(|at| at.arn("logs", "log-group:no-such-group:*")),
    cases: &[
        Case::new("that keeps a week", CONTROL, |at| Box::pin(group(at, Some(7))), Fixed),
        Case::new("that is to keep two years", CONTROL, |at| Box::pin(group(at, Some(365))), Fixed)
            .params("{days: 731}"),
        Case::new("of a stricter control", CONTROL, |at| Box::pin(group(at, Some(365))), Fixed)
            .parameters(&[("minRetentionTime", &["400"])]),
        Case::new("that keeps a year", CONTROL, |at| Box::pin(group(at, Some(365))), Compliant),
        Case::new("that keeps ten years", CONTROL, |at| Box::pin(group(at, Some(3653))), Compliant)
            .params("{days: 400}"),
        Case::new("that keeps everything", CONTROL, |at| Box::pin(group(at, None)), Compliant),
        Case::new("of the class DELIVERY", CONTROL, |at| Box::pin(delivery(at)), Refused("`DELIVERY`")),
        Case::new(
            "of more than there is",
            CONTROL,
            |at| Box::pin(group(at, Some(7))),
            Refused("3653 at most"),
        )
        .parameters(&[("minRetentionTime", &["4000"])]),
    ],
    look: |at, arn| Box::pin(look(at, arn)),
    ministack: OnMinistack::No("it checks a log group's ARN without the end `:*` that AWS checks"),
};

const CONTROL: &str = "CloudWatch.16";

fn client(at: &Place) -> Client {
    Client::new(&at.config)
}

/// Beside another group, whose name begins with its own.
async fn group(at: &Place, days: Option<i32>) -> Result<String, Error> {
    let name = format!("/shop/{}", at.name);
    for (name, days) in [(name.clone(), days), (format!("{name}-archive"), Some(3))] {
        client(at).create_log_group().log_group_name(&name).tags("team", "shop").send().await?;
        if let Some(days) = days {
            client(at).put_retention_policy().log_group_name(name).retention_in_days(days).send().await?;
        }
    }
    Ok(at.arn("logs", &format!("log-group:{name}:*")))
}

async fn delivery(at: &Place) -> Result<String, Error> {
    let create = client(at).create_log_group().log_group_name(&at.name);
    create.log_group_class(LogGroupClass::Delivery).send().await?;
    Ok(at.arn("logs", &format!("log-group:{}", at.name)))
}

async fn look(at: &Place, arn: &str) -> Result<Value, Error> {
    let name = arn.trim_end_matches(":*").rsplit(':').next().unwrap_or_default();
    let found = client(at).describe_log_groups().log_group_name_prefix(name).send().await?;
    let shown = |group: &LogGroup| {
        json!([group.log_group_name(), group.retention_in_days(), format!("{:?}", group.kms_key_id())])
    };
    Ok(found.log_groups().iter().map(shown).collect())
}
