//! Instances, clusters and snapshots.

pub(super) mod copy_cluster_tags_to_snapshots;
pub(super) mod copy_tags_to_snapshots;
pub(super) mod enable_monitoring;
pub(super) mod make_private;
pub(super) mod protect_cluster_from_deletion;
pub(super) mod protect_from_deletion;
pub(super) mod publish_postgresql_logs;
pub(super) mod unshare_cluster_snapshot;
pub(super) mod unshare_snapshot;
pub(super) mod upgrade_minor_versions;

use aws_sdk_rds::operation::{
    create_db_cluster::builders::CreateDBClusterFluentBuilder,
    create_db_instance::builders::CreateDBInstanceFluentBuilder,
};
use aws_sdk_rds::types::{ClusterPendingModifiedValues, PendingModifiedValues};
use serde_json::{Value, json};

use super::{Error, Place};

fn rds(at: &Place) -> aws_sdk_rds::Client {
    aws_sdk_rds::Client::new(&at.config)
}

fn absent_instance(at: &Place) -> String {
    at.arn("rds", "db:no-such-instance")
}

fn absent_cluster(at: &Place) -> String {
    at.arn("rds", "cluster:no-such-cluster")
}

/// What follows the last colon of an ARN.
fn name(arn: &str) -> &str {
    arn.rsplit(':').next().unwrap_or(arn)
}

/// An instance of the place's name, in which every control fails that a setting can fail.
async fn instance(
    at: &Place,
    special: impl FnOnce(CreateDBInstanceFluentBuilder) -> CreateDBInstanceFluentBuilder,
) -> Result<String, Error> {
    let request = rds(at)
        .create_db_instance()
        .db_instance_identifier(&at.name)
        .db_instance_class("db.t3.micro")
        .engine("postgres")
        .allocated_storage(20)
        .master_username("orders")
        .master_user_password("an-example-of-one")
        .port(5432)
        .publicly_accessible(true)
        .deletion_protection(false)
        .copy_tags_to_snapshot(false)
        .auto_minor_version_upgrade(false);
    special(request).send().await?;
    Ok(at.arn("rds", &format!("db:{}", at.name)))
}

/// The same, with a modification that waits for the maintenance window, which must go on waiting.
async fn waiting(at: &Place) -> Result<String, Error> {
    let arn = instance(at, |request| request).await?;
    let request = rds(at).modify_db_instance().db_instance_identifier(&at.name);
    request.db_instance_class("db.t3.large").send().await?;
    Ok(arn)
}

/// The same, stopped.
async fn stopped(at: &Place) -> Result<String, Error> {
    let arn = instance(at, |request| request).await?;
    rds(at).stop_db_instance().db_instance_identifier(&at.name).send().await?;
    Ok(arn)
}

/// An instance of a cluster of this engine.
async fn member(at: &Place, engine: &str) -> Result<String, Error> {
    cluster(at, |request| request.engine(engine)).await?;
    instance(at, |request| request.engine(engine).db_cluster_identifier(&at.name)).await
}

/// A cluster of the place's name, in which every control fails that a setting can fail.
async fn cluster(
    at: &Place,
    special: impl FnOnce(CreateDBClusterFluentBuilder) -> CreateDBClusterFluentBuilder,
) -> Result<String, Error> {
    let request = rds(at)
        .create_db_cluster()
        .db_cluster_identifier(&at.name)
        .engine("aurora-postgresql")
        .master_username("orders")
        .master_user_password("an-example-of-one")
        .deletion_protection(false)
        .copy_tags_to_snapshot(false);
    special(request).send().await?;
    Ok(at.arn("rds", &format!("cluster:{}", at.name)))
}

/// The same, with a modification that waits for the maintenance window, which must go on waiting.
async fn waiting_cluster(at: &Place) -> Result<String, Error> {
    let arn = cluster(at, |request| request).await?;
    let request = rds(at).modify_db_cluster().db_cluster_identifier(&at.name);
    request.engine_version("16.9").send().await?;
    Ok(arn)
}

async fn stopped_cluster(at: &Place) -> Result<String, Error> {
    let arn = cluster(at, |request| request).await?;
    rds(at).stop_db_cluster().db_cluster_identifier(&at.name).send().await?;
    Ok(arn)
}

/// All settings, and what waits.
async fn look_at_instance(at: &Place, arn: &str) -> Result<Value, Error> {
    let found = rds(at).describe_db_instances().db_instance_identifier(name(arn)).send().await?;
    let instances = found.db_instances().iter().map(|one| {
        json!({
            "class": one.db_instance_class(),
            "pending": one.pending_modified_values().and_then(PendingModifiedValues::db_instance_class),
            "public": one.publicly_accessible(),
            "protected": one.deletion_protection(),
            "copies tags": one.copy_tags_to_snapshot(),
            "upgrades": one.auto_minor_version_upgrade(),
            "logs": one.enabled_cloudwatch_logs_exports(),
            // A role says nothing while monitoring is off, and emulators differ in whether it is kept then.
            "monitoring": one.monitoring_interval().filter(|seconds| *seconds > 0),
            "role": one.monitoring_role_arn().filter(|_| one.monitoring_interval() > Some(0)),
        })
    });
    Ok(instances.collect())
}

async fn look_at_cluster(at: &Place, arn: &str) -> Result<Value, Error> {
    let found = rds(at).describe_db_clusters().db_cluster_identifier(name(arn)).send().await?;
    let clusters = found.db_clusters().iter().map(|one| {
        json!({
            "version": one.engine_version(),
            "pending": one.pending_modified_values().and_then(ClusterPendingModifiedValues::engine_version),
            "protected": one.deletion_protection(),
            "copies tags": one.copy_tags_to_snapshot(),
        })
    });
    Ok(clusters.collect())
}
