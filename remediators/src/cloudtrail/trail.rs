//! Trails.

use aws_sdk_cloudtrail::types::{ResourceTag, Trail as Found};

use crate::{
    Action, Aws, Error, ErrorKind, Facts, Key, KindInfo, Misplaced, Resource, Result, action::On, text::shown,
};

/// A trail, in its home Region.
pub(crate) struct Trail {
    /// Calls name a trail by its ARN: a bare name would find the shadow of another Region's trail as well.
    pub(crate) arn: String,
    region: String,
}

impl Resource for Trail {
    const KIND: KindInfo = KindInfo {
        what: "a trail",
        asff: "AwsCloudTrailTrail",
        cfn: "AWS::CloudTrail::Trail",
        arn: "arn:{partition}:cloudtrail:{region}:{account}:trail/{id}",
        reads: &[
            Action::new("cloudtrail:GetTrail", On::Resource),
            Action::new("cloudtrail:ListTags", On::Resource),
        ],
        longest_id: 128,
    };

    /// The ARN states the home Region, and the account that owns the trail; a member of an organization sees the
    /// organization's trail under the ARN of another account.
    fn from_key(key: &Key) -> Result<Self, Misplaced> {
        // https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-trail-naming-requirements.html
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        let name = &key.id;
        let ends = name.starts_with(|one: char| one.is_ascii_alphanumeric())
            && name.ends_with(|one: char| one.is_ascii_alphanumeric());
        Self::KIND.check(key, (3..=128).contains(&name.len()) && ends && name.bytes().all(legal))?;
        Ok(Self { arn: key.fill(Self::KIND.arn), region: key.region.clone() })
    }

    async fn inspect(&self, aws: &Aws, tags: bool) -> Result<Facts> {
        self.find(aws).await?;
        if !tags {
            return Ok(Facts { tags: Some(Vec::new()) });
        }
        let mut found = Vec::new();
        let mut token = None;
        loop {
            let request = aws.cloudtrail().list_tags().resource_id_list(&self.arn).set_next_token(token);
            let page = request.send().await?;
            let tags = page.resource_tag_list().iter().flat_map(ResourceTag::tags_list);
            found.extend(tags.map(|tag| (tag.key().to_owned(), tag.value().unwrap_or_default().to_owned())));
            token = page.next_token;
            if token.is_none() {
                return Ok(Facts { tags: Some(found) });
            }
        }
    }
}

impl Trail {
    /// The trail as it is, proven to be this one.
    pub(crate) async fn find(&self, aws: &Aws) -> Result<Found> {
        let found = aws.cloudtrail().get_trail().name(&self.arn).send().await?;
        let trail = found
            .trail
            .ok_or_else(|| Error::new(ErrorKind::Transient, "CloudTrail has answered without a trail"))?;
        let home = trail.home_region().unwrap_or_default();
        if home != self.region || trail.trail_arn() != Some(&self.arn) {
            return Err(Error::new(
                ErrorKind::Rejected,
                format!(
                    "the trail `{}` is the shadow of one of `{}`, which alone can change it",
                    self.arn,
                    shown(home)
                ),
            ));
        }
        Ok(trail)
    }
}

/// Why a trail can't be changed by us, if it is an organization's: that takes leave in Organizations, too:
/// <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/creating-an-organizational-trail-prepare.html>.
pub(crate) fn of_organization(organization: bool) -> Option<String> {
    organization.then(|| {
        "it is the trail of an organization, and logs for all of its accounts: it is for the management account to \
         change"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::Sighting;

    const ARN: &str = "arn:aws:cloudtrail:eu-west-1:123456789012:trail/all-events";

    fn seen<'a>(id: &'a str, id_alt: Option<&'a str>) -> Sighting<'a> {
        Sighting {
            kind: "AwsCloudTrailTrail",
            id,
            id_alt,
            account: "123456789012",
            region: "eu-west-1",
            partition: "aws",
        }
    }

    #[test]
    fn both_formats_name_the_same_trail() {
        let key = Trail::locate(&seen(ARN, None)).unwrap();
        assert_eq!(key.to_string(), "aws/123456789012/eu-west-1/AwsCloudTrailTrail/all-events");
        assert_eq!(Trail::locate(&seen("all-events", Some(ARN))).unwrap(), key);
        assert_eq!(Trail::from_key(&key).unwrap().arn, ARN);
    }

    #[test]
    fn what_does_not_agree_is_refused() {
        for id in [
            // The shadow of another Region's trail, and an organization's trail as its members see it.
            "arn:aws:cloudtrail:us-east-1:123456789012:trail/all-events",
            "arn:aws:cloudtrail:eu-west-1:999999999999:trail/all-events",
            "arn:aws-cn:cloudtrail:eu-west-1:123456789012:trail/all-events",
            "arn:aws:s3:eu-west-1:123456789012:trail/all-events",
            "arn:aws:cloudtrail:eu-west-1:123456789012:channel/all-events",
            "arn:aws:cloudtrail:eu-west-1:123456789012:trail/a/b",
            "arn:aws:cloudtrail:eu-west-1:123456789012:trail/*",
            "ab",
            "-abc",
            "abc.",
            "a b c",
            "",
        ] {
            assert!(Trail::locate(&seen(id, None)).is_err(), "{id}");
        }
        assert!(Trail::locate(&Sighting { region: "global", ..seen("all-events", None) }).is_err());
        let any = Key::any("aws", "123456789012", "AwsCloudTrailTrail");
        assert!(Trail::from_key(&any).is_err());
    }
}
