//! ECR repositories.

use aws_sdk_ecr::types::Repository as Described;

use crate::{Action, Aws, Error, ErrorKind, Facts, Key, KindInfo, Misplaced, Resource, Result, action::On};

/// A private repository.
pub(crate) struct Repository {
    pub(crate) name: String,
    /// Sent with every call as the registry's id: a repository of that name in another registry is not touched.
    pub(crate) registry: String,
}

impl Repository {
    /// What ECR says of it.
    pub(crate) async fn describe(&self, aws: &Aws) -> Result<Described> {
        let request = aws.ecr().describe_repositories().registry_id(&self.registry);
        let found = request.repository_names(&self.name).send().await?;
        let mut found = found.repositories.unwrap_or_default();
        found.retain(|one| one.repository_name.as_deref() == Some(self.name.as_str()));
        found.pop().ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("ECR answers without a repository `{}`", self.name))
        })
    }
}

impl Resource for Repository {
    const KIND: KindInfo = KindInfo {
        what: "a repository",
        asff: "AwsEcrRepository",
        cfn: "AWS::ECR::Repository",
        arn: "arn:{partition}:ecr:{region}:{account}:repository/{id}",
        reads: &[
            Action::new("ecr:DescribeRepositories", On::Resource),
            Action::new("ecr:ListTagsForResource", On::Resource),
        ],
        longest_id: 256,
    };

    fn from_key(key: &Key) -> Result<Self, Misplaced> {
        // https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_CreateRepository.html
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let legal = |part: &str| {
            let bytes = part.as_bytes();
            bytes.first().is_some_and(|first| plain(*first))
                && bytes.last().is_some_and(|last| plain(*last))
                && bytes.iter().all(|byte| plain(*byte) || matches!(byte, b'.' | b'_' | b'-'))
        };
        let name = &key.id;
        Self::KIND.check(key, (2..=256).contains(&name.len()) && name.split('/').all(legal))?;
        Ok(Self { name: name.clone(), registry: key.account.clone() })
    }

    async fn inspect(&self, aws: &Aws, tags: bool) -> Result<Facts> {
        let arn = aws.key().fill(Self::KIND.arn);
        let found = self.describe(aws).await?;
        if found.repository_arn() != Some(arn.as_str()) {
            return Err(Error::new(
                ErrorKind::Rejected,
                format!("repository `{}` is not in the finding's account and Region", self.name),
            ));
        }
        if !tags {
            return Ok(Facts { tags: Some(Vec::new()) });
        }
        let found = aws.ecr().list_tags_for_resource().resource_arn(arn).send().await?;
        let tags = found.tags.unwrap_or_default();
        Ok(Facts { tags: Some(tags.into_iter().map(|tag| (tag.key, tag.value)).collect()) })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::Sighting;

    const ARN: &str = "arn:aws:ecr:eu-west-1:123456789012:repository/team/app.web";

    fn seen<'a>(id: &'a str, id_alt: Option<&'a str>) -> Sighting<'a> {
        Sighting {
            kind: "AwsEcrRepository",
            id,
            id_alt,
            account: "123456789012",
            region: "eu-west-1",
            partition: "aws",
        }
    }

    #[test]
    fn both_formats_name_the_same_repository() {
        let asff = Repository::locate(&seen(ARN, None)).unwrap();
        assert_eq!(asff.to_string(), "aws/123456789012/eu-west-1/AwsEcrRepository/team/app.web");
        assert_eq!(Repository::locate(&seen("team/app.web", Some(ARN))).unwrap(), asff);
        assert_eq!(asff.to_string().parse::<Key>().unwrap(), asff);
        assert_eq!(asff.fill(Repository::KIND.arn), ARN);
    }

    #[test]
    fn what_does_not_agree_is_refused() {
        for id in [
            "arn:aws-cn:ecr:eu-west-1:123456789012:repository/app",
            "arn:aws:ecr:us-east-1:123456789012:repository/app",
            "arn:aws:ecr:eu-west-1:999999999999:repository/app",
            "arn:aws:ecr-public:eu-west-1:123456789012:repository/app",
            "arn:aws:ecr:eu-west-1:123456789012:app",
            "arn:aws:ecr:eu-west-1:123456789012:repository/../app",
            "arn:aws:ecr:eu-west-1:123456789012:repository/a//b",
            "arn:aws:ecr:eu-west-1:123456789012:repository/App",
            "arn:aws:ecr:eu-west-1:123456789012:repository/app/",
            "x",
            "",
        ] {
            assert!(Repository::locate(&seen(id, None)).is_err(), "{id}");
        }
        for key in
            ["aws/123456789012/global/AwsEcrRepository/app", "aws/123456789012/eu-west-1/AwsEcrRepository/*"]
        {
            assert!(Repository::from_key(&key.parse().unwrap()).is_err(), "{key}");
        }
    }
}
