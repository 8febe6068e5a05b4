//! EBS snapshots.

use aws_sdk_ec2::types;

use super::{is_id, network::owned, tag_map};
use crate::{Action, Aws, Error, Facts, Key, KindInfo, Misplaced, Resource, Result, action::On};

/// A snapshot, and the account that is to be its owner: its ARN
/// [names none](https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonec2.html#amazonec2-resources-for-iam-policies).
pub(crate) struct Snapshot {
    pub(crate) id: String,
    owner: String,
}

impl Resource for Snapshot {
    const KIND: KindInfo = KindInfo {
        what: "a snapshot",
        asff: "AwsEc2Snapshot",
        cfn: "AWS::EC2::Snapshot",
        arn: "arn:{partition}:ec2:{region}::snapshot/{id}",
        reads: &[Action::new("ec2:DescribeSnapshots", On::Region)],
        longest_id: 22,
    };

    fn from_key(key: &Key) -> Result<Self, Misplaced> {
        Self::KIND.check(key, is_id(&key.id, "snap-"))?;
        Ok(Self { id: key.id.clone(), owner: key.account.clone() })
    }

    /// Whatever others let everybody restore is listed too: the owner that EC2 names is the proof.
    async fn inspect(&self, aws: &Aws, _: bool) -> Result<Facts> {
        let found = aws.ec2().describe_snapshots().snapshot_ids(&self.id).send().await?;
        let found =
            found.snapshots.unwrap_or_default().into_iter().find(|one| one.snapshot_id() == Some(&self.id));
        let found = owned(&Self::KIND, found, &self.id, &self.owner, types::Snapshot::owner_id)?;
        Ok(Facts { tags: Some(tag_map(found.tags()).into_iter().collect()) })
    }
}

/// The ids of the account's own snapshots that everybody may restore:
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeSnapshots.html>.
pub(crate) async fn restorable_by_everybody(aws: &Aws) -> Result<Vec<String>> {
    let request = aws.ec2().describe_snapshots().owner_ids("self").restorable_by_user_ids("all");
    let mut pages = request.max_results(1000).into_paginator().send();
    let mut ids = Vec::new();
    while let Some(page) = pages.next().await {
        let found = page?.snapshots.ok_or_else(|| Error::unsaid("which snapshots everybody may restore"))?;
        for one in found {
            ids.push(one.snapshot_id.ok_or_else(|| Error::unsaid("which snapshot everybody may restore"))?);
        }
    }
    Ok(ids)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::Sighting;

    fn seen<'a>(id: &'a str, id_alt: Option<&'a str>) -> Sighting<'a> {
        Sighting {
            kind: "AwsEc2Snapshot",
            id,
            id_alt,
            account: "123456789012",
            region: "eu-west-1",
            partition: "aws",
        }
    }

    #[test]
    fn every_spelling_names_the_same_snapshot_of_the_findings_account() {
        let arn = "arn:aws:ec2:eu-west-1::snapshot/snap-0123456789abcdef0";
        let key = Snapshot::locate(&seen(arn, None)).unwrap();
        assert_eq!(
            key.to_string(),
            "aws/123456789012/eu-west-1/AwsEc2Snapshot/snap-0123456789abcdef0",
            "the ARN names no account"
        );
        assert_eq!(key.fill(Snapshot::KIND.arn), arn);
        assert_eq!(key.id.len(), Snapshot::KIND.longest_id);
        for (id, id_alt) in [
            ("snap-0123456789abcdef0", Some(arn)),
            ("snap-0123456789abcdef0", None),
            ("arn:aws:ec2:eu-west-1:123456789012:snapshot/snap-0123456789abcdef0", None),
        ] {
            assert_eq!(Snapshot::locate(&seen(id, id_alt)).unwrap(), key, "{id}");
        }
        assert!(Snapshot::locate(&seen("snap-0123abcd", None)).is_ok(), "ids from before 2016");
    }

    #[test]
    fn what_does_not_agree_is_refused() {
        for id in [
            "arn:aws:ec2:eu-west-1:999999999999:snapshot/snap-0123456789abcdef0",
            "arn:aws:ec2:us-east-1::snapshot/snap-0123456789abcdef0",
            "arn:aws-cn:ec2:eu-west-1::snapshot/snap-0123456789abcdef0",
            "arn:aws:rds:eu-west-1::snapshot/snap-0123456789abcdef0",
            "arn:aws:ec2:eu-west-1::volume/snap-0123456789abcdef0",
            "arn:aws:ec2:eu-west-1::snapshot/vol-0123456789abcdef0",
            "arn:aws:ec2:eu-west-1::snapshot/*",
            "AWS::::Account:123456789012",
            "snap-*",
            "",
        ] {
            assert!(Snapshot::locate(&seen(id, None)).is_err(), "{id}");
        }
        assert!(Snapshot::locate(&Sighting { region: "global", ..seen("snap-0123abcd", None) }).is_err());
    }
}
