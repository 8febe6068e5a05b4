//! Log groups.

use crate::{Action, Aws, Facts, Key, KindInfo, Misplaced, Resource, Result, Sighting, action::On};

/// A log group.
#[derive(Debug)]
pub(crate) struct LogGroup {
    pub(crate) name: String,
    arn: String,
}

/// What tags are read by. Every other action of a group is allowed on the ARN that ends with `:*`, and only on
/// that: <https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/iam-access-control-overview-cwl.html>.
const ARN: &str = "arn:{partition}:logs:{region}:{account}:log-group:{id}";

impl Resource for LogGroup {
    const KIND: KindInfo = KindInfo {
        what: "a log group",
        asff: "AwsLogsLogGroup",
        cfn: "AWS::Logs::LogGroup",
        arn: "arn:{partition}:logs:{region}:{account}:log-group:{id}:*",
        reads: &[Action::new("logs:ListTagsForResource", On::Arn(ARN))],
        longest_id: 512,
    };

    fn locate(seen: &Sighting<'_>) -> Result<Key, Misplaced> {
        let name = match seen.agreed("logs")? {
            Some(arn) => {
                let group = arn.resource.strip_prefix("log-group:");
                let group = group.ok_or_else(|| Misplaced::new("the ARN is not that of a log group"))?;
                // With this end it stands for the group and all its streams.
                group.strip_suffix(":*").unwrap_or(group)
            }
            // OCSF: `uid` is the bare name.
            None => seen.id,
        };
        let key = seen.key(Self::KIND.asff, seen.region, name);
        Self::from_key(&key)?;
        Ok(key)
    }

    fn from_key(key: &Key) -> Result<Self, Misplaced> {
        // https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_CreateLogGroup.html
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b".-_/#".contains(&byte);
        let name = &key.id;
        Self::KIND.check(key, (1..=512).contains(&name.len()) && name.bytes().all(legal))?;
        Ok(Self { name: name.clone(), arn: key.fill(ARN) })
    }

    /// The ARN that the tags are asked for is one of the key's account and Region.
    async fn inspect(&self, aws: &Aws, tags: bool) -> Result<Facts> {
        let mut found = Vec::new();
        if tags {
            let answer = aws.logs().list_tags_for_resource().resource_arn(&self.arn).send().await?;
            found.extend(answer.tags.unwrap_or_default());
            found.sort_unstable();
        }
        Ok(Facts { tags: Some(found) })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn located(id: &str, id_alt: Option<&str>, region: &str) -> Result<Key, Misplaced> {
        let account = "123456789012";
        LogGroup::locate(&Sighting { kind: "AwsLogsLogGroup", id, id_alt, account, region, partition: "aws" })
    }

    #[test]
    fn every_spelling_is_one_key() {
        let arn = "arn:aws:logs:eu-west-1:123456789012:log-group:/aws/lambda/orders";
        let key = located(arn, None, "eu-west-1").unwrap();
        let text = "aws/123456789012/eu-west-1/AwsLogsLogGroup//aws/lambda/orders";
        assert_eq!(key.to_string(), text);
        assert_eq!(text.parse::<Key>().unwrap(), key);
        assert_eq!(located(&format!("{arn}:*"), None, "eu-west-1").unwrap(), key);
        assert_eq!(located("/aws/lambda/orders", Some(arn), "eu-west-1").unwrap(), key);
        let group = LogGroup::from_key(&key).unwrap();
        assert_eq!((group.name.as_str(), group.arn.as_str()), ("/aws/lambda/orders", arn));
        assert_eq!(key.fill(LogGroup::KIND.arn), format!("{arn}:*"));
    }

    #[test]
    fn what_does_not_agree_is_refused() {
        for id in [
            "arn:aws:logs:eu-west-1:999999999999:log-group:orders",
            "arn:aws:logs:us-east-1:123456789012:log-group:orders",
            "arn:aws-cn:logs:eu-west-1:123456789012:log-group:orders",
            "arn:aws:logs:eu-west-1:123456789012:log-group:orders:log-stream:one",
            "arn:aws:logs:eu-west-1:123456789012:log-group:*",
            "arn:aws:logs:eu-west-1:123456789012:log-group:",
            "arn:aws:logs:eu-west-1:123456789012:destination:orders",
            "arn:aws:s3:::orders",
            "or ders",
            "",
        ] {
            assert!(located(id, None, "eu-west-1").is_err(), "{id}");
        }
        assert!(located("orders", None, "global").is_err());
    }
}
