//! Cognito user pools.

use serde_json::Value;

use super::{
    settings::{self, Settings},
    user::{in_its_region, is_pool},
};
use crate::{
    Action, Aws, Error, ErrorKind, Facts, Implied, Key, KindInfo, Misplaced, Resource, Result, action::On,
};

/// What an update takes that sends a pool's role for text messages back.
pub(super) const PASSES_ROLE: Implied = Implied {
    action: Action::new(
        "iam:PassRole",
        On::Passed("arn:{partition}:iam::{account}:role/*", "cognito-idp.amazonaws.com"),
    ),
    why: "a pool that sends text messages does so with a role, which goes back with its other settings: \
          https://docs.aws.amazon.com/cognito/latest/developerguide/cognito-user-pool-sms-settings.html",
};

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
        aws.tried(|| self.read(aws)).await
    }

    async fn read(&self, aws: &Aws) -> Result<Settings> {
        let found = settings::describe(aws.cognito(), &self.id).await?;
        if found.get("Arn").and_then(Value::as_str) != Some(&self.arn) {
            return Err(Error::new(ErrorKind::Rejected, "the pool is not the finding's account's"));
        }
        Ok(found)
    }

    /// Changes the pool's settings, all others of which go back as they came.
    ///
    /// # Errors
    /// [`ErrorKind::Rejected`] where an update might reset one of them.
    pub(super) async fn change(&self, aws: &Aws, edit: impl Fn(&mut Settings)) -> Result<()> {
        // Read anew for each attempt: what made one fail may be somebody else's update, which the settings of before
        // would take back.
        let attempt = || async {
            let found = self.read(aws).await?;
            let mut settings =
                carried(&found).map_err(|what| Error::new(ErrorKind::Rejected, refusal(&what)))?;
            edit(&mut settings);
            settings::update(aws.cognito(), &self.id, &settings).await
        };
        aws.tried(attempt).await
    }
}

/// What an update of the pool might reset, or would be refused for, if anything.
pub(super) fn at_risk(pool: &Settings) -> Option<String> {
    carried(pool).err()
}

/// [`settings::carried`], of those that a run may send back. Whoever sets the key of a custom sender needs leave to
/// make grants on it, and no run has that:
/// <https://docs.aws.amazon.com/cognito/latest/developerguide/user-pool-lambda-custom-sender-triggers.html>.
fn carried(pool: &Settings) -> Result<Settings, String> {
    let settings = settings::carried(pool)?;
    let key = settings.get("LambdaConfig").and_then(|triggers| triggers.get("KMSKeyID"));
    if key.is_some_and(|key| !key.is_null() && *key != "") {
        return Err("`LambdaConfig.KMSKeyID`, the key of a custom sender, is taken only from whoever may make grants \
                    on it (`kms:CreateGrant`), and redress may not"
            .to_owned());
    }
    Ok(settings)
}

/// Why nothing is written to a pool with such a setting.
pub(super) fn refusal(what: &str) -> String {
    format!("an update sets all of a pool's settings, and might reset one that can't be sent back: {what}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::sync::Arc;

    use super::*;
    use crate::{Access, BoxFuture, Pace, Quota, Sighting, raw::test::Wire};

    const DESCRIBE: &str = r#"POST / {"UserPoolId":"eu-west-1_AbC123"}"#;

    fn described(wire: &Wire, rest: &str) {
        let arn = "arn:aws:cognito-idp:eu-west-1:123456789012:userpool/eu-west-1_AbC123";
        let pool = format!(r#"{{"UserPool":{{"Id":"eu-west-1_AbC123","Arn":"{arn}","Name":"shop"{rest}}}}}"#);
        wire.answer(DESCRIBE, (200, Vec::new(), pool));
    }

    /// Before the next attempt, somebody sets something else.
    #[derive(Debug)]
    struct Meanwhile(Wire);

    impl Pace for Meanwhile {
        fn turn<'a>(&'a self, _: &'static Quota, _: &'a Key) -> BoxFuture<'a, Result<()>> {
            Box::pin(async { Ok(()) })
        }

        fn pause(&self, _: u32) -> BoxFuture<'_, ()> {
            self.0.answer("POST / {", (200, Vec::new(), "{}".to_owned()));
            described(&self.0, r#","LambdaConfig":{"PreSignUp":"theirs"}"#);
            Box::pin(async {})
        }
    }

    #[tokio::test]
    async fn an_update_that_failed_is_not_sent_again_as_it_was() {
        let wire = Wire::default();
        let busy = r#"{"__type":"ConcurrentModificationException"}"#;
        wire.answer("POST / {", (400, Vec::new(), busy.to_owned()));
        described(&wire, "");
        let paced = wire.paced(Arc::new(Meanwhile(wire.clone())));
        let aws = paced.aws(crate::find("cognito.protect_pool").unwrap(), Access::Apply);
        let arn = "arn:aws:cognito-idp:eu-west-1:123456789012:userpool/eu-west-1_AbC123";
        let pool = Pool { id: "eu-west-1_AbC123".to_owned(), arn: arn.to_owned() };
        pool.change(&aws, |settings| drop(settings.insert("DeletionProtection".to_owned(), "ACTIVE".into())))
            .await
            .unwrap();
        let bodies: Vec<String> = wire.sent().into_iter().map(|sent| sent.body).collect();
        let updates: Vec<&String> = bodies.iter().filter(|body| body.contains("PoolName")).collect();
        assert_eq!(updates.len(), 2, "{bodies:?}");
        assert!(!updates[0].contains("theirs") && updates[1].contains("theirs"), "{bodies:?}");
    }

    #[tokio::test]
    async fn a_pool_with_the_key_of_a_custom_sender_is_not_updated() {
        let key = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab";
        let with = |triggers: &str| -> Settings {
            serde_json::from_str(&format!(r#"{{"Name":"shop","LambdaConfig":{triggers}}}"#)).unwrap()
        };
        for free in ["null", r#"{"PreSignUp":"theirs"}"#, r#"{"KMSKeyID":null}"#, r#"{"KMSKeyID":""}"#] {
            assert_eq!(at_risk(&with(free)), None, "{free}");
        }
        let triggers = format!(r#"{{"PreSignUp":"theirs","KMSKeyID":"{key}"}}"#);
        let why = refusal(&at_risk(&with(&triggers)).unwrap());
        assert!(why.contains("`LambdaConfig.KMSKeyID`") && why.contains("`kms:CreateGrant`"), "{why}");

        // It may have come between plan and write.
        let wire = Wire::default();
        wire.answer("POST / {", (200, Vec::new(), "{}".to_owned()));
        described(&wire, &format!(r#","LambdaConfig":{triggers}"#));
        let aws = wire.aws(crate::find("cognito.protect_pool").unwrap(), Access::Apply);
        let arn = "arn:aws:cognito-idp:eu-west-1:123456789012:userpool/eu-west-1_AbC123";
        let pool = Pool { id: "eu-west-1_AbC123".to_owned(), arn: arn.to_owned() };
        let error = pool.change(&aws, |_| {}).await.unwrap_err();
        assert_eq!((error.kind, error.message), (ErrorKind::Rejected, why));
        assert!(wire.sent().iter().all(|sent| !sent.body.contains("PoolName")));
    }

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
