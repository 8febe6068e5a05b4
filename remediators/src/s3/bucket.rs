//! S3 buckets.

use aws_sdk_s3::types::BucketLocationConstraint;

use crate::{
    Action, Aws, Error, ErrorKind, Facts, Key, KindInfo, Misplaced, Resource, Result, Sighting, action::On,
    error::AbsentIf as _,
};

/// A general purpose bucket.
pub(crate) struct Bucket {
    pub(crate) name: String,
    /// Sent with every call as `x-amz-expected-bucket-owner`: a bucket of that name in another account
    /// answers 403.
    pub(crate) owner: String,
    region: String,
}

impl Resource for Bucket {
    const KIND: KindInfo = KindInfo {
        what: "a bucket",
        asff: "AwsS3Bucket",
        cfn: "AWS::S3::Bucket",
        arn: "arn:{partition}:s3:::{id}",
        reads: &[
            Action::new("s3:GetBucketLocation", On::Resource),
            Action::new("s3:GetBucketTagging", On::Resource),
        ],
        longest_id: 63,
    };

    fn locate(seen: &Sighting<'_>) -> Result<Key, Misplaced> {
        let name = match seen.agreed("s3")? {
            Some(arn) => arn.resource,
            // OCSF: `uid` is the bare name.
            None => seen.id,
        };
        let key = seen.key(Self::KIND.asff, seen.region, name);
        Self::from_key(&key)?;
        Ok(key)
    }

    fn from_key(key: &Key) -> Result<Self, Misplaced> {
        // Names from before 2018 in us-east-1 may be longer than 63 and hold capitals and underscores:
        // https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        let name = &key.id;
        let is_name = (3..=255).contains(&name.len()) && name.bytes().all(legal) && !name.starts_with('.');
        Self::KIND.check(key, is_name)?;
        Ok(Self { name: name.clone(), owner: key.account.clone(), region: key.region.clone() })
    }

    async fn inspect(&self, aws: &Aws, tags: bool) -> Result<Facts> {
        let location =
            aws.s3().get_bucket_location().bucket(&self.name).expected_bucket_owner(&self.owner).send();
        let tagging = async {
            if !tags {
                return Ok::<_, Error>(Vec::new());
            }
            let request = aws.s3().get_bucket_tagging().bucket(&self.name);
            let found = request.expected_bucket_owner(&self.owner).send().await.absent_if("NoSuchTagSet")?;
            let tags = found.map(|found| found.tag_set).unwrap_or_default();
            Ok(tags.into_iter().map(|tag| (tag.key, tag.value)).collect())
        };
        let (location, tags) = tokio::join!(location, tagging);
        let location = location?;
        // The two oldest Regions go by older names:
        // https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketLocation.html
        let region = match location.location_constraint().map(BucketLocationConstraint::as_str) {
            None | Some("" | "US") => "us-east-1",
            Some("EU") => "eu-west-1",
            Some(region) => region,
        };
        if region != self.region {
            return Err(Error::new(
                ErrorKind::Rejected,
                format!("bucket `{}` is in `{region}`, not in the finding's `{}`", self.name, self.region),
            ));
        }
        Ok(Facts { tags: Some(tags?) })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn seen<'a>(id: &'a str, id_alt: Option<&'a str>) -> Sighting<'a> {
        Sighting {
            kind: "AwsS3Bucket",
            id,
            id_alt,
            account: "123456789012",
            region: "eu-west-1",
            partition: "aws",
        }
    }

    #[test]
    fn both_formats_name_the_same_bucket() {
        let asff = Bucket::locate(&seen("arn:aws:s3:::logs", None)).unwrap();
        let ocsf = Bucket::locate(&seen("logs", Some("arn:aws:s3:::logs"))).unwrap();
        assert_eq!(asff, ocsf);
        assert_eq!(asff.to_string(), "aws/123456789012/eu-west-1/AwsS3Bucket/logs");
        assert_eq!(asff.to_string().parse::<Key>().unwrap(), asff);
    }

    #[test]
    fn what_does_not_agree_is_refused() {
        for id in [
            "arn:aws-cn:s3:::logs",
            "arn:aws:s3::999999999999:logs",
            "arn:aws:s3:us-east-1::logs",
            "arn:aws:ec2:::logs",
            "arn:aws:s3:::logs/../other",
            "arn:aws:s3:::..",
            "../../etc/passwd",
            "",
        ] {
            assert!(Bucket::locate(&seen(id, None)).is_err(), "{id}");
        }
    }
}
