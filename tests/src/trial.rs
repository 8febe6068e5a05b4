//! The two functions at work, whatever build they are of: one event each under the Runtime API, judged by
//! what it does to an emulator.

use std::{path::PathBuf, time::Duration};

use aws_sdk_dynamodb::Client;
use bytes::Bytes;
use redress_activity::row::Row;
use redress_sandbox::{findings::ControlFinding, tables};
use serde_json::Value;

use crate::{
    deployment::{ACCOUNT, Deployment, REGION, sdk_config},
    error::{Context, Error, Result},
    ministack::Ministack,
    runtime_api::{Bootstrap, Outcome},
};

/// A person clicks `RedressFix` on a finding, and the dispatcher turns on a bucket's versioning.
///
/// # Errors
/// Where it does not.
pub async fn dispatcher(program: PathBuf) -> Result<()> {
    const BUCKET: &str = "packaged";
    let deployment = Deployment::start().await?;
    deployment.bucket(BUCKET).await?;
    let finding = ControlFinding::new("S3.14")
        .resource("AwsS3Bucket", &format!("arn:aws:s3:::{BUCKET}"))
        .account(ACCOUNT)
        .region(REGION);
    deployment.hub.import_as_aws([finding.asff()]).context(|| "finding".to_owned())?;
    let events = deployment.hub.custom_action("RedressFix", &[&finding.id()]);
    let events = events.context(|| "custom action".to_owned())?;
    let function = deployment.function_at(program).start().await?;
    for event in &events {
        let answer = function.invoke(event).await?;
        if !answer.succeeded() {
            return Err(Error::new(format!("the dispatcher answers {answer:?}:\n{}", function.log())));
        }
    }
    match deployment.versioning(BUCKET).await?.as_deref() {
        Some("Enabled") => Ok(()),
        other => Err(Error::new(format!("versioning is {other:?}:\n{}", function.log()))),
    }
}

/// Somebody signs in, gets the event back unaltered, and stands in the activity table.
///
/// # Errors
/// Where one of the two is not so.
pub async fn recorder(program: PathBuf) -> Result<()> {
    const TABLE: &str = "packaged";
    let event = include_str!("../tests/fixtures/cognito-triggers/post-authentication.json").trim_end();
    let read: Value = serde_json::from_str(event).context(|| "event".to_owned())?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let pool = text(&read["userPoolId"]);
    let sub = text(&read["request"]["userAttributes"]["sub"]);

    let ministack = Ministack::start().await?;
    let client = Client::new(&sdk_config(ministack.url(), ACCOUNT));
    tables::make(&client, TABLE, tables::ACTIVITY).await.context(|| format!("table {TABLE}"))?;
    let function = Bootstrap::new(program)
        .name("sign-in-recorder")
        .place(ACCOUNT, REGION)
        .timeout(Duration::from_secs(5))
        .aws(ministack.url(), ACCOUNT, "secret")
        .env("REDRESS_ACTIVITY_TABLE", TABLE)
        .start()
        .await?;
    let answer = function.invoke_raw(Bytes::from(event)).await?;
    if !matches!(&answer.outcome, Outcome::Response(body) if body == event.as_bytes()) {
        return Err(Error::new(format!("the recorder answers {answer:?}:\n{}", function.log())));
    }
    let key = Some(Row::key(&pool, &sub));
    let found = client.get_item().table_name(TABLE).set_key(key).consistent_read(true).send().await;
    match found.context(|| format!("table {TABLE}"))?.item {
        Some(_) => Ok(()),
        None => Err(Error::new(format!("the sign-in is not recorded:\n{}", function.log()))),
    }
}
