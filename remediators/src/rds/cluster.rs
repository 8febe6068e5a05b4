//! Aurora and Multi-AZ DB clusters.

use aws_sdk_rds::types::DbCluster as Described;

use super::tags;
use crate::{
    Action, Aws, Error, ErrorKind, Facts, Key, KindInfo, Misplaced, Resource, Result, action::On,
    resource::is_dashed,
};

/// A database cluster, by its name.
pub(crate) struct Cluster {
    pub(crate) name: String,
}

impl Resource for Cluster {
    const KIND: KindInfo = KindInfo {
        what: "a database cluster",
        asff: "AwsRdsDbCluster",
        cfn: "AWS::RDS::DBCluster",
        arn: "arn:{partition}:rds:{region}:{account}:cluster:{id}",
        reads: &[Action::new("rds:DescribeDBClusters", On::Resource)],
        longest_id: 63,
    };

    fn from_key(key: &Key) -> Result<Self, Misplaced> {
        Self::KIND.check(key, is_dashed(&key.id, Self::KIND.longest_id))?;
        Ok(Self { name: key.id.clone() })
    }

    async fn inspect(&self, aws: &Aws, _: bool) -> Result<Facts> {
        // A name finds the session's own clusters in this Region only.
        Ok(Facts { tags: Some(tags(self.describe(aws).await?.tag_list)) })
    }
}

impl Cluster {
    /// The cluster as it is.
    pub(crate) async fn describe(&self, aws: &Aws) -> Result<Described> {
        let found = aws.rds().describe_db_clusters().db_cluster_identifier(&self.name).send().await?;
        let named = |one: &Described| one.db_cluster_identifier() == Some(&self.name);
        found.db_clusters.unwrap_or_default().into_iter().find(named).ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("RDS lists no database cluster `{}`", self.name))
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
            kind: "AwsRdsDbCluster",
            id,
            id_alt,
            account: "123456789012",
            region: "eu-west-1",
            partition: "aws",
        }
    }

    #[test]
    fn both_formats_name_the_same_cluster() {
        let arn = "arn:aws:rds:eu-west-1:123456789012:cluster:orders";
        let key = Cluster::locate(&seen(arn, None)).unwrap();
        assert_eq!(key.fill(Cluster::KIND.arn), arn);
        assert_eq!(Cluster::locate(&seen("orders", Some(arn))).unwrap(), key);
    }

    #[test]
    fn what_does_not_agree_is_refused() {
        for id in [
            "arn:aws:rds:eu-west-1:999999999999:cluster:orders",
            "arn:aws:rds:us-east-1:123456789012:cluster:orders",
            "arn:aws:rds:eu-west-1:123456789012:db:orders",
            "arn:aws:rds:eu-west-1:123456789012:cluster-snapshot:orders",
            "arn:aws:rds:eu-west-1:123456789012:cluster:orders/x",
            "cluster-ABCDEFGHIJKLM",
            "",
        ] {
            assert!(Cluster::locate(&seen(id, None)).is_err(), "{id}");
        }
    }
}
