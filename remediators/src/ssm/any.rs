//! Resources of any type, for fixes that say themselves what they are for.

use crate::{
    Aws, Facts, Key, KindInfo, Misplaced, REGISTRY, Resource, Result, Sighting,
    account::{AwsAccount, RegionOfAccount},
    resource::Arn,
};

/// The longest id that a key is made of; [ARNs](https://docs.aws.amazon.com/securityhub/1.0/APIReference/API_Resource.html)
/// in findings are shorter than this.
const LONGEST: usize = 1024;

/// The type of a resource that no remediator but this knows, and that has an ARN: with it, the ARN says all.
const OTHER: &str = "Other";

/// A resource of whatever type. Nothing is known of it but what the finding says.
pub(crate) struct AnyResource;

impl Resource for AnyResource {
    const KIND: KindInfo =
        KindInfo { what: "a resource", asff: "*", cfn: "*", arn: "{id}", reads: &[], longest_id: LONGEST };

    /// Where another remediator is for resources of this type, the key is the one that it would have, so that both
    /// keep clear of each other, and holds and exemptions are the same.
    fn locate(seen: &Sighting<'_>) -> Result<Key, Misplaced> {
        if [AwsAccount::KIND.asff, AwsAccount::KIND.cfn].contains(&seen.kind) {
            return RegionOfAccount::locate(seen).or_else(|_| AwsAccount::locate(seen));
        }
        let known = REGISTRY
            .iter()
            .filter(|known| !known.kind().is_any() && known.kind().covers(seen.kind))
            // Of a type such as `Other`, several may have part.
            .find_map(|known| known.locate(seen).ok());
        if let Some(key) = known {
            return Ok(key);
        }
        if REGISTRY.iter().any(|known| {
            !known.kind().is_any() && known.kind().asff != OTHER && known.kind().covers(seen.kind)
        }) {
            return Err(Misplaced::new(format!(
                "the finding names no {} by an id that AWS gives",
                seen.kind.escape_debug()
            )));
        }
        let arn = seen.arn();
        if let Some(arn) = arn {
            seen.agreed(arn.service)?;
        } else {
            seen.agreed("")?;
        }
        let key = match (arn, seen.id_alt) {
            (Some(_), Some(text)) if Arn::parse(seen.id).is_none() => seen.key(OTHER, seen.region, text),
            (Some(_), _) => seen.key(OTHER, seen.region, seen.id),
            (None, _) => seen.key(seen.kind, seen.region, seen.id),
        };
        Self::from_key(&key)?;
        Ok(key)
    }

    fn arn(key: &Key) -> String {
        let known = REGISTRY.iter().find(|known| known.kind().asff == key.kind && !known.kind().is_any());
        match known {
            Some(known) if !key.id.starts_with("arn:") => known.arn(key),
            _ => key.id.clone(),
        }
    }

    fn from_key(key: &Key) -> Result<Self, Misplaced> {
        let kind = |byte: u8| byte.is_ascii_alphanumeric() || byte == b':';
        if !(1..=128).contains(&key.kind.len()) || !key.kind.bytes().all(kind) {
            return Err(Misplaced::new("the finding's type of resource is no name of AWS's"));
        }
        if !(1..=LONGEST).contains(&key.id.len()) || !key.id.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Misplaced::new(format!(
                "the resource's id is not 1 to {LONGEST} characters of ASCII without spaces"
            )));
        }
        Ok(Self)
    }

    /// There is nothing that could be read of every type. That the session is the account's own has been made sure of.
    async fn inspect(&self, _: &Aws, _: bool) -> Result<Facts> {
        Ok(Facts { tags: None })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn seen<'a>(kind: &'a str, id: &'a str, id_alt: Option<&'a str>) -> Sighting<'a> {
        Sighting { kind, id, id_alt, account: "123456789012", region: "eu-west-1", partition: "aws" }
    }

    fn located(kind: &str, id: &str, id_alt: Option<&str>) -> String {
        AnyResource::locate(&seen(kind, id, id_alt)).unwrap().to_string()
    }

    const STREAM: &str = "arn:aws:kinesis:eu-west-1:123456789012:stream/orders";

    #[test]
    fn a_type_that_nobody_knows_goes_by_its_arn() {
        let key = format!("aws/123456789012/eu-west-1/Other/{STREAM}");
        assert_eq!(located("AwsKinesisStream", STREAM, None), key);
        assert_eq!(located("AWS::Kinesis::Stream", "orders", Some(STREAM)), key);
        assert_eq!(AnyResource::arn(&key.parse().unwrap()), STREAM);
        let bare = "aws/123456789012/eu-west-1/AwsKinesisStream/orders";
        assert_eq!(located("AwsKinesisStream", "orders", None), bare);
    }

    #[cfg(feature = "s3")]
    #[test]
    fn a_type_that_others_know_has_their_key() {
        let key = "aws/123456789012/eu-west-1/AwsS3Bucket/logs";
        assert_eq!(located("AwsS3Bucket", "arn:aws:s3:::logs", None), key);
        assert_eq!(located("AWS::S3::Bucket", "logs", Some("arn:aws:s3:::logs")), key);
        assert_eq!(AnyResource::arn(&key.parse().unwrap()), "arn:aws:s3:::logs");
        assert!(AnyResource::locate(&seen("AwsS3Bucket", "../logs", None)).is_err());
    }

    #[test]
    fn an_account_is_one_in_each_region() {
        let key = "aws/123456789012/eu-west-1/AwsAccount/123456789012";
        assert_eq!(located("AwsAccount", "AWS::::Account:123456789012", None), key);
        assert_eq!(AnyResource::arn(&key.parse().unwrap()), "AWS::::Account:123456789012");
        assert!(AnyResource::locate(&seen("AwsAccount", "AWS::::Account:999999999999", None)).is_err());
    }

    #[test]
    fn what_does_not_agree_is_refused() {
        for id in [
            "arn:aws:kinesis:eu-west-1:999999999999:stream/orders",
            "arn:aws:kinesis:us-east-1:123456789012:stream/orders",
            "arn:aws-cn:kinesis:eu-west-1:123456789012:stream/orders",
            "arn:aws:kinesis:eu-west-1:123456789012:stream/or ders",
            "arn:aws:kinesis:eu-west-1:123456789012:stream/\u{1b}[31m",
            "",
        ] {
            assert!(AnyResource::locate(&seen("AwsKinesisStream", id, None)).is_err(), "{id}");
        }
        assert!(AnyResource::locate(&seen("Aws/Kinesis", "orders", None)).is_err());
    }
}
