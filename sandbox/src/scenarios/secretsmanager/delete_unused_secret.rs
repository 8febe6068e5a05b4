use aws_sdk_secretsmanager::{
    Client,
    types::{ReplicaRegionType, Tag},
};
use serde_json::{Value, json};

use crate::scenarios::{
    Case, Error,
    Expect::{Compliant, Fixed, Refused},
    OnMinistack, Place, Scenarios,
};

pub(in crate::scenarios) const SCENARIOS: Scenarios = Scenarios {
    remediator: "secretsmanager.delete_unused_secret",
    resource_type: "AwsSecretsManagerSecret",
    absent: Some(|at| at.arn("secretsmanager", "secret:no-such-secret-a1B2c3")),
    cases: &[
        Case::new("that nobody uses", CONTROL, |at| Box::pin(secret(at, "", "200")), Fixed)
            .parameters(NINETY_DAYS),
        Case::new("of a careful rule", CONTROL, |at| Box::pin(secret(at, "", "400")), Fixed)
            .params("{unused_days: 365, recovery_days: 7}")
            .parameters(NINETY_DAYS),
        Case::new("that is new", CONTROL, |at| Box::pin(secret(at, "", "0")), Compliant)
            .parameters(NINETY_DAYS),
        Case::new("that is to go", CONTROL, |at| Box::pin(deleted(at)), Compliant).parameters(NINETY_DAYS),
        Case::new("of a longer rule", CONTROL, |at| Box::pin(secret(at, "", "200")), Refused("365 days"))
            .params("{unused_days: 365}")
            .parameters(NINETY_DAYS),
        Case::new(
            "of an unknown control",
            CONTROL,
            |at| Box::pin(secret(at, "", "200")),
            Refused("is known"),
        ),
        Case::new("that rotates", CONTROL, |at| Box::pin(rotating(at)), Refused("rotates"))
            .parameters(NINETY_DAYS),
        Case::new("with replicas", CONTROL, |at| Box::pin(replicated(at)), Refused("has replicas"))
            .parameters(NINETY_DAYS),
        Case::new("of a service", CONTROL, |at| Box::pin(secret(at, "rds!", "200")), Refused("belongs to"))
            .parameters(NINETY_DAYS),
    ],
    look: |at, arn| Box::pin(look(at, arn)),
    ministack: OnMinistack::No("it has no way to make a secret old"),
};

const CONTROL: &str = "SecretsManager.3";

const NINETY_DAYS: &[(&str, &[&str])] = &[("unusedForDays", &["90"])];

fn client(at: &Place) -> Client {
    Client::new(&at.config)
}

fn tag(key: &str, value: &str) -> Tag {
    Tag::builder().key(key).value(value).build()
}

async fn secret(at: &Place, owner: &str, unused: &str) -> Result<String, Error> {
    let create = client(at).create_secret().name(format!("{owner}prod/{}", at.name)).secret_string("hunter2");
    let create = create.tags(tag("team", "shop")).tags(tag("sandbox:unused-days", unused));
    Ok(create.send().await?.arn.unwrap_or_default())
}

async fn deleted(at: &Place) -> Result<String, Error> {
    let arn = secret(at, "", "200").await?;
    client(at).delete_secret().secret_id(&arn).recovery_window_in_days(7).send().await?;
    Ok(arn)
}

async fn rotating(at: &Place) -> Result<String, Error> {
    let arn = secret(at, "", "200").await?;
    let function = at.arn("lambda", "function:rotate");
    client(at).rotate_secret().secret_id(&arn).rotation_lambda_arn(function).send().await?;
    Ok(arn)
}

async fn replicated(at: &Place) -> Result<String, Error> {
    let arn = secret(at, "", "200").await?;
    let replica = ReplicaRegionType::builder().region("eu-central-1").build();
    client(at).replicate_secret_to_regions().secret_id(&arn).add_replica_regions(replica).send().await?;
    Ok(arn)
}

async fn look(at: &Place, arn: &str) -> Result<Value, Error> {
    let found = client(at).describe_secret().secret_id(arn).send().await?;
    let value = match client(at).get_secret_value().secret_id(arn).send().await {
        Ok(found) => found.secret_string,
        Err(_) => None,
    };
    Ok(json!({
        "deleted": found.deleted_date().is_some(),
        "value": value,
        "tags": format!("{:?}", found.tags()),
        "replicas": format!("{:?}", found.replication_status()),
    }))
}
