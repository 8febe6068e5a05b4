use serde_json::{Value, json};

use super::{instance, name, rds};
use crate::scenarios::{
    Case, Error,
    Expect::{Compliant, Fixed},
    OnMinistack, Place, Scenarios,
};

pub(in crate::scenarios) const SCENARIOS: Scenarios = Scenarios {
    remediator: "rds.unshare_snapshot",
    resource_type: "AwsRdsDbSnapshot",
    absent: Some(|at| at.arn("rds", "snapshot:no-such-snapshot")),
    cases: &[
        Case::new("of everybody's", "RDS.1", |at| Box::pin(snapshot(at, &["all"])), Fixed),
        Case::new(
            "of everybody's and of one account's",
            "RDS.1",
            |at| Box::pin(snapshot(at, &["210987654321", "all"])),
            Fixed,
        ),
        Case::new("of one account's", "RDS.1", |at| Box::pin(snapshot(at, &["210987654321"])), Compliant),
        Case::new("of nobody else's", "RDS.1", |at| Box::pin(snapshot(at, &[])), Compliant),
    ],
    look: |at, arn| Box::pin(look(at, arn)),
    ministack: OnMinistack::No("it has no attributes of snapshots"),
};

async fn snapshot(at: &Place, shared_with: &[&str]) -> Result<String, Error> {
    instance(at, |request| request).await?;
    let request = rds(at).create_db_snapshot().db_snapshot_identifier(&at.name);
    request.db_instance_identifier(&at.name).send().await?;
    if !shared_with.is_empty() {
        let request = rds(at).modify_db_snapshot_attribute().db_snapshot_identifier(&at.name);
        let shared = shared_with.iter().map(|account| (*account).to_owned()).collect();
        request.attribute_name("restore").set_values_to_add(Some(shared)).send().await?;
    }
    Ok(at.arn("rds", &format!("snapshot:{}", at.name)))
}

async fn look(at: &Place, arn: &str) -> Result<Value, Error> {
    let request = rds(at).describe_db_snapshot_attributes().db_snapshot_identifier(name(arn));
    let found = request.send().await?.db_snapshot_attributes_result;
    let attributes = found.and_then(|found| found.db_snapshot_attributes).unwrap_or_default();
    let shown = attributes.into_iter().map(|one| json!([one.attribute_name, one.attribute_values]));
    Ok(shown.collect())
}
