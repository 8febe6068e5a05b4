//! AWS accounts, for settings that an account has once, or once in each Region.

use crate::{Aws, Facts, Key, KindInfo, Misplaced, Resource, Result, Sighting, resource::Arn, text::shown};

/// An account as a whole: of a setting that holds in all its Regions.
///
/// Security Hub reports such a setting once per Region and standard; the Region of its key is `global`, so
/// that all of these are one resource.
pub(crate) struct AwsAccount {
    /// 12 digits.
    pub(crate) id: String,
}

/// What Security Hub puts before the account's number: <https://docs.aws.amazon.com/securityhub/latest/userguide/asff-resourcedetails-attributes.html>.
const PREFIX: &str = "AWS::::Account:";

impl Resource for AwsAccount {
    const KIND: KindInfo = KindInfo {
        what: "an account",
        asff: "AwsAccount",
        cfn: "AWS::::Account",
        // No action is allowed on an account: IAM knows no ARN for it.
        arn: "AWS::::Account:{id}",
        reads: &[],
        longest_id: 12,
    };

    fn locate(seen: &Sighting<'_>) -> Result<Key, Misplaced> {
        named(seen, "global")
    }

    fn from_key(key: &Key) -> Result<Self, Misplaced> {
        let id = own_id(key)?;
        if key.region != "global" {
            return Err(Misplaced::new("the Region of an account is `global`"));
        }
        Ok(Self { id })
    }

    /// There is nothing to read: the engine has made sure that its session is this account's, and the tags
    /// of accounts are kept in Organizations, out of the account's reach.
    async fn inspect(&self, _: &Aws, _: bool) -> Result<Facts> {
        Ok(Facts { tags: None })
    }
}

/// An account in one Region: of a setting that each of its Regions has of its own, or of what it has there.
pub struct RegionOfAccount;

impl Resource for RegionOfAccount {
    const KIND: KindInfo = AwsAccount::KIND;

    fn locate(seen: &Sighting<'_>) -> Result<Key, Misplaced> {
        if seen.region == "global" {
            return Err(Misplaced::new("it is one of each Region, and the finding names none"));
        }
        named(seen, seen.region)
    }

    fn from_key(key: &Key) -> Result<Self, Misplaced> {
        own_id(key)?;
        if key.region == "global" {
            return Err(Misplaced::new("it is one of each Region, and the key names none"));
        }
        Ok(Self)
    }

    /// There is nothing to read: the session is this account's, and its calls go to this Region alone.
    async fn inspect(&self, _: &Aws, _: bool) -> Result<Facts> {
        Ok(Facts { tags: None })
    }
}

/// The key of the finding's account, if that is what its resource names.
fn named(seen: &Sighting<'_>, region: &str) -> Result<Key, Misplaced> {
    seen.agreed("iam")?;
    // OCSF: `uid` may be the bare number, and `uid_alt` is there for what has an ARN.
    for id in [Some(seen.id), seen.id_alt.filter(|id| !id.is_empty())].into_iter().flatten() {
        let named = match Arn::parse(id) {
            None => id.strip_prefix(PREFIX).unwrap_or(id),
            Some(arn) if (arn.partition, arn.service, arn.resource) == (seen.partition, "iam", "root") => {
                arn.account
            }
            Some(_) => return Err(Misplaced::new("the ARN is not an account's")),
        };
        if named != seen.account {
            return Err(Misplaced::new(format!(
                "the account `{}` is not the finding's `{}`",
                shown(named),
                seen.account
            )));
        }
    }
    Ok(seen.key(AwsAccount::KIND.asff, region, seen.account))
}

fn own_id(key: &Key) -> Result<String, Misplaced> {
    if key.id != key.account || key.id.len() != 12 || !key.id.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Misplaced::new("the id of an account is its own 12 digits"));
    }
    Ok(key.id.clone())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn seen<'a>(id: &'a str, id_alt: Option<&'a str>, region: &'a str) -> Sighting<'a> {
        Sighting { kind: "AwsAccount", id, id_alt, account: "123456789012", region, partition: "aws" }
    }

    #[test]
    fn every_spelling_and_region_is_one_key() {
        for (id, id_alt) in [
            ("AWS::::Account:123456789012", None),
            ("123456789012", None),
            ("123456789012", Some("AWS::::Account:123456789012")),
            ("AWS::::Account:123456789012", Some("")),
            ("123456789012", Some("arn:aws:iam::123456789012:root")),
            ("arn:aws:iam::123456789012:root", None),
        ] {
            for region in ["eu-west-1", "us-east-1", "global"] {
                let key = AwsAccount::locate(&seen(id, id_alt, region)).unwrap();
                assert_eq!(key.to_string(), "aws/123456789012/global/AwsAccount/123456789012");
                assert_eq!(AwsAccount::from_key(&key).unwrap().id, "123456789012");
            }
        }
    }

    #[test]
    fn a_setting_of_each_region_has_a_key_in_each() {
        let key = RegionOfAccount::locate(&seen("AWS::::Account:123456789012", None, "eu-west-1")).unwrap();
        assert_eq!(key.to_string(), "aws/123456789012/eu-west-1/AwsAccount/123456789012");
        assert!(RegionOfAccount::from_key(&key).is_ok());
        for (id, region) in
            [("AWS::::Account:123456789012", "global"), ("AWS::::Account:999999999999", "eu-west-1")]
        {
            assert!(RegionOfAccount::locate(&seen(id, None, region)).is_err(), "{id} {region}");
        }
        for key in
            ["aws/123456789012/global/AwsAccount/123456789012", "aws/123456789012/eu-west-1/AwsAccount/1"]
        {
            assert!(RegionOfAccount::from_key(&key.parse().unwrap()).is_err(), "{key}");
        }
    }

    #[test]
    fn another_account_is_refused() {
        for (id, id_alt) in [
            ("AWS::::Account:999999999999", None),
            ("999999999999", None),
            ("", None),
            ("AWS::::Account:", None),
            ("AWS::::Account:123456789012 ", None),
            ("AWS::::Account:AWS::::Account:123456789012", None),
            ("123456789012", Some("AWS::::Account:999999999999")),
            ("123456789012", Some("arn:aws:iam::999999999999:root")),
            ("arn:aws:iam:::root", None),
            ("arn:aws:iam::123456789012:user/root", None),
            ("arn:aws-cn:iam::123456789012:root", None),
            ("arn:aws:s3:::123456789012", None),
            ("arn:123456789012", None),
            ("arn:aws:iam::123456789012:root", Some("arn:aws:iam::999999999999:root")),
        ] {
            assert!(AwsAccount::locate(&seen(id, id_alt, "eu-west-1")).is_err(), "{id} {id_alt:?}");
        }
    }

    #[test]
    fn a_key_from_a_record_is_checked_again() {
        for key in [
            "aws/123456789012/eu-west-1/AwsAccount/123456789012",
            "aws/123456789012/global/AwsAccount/999999999999",
            "aws/*/global/AwsAccount/*",
        ] {
            assert!(AwsAccount::from_key(&key.parse().unwrap()).is_err(), "{key}");
        }
    }
}
