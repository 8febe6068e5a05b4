//! Launch templates.

use aws_sdk_ec2::types;

use super::{is_id, tag_map};
use crate::{Action, Aws, Error, ErrorKind, Facts, Key, KindInfo, Misplaced, Resource, Result, action::On};

/// A launch template.
pub(crate) struct LaunchTemplate {
    pub(crate) id: String,
}

impl Resource for LaunchTemplate {
    const KIND: KindInfo = KindInfo {
        what: "a launch template",
        asff: "AwsEc2LaunchTemplate",
        cfn: "AWS::EC2::LaunchTemplate",
        arn: "arn:{partition}:ec2:{region}:{account}:launch-template/{id}",
        reads: &[Action::new("ec2:DescribeLaunchTemplates", On::Region)],
        longest_id: 20,
    };

    fn from_key(key: &Key) -> Result<Self, Misplaced> {
        Self::KIND.check(key, is_id(&key.id, "lt-"))?;
        Ok(Self { id: key.id.clone() })
    }

    async fn inspect(&self, aws: &Aws, _: bool) -> Result<Facts> {
        // Only the session's own templates in this Region are ever listed: to find it is the proof.
        let found = self.describe(aws).await?;
        Ok(Facts { tags: Some(tag_map(found.tags()).into_iter().collect()) })
    }
}

impl LaunchTemplate {
    pub(crate) async fn describe(&self, aws: &Aws) -> Result<types::LaunchTemplate> {
        let request = aws.ec2().describe_launch_templates().launch_template_ids(&self.id);
        let found = request.send().await.map_err(Error::from)?;
        found
            .launch_templates
            .unwrap_or_default()
            .into_iter()
            .find(|template| template.launch_template_id() == Some(&self.id))
            .ok_or_else(|| {
                Error::new(ErrorKind::NotFound, format!("launch template {} is not listed", self.id))
            })
    }

    /// All of its versions, the newest first.
    pub(crate) async fn versions(&self, aws: &Aws) -> Result<Vec<types::LaunchTemplateVersion>> {
        let pages = aws.ec2().describe_launch_template_versions().launch_template_id(&self.id);
        let mut pages = pages.into_paginator().items().send();
        let mut versions = Vec::new();
        while let Some(version) = pages.next().await {
            versions.push(version?);
        }
        versions.sort_unstable_by_key(|version| std::cmp::Reverse(version.version_number()));
        Ok(versions)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::Sighting;

    fn seen(id: &str) -> Sighting<'_> {
        Sighting {
            kind: "AwsEc2LaunchTemplate",
            id,
            id_alt: None,
            account: "123456789012",
            region: "eu-west-1",
            partition: "aws",
        }
    }

    #[test]
    fn both_formats_name_the_same_template() {
        let arn = "arn:aws:ec2:eu-west-1:123456789012:launch-template/lt-0123456789abcdef0";
        let key = LaunchTemplate::locate(&seen(arn)).unwrap();
        assert_eq!(key.fill(LaunchTemplate::KIND.arn), arn);
        assert_eq!(key.id.len(), LaunchTemplate::KIND.longest_id);
        let ocsf = Sighting { id_alt: Some(arn), ..seen("lt-0123456789abcdef0") };
        assert_eq!(LaunchTemplate::locate(&ocsf).unwrap(), key);
        assert_eq!(LaunchTemplate::locate(&seen("lt-0123456789abcdef0")).unwrap(), key);
    }

    #[test]
    fn what_does_not_agree_is_refused() {
        for id in [
            "arn:aws:ec2:eu-west-1:999999999999:launch-template/lt-0123456789abcdef0",
            "arn:aws:ec2:us-east-1:123456789012:launch-template/lt-0123456789abcdef0",
            "arn:aws:ec2:eu-west-1:123456789012:instance/lt-0123456789abcdef0",
            "arn:aws:ec2:eu-west-1:123456789012:launch-template/web",
            "lt-*",
            "",
        ] {
            assert!(LaunchTemplate::locate(&seen(id)).is_err(), "{id}");
        }
        assert!(LaunchTemplate::locate(&Sighting { region: "global", ..seen("lt-0123abcd") }).is_err());
    }
}
