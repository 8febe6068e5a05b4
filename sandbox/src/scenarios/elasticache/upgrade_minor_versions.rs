use aws_sdk_elasticache::types::PendingModifiedValues;
use serde_json::{Value, json};

use crate::scenarios::{
    Case, Error,
    Expect::{Compliant, Fixed, Refused},
    OnMinistack, Place, Scenarios,
};

pub(in crate::scenarios) const SCENARIOS: Scenarios = Scenarios {
    remediator: "elasticache.upgrade_minor_versions",
    resource_type: "AwsElastiCacheCacheCluster",
    absent: Some(|at| at.arn("elasticache", "cluster:no-such-cluster")),
    cases: &[
        Case::new("of its own", "ElastiCache.2", |at| Box::pin(cluster(at, "redis", "7.1.0", false)), Fixed),
        Case::new("of a replication group", "ElastiCache.2", |at| Box::pin(member(at)), Fixed),
        Case::new(
            "of a replication group for which another stands",
            "ElastiCache.2",
            |at| Box::pin(second(at)),
            Refused("the finding of its member"),
        ),
        Case::new(
            "that is upgraded",
            "ElastiCache.2",
            |at| Box::pin(cluster(at, "redis", "7.1.0", true)),
            Compliant,
        ),
        Case::new(
            "with another change that waits",
            "ElastiCache.2",
            |at| Box::pin(waiting(at)),
            Refused("other modifications are pending"),
        ),
        Case::new(
            "of an old version",
            "ElastiCache.2",
            |at| Box::pin(cluster(at, "redis", "5.0.6", false)),
            Refused("from version 6.0 on"),
        ),
        Case::new(
            "of Memcached",
            "ElastiCache.2",
            |at| Box::pin(cluster(at, "memcached", "1.6.22", false)),
            Refused("no automatic upgrades"),
        ),
    ],
    look: |at, _| Box::pin(look(at)),
    ministack: OnMinistack::No("it keeps no such setting"),
};

fn elasticache(at: &Place) -> aws_sdk_elasticache::Client {
    aws_sdk_elasticache::Client::new(&at.config)
}

async fn cluster(at: &Place, engine: &str, version: &str, upgrades: bool) -> Result<String, Error> {
    let request = elasticache(at)
        .create_cache_cluster()
        .cache_cluster_id(&at.name)
        .cache_node_type("cache.t4g.micro")
        .num_cache_nodes(1)
        .engine(engine)
        .engine_version(version)
        .auto_minor_version_upgrade(upgrades);
    request.send().await?;
    Ok(at.arn("elasticache", &format!("cluster:{}", at.name)))
}

async fn member(at: &Place) -> Result<String, Error> {
    group(at, &[&at.name]).await
}

async fn second(at: &Place) -> Result<String, Error> {
    group(at, &[&format!("a-{}", at.name), &at.name]).await
}

async fn group(at: &Place, members: &[&str]) -> Result<String, Error> {
    let group = format!("{}-group", at.name);
    let request = elasticache(at)
        .create_replication_group()
        .replication_group_id(&group)
        .replication_group_description("sessions")
        .engine("redis")
        .auto_minor_version_upgrade(false);
    request.send().await?;
    for member in members {
        let request = elasticache(at)
            .create_cache_cluster()
            .cache_cluster_id(*member)
            .engine("redis")
            .engine_version("7.1.0")
            .replication_group_id(&group);
        request.send().await?;
    }
    Ok(at.arn("elasticache", &format!("cluster:{}", at.name)))
}

async fn waiting(at: &Place) -> Result<String, Error> {
    let arn = cluster(at, "redis", "7.1.0", false).await?;
    let request = elasticache(at).modify_cache_cluster().cache_cluster_id(&at.name);
    request.cache_node_type("cache.r7g.large").send().await?;
    Ok(arn)
}

async fn look(at: &Place) -> Result<Value, Error> {
    let found = elasticache(at).describe_cache_clusters().cache_cluster_id(&at.name).send().await?;
    let clusters = found.cache_clusters().iter().map(|one| {
        json!({
            "upgrades": one.auto_minor_version_upgrade(),
            "node": one.cache_node_type(),
            "version": one.engine_version(),
            "pending": one.pending_modified_values().and_then(PendingModifiedValues::cache_node_type),
        })
    });
    Ok(clusters.collect())
}
