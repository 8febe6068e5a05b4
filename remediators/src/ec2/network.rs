//! Subnets, network ACLs, VPCs and transit gateways.

use aws_sdk_ec2::types::{self, Tag, TransitGatewayState};

use super::{is_id, tag_map};
use crate::{
    Action, Aws, Error, ErrorKind, Facts, Key, KindInfo, Misplaced, Resource, Result, action::On, text::shown,
};

/// `found`, if it is `owner`'s. Whatever another account shares through AWS RAM
/// [is listed as well](https://docs.aws.amazon.com/vpc/latest/userguide/vpc-sharing.html).
pub(super) fn owned<T>(
    kind: &KindInfo,
    found: Option<T>,
    id: &str,
    owner: &str,
    owner_of: impl FnOnce(&T) -> Option<&str>,
) -> Result<T> {
    let Some(found) = found else {
        return Err(Error::new(
            ErrorKind::NotFound,
            format!("`{id}` is not there: {} of that id", kind.what),
        ));
    };
    match owner_of(&found) {
        Some(of) if of == owner => Ok(found),
        of => Err(Error::new(
            ErrorKind::Rejected,
            format!(
                "`{id}` belongs to `{}`, not to the finding's `{owner}`",
                shown(of.unwrap_or("nobody named"))
            ),
        )),
    }
}

fn facts(tags: &[Tag]) -> Facts {
    Facts { tags: Some(tag_map(tags).into_iter().collect()) }
}

/// A subnet.
pub(crate) struct Subnet {
    pub(crate) id: String,
    owner: String,
}

impl Subnet {
    /// The subnet as it is, which is the account's own.
    pub(crate) async fn read(&self, aws: &Aws) -> Result<types::Subnet> {
        let found = aws.ec2().describe_subnets().subnet_ids(&self.id).send().await?;
        let found =
            found.subnets.unwrap_or_default().into_iter().find(|one| one.subnet_id() == Some(&self.id));
        owned(&Self::KIND, found, &self.id, &self.owner, types::Subnet::owner_id)
    }
}

impl Resource for Subnet {
    const KIND: KindInfo = KindInfo {
        what: "a subnet",
        asff: "AwsEc2Subnet",
        cfn: "AWS::EC2::Subnet",
        arn: "arn:{partition}:ec2:{region}:{account}:subnet/{id}",
        reads: &[Action::new("ec2:DescribeSubnets", On::Region)],
        longest_id: 24,
    };

    fn from_key(key: &Key) -> Result<Self, Misplaced> {
        Self::KIND.check(key, is_id(&key.id, "subnet-"))?;
        Ok(Self { id: key.id.clone(), owner: key.account.clone() })
    }

    async fn inspect(&self, aws: &Aws, _: bool) -> Result<Facts> {
        Ok(facts(self.read(aws).await?.tags()))
    }
}

/// A network ACL.
pub(crate) struct NetworkAcl {
    pub(crate) id: String,
    owner: String,
}

impl NetworkAcl {
    /// The ACL as it is, which is the account's own.
    pub(crate) async fn read(&self, aws: &Aws) -> Result<types::NetworkAcl> {
        let found = aws.ec2().describe_network_acls().network_acl_ids(&self.id).send().await?;
        let mut found = found.network_acls.unwrap_or_default().into_iter();
        let found = found.find(|one| one.network_acl_id() == Some(&self.id));
        owned(&Self::KIND, found, &self.id, &self.owner, types::NetworkAcl::owner_id)
    }
}

impl Resource for NetworkAcl {
    const KIND: KindInfo = KindInfo {
        what: "a network ACL",
        asff: "AwsEc2NetworkAcl",
        cfn: "AWS::EC2::NetworkAcl",
        arn: "arn:{partition}:ec2:{region}:{account}:network-acl/{id}",
        reads: &[Action::new("ec2:DescribeNetworkAcls", On::Region)],
        longest_id: 21,
    };

    fn from_key(key: &Key) -> Result<Self, Misplaced> {
        Self::KIND.check(key, is_id(&key.id, "acl-"))?;
        Ok(Self { id: key.id.clone(), owner: key.account.clone() })
    }

    async fn inspect(&self, aws: &Aws, _: bool) -> Result<Facts> {
        Ok(facts(self.read(aws).await?.tags()))
    }
}

/// A VPC.
pub(crate) struct Vpc {
    pub(crate) id: String,
    owner: String,
}

impl Vpc {
    async fn read(&self, aws: &Aws) -> Result<types::Vpc> {
        let found = aws.ec2().describe_vpcs().vpc_ids(&self.id).send().await?;
        let found = found.vpcs.unwrap_or_default().into_iter().find(|one| one.vpc_id() == Some(&self.id));
        owned(&Self::KIND, found, &self.id, &self.owner, types::Vpc::owner_id)
    }
}

impl Resource for Vpc {
    const KIND: KindInfo = KindInfo {
        what: "a VPC",
        asff: "AwsEc2Vpc",
        cfn: "AWS::EC2::VPC",
        arn: "arn:{partition}:ec2:{region}:{account}:vpc/{id}",
        reads: &[Action::new("ec2:DescribeVpcs", On::Region)],
        longest_id: 21,
    };

