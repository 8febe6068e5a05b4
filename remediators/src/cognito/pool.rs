//! Cognito user pools.

use serde_json::Value;

use super::{
    settings::{self, Settings},
    user::{in_its_region, is_pool},
};
use crate::{Action, Aws, Error, ErrorKind, Facts, Key, KindInfo, Misplaced, Resource, Result, action::On};

/// A user pool.
#[derive(Debug)]
pub(crate) struct Pool {
    id: String,
    arn: String,
}

impl Resource for Pool {
    const KIND: KindInfo = KindInfo {
        what: "a user pool",
        asff: "AwsCognitoUserPool",
        cfn: "AWS::Cognito::UserPool",
        arn: "arn:{partition}:cognito-idp:{region}:{account}:userpool/{id}",
        reads: &[Action::new("cognito-idp:DescribeUserPool", On::Resource)],
        longest_id: 55,
    };

    fn from_key(key: &Key) -> Result<Self, Misplaced> {
        Self::KIND.check(key, is_pool(&key.id))?;
        in_its_region(&key.id, &key.region)?;
        Ok(Self { id: key.id.clone(), arn: key.fill(Self::KIND.arn) })
    }

    async fn inspect(&self, aws: &Aws, _: bool) -> Result<Facts> {
        let found = self.settings(aws).await?;
        let tags = found.get("UserPoolTags").and_then(Value::as_object);
        let tags = tags.into_iter().flatten().map(|(name, value)| {
            let value = value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
            (name.clone(), value)
        });
        Ok(Facts { tags: Some(tags.collect()) })
    }
}

impl Pool {
    /// The pool as it is described.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] where it does not exist.
    pub(super) async fn settings(&self, aws: &Aws) -> Result<Settings> {
        let found = aws.tried(|| settings::describe(aws.cognito(), &self.id)).await?;
        if found.get("Arn").and_then(Value::as_str) != Some(&self.arn) {
            return Err(Error::new(ErrorKind::Rejected, "the pool is not the finding's account's"));
        }
        Ok(found)
    }

    /// Changes the pool's settings, all others of which go back as they came.
    ///
    /// # Errors
    /// [`ErrorKind::Rejected`] where an update might reset one of them.
    pub(super) async fn change(&self, aws: &Aws, edit: impl FnOnce(&mut Settings)) -> Result<()> {
        let found = self.settings(aws).await?;
        let mut settings =
            settings::carried(&found).map_err(|what| Error::new(ErrorKind::Rejected, refusal(&what)))?;
        edit(&mut settings);
        aws.tried(|| settings::update(aws.cognito(), &self.id, &settings)).await
    }
}

/// What an update of the pool might reset, if anything.
pub(super) fn at_risk(pool: &Settings) -> Option<String> {
    settings::carried(pool).err()
}

/// Why nothing is written to a pool with such a setting.
pub(super) fn refusal(what: &str) -> String {
    format!("an update sets all of a pool's settings, and might reset one that can't be sent back: {what}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::Sighting;

    fn located(id: &str, id_alt: Option<&str>, region: &str) -> Result<Key, Misplaced> {
        let account = "123456789012";
        Pool::locate(&Sighting { kind: "AwsCognitoUserPool", id, id_alt, account, region, partition: "aws" })
    }

    #[test]
    fn both_formats_name_the_same_pool() {
        let arn = "arn:aws:cognito-idp:eu-west-1:123456789012:userpool/eu-west-1_AbC123";
        let key = located(arn, None, "eu-west-1").unwrap();
        assert_eq!(key.to_string(), "aws/123456789012/eu-west-1/AwsCognitoUserPool/eu-west-1_AbC123");
        assert_eq!(located("eu-west-1_AbC123", Some(arn), "eu-west-1").unwrap(), key);
        assert_eq!(Pool::from_key(&key).unwrap().arn, arn);
    }

    #[test]
    fn what_does_not_agree_is_refused() {
        for id in [
            "arn:aws:cognito-idp:eu-west-1:999999999999:userpool/eu-west-1_AbC123",
            "arn:aws:cognito-idp:us-east-1:123456789012:userpool/us-east-1_AbC123",
            "arn:aws:cognito-idp:eu-west-1:123456789012:userpool/us-east-1_AbC123",
            "arn:aws-cn:cognito-idp:eu-west-1:123456789012:userpool/eu-west-1_AbC123",
            "arn:aws:cognito-idp:eu-west-1:123456789012:userpool/eu-west-1_AbC123/user/x",
            "arn:aws:cognito-identity:eu-west-1:123456789012:identitypool/x",
            "arn:aws:cognito-idp:eu-west-1:123456789012:userpool/*",
            "",
        ] {
            assert!(located(id, None, "eu-west-1").is_err(), "{id}");
        }
        assert!(located("local_AbC123", None, "global").is_err());
    }
}
