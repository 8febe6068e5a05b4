//! Snapshots of instances and of clusters: two kinds, of which RDS has the same operations twice.

use super::tags;
use crate::{
    Action, Aws, Facts, Key, KindInfo, Misplaced, Resource, Result, action::On, resource::is_dashed,
};

/// A snapshot of an instance, by its name.
pub(crate) struct Snapshot {
    pub(crate) name: String,
    arn: String,
}

/// A snapshot of a cluster, by its name.
pub(crate) struct ClusterSnapshot {
    pub(crate) name: String,
    arn: String,
}

/// What a snapshot's attribute is called that lists who may restore it, and its member that means everybody:
/// <https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_ModifyDBSnapshotAttribute.html>.
pub(crate) const RESTORE: &str = "restore";
pub(crate) const EVERYBODY: &str = "all";

impl Resource for Snapshot {
    const KIND: KindInfo = KindInfo {
        what: "a snapshot of a database instance",
        asff: "AwsRdsDbSnapshot",
        cfn: "AWS::RDS::DBSnapshot",
        arn: "arn:{partition}:rds:{region}:{account}:snapshot:{id}",
        reads: &[Action::new("rds:ListTagsForResource", On::Resource)],
        longest_id: 255,
    };

    fn from_key(key: &Key) -> Result<Self, Misplaced> {
        Self::KIND.check(key, is_snapshot(&key.id))?;
        Ok(Self { name: key.id.clone(), arn: key.fill(Self::KIND.arn) })
    }

    async fn inspect(&self, aws: &Aws, _: bool) -> Result<Facts> {
        read_tags(aws, &self.arn).await
    }
}

impl Resource for ClusterSnapshot {
    const KIND: KindInfo = KindInfo {
        what: "a snapshot of a database cluster",
        asff: "AwsRdsDbClusterSnapshot",
        cfn: "AWS::RDS::DBClusterSnapshot",
        arn: "arn:{partition}:rds:{region}:{account}:cluster-snapshot:{id}",
        reads: &[Action::new("rds:ListTagsForResource", On::Resource)],
        longest_id: 255,
    };

    fn from_key(key: &Key) -> Result<Self, Misplaced> {
        Self::KIND.check(key, is_snapshot(&key.id))?;
        Ok(Self { name: key.id.clone(), arn: key.fill(Self::KIND.arn) })
    }

    async fn inspect(&self, aws: &Aws, _: bool) -> Result<Facts> {
        read_tags(aws, &self.arn).await
    }
}

/// Whether RDS gives such a name to a snapshot. Those that AWS makes have its prefix: `rds:orders-2026-01-31-04-05`,
/// `awsbackup:job-…`.
fn is_snapshot(id: &str) -> bool {
    let name = match id.split_once(':') {
        Some(("rds" | "awsbackup", name)) => name,
        _ => id,
    };
    id.len() <= 255 && is_dashed(name, 255)
}

async fn read_tags(aws: &Aws, arn: &str) -> Result<Facts> {
    let found = aws.rds().list_tags_for_resource().resource_name(arn).send().await?;
    Ok(Facts { tags: Some(tags(found.tag_list)) })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::Sighting;

    fn seen<'a>(id: &'a str, id_alt: Option<&'a str>) -> Sighting<'a> {
        Sighting { kind: "", id, id_alt, account: "123456789012", region: "eu-west-1", partition: "aws" }
    }

    #[test]
    fn both_formats_name_the_same_snapshot() {
        for name in ["before-upgrade", "rds:orders-2026-01-31-04-05", "awsbackup:job-0a1b"] {
            let arn = format!("arn:aws:rds:eu-west-1:123456789012:snapshot:{name}");
            let key = Snapshot::locate(&seen(&arn, None)).unwrap();
            assert_eq!(key.fill(Snapshot::KIND.arn), arn);
            assert_eq!(Snapshot::locate(&seen(name, Some(&arn))).unwrap(), key);
            let arn = format!("arn:aws:rds:eu-west-1:123456789012:cluster-snapshot:{name}");
            assert_eq!(
                ClusterSnapshot::locate(&seen(&arn, None)).unwrap().fill(ClusterSnapshot::KIND.arn),
                arn
            );
            assert!(Snapshot::locate(&seen(&arn, None)).is_err());
        }
    }

    #[test]
    fn what_does_not_agree_is_refused() {
        for id in [
            "arn:aws:rds:eu-west-1:999999999999:snapshot:before-upgrade",
            "arn:aws:rds:us-east-1:123456789012:snapshot:before-upgrade",
            "arn:aws:rds:eu-west-1:123456789012:cluster-snapshot:before-upgrade",
            "arn:aws:rds:eu-west-1:123456789012:snapshot:other:before-upgrade",
            "arn:aws:rds:eu-west-1:123456789012:snapshot:*",
            "rds:",
            "",
        ] {
            assert!(Snapshot::locate(&seen(id, None)).is_err(), "{id}");
        }
    }
}
