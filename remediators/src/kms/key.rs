//! KMS keys.

use crate::{Action, Aws, Facts, Key as ResourceKey, KindInfo, Misplaced, Resource, Result, action::On};

/// A KMS key.
#[derive(Debug)]
pub(crate) struct Key {
    /// Sent in place of the id, so that no other account's or Region's key can be meant.
    pub(crate) arn: String,
}

impl Resource for Key {
    const KIND: KindInfo = KindInfo {
        what: "a key",
        asff: "AwsKmsKey",
        cfn: "AWS::KMS::Key",
        arn: "arn:{partition}:kms:{region}:{account}:key/{id}",
        reads: &[Action::new("kms:ListResourceTags", On::Resource)],
        // A UUID, or `mrk-` and 32 digits.
        longest_id: 36,
    };

    fn from_key(key: &ResourceKey) -> Result<Self, Misplaced> {
        // https://docs.aws.amazon.com/kms/latest/developerguide/concepts.html#key-id
        let id = &key.id;
        let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let is_id = match id.strip_prefix("mrk-") {
            Some(rest) => rest.len() == 32 && rest.bytes().all(digit),
            None => id.len() == 36 && id.bytes().all(|byte| digit(byte) || byte == b'-'),
        };
        Self::KIND.check(key, is_id)?;
        Ok(Self { arn: key.fill(Self::KIND.arn) })
    }

    /// The ARN that the tags are asked for is one of the resource key's account and Region.
    async fn inspect(&self, aws: &Aws, tags: bool) -> Result<Facts> {
        if !tags {
            return Ok(Facts { tags: Some(Vec::new()) });
        }
        let mut found = Vec::new();
        let mut marker = None;
        loop {
            let request = aws.kms().list_resource_tags().key_id(&self.arn);
            let page = request.set_marker(marker).send().await?;
            found.extend(page.tags.unwrap_or_default().into_iter().map(|tag| (tag.tag_key, tag.tag_value)));
            marker = page.next_marker.filter(|marker| page.truncated && !marker.is_empty());
            if marker.is_none() {
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

    const ID: &str = "1234abcd-12ab-34cd-56ef-1234567890ab";

    fn located(id: &str, id_alt: Option<&str>, region: &str) -> Result<ResourceKey, Misplaced> {
        let account = "123456789012";
        Key::locate(&Sighting { kind: "AwsKmsKey", id, id_alt, account, region, partition: "aws" })
    }

    #[test]
    fn both_formats_name_the_same_key() {
        let arn = format!("arn:aws:kms:eu-west-1:123456789012:key/{ID}");
        let key = located(&arn, None, "eu-west-1").unwrap();
        assert_eq!(key.to_string(), format!("aws/123456789012/eu-west-1/AwsKmsKey/{ID}"));
        assert_eq!(located(ID, Some(&arn), "eu-west-1").unwrap(), key);
        assert_eq!(Key::from_key(&key).unwrap().arn, arn);
        assert!(located("mrk-1234abcd12ab34cd56ef1234567890ab", None, "eu-west-1").is_ok());
    }

    #[test]
    fn what_does_not_agree_is_refused() {
        for id in [
            format!("arn:aws:kms:eu-west-1:999999999999:key/{ID}"),
            format!("arn:aws:kms:us-east-1:123456789012:key/{ID}"),
            format!("arn:aws-cn:kms:eu-west-1:123456789012:key/{ID}"),
            format!("arn:aws:kms:eu-west-1:123456789012:alias/{ID}"),
            format!("arn:aws:kms:eu-west-1:123456789012:key/{ID}/x"),
            "arn:aws:kms:eu-west-1:123456789012:key/*".to_owned(),
            "alias/orders".to_owned(),
            ID.to_uppercase(),
            String::new(),
        ] {
            assert!(located(&id, None, "eu-west-1").is_err(), "{id}");
        }
        assert!(located(ID, None, "global").is_err());
    }
}
