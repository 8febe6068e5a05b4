//! EC2 instances.

use aws_sdk_ec2::types;

use super::{is_id, tag_map};
use crate::{Action, Aws, Error, ErrorKind, Facts, Key, KindInfo, Misplaced, Resource, Result, action::On};

/// An instance that exists: one that is terminated, or about to be, is none.
pub(crate) struct Instance {
    pub(crate) id: String,
}

impl Resource for Instance {
    const KIND: KindInfo = KindInfo {
        what: "an instance",
        asff: "AwsEc2Instance",
        cfn: "AWS::EC2::Instance",
        arn: "arn:{partition}:ec2:{region}:{account}:instance/{id}",
        reads: &[Action::new("ec2:DescribeInstances", On::Region)],
        longest_id: 19,
    };

    fn from_key(key: &Key) -> Result<Self, Misplaced> {
        Self::KIND.check(key, is_id(&key.id, "i-"))?;
        Ok(Self { id: key.id.clone() })
    }

    async fn inspect(&self, aws: &Aws, _: bool) -> Result<Facts> {
        // Only the session's own instances in this Region are ever listed: to find it is the proof.
        let found = self.describe(aws).await?;
        Ok(Facts { tags: Some(tag_map(found.tags()).into_iter().collect()) })
    }
}

impl Instance {
    pub(crate) async fn describe(&self, aws: &Aws) -> Result<types::Instance> {
        let found =
            aws.ec2().describe_instances().instance_ids(&self.id).send().await.map_err(Error::from)?;
        let gone = |why: &str| Error::new(ErrorKind::NotFound, format!("instance {} {why}", self.id));
        let instance = found
            .reservations
            .unwrap_or_default()
            .into_iter()
            .flat_map(|reservation| reservation.instances.unwrap_or_default())
            .find(|instance| instance.instance_id() == Some(&self.id))
            .ok_or_else(|| gone("is not listed"))?;
        // It is listed for about an hour more, and can't be changed any more:
        // https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/terminating-instances.html
        match state_of(&instance) {
            Some(state @ (types::InstanceStateName::Terminated | types::InstanceStateName::ShuttingDown)) => {
                Err(gone(&format!("is {}", state.as_str())))
            }
            _ => Ok(instance),
        }
    }
}

pub(crate) fn state_of(instance: &types::Instance) -> Option<&types::InstanceStateName> {
    instance.state().and_then(|state| state.name())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::Sighting;

    fn seen(id: &str) -> Sighting<'_> {
        Sighting {
            kind: "AwsEc2Instance",
            id,
            id_alt: None,
            account: "123456789012",
            region: "eu-west-1",
            partition: "aws",
        }
    }

    #[test]
    fn both_formats_name_the_same_instance() {
        let arn = "arn:aws:ec2:eu-west-1:123456789012:instance/i-0123456789abcdef0";
        let key = Instance::locate(&seen(arn)).unwrap();
        assert_eq!(key.fill(Instance::KIND.arn), arn);
        assert_eq!(key.id.len(), Instance::KIND.longest_id);
        let ocsf = Sighting { id_alt: Some(arn), ..seen("i-0123456789abcdef0") };
        assert_eq!(Instance::locate(&ocsf).unwrap(), key);
        assert_eq!(Instance::locate(&seen("i-0123456789abcdef0")).unwrap(), key);
        assert!(Instance::locate(&seen("i-0123abcd")).is_ok(), "ids from before 2016");
    }

    #[test]
    fn what_does_not_agree_is_refused() {
        for id in [
            "arn:aws:ec2:eu-west-1:999999999999:instance/i-0123456789abcdef0",
            "arn:aws:ec2:us-east-1:123456789012:instance/i-0123456789abcdef0",
            "arn:aws-cn:ec2:eu-west-1:123456789012:instance/i-0123456789abcdef0",
            "arn:aws:ec2:eu-west-1:123456789012:volume/i-0123456789abcdef0",
            "arn:aws:ec2:eu-west-1:123456789012:instance/*",
            "i-*",
            "",
        ] {
            assert!(Instance::locate(&seen(id)).is_err(), "{id}");
        }
        assert!(Instance::locate(&Sighting { region: "global", ..seen("i-0123abcd") }).is_err());
    }
}
