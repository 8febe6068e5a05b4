use aws_sdk_s3::types::{Event, EventBridgeConfiguration, NotificationConfiguration, QueueConfiguration};
use serde_json::{Value, json};

use super::{absent, bucket, name, versioned};
use crate::scenarios::{
    Case, Error,
    Expect::{Compliant, Fixed, Refused},
    OnMinistack, Place, Scenarios,
};

pub(in crate::scenarios) const SCENARIOS: Scenarios = Scenarios {
    remediator: "s3.notify_event_bridge",
    resource_type: "AwsS3Bucket",
    absent: Some(absent),
    cases: &[
        Case::new("that tells nobody", "S3.11", |at| Box::pin(bucket(at)), Fixed),
        Case::new("of versions that tells nobody", "S3.11", |at| Box::pin(versioned(at, "Enabled")), Fixed),
        Case::new("that tells EventBridge", "S3.11", |at| Box::pin(telling(at, false)), Compliant),
        Case::new("that tells a queue", "S3.11", |at| Box::pin(telling(at, true)), Compliant),
        Case::new(
            "that tells a queue what is demanded",
            "S3.11",
            |at| Box::pin(telling(at, true)),
            Compliant,
        )
        .parameters(&[("eventTypes", &["s3:ObjectCreated:Put"])]),
        Case::new(
            "that tells a queue too little",
            "S3.11",
            |at| Box::pin(telling(at, true)),
            Refused("demands a notification of `s3:ObjectRemoved:*`"),
        )
        .parameters(&[("eventTypes", &["s3:ObjectCreated:*", "s3:ObjectRemoved:*"])]),
    ],
    look: |at, arn| Box::pin(look(at, arn)),
    ministack: OnMinistack::Whole(&[]),
};

async fn telling(at: &Place, queue: bool) -> Result<String, Error> {
    let arn = bucket(at).await?;
    let config = if queue {
        let queue = QueueConfiguration::builder()
            .id("theirs")
            .queue_arn(at.arn("sqs", "uploads"))
            .events(Event::from("s3:ObjectCreated:*"))
            .build()?;
        NotificationConfiguration::builder().queue_configurations(queue).build()
    } else {
        let bridge = EventBridgeConfiguration::builder().build();
        NotificationConfiguration::builder().event_bridge_configuration(bridge).build()
    };
    at.s3()
        .put_bucket_notification_configuration()
        .bucket(&at.name)
        .notification_configuration(config)
        .skip_destination_validation(true)
        .send()
        .await?;
    Ok(arn)
}

async fn look(at: &Place, arn: &str) -> Result<Value, Error> {
    let versions = at.s3().get_bucket_versioning().bucket(name(arn)).send().await?;
    let found = at.s3().get_bucket_notification_configuration().bucket(name(arn)).send().await?;
    Ok(json!({
        "versioned": versions.status.map(|status| status.as_str().to_owned()),
        "bridge": found.event_bridge_configuration.is_some(),
        "queues": format!("{:?}", found.queue_configurations()),
    }))
}
