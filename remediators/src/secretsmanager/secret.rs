//! Secrets. Their values are never read.

use aws_sdk_secretsmanager::operation::describe_secret::DescribeSecretOutput;

use crate::{
    Action, Aws, Error, ErrorKind, Facts, Key, KindInfo, Misplaced, Resource, Result, Sighting, action::On,
};

/// A secret.
#[derive(Debug)]
pub(crate) struct Secret {
    /// Whole, so that no later secret of the same name can be meant.
    pub(crate) arn: String,
    pub(crate) region: String,
}

impl Resource for Secret {
    const KIND: KindInfo = KindInfo {
        what: "a secret",
        asff: "AwsSecretsManagerSecret",
        cfn: "AWS::SecretsManager::Secret",
        arn: "arn:{partition}:secretsmanager:{region}:{account}:secret:{id}",
        reads: &[Action::new("secretsmanager:DescribeSecret", On::Resource)],
        // A name of 512, a hyphen and six characters of AWS's.
        longest_id: 519,
    };

    fn locate(seen: &Sighting<'_>) -> Result<Key, Misplaced> {
        // Also in OCSF, where the ARN is the id that CloudFormation knows a secret by.
        let not_ours = || Misplaced::new("it is no `arn:…:secretsmanager:…:secret:NAME-SUFFIX`");
        let arn = seen.agreed("secretsmanager")?.ok_or_else(not_ours)?;
        if arn.account.is_empty() || arn.region.is_empty() {
            return Err(not_ours());
        }
        let id = arn.resource.strip_prefix("secret:").ok_or_else(not_ours)?;
        let key = seen.key(Self::KIND.asff, arn.region, id);
        Self::from_key(&key)?;
        Ok(key)
    }

    fn from_key(key: &Key) -> Result<Self, Misplaced> {
        // https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_CreateSecret.html, and `!` in the names
        // that only AWS gives: https://docs.aws.amazon.com/secretsmanager/latest/userguide/service-linked-secrets.html
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"/_+=.@-!".contains(&byte);
        let id = &key.id;
        let suffix =
            id.rsplit_once('-').map_or("", |(name, suffix)| if name.is_empty() { "" } else { suffix });
        let is_id = id.len() <= 519
            && id.bytes().all(legal)
            && suffix.len() == 6
            && suffix.bytes().all(|byte| byte.is_ascii_alphanumeric());
        Self::KIND.check(key, is_id)?;
        Ok(Self { arn: key.fill(Self::KIND.arn), region: key.region.clone() })
    }

    async fn inspect(&self, aws: &Aws, _: bool) -> Result<Facts> {
        let found = self.describe(aws).await?;
        let tags = found.tags.unwrap_or_default().into_iter();
        let tags = tags.map(|tag| (tag.key.unwrap_or_default(), tag.value.unwrap_or_default())).collect();
        Ok(Facts { tags: Some(tags) })
    }
}

impl Secret {
    /// What is known of the secret, but for its value.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] where it does not exist.
    pub(crate) async fn describe(&self, aws: &Aws) -> Result<DescribeSecretOutput> {
        let found = aws.secretsmanager().describe_secret().secret_id(&self.arn).send().await?;
        // What Secrets Manager can't find as an ARN it looks for as a name.
        if found.arn.as_ref() != Some(&self.arn) {
            return Err(Error::new(
                ErrorKind::Rejected,
                "another secret than the one asked for was answered",
            ));
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn located(id: &str, id_alt: Option<&str>) -> Result<Key, Misplaced> {
        let (account, region) = ("123456789012", "eu-west-1");
        let kind = "AwsSecretsManagerSecret";
        Secret::locate(&Sighting { kind, id, id_alt, account, region, partition: "aws" })
    }

    #[test]
    fn the_arn_names_the_secret() {
        let arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod/orders-db-a1B2c3";
        let key = located(arn, None).unwrap();
        let text = "aws/123456789012/eu-west-1/AwsSecretsManagerSecret/prod/orders-db-a1B2c3";
        assert_eq!(key.to_string(), text);
        assert_eq!(text.parse::<Key>().unwrap(), key);
        assert_eq!(located(arn, Some(arn)).unwrap(), key);
        assert_eq!(Secret::from_key(&key).unwrap().arn, arn);
        assert!(located(&arn.replace("prod/orders-db", "rds!db-1"), None).is_ok());
    }

    #[test]
    fn what_does_not_agree_is_refused() {
        for id in [
            "arn:aws:secretsmanager:eu-west-1:999999999999:secret:orders-a1B2c3",
            "arn:aws:secretsmanager:us-east-1:123456789012:secret:orders-a1B2c3",
            "arn:aws-cn:secretsmanager:eu-west-1:123456789012:secret:orders-a1B2c3",
            "arn:aws:secretsmanager:eu-west-1::secret:orders-a1B2c3",
            "arn:aws:secretsmanager:eu-west-1:123456789012:secret:orders",
            "arn:aws:secretsmanager:eu-west-1:123456789012:secret:-a1B2c3",
            "arn:aws:secretsmanager:eu-west-1:123456789012:secret:*-a1B2c3",
            "arn:aws:secretsmanager:eu-west-1:123456789012:secret:orders-??????",
            "arn:aws:s3:::orders-a1B2c3",
            "orders-a1B2c3",
            "",
        ] {
            assert!(located(id, None).is_err(), "{id}");
        }
    }
}
