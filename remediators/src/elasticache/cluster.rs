//! `ElastiCache` clusters that have nodes.

use aws_sdk_elasticache::types::CacheCluster as Described;

use crate::{
    Action, Aws, Error, ErrorKind, Facts, Key, KindInfo, Misplaced, Resource, Result, action::On,
    resource::is_dashed,
};

/// A cluster, by its name: one of its own, or a member of a replication group.
pub(crate) struct Cluster {
    pub(crate) name: String,
    arn: String,
}

impl Resource for Cluster {
    const KIND: KindInfo = KindInfo {
        what: "an ElastiCache cluster",
        asff: "AwsElastiCacheCacheCluster",
        cfn: "AWS::ElastiCache::CacheCluster",
        arn: "arn:{partition}:elasticache:{region}:{account}:cluster:{id}",
        reads: &[
            Action::new("elasticache:DescribeCacheClusters", On::Resource),
            Action::new("elasticache:ListTagsForResource", On::Resource),
        ],
        longest_id: 50,
    };

    fn from_key(key: &Key) -> Result<Self, Misplaced> {
        // https://docs.aws.amazon.com/AmazonElastiCache/latest/APIReference/API_CreateCacheCluster.html
        // (CacheClusterId); kept in lower case.
        Self::KIND.check(key, is_dashed(&key.id, Self::KIND.longest_id))?;
        Ok(Self { name: key.id.clone(), arn: key.fill(Self::KIND.arn) })
    }

    async fn inspect(&self, aws: &Aws, tags: bool) -> Result<Facts> {
        // A name finds the session's own clusters in this Region only.
        self.describe(aws).await?;
        if !tags {
            return Ok(Facts { tags: Some(Vec::new()) });
        }
        let found = aws.elasticache().list_tags_for_resource().resource_name(&self.arn).send().await?;
        let text = Option::unwrap_or_default;
        let tags = found.tag_list.unwrap_or_default().into_iter();
        Ok(Facts { tags: Some(tags.map(|tag| (text(tag.key), text(tag.value))).collect()) })
    }
}

impl Cluster {
    /// The cluster as it is.
    pub(crate) async fn describe(&self, aws: &Aws) -> Result<Described> {
        let found = aws.elasticache().describe_cache_clusters().cache_cluster_id(&self.name).send().await?;
        let named = |one: &Described| one.cache_cluster_id() == Some(&self.name);
        found.cache_clusters.unwrap_or_default().into_iter().find(named).ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("ElastiCache lists no cluster `{}`", self.name))
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::Sighting;

    fn seen<'a>(id: &'a str, id_alt: Option<&'a str>) -> Sighting<'a> {
        Sighting {
            kind: "AwsElastiCacheCacheCluster",
            id,
            id_alt,
            account: "123456789012",
            region: "eu-west-1",
            partition: "aws",
        }
    }

    #[test]
    fn both_formats_name_the_same_cluster() {
        let arn = "arn:aws:elasticache:eu-west-1:123456789012:cluster:sessions-0001-001";
        let key = Cluster::locate(&seen(arn, None)).unwrap();
        assert_eq!(key.fill(Cluster::KIND.arn), arn);
        assert_eq!(Cluster::locate(&seen("sessions-0001-001", Some(arn))).unwrap(), key);
        assert_eq!(Cluster::locate(&seen("sessions-0001-001", None)).unwrap(), key);
    }

    #[test]
    fn what_does_not_agree_is_refused() {
        for id in [
            "arn:aws:elasticache:eu-west-1:999999999999:cluster:sessions",
            "arn:aws:elasticache:us-east-1:123456789012:cluster:sessions",
            "arn:aws:elasticache:eu-west-1:123456789012:replicationgroup:sessions",
            "arn:aws:elasticache:eu-west-1:123456789012:cluster:sessions/x",
            "arn:aws:rds:eu-west-1:123456789012:cluster:sessions",
            "Sessions",
            "sessions-",
            "*",
            "",
        ] {
            assert!(Cluster::locate(&seen(id, None)).is_err(), "{id}");
        }
        assert!(Cluster::locate(&Sighting { region: "global", ..seen("sessions", None) }).is_err());
    }
}
