use serde_json::{Value, json};

use crate::scenarios::{
    Case, Error,
    Expect::{Compliant, Fixed, Refused},
    OnMinistack, Place, Scenarios,
};

pub(in crate::scenarios) const SCENARIOS: Scenarios = Scenarios {
    remediator: "redshift.extend_snapshot_retention",
    resource_type: "AwsRedshiftCluster",
    absent: Some(|at| at.arn("redshift", "cluster:no-such-cluster")),
    cases: &[
        Case::new("without snapshots", "Redshift.3", |at| Box::pin(cluster(at, 0)), Fixed),
        Case::new("that keeps a day", "Redshift.3", |at| Box::pin(cluster(at, 1)), Fixed),
        Case::new("of a stricter rule", "Redshift.3", |at| Box::pin(cluster(at, 7)), Fixed)
            .params("{days: 35}"),
        Case::new("of a stricter control", "Redshift.3", |at| Box::pin(cluster(at, 7)), Fixed)
            .parameters(&[("minRetentionPeriod", &["14"])]),
        Case::new("that keeps a week", "Redshift.3", |at| Box::pin(cluster(at, 7)), Compliant),
        Case::new(
            "of more than there is",
            "Redshift.3",
            |at| Box::pin(cluster(at, 1)),
            Refused("35 at most"),
        )
        .params("{days: 36}"),
        Case::new("that is paused", "Redshift.3", |at| Box::pin(paused(at)), Refused("`paused`")),
    ],
    look: |at, _| Box::pin(look(at)),
    ministack: OnMinistack::No("it has no Redshift"),
};

fn redshift(at: &Place) -> aws_sdk_redshift::Client {
    aws_sdk_redshift::Client::new(&at.config)
}

/// It stays at its version and is public, too.
async fn cluster(at: &Place, days: i32) -> Result<String, Error> {
    let create = redshift(at)
        .create_cluster()
        .cluster_identifier(&at.name)
        .node_type("dc2.large")
        .master_username("reports")
        .master_user_password("An-example-of-1")
        .publicly_accessible(true)
        .allow_version_upgrade(false)
        .manual_snapshot_retention_period(3)
        .automated_snapshot_retention_period(days);
    create.send().await?;
    Ok(at.arn("redshift", &format!("cluster:{}", at.name)))
}

async fn paused(at: &Place) -> Result<String, Error> {
    let arn = cluster(at, 1).await?;
    redshift(at).pause_cluster().cluster_identifier(&at.name).send().await?;
    Ok(arn)
}

async fn look(at: &Place) -> Result<Value, Error> {
    let found = redshift(at).describe_clusters().cluster_identifier(&at.name).send().await?;
    let clusters = found.clusters().iter().map(|one| {
        json!({
            "automated": one.automated_snapshot_retention_period(),
            "manual": one.manual_snapshot_retention_period(),
            "upgrades": one.allow_version_upgrade(),
            "public": one.publicly_accessible(),
        })
    });
    Ok(clusters.collect())
}