    fn from_key(key: &Key) -> Result<Self, Misplaced> {
        Self::KIND.check(key, is_id(&key.id, "vpc-"))?;
        Ok(Self { id: key.id.clone(), owner: key.account.clone() })
    }

    async fn inspect(&self, aws: &Aws, _: bool) -> Result<Facts> {
        Ok(facts(self.read(aws).await?.tags()))
    }
}

/// A transit gateway.
pub(crate) struct TransitGateway {
    pub(crate) id: String,
    owner: String,
}

impl TransitGateway {
    /// The gateway as it is, which is the account's own.
    pub(crate) async fn read(&self, aws: &Aws) -> Result<types::TransitGateway> {
        let found = aws.ec2().describe_transit_gateways().transit_gateway_ids(&self.id).send().await?;
        let gone = |one: &types::TransitGateway| {
            matches!(one.state(), Some(TransitGatewayState::Deleted | TransitGatewayState::Deleting))
        };
        // One that was deleted is still listed for a while.
        let mut found = found.transit_gateways.unwrap_or_default().into_iter();
        let found = found.find(|one| one.transit_gateway_id() == Some(&self.id) && !gone(one));
        owned(&Self::KIND, found, &self.id, &self.owner, types::TransitGateway::owner_id)
    }
}

impl Resource for TransitGateway {
    const KIND: KindInfo = KindInfo {
        what: "a transit gateway",
        asff: "AwsEc2TransitGateway",
        cfn: "AWS::EC2::TransitGateway",
        arn: "arn:{partition}:ec2:{region}:{account}:transit-gateway/{id}",
        reads: &[Action::new("ec2:DescribeTransitGateways", On::Region)],
        longest_id: 21,
    };

    fn from_key(key: &Key) -> Result<Self, Misplaced> {
        Self::KIND.check(key, is_id(&key.id, "tgw-"))?;
        Ok(Self { id: key.id.clone(), owner: key.account.clone() })
    }

    async fn inspect(&self, aws: &Aws, _: bool) -> Result<Facts> {
        Ok(facts(self.read(aws).await?.tags()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::Sighting;

    type Locate = fn(&Sighting<'_>) -> Result<Key, Misplaced>;

    /// Each kind, what its ARNs have before the id, and what its ids begin with.
    const KINDS: [(KindInfo, Locate, &str, &str); 4] = [
        (Subnet::KIND, Subnet::locate, "subnet", "subnet-"),
        (NetworkAcl::KIND, NetworkAcl::locate, "network-acl", "acl-"),
        (Vpc::KIND, Vpc::locate, "vpc", "vpc-"),
        (TransitGateway::KIND, TransitGateway::locate, "transit-gateway", "tgw-"),
    ];

    fn seen<'a>(kind: &'a KindInfo, id: &'a str) -> Sighting<'a> {
        Sighting {
            kind: kind.asff,
            id,
            id_alt: None,
            account: "123456789012",
            region: "eu-west-1",
            partition: "aws",
        }
    }

    #[test]
    fn both_formats_name_the_same_resource() {
        for (kind, locate, part, prefix) in &KINDS {
            let id = format!("{prefix}0123456789abcdef0");
            let arn = format!("arn:aws:ec2:eu-west-1:123456789012:{part}/{id}");
            let asff = locate(&seen(kind, &arn)).unwrap();
            let ocsf = Sighting { id_alt: Some(&arn), ..seen(kind, &id) };
            assert_eq!(locate(&ocsf).unwrap(), asff);
            assert_eq!(locate(&seen(kind, &id)).unwrap(), asff);
            assert_eq!(asff.fill(kind.arn), arn);
            assert_eq!(asff.id.len(), kind.longest_id);
        }
    }

    #[test]
    fn what_does_not_agree_is_refused() {
        for (kind, locate, part, prefix) in &KINDS {
            let id = format!("{prefix}0123456789abcdef0");
            for wrong in [
                format!("arn:aws:ec2:eu-west-1:999999999999:{part}/{id}"),
                format!("arn:aws:ec2:us-east-1:123456789012:{part}/{id}"),
                format!("arn:aws-cn:ec2:eu-west-1:123456789012:{part}/{id}"),
                format!("arn:aws:rds:eu-west-1:123456789012:{part}/{id}"),
                format!("arn:aws:ec2:eu-west-1:123456789012:instance/{id}"),
                format!("arn:aws:ec2:eu-west-1:123456789012:{part}/{id}/x"),
                format!("arn:aws:ec2:eu-west-1:123456789012:{part}/*"),
                format!("{prefix}*"),
                "i-0123456789abcdef0".to_owned(),
                String::new(),
            ] {
                assert!(locate(&seen(kind, &wrong)).is_err(), "{wrong}");
            }
            assert!(locate(&Sighting { region: "global", ..seen(kind, &id) }).is_err());
        }
    }

    #[test]
    fn only_the_accounts_own_is_taken() {
        let owned = |found: Option<&'static str>| {
            owned(&Vpc::KIND, found, "vpc-0123abcd", "123456789012", |found| Some(*found))
        };
        assert!(owned(Some("123456789012")).is_ok());
        let shared = owned(Some("999999999999")).unwrap_err();
        assert_eq!(shared.kind, ErrorKind::Rejected);
        assert!(shared.message.contains("`999999999999`"), "{shared}");
        assert_eq!(owned(None).unwrap_err().kind, ErrorKind::NotFound);
    }
}
