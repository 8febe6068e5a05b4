//! RDS instances.

use aws_sdk_rds::types::DbInstance as Described;

use super::tags;
use crate::{
    Action, Aws, Error, ErrorKind, Facts, Key, KindInfo, Misplaced, Resource, Result, action::On,
    resource::is_dashed,
};

/// A database instance, by its name.
pub(crate) struct Instance {
    pub(crate) name: String,
}

impl Resource for Instance {
    const KIND: KindInfo = KindInfo {
        what: "a database instance",
        asff: "AwsRdsDbInstance",
        cfn: "AWS::RDS::DBInstance",
        arn: "arn:{partition}:rds:{region}:{account}:db:{id}",
        reads: &[Action::new("rds:DescribeDBInstances", On::Resource)],
        longest_id: 63,
    };

    fn from_key(key: &Key) -> Result<Self, Misplaced> {
        // `DbiResourceId` (`db-ABC…`), by which Config knows an instance, is no name.
        Self::KIND.check(key, is_dashed(&key.id, Self::KIND.longest_id))?;
        Ok(Self { name: key.id.clone() })
    }

    async fn inspect(&self, aws: &Aws, _: bool) -> Result<Facts> {
        // A name finds the session's own instances in this Region only.
        Ok(Facts { tags: Some(tags(self.describe(aws).await?.tag_list)) })
    }
}

impl Instance {
    /// The instance as it is.
    pub(crate) async fn describe(&self, aws: &Aws) -> Result<Described> {
        let found = aws.rds().describe_db_instances().db_instance_identifier(&self.name).send().await?;
        let named = |one: &Described| one.db_instance_identifier() == Some(&self.name);
        found.db_instances.unwrap_or_default().into_iter().find(named).ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("RDS lists no database instance `{}`", self.name))
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
            kind: "AwsRdsDbInstance",
            id,
            id_alt,
            account: "123456789012",
            region: "eu-west-1",
            partition: "aws",
        }
    }

    #[test]
    fn both_formats_name_the_same_instance() {
        let arn = "arn:aws:rds:eu-west-1:123456789012:db:orders";
        let key = Instance::locate(&seen(arn, None)).unwrap();
        assert_eq!(key.fill(Instance::KIND.arn), arn);
        assert_eq!(Instance::locate(&seen("orders", Some(arn))).unwrap(), key);
        assert_eq!(Instance::locate(&seen("orders", None)).unwrap(), key);
        // Config's own id, where the ARN stands beside it.
        assert_eq!(Instance::locate(&seen("db-ABCDEFGHIJKLM", Some(arn))).unwrap(), key);
    }

    #[test]
    fn what_does_not_agree_is_refused() {
        for id in [
            "arn:aws:rds:eu-west-1:999999999999:db:orders",
            "arn:aws:rds:us-east-1:123456789012:db:orders",
            "arn:aws-cn:rds:eu-west-1:123456789012:db:orders",
            "arn:aws:rds:eu-west-1:123456789012:cluster:orders",
            "arn:aws:rds:eu-west-1:123456789012:db:orders:x",
            "arn:aws:rds:eu-west-1:123456789012:db:",
            "arn:aws:ec2:eu-west-1:123456789012:db:orders",
            "db-ABCDEFGHIJKLM",
            "Orders",
            "*",
            "",
        ] {
            assert!(Instance::locate(&seen(id, None)).is_err(), "{id}");
        }
        assert!(Instance::locate(&Sighting { region: "global", ..seen("orders", None) }).is_err());
        let key = "aws/123456789012/eu-west-1/AwsRdsDbInstance/or/ders".parse().unwrap();
        assert!(Instance::from_key(&key).is_err());
    }
}
