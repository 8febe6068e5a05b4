//! Documents of Systems Manager.

use aws_sdk_ssm::types::ResourceTypeForTagging;

use crate::{Action, Aws, Error, ErrorKind, Facts, Key, KindInfo, Misplaced, Resource, Result, action::On};

/// A document of the account's own.
pub(crate) struct Document {
    pub(crate) name: String,
    account: String,
}

impl Resource for Document {
    const KIND: KindInfo = KindInfo {
        what: "a document",
        asff: "AwsSsmDocument",
        cfn: "AWS::SSM::Document",
        arn: "arn:{partition}:ssm:{region}:{account}:document/{id}",
        reads: &[
            Action::new("ssm:DescribeDocument", On::Resource),
            Action::new("ssm:ListTagsForResource", On::Resource),
        ],
        longest_id: 128,
    };

    fn from_key(key: &Key) -> Result<Self, Misplaced> {
        // https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_CreateDocument.html
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        let name = &key.id;
        Self::KIND.check(key, (3..=128).contains(&name.len()) && name.bytes().all(legal))?;
        Ok(Self { name: name.clone(), account: key.account.clone() })
    }

    async fn inspect(&self, aws: &Aws, tags: bool) -> Result<Facts> {
        // Some names are of documents that belong to Amazon and are there in every account.
        let found = aws.ssm().describe_document().name(&self.name).send().await?;
        let owner = found.document.and_then(|found| found.owner);
        if owner.as_deref() != Some(self.account.as_str()) {
            return Err(Error::new(
                ErrorKind::Rejected,
                format!("document `{}` does not belong to account {}", self.name, self.account),
            ));
        }
        if !tags {
            return Ok(Facts { tags: Some(Vec::new()) });
        }
        let request = aws.ssm().list_tags_for_resource().resource_type(ResourceTypeForTagging::Document);
        let found = request.resource_id(&self.name).send().await?;
        let tags = found.tag_list.unwrap_or_default();
        Ok(Facts { tags: Some(tags.into_iter().map(|tag| (tag.key, tag.value)).collect()) })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::Sighting;

    const ARN: &str = "arn:aws:ssm:eu-west-1:123456789012:document/Team-Patch.v2";

    fn seen<'a>(id: &'a str, id_alt: Option<&'a str>) -> Sighting<'a> {
        Sighting {
            kind: "AwsSsmDocument",
            id,
            id_alt,
            account: "123456789012",
            region: "eu-west-1",
            partition: "aws",
        }
    }

    #[test]
    fn both_formats_name_the_same_document() {
        let asff = Document::locate(&seen(ARN, None)).unwrap();
        assert_eq!(asff.to_string(), "aws/123456789012/eu-west-1/AwsSsmDocument/Team-Patch.v2");
        assert_eq!(Document::locate(&seen("Team-Patch.v2", Some(ARN))).unwrap(), asff);
        assert_eq!(asff.fill(Document::KIND.arn), ARN);
    }

    #[test]
    fn what_does_not_agree_is_refused() {
        for id in [
            "arn:aws-cn:ssm:eu-west-1:123456789012:document/Patch",
            "arn:aws:ssm:us-east-1:123456789012:document/Patch",
            "arn:aws:ssm:eu-west-1:999999999999:document/Patch",
            "arn:aws:ssm:eu-west-1:123456789012:parameter/Patch",
            "arn:aws:ssm:eu-west-1:123456789012:document/a/b",
            "arn:aws:ec2:eu-west-1:123456789012:document/Patch",
            "ab",
            "",
        ] {
            assert!(Document::locate(&seen(id, None)).is_err(), "{id}");
        }
        for key in
            ["aws/123456789012/global/AwsSsmDocument/Patch", "aws/123456789012/eu-west-1/AwsSsmDocument/*"]
        {
            assert!(Document::from_key(&key.parse().unwrap()).is_err(), "{key}");
        }
    }
}
