use serde_json::{Value, json};

use crate::scenarios::{
    Case, Error,
    Expect::{Compliant, Fixed, Refused},
    OnMinistack, Place, Scenarios,
};

pub(in crate::scenarios) const SCENARIOS: Scenarios = Scenarios {
    remediator: "redshift.upgrade_versions",
    resource_type: "AwsRedshiftCluster",
    absent: Some(|at| at.arn("redshift", "cluster:no-such-cluster")),
    cases: &[
        Case::new("that stays at its version", "Redshift.6", |at| Box::pin(cluster(at, false)), Fixed),
        Case::new("that is upgraded", "Redshift.6", |at| Box::pin(cluster(at, true)), Compliant),
        Case::new("that is paused", "Redshift.6", |at| Box::pin(paused(at)), Refused("`paused`")),
    ],
    look: |at, _| Box::pin(look(at)),
    ministack: OnMinistack::No("it has no Redshift"),
};

fn redshift(at: &Place) -> aws_sdk_redshift::Client {
    aws_sdk_redshift::Client::new(&at.config)
}

async fn cluster(at: &Place, upgrades: bool) -> Result<String, Error> {
    let request = redshift(at)
        .create_cluster()
        .cluster_identifier(&at.name)
        .node_type("ra3.large")
        .master_username("reports")
        .master_user_password("An-example-of-1")
        .publicly_accessible(true)
        .allow_version_upgrade(upgrades);
    request.send().await?;
    Ok(at.arn("redshift", &format!("cluster:{}", at.name)))
}

async fn paused(at: &Place) -> Result<String, Error> {
    let arn = cluster(at, false).await?;
    redshift(at).pause_cluster().cluster_identifier(&at.name).send().await?;
    Ok(arn)
}

async fn look(at: &Place) -> Result<Value, Error> {
    let found = redshift(at).describe_clusters().cluster_identifier(&at.name).send().await?;
    let clusters = found.clusters().iter().map(|one| {
        json!({
            "upgrades": one.allow_version_upgrade(),
            "public": one.publicly_accessible(),
            "encrypted": one.encrypted(),
        })
    });
    Ok(clusters.collect())
}
