//! Snapshots of instances and of clusters: two kinds, of which RDS has the same operations twice.

use super::{in_a_region, is_name, tags};
use crate::{
    Action, Aws, Change, Facts, Key, KindInfo, Misplaced, Plan, Resource, Result, Risk, Sighting, Undo,
    action::On, remediator::Proposal,
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
        asff: "AwsRdsDbSnapshot",
        cfn: "AWS::RDS::DBSnapshot",
        arn: "arn:{partition}:rds:{region}:{account}:snapshot:{id}",
        reads: &[Action::new("rds:ListTagsForResource", On::Resource)],
        longest_id: 255,
    };

    fn locate(seen: &Sighting<'_>) -> Result<Key, Misplaced> {
        let key = named(seen, &Self::KIND, "snapshot:")?;
        Self::from_key(&key)?;
        Ok(key)
    }

    fn from_key(key: &Key) -> Result<Self, Misplaced> {
        check(key)?;
        Ok(Self { name: key.id.clone(), arn: key.fill(Self::KIND.arn) })
    }

    async fn inspect(&self, aws: &Aws, _: bool) -> Result<Facts> {
        read_tags(aws, &self.arn).await
    }
}

impl Resource for ClusterSnapshot {
    const KIND: KindInfo = KindInfo {
        asff: "AwsRdsDbClusterSnapshot",
        cfn: "AWS::RDS::DBClusterSnapshot",
        arn: "arn:{partition}:rds:{region}:{account}:cluster-snapshot:{id}",
        reads: &[Action::new("rds:ListTagsForResource", On::Resource)],
        longest_id: 255,
    };

    fn locate(seen: &Sighting<'_>) -> Result<Key, Misplaced> {
        let key = named(seen, &Self::KIND, "cluster-snapshot:")?;
        Self::from_key(&key)?;
        Ok(key)
    }

    fn from_key(key: &Key) -> Result<Self, Misplaced> {
        check(key)?;
        Ok(Self { name: key.id.clone(), arn: key.fill(Self::KIND.arn) })
    }

    async fn inspect(&self, aws: &Aws, _: bool) -> Result<Facts> {
        read_tags(aws, &self.arn).await
    }
}

fn named(seen: &Sighting<'_>, kind: &KindInfo, prefix: &str) -> Result<Key, Misplaced> {
    let name = match seen.agreed("rds")? {
        Some(arn) => {
            arn.resource.strip_prefix(prefix).ok_or_else(|| Misplaced::new("the ARN is not a snapshot's"))?
        }
        None => seen.id,
    };
    Ok(seen.key(kind.asff, seen.region, name))
}

fn check(key: &Key) -> Result<(), Misplaced> {
    in_a_region(key)?;
    // Those that AWS makes have its prefix: `rds:orders-2026-01-31-04-05`, `awsbackup:job-…`.
    let name = match key.id.split_once(':') {
        Some(("rds" | "awsbackup", name)) => name,
        _ => &key.id,
    };
    if key.id.len() > 255 || !is_name(name, 255) {
        return Err(Misplaced::new("the finding names no snapshot by an id that RDS gives"));
    }
    Ok(())
}

async fn read_tags(aws: &Aws, arn: &str) -> Result<Facts> {
    let found = aws.rds().list_tags_for_resource().resource_name(arn).send().await?;
    Ok(Facts { tags: Some(tags(found.tag_list)) })
}

/// Whether everybody may restore a snapshot. The accounts that it is shared with by their numbers are no part
/// of it, and stay.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Sharing {
    pub(crate) public: bool,
}

pub(crate) fn plan(now: &Sharing) -> Plan<Sharing> {
    if !now.public {
        return Plan::Compliant;
    }
    Plan::Change(Proposal {
        to: Sharing { public: false },
        risk: Risk::Access,
        notes: vec![
            "whoever has copied the snapshot or restored it keeps what they have".to_owned(),
            "accounts that it is shared with by their numbers keep their access".to_owned(),
        ],
    })
}

pub(crate) fn undo(change: &Change<Sharing>, now: &Sharing) -> Undo<Sharing> {
    if now.public == change.from.public {
        return Undo::Nothing;
    }
    Undo::To { to: change.from.clone(), notes: vec!["everybody can restore the snapshot again".to_owned()] }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
    use super::*;

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

    #[test]
    fn only_what_everybody_may_restore_is_changed() {
        assert_eq!(plan(&Sharing { public: false }), Plan::Compliant);
        let Plan::Change(change) = plan(&Sharing { public: true }) else { panic!("no change") };
        assert_eq!(change.to, Sharing { public: false });
        let change = Change { from: Sharing { public: true }, to: Sharing { public: false } };
        assert_eq!(undo(&change, &Sharing { public: true }), Undo::Nothing);
        assert!(matches!(
            undo(&change, &Sharing { public: false }),
            Undo::To { to: Sharing { public: true }, .. }
        ));
    }
}
