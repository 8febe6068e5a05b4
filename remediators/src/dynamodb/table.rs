//! `DynamoDB` tables.

use crate::{Action, Aws, Facts, Key, KindInfo, Misplaced, Resource, Result, action::On};

/// A table, or one Region's replica of a global table.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) name: String,
    arn: String,
}

impl Resource for Table {
    const KIND: KindInfo = KindInfo {
        what: "a table",
        asff: "AwsDynamoDbTable",
        cfn: "AWS::DynamoDB::Table",
        arn: "arn:{partition}:dynamodb:{region}:{account}:table/{id}",
        reads: &[Action::new("dynamodb:ListTagsOfResource", On::Resource)],
        longest_id: 255,
    };

    fn from_key(key: &Key) -> Result<Self, Misplaced> {
        // https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/HowItWorks.NamingRulesDataTypes.html
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        let name = &key.id;
        Self::KIND.check(key, (3..=255).contains(&name.len()) && name.bytes().all(legal))?;
        Ok(Self { name: name.clone(), arn: key.fill(Self::KIND.arn) })
    }

    /// The ARN that the tags are asked for is one of the key's account and Region.
    async fn inspect(&self, aws: &Aws, tags: bool) -> Result<Facts> {
        if !tags {
            return Ok(Facts { tags: Some(Vec::new()) });
        }
        let mut found = Vec::new();
        let mut token = None;
        loop {
            let request = aws.dynamodb().list_tags_of_resource().resource_arn(&self.arn);
            let page = request.set_next_token(token).send().await?;
            found.extend(page.tags.unwrap_or_default().into_iter().map(|tag| (tag.key, tag.value)));
            token = page.next_token.filter(|token| !token.is_empty());
            if token.is_none() {
                return Ok(Facts { tags: Some(found) });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::Sighting;

    fn located(id: &str, id_alt: Option<&str>, region: &str) -> Result<Key, Misplaced> {
        let account = "123456789012";
        Table::locate(&Sighting { kind: "AwsDynamoDbTable", id, id_alt, account, region, partition: "aws" })
    }

    #[test]
    fn both_formats_name_the_same_table() {
        let arn = "arn:aws:dynamodb:eu-west-1:123456789012:table/orders";
        let key = located(arn, None, "eu-west-1").unwrap();
        assert_eq!(key.to_string(), "aws/123456789012/eu-west-1/AwsDynamoDbTable/orders");
        assert_eq!(located("orders", Some(arn), "eu-west-1").unwrap(), key);
        assert_eq!(located("orders", None, "eu-west-1").unwrap(), key);
        assert_eq!(Table::from_key(&key).unwrap().arn, arn);
    }

    #[test]
    fn what_does_not_agree_is_refused() {
        for id in [
            "arn:aws:dynamodb:eu-west-1:999999999999:table/orders",
            "arn:aws:dynamodb:us-east-1:123456789012:table/orders",
            "arn:aws-cn:dynamodb:eu-west-1:123456789012:table/orders",
            "arn:aws:dynamodb:eu-west-1:123456789012:table/orders/stream/2026-01-01T00:00:00.000",
            "arn:aws:dynamodb:eu-west-1:123456789012:table/orders/index/by-day",
            "arn:aws:dynamodb::123456789012:global-table/orders",
            "arn:aws:s3:::orders",
            "ab",
            "or*ers",
            "",
        ] {
            assert!(located(id, None, "eu-west-1").is_err(), "{id}");
        }
        assert!(located("orders", None, "global").is_err());
    }
}
