//! SNS topics.

use std::collections::HashMap;

use crate::{
    Action, Aws, Error, ErrorKind, Facts, Key, KindInfo, Misplaced, Resource, Result, Sighting, action::On,
};

/// A topic.
pub(crate) struct Topic {
    /// Topics are called by their ARN, which names Region and account: one of another account answers for that one.
    name: String,
    account: String,
}

impl Topic {
    /// The topic's ARN.
    pub(crate) fn arn(aws: &Aws) -> String {
        aws.key().fill(Self::KIND.arn)
    }

    /// The topic's attributes.
    pub(crate) async fn attributes(&self, aws: &Aws) -> Result<HashMap<String, String>> {
        let found = aws.sns().get_topic_attributes().topic_arn(Self::arn(aws)).send().await?;
        let found = found.attributes.unwrap_or_default();
        match found.get("Owner") {
            Some(owner) if *owner == self.account => Ok(found),
            _ => Err(Error::new(
                ErrorKind::Rejected,
                format!("SNS does not name account {} as the owner of topic `{}`", self.account, self.name),
            )),
        }
    }

    /// Sets one of them.
    pub(crate) async fn set(aws: &Aws, name: &str, value: impl Into<String>) -> Result<()> {
        let request = aws.sns().set_topic_attributes().topic_arn(Self::arn(aws));
        request.attribute_name(name).attribute_value(value).send().await?;
        Ok(())
    }
}

impl Resource for Topic {
    const KIND: KindInfo = KindInfo {
        what: "a topic",
        asff: "AwsSnsTopic",
        cfn: "AWS::SNS::Topic",
        arn: "arn:{partition}:sns:{region}:{account}:{id}",
        reads: &[
            Action::new("sns:GetTopicAttributes", On::Resource),
            Action::new("sns:ListTagsForResource", On::Resource),
        ],
        longest_id: 256,
    };

    fn locate(seen: &Sighting<'_>) -> Result<Key, Misplaced> {
        // OCSF: `uid` is the ARN as well.
        let arn = seen.agreed("sns")?.ok_or_else(|| Misplaced::new("the resource is not a topic's ARN"))?;
        let key = seen.key(Self::KIND.asff, seen.region, arn.resource);
        Self::from_key(&key)?;
        Ok(key)
    }

    fn from_key(key: &Key) -> Result<Self, Misplaced> {
        // https://docs.aws.amazon.com/sns/latest/api/API_CreateTopic.html
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let stem = key.id.strip_suffix(".fifo").unwrap_or(&key.id);
        Self::KIND.check(key, !stem.is_empty() && key.id.len() <= 256 && stem.bytes().all(legal))?;
        Ok(Self { name: key.id.clone(), account: key.account.clone() })
    }

    async fn inspect(&self, aws: &Aws, tags: bool) -> Result<Facts> {
        self.attributes(aws).await?;
        if !tags {
            return Ok(Facts { tags: Some(Vec::new()) });
        }
        let found = aws.sns().list_tags_for_resource().resource_arn(Self::arn(aws)).send().await?;
        let tags = found.tags.unwrap_or_default();
        Ok(Facts { tags: Some(tags.into_iter().map(|tag| (tag.key, tag.value)).collect()) })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    const ARN: &str = "arn:aws:sns:eu-west-1:123456789012:news.fifo";

    fn seen<'a>(id: &'a str, id_alt: Option<&'a str>) -> Sighting<'a> {
        Sighting {
            kind: "AwsSnsTopic",
            id,
            id_alt,
            account: "123456789012",
            region: "eu-west-1",
            partition: "aws",
        }
    }

    #[test]
    fn both_formats_name_the_same_topic() {
        let asff = Topic::locate(&seen(ARN, None)).unwrap();
        assert_eq!(asff.to_string(), "aws/123456789012/eu-west-1/AwsSnsTopic/news.fifo");
        assert_eq!(Topic::locate(&seen(ARN, Some(ARN))).unwrap(), asff);
        assert_eq!(asff.fill(Topic::KIND.arn), ARN);
    }

    #[test]
    fn what_does_not_agree_is_refused() {
        for id in [
            "arn:aws-cn:sns:eu-west-1:123456789012:news",
            "arn:aws:sns:us-east-1:123456789012:news",
            "arn:aws:sns:eu-west-1:999999999999:news",
            "arn:aws:sqs:eu-west-1:123456789012:news",
            "arn:aws:sns:eu-west-1:123456789012:news:0f4a",
            "arn:aws:sns:eu-west-1:123456789012:.fifo",
            "news",
            "",
        ] {
            assert!(Topic::locate(&seen(id, None)).is_err(), "{id}");
        }
        for key in ["aws/123456789012/global/AwsSnsTopic/news", "aws/123456789012/eu-west-1/AwsSnsTopic/*"] {
            assert!(Topic::from_key(&key.parse().unwrap()).is_err(), "{key}");
        }
    }
}
