//! SQS queues.

use crate::{
    Action, Aws, Error, ErrorKind, Facts, Key, KindInfo, Misplaced, Resource, Result, Sighting, action::On,
};

/// A queue.
pub(crate) struct Queue {
    name: String,
    account: String,
}

impl Queue {
    /// The URL by which all other calls name the queue: as AWS gives it for this name in this account and Region.
    pub(crate) async fn url(&self, aws: &Aws) -> Result<String> {
        let request = aws.sqs().get_queue_url().queue_name(&self.name);
        let found = request.queue_owner_aws_account_id(&self.account).send().await?;
        let url = found.queue_url.unwrap_or_default();
        if !url.ends_with(&format!("/{}/{}", self.account, self.name)) {
            return Err(Error::new(
                ErrorKind::Rejected,
                format!("the queue's URL `{}` is not of account {}", url.escape_debug(), self.account),
            ));
        }
        Ok(url)
    }
}

/// Account and name, of a URL such as `https://sqs.eu-west-1.amazonaws.com/123456789012/jobs`; older ones have other
/// hosts: <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-queue-message-identifiers.html>.
fn named(url: &str) -> Option<(&str, &str)> {
    let (_, path) = url.strip_prefix("https://")?.split_once('/')?;
    path.split_once('/')
}

impl Resource for Queue {
    const KIND: KindInfo = KindInfo {
        what: "a queue",
        asff: "AwsSqsQueue",
        cfn: "AWS::SQS::Queue",
        arn: "arn:{partition}:sqs:{region}:{account}:{id}",
        reads: &[
            Action::new("sqs:GetQueueUrl", On::Resource),
            Action::new("sqs:ListQueueTags", On::Resource),
        ],
        longest_id: 80,
    };

    fn locate(seen: &Sighting<'_>) -> Result<Key, Misplaced> {
        let arn = seen.agreed("sqs")?.map(|arn| arn.resource);
        // OCSF: `uid` is the URL.
        let url = [Some(seen.id), seen.id_alt].into_iter().flatten().find_map(named);
        let name = match (arn, url) {
            (Some(name), None) => name,
            (stated, Some((account, name)))
                if account == seen.account && stated.is_none_or(|stated| stated == name) =>
            {
                name
            }
            (_, Some(_)) => return Err(Misplaced::new("the queue's URL is not that of the finding's queue")),
            (None, None) => return Err(Misplaced::new("the resource is neither a queue's ARN nor its URL")),
        };
        let key = seen.key(Self::KIND.asff, seen.region, name);
        Self::from_key(&key)?;
        Ok(key)
    }

    fn from_key(key: &Key) -> Result<Self, Misplaced> {
        // https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-queues.html
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let stem = key.id.strip_suffix(".fifo").unwrap_or(&key.id);
        Self::KIND.check(key, !stem.is_empty() && key.id.len() <= 80 && stem.bytes().all(legal))?;
        Ok(Self { name: key.id.clone(), account: key.account.clone() })
    }

    async fn inspect(&self, aws: &Aws, tags: bool) -> Result<Facts> {
        let url = self.url(aws).await?;
        if !tags {
            return Ok(Facts { tags: Some(Vec::new()) });
        }
        let found = aws.sqs().list_queue_tags().queue_url(url).send().await?;
        Ok(Facts { tags: Some(found.tags.unwrap_or_default().into_iter().collect()) })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    const ARN: &str = "arn:aws:sqs:eu-west-1:123456789012:jobs.fifo";
    const URL: &str = "https://sqs.eu-west-1.amazonaws.com/123456789012/jobs.fifo";

    fn seen<'a>(id: &'a str, id_alt: Option<&'a str>) -> Sighting<'a> {
        Sighting {
            kind: "AwsSqsQueue",
            id,
            id_alt,
            account: "123456789012",
            region: "eu-west-1",
            partition: "aws",
        }
    }

    #[test]
    fn both_formats_name_the_same_queue() {
        let asff = Queue::locate(&seen(ARN, None)).unwrap();
        assert_eq!(asff.to_string(), "aws/123456789012/eu-west-1/AwsSqsQueue/jobs.fifo");
        for (id, id_alt) in [
            (URL, Some(ARN)),
            (URL, None),
            (URL, Some("")),
            ("https://eu-west-1.queue.amazonaws.com/123456789012/jobs.fifo", Some(ARN)),
        ] {
            assert_eq!(Queue::locate(&seen(id, id_alt)).unwrap(), asff, "{id} {id_alt:?}");
        }
    }

    #[test]
    fn what_does_not_agree_is_refused() {
        for (id, id_alt) in [
            ("arn:aws-cn:sqs:eu-west-1:123456789012:jobs", None),
            ("arn:aws:sqs:us-east-1:123456789012:jobs", None),
            ("arn:aws:sqs:eu-west-1:999999999999:jobs", None),
            ("arn:aws:sns:eu-west-1:123456789012:jobs", None),
            ("arn:aws:sqs:eu-west-1:123456789012:jobs/x", None),
            ("arn:aws:sqs:eu-west-1:123456789012:.fifo", None),
            ("https://sqs.eu-west-1.amazonaws.com/999999999999/jobs", None),
            ("https://sqs.eu-west-1.amazonaws.com/123456789012/other", Some(ARN)),
            ("https://sqs.eu-west-1.amazonaws.com/123456789012/a/jobs.fifo", None),
            ("http://sqs.eu-west-1.amazonaws.com/123456789012/jobs.fifo", None),
            ("jobs", None),
            ("", None),
        ] {
            assert!(Queue::locate(&seen(id, id_alt)).is_err(), "{id} {id_alt:?}");
        }
        let long = format!("arn:aws:sqs:eu-west-1:123456789012:{}", "x".repeat(81));
        assert!(Queue::locate(&seen(&long, None)).is_err());
    }

    #[test]
    fn a_key_from_a_record_is_checked_again() {
        for key in [
            "aws/123456789012/global/AwsSqsQueue/jobs",
            "aws/123456789012/eu-west-1/AwsSqsQueue/a/b",
            "aws/123456789012/eu-west-1/AwsSqsQueue/*",
        ] {
            assert!(Queue::from_key(&key.parse().unwrap()).is_err(), "{key}");
        }
    }
}
