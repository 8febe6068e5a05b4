//! Whether the EBS snapshots of an account may be public: a setting of each Region.

use crate::{Aws, Facts, Key, KindInfo, Misplaced, Resource, Result, Sighting};

/// The setting, by its account's number.
pub(crate) struct SnapshotSharing;

impl Resource for SnapshotSharing {
    const KIND: KindInfo = KindInfo {
        what: "the block of public snapshots",
        asff: "AwsEc2SnapshotBlockPublicAccess",
        cfn: "AWS::EC2::SnapshotBlockPublicAccess",
        // No action is allowed on it: IAM knows no such ARN. Findings do.
        arn: "arn:{partition}:ec2:{region}:{account}:snapshotblockpublicaccess/{id}",
        reads: &[],
        longest_id: 12,
    };

    fn locate(seen: &Sighting<'_>) -> Result<Key, Misplaced> {
        // The id is the account's: https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-resource-ec2-snapshotblockpublicaccess.html
        let id = match seen.agreed("ec2")? {
            Some(arn) => match arn.resource.split_once('/') {
                Some(("snapshotblockpublicaccess" | "snapshot-block-public-access", id)) => id,
                _ => return Err(Misplaced::new("the ARN is none of the block of public snapshots")),
            },
            None => seen.id.strip_prefix("AWS::::Account:").unwrap_or(seen.id),
        };
        let key = seen.key(Self::KIND.asff, seen.region, id);
        Self::from_key(&key)?;
        Ok(key)
    }

    fn from_key(key: &Key) -> Result<Self, Misplaced> {
        let is_id =
            key.id == key.account && key.id.len() == 12 && key.id.bytes().all(|byte| byte.is_ascii_digit());
        Self::KIND.check(key, is_id)?;
        Ok(Self)
    }

    /// There is nothing to read: the session is this account's, its calls go to this Region alone, and a
    /// setting has no tags.
    async fn inspect(&self, _: &Aws, _: bool) -> Result<Facts> {
        Ok(Facts { tags: None })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn seen<'a>(id: &'a str, id_alt: Option<&'a str>) -> Sighting<'a> {
        Sighting {
            kind: "AwsEc2SnapshotBlockPublicAccess",
            id,
            id_alt,
            account: "123456789012",
            region: "eu-west-1",
            partition: "aws",
        }
    }

    #[test]
    fn every_spelling_names_the_same_setting() {
        let arn = "arn:aws:ec2:eu-west-1:123456789012:snapshotblockpublicaccess/123456789012";
        let key = SnapshotSharing::locate(&seen(arn, None)).unwrap();
        assert_eq!(key.fill(SnapshotSharing::KIND.arn), arn);
        for (id, id_alt) in
            [("123456789012", None), ("123456789012", Some(arn)), ("AWS::::Account:123456789012", None)]
        {
            assert_eq!(SnapshotSharing::locate(&seen(id, id_alt)).unwrap(), key, "{id}");
        }
    }

    #[test]
    fn what_does_not_agree_is_refused() {
        for id in [
            "arn:aws:ec2:eu-west-1:123456789012:snapshotblockpublicaccess/999999999999",
            "arn:aws:ec2:eu-west-1:999999999999:snapshotblockpublicaccess/999999999999",
            "arn:aws:ec2:us-east-1:123456789012:snapshotblockpublicaccess/123456789012",
            "arn:aws:ec2:eu-west-1:123456789012:snapshot/123456789012",
            "arn:aws:s3:eu-west-1:123456789012:snapshotblockpublicaccess/123456789012",
            "999999999999",
            "AWS::::Account:999999999999",
            "snap-0123abcd",
            "",
        ] {
            assert!(SnapshotSharing::locate(&seen(id, None)).is_err(), "{id}");
        }
        let nowhere = Sighting { region: "global", ..seen("123456789012", None) };
        assert!(SnapshotSharing::locate(&nowhere).is_err());
    }
}
