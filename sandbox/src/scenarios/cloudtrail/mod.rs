//! `CloudTrail` trails.

pub(super) mod deliver_to_logs;
pub(super) mod validate_log_files;

use aws_sdk_cloudtrail::Client;
use aws_sdk_cloudtrail::operation::create_trail::builders::CreateTrailFluentBuilder;
use serde_json::{Value, json};

use super::{Error, Place};

fn client(at: &Place) -> Client {
    Client::new(&at.config)
}

fn absent(at: &Place) -> String {
    at.arn("cloudtrail", &format!("trail/no-such-{}", at.name))
}

/// Makes the trail of a place, with a setting of its own beside those in question.
async fn trail(
    at: &Place,
    with: impl FnOnce(CreateTrailFluentBuilder) -> CreateTrailFluentBuilder,
) -> Result<String, Error> {
    let request = client(at)
        .create_trail()
        .name(&at.name)
        .s3_bucket_name(format!("logs-{}", at.name))
        .s3_key_prefix("trails")
        .include_global_service_events(false);
    with(request).send().await?;
    Ok(at.arn("cloudtrail", &format!("trail/{}", at.name)))
}

/// All that both remediators may alter, and what stands beside it.
async fn look(at: &Place, arn: &str) -> Result<Value, Error> {
    let found = client(at).get_trail().name(arn).send().await?;
    let trail = found.trail.unwrap_or_else(|| aws_sdk_cloudtrail::types::Trail::builder().build());
    Ok(json!({
        "validated": trail.log_file_validation_enabled(),
        "group": trail.cloud_watch_logs_log_group_arn(),
        "role": trail.cloud_watch_logs_role_arn(),
        "prefix": trail.s3_key_prefix(),
        "global": trail.include_global_service_events(),
        "regions": trail.is_multi_region_trail(),
    }))
}
