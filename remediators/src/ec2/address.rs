//! Elastic IP addresses.

use aws_sdk_ec2::types::{Address, Filter};

use super::{is_id, tag_map};
use crate::{
    Action, Aws, Error, Facts, Key, KindInfo, Misplaced, Resource, Result, Sighting, action::On,
    error::AbsentIf as _,
};

/// An Elastic IP address, by its allocation.
pub(crate) struct Eip {
    pub(crate) id: String,
    pub(crate) region: String,
}

impl Resource for Eip {
    const KIND: KindInfo = KindInfo {
        what: "an Elastic IP address",
        asff: "AwsEc2Eip",
        cfn: "AWS::EC2::EIP",
        arn: "arn:{partition}:ec2:{region}:{account}:elastic-ip/{id}",
        reads: &[Action::new("ec2:DescribeAddresses", On::Region)],
        longest_id: 26,
    };

    fn locate(seen: &Sighting<'_>) -> Result<Key, Misplaced> {
        // The ARN's resource part is `elastic-ip/…` in IAM and `eip-allocation/…` in other findings of
        // AWS's; the allocation id is what follows in both.
        let named = seen.agreed("ec2")?.map_or(seen.id, |arn| arn.resource);
        let id = named.rsplit_once('/').map_or(named, |(_, id)| id);
        let key = seen.key(Self::KIND.asff, seen.region, id);
        Self::from_key(&key)?;
        Ok(key)
    }

    fn from_key(key: &Key) -> Result<Self, Misplaced> {
        Self::KIND.check(key, is_id(&key.id, "eipalloc-"))?;
        Ok(Self { id: key.id.clone(), region: key.region.clone() })
    }

    /// An address that is not there is no error here, and has no tags: nothing is left to prove, and after
    /// a release that is how it must be. That a finding is stale is for `observe` to say.
    async fn inspect(&self, aws: &Aws, _: bool) -> Result<Facts> {
        // Only the session's own addresses in this Region are ever listed: to find it is the proof.
        let found = by_allocation(aws, &self.id).await?;
        let tags = found.map(|address| tag_map(address.tags()).into_iter().collect());
        Ok(Facts { tags: Some(tags.unwrap_or_default()) })
    }
}

/// The address of this allocation id.
pub(crate) async fn by_allocation(aws: &Aws, id: &str) -> Result<Option<Address>> {
    let request = aws.ec2().describe_addresses().allocation_ids(id);
    let found = request.send().await.absent_if("InvalidAllocationID.NotFound")?;
    Ok(found
        .and_then(|found| found.addresses)
        .unwrap_or_default()
        .into_iter()
        .find(|address| address.allocation_id() == Some(id)))
}

/// The allocation id of this public address, if it is one of ours.
pub(crate) async fn allocation_of(aws: &Aws, public_ip: &str) -> Result<Option<String>> {
    let filter = Filter::builder().name("public-ip").values(public_ip).build();
    let found = aws.ec2().describe_addresses().filters(filter).send().await.map_err(Error::from)?;
    Ok(found
        .addresses
        .unwrap_or_default()
        .into_iter()
        .find(|address| address.public_ip() == Some(public_ip))
        .and_then(|address| address.allocation_id))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn seen(id: &str) -> Sighting<'_> {
        Sighting {
            kind: "AwsEc2Eip",
            id,
            id_alt: None,
            account: "123456789012",
            region: "eu-west-1",
            partition: "aws",
        }
    }

    #[test]
    fn every_spelling_names_the_same_address() {
        let arn = "arn:aws:ec2:eu-west-1:123456789012:elastic-ip/eipalloc-0123456789abcdef0";
        let key = Eip::locate(&seen(arn)).unwrap();
        assert_eq!(key.fill(Eip::KIND.arn), arn);
        assert_eq!(key.id.len(), Eip::KIND.longest_id);
        for id in [
            "arn:aws:ec2:eu-west-1:123456789012:eip-allocation/eipalloc-0123456789abcdef0",
            "arn:aws:ec2:eu-west-1:123456789012:eip/eipalloc-0123456789abcdef0",
            "eipalloc-0123456789abcdef0",
        ] {
            assert_eq!(Eip::locate(&seen(id)).unwrap(), key, "{id}");
        }
        let ocsf = Sighting { id_alt: Some(arn), ..seen("eipalloc-0123456789abcdef0") };
        assert_eq!(Eip::locate(&ocsf).unwrap(), key);
    }

    #[test]
    fn what_does_not_agree_is_refused() {
        for id in [
            "arn:aws:ec2:eu-west-1:999999999999:elastic-ip/eipalloc-0123456789abcdef0",
            "arn:aws:ec2:us-east-1:123456789012:elastic-ip/eipalloc-0123456789abcdef0",
            "arn:aws:s3:eu-west-1:123456789012:elastic-ip/eipalloc-0123456789abcdef0",
            "arn:aws:ec2:eu-west-1:123456789012:elastic-ip/192.0.2.1",
            "eipalloc-*",
            "192.0.2.1",
            "",
        ] {
            assert!(Eip::locate(&seen(id)).is_err(), "{id}");
        }
        assert!(Eip::locate(&Sighting { region: "global", ..seen("eipalloc-0123abcd") }).is_err());
    }
}
