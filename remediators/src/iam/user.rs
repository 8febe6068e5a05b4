//! IAM users.

use crate::{
    Action, Aws, Error, ErrorKind, Facts, Key, KindInfo, Misplaced, Resource, Result, Sighting, action::On,
    resource::Arn,
};

/// A user, by its name and path.
///
/// A name is one user's only, whatever its path; but IAM's policies know a user by both.
pub(crate) struct IamUser {
    pub(crate) name: String,
    arn: String,
}

/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html>
const LONGEST_NAME: usize = 64;
const LONGEST_PATH: usize = 512;

impl Resource for IamUser {
    const KIND: KindInfo = KindInfo {
        what: "an IAM user",
        asff: "AwsIamUser",
        cfn: "AWS::IAM::User",
        arn: "arn:{partition}:iam::{account}:user/{id}",
        reads: &[Action::new("iam:GetUser", On::Resource)],
        // The slash with which a path begins is the ARN's own.
        longest_id: LONGEST_PATH - 1 + LONGEST_NAME,
    };

    /// Users are reported once per Region and standard; the Region of the key is `global`, so that all of these
    /// are one resource.
    fn locate(seen: &Sighting<'_>) -> Result<Key, Misplaced> {
        let not_ours = || Misplaced::new("it is no `arn:…:iam::ACCOUNT:user/…`");
        // OCSF: `uid` may be the `AIDA…` id, and the ARN is in `uid_alt`.
        let arn = seen.agreed("iam")?.ok_or_else(not_ours)?;
        let other = seen.id_alt.and_then(Arn::parse).is_some_and(|other| other != arn);
        if other || arn.account.is_empty() || !arn.region.is_empty() {
            return Err(not_ours());
        }
        let key =
            seen.key(Self::KIND.asff, "global", arn.resource.strip_prefix("user/").ok_or_else(not_ours)?);
        Self::from_key(&key)?;
        Ok(key)
    }

    fn from_key(key: &Key) -> Result<Self, Misplaced> {
        // A path may hold more than a name (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html),
        // such as `*`, which would mean other users in the policy of a session: such a user is none of ours.
        let legal = |byte: u8| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'+' | b'=' | b',' | b'.' | b'@' | b'-')
        };
        let legal = |part: &str| !part.is_empty() && part.bytes().all(legal);
        let (path, name) = key.id.rsplit_once('/').unwrap_or(("", &key.id));
        let fits = path.len() + 2 <= LONGEST_PATH && name.len() <= LONGEST_NAME;
        Self::KIND.check(key, fits && key.id.split('/').all(legal))?;
        if key.region != "global" {
            return Err(Misplaced::new("the Region of an IAM user is `global`"));
        }
        Ok(Self { name: name.to_owned(), arn: key.fill(Self::KIND.arn) })
    }

    /// The session is the account's own, so a user that it finds is too. One of the same name at another path is
    /// not the finding's.
    async fn inspect(&self, aws: &Aws, _: bool) -> Result<Facts> {
        let user = self.find(aws).await?;
        let tags = user.tags.unwrap_or_default().into_iter().map(|tag| (tag.key, tag.value));
        Ok(Facts { tags: Some(tags.collect()) })
    }
}

impl IamUser {
    /// The user as IAM has it, with all of its tags.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] where there is no such user at that path.
    pub(crate) async fn find(&self, aws: &Aws) -> Result<aws_sdk_iam::types::User> {
        let found = aws.iam().get_user().user_name(&self.name).send().await?;
        found.user.filter(|user| user.arn == self.arn).ok_or_else(|| {
            Error::new(
                ErrorKind::NotFound,
                format!("no user `{}`; one of that name has another path", self.arn),
            )
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn located(id: &str, id_alt: Option<&str>) -> Result<Key, Misplaced> {
        IamUser::locate(&Sighting {
            kind: "AwsIamUser",
            id,
            id_alt,
            account: "123456789012",
            region: "eu-west-1",
            partition: "aws",
        })
    }

    #[test]
    fn the_arn_names_path_and_user() {
        for (rest, name) in [("jo", "jo"), ("a/b/Jo+1=@x,y_z.-", "Jo+1=@x,y_z.-")] {
            let arn = format!("arn:aws:iam::123456789012:user/{rest}");
            let key = located(&arn, None).unwrap();
            assert_eq!(key.to_string(), format!("aws/123456789012/global/AwsIamUser/{rest}"));
            assert_eq!(key.to_string().parse::<Key>().unwrap(), key);
            let user = IamUser::from_key(&key).unwrap();
            assert_eq!((user.name.as_str(), user.arn.as_str()), (name, arn.as_str()));
            for (id, id_alt) in
                [("AIDAEXAMPLEEXAMPLEEXA", Some(arn.as_str())), (&arn, Some(&arn)), (&arn, Some(""))]
            {
                assert_eq!(located(id, id_alt).unwrap(), key, "{id} {id_alt:?}");
            }
        }
    }

    #[test]
    fn the_longest_names_are_taken_and_none_that_is_longer() {
        let arn = |path: usize, name: usize| {
            format!("arn:aws:iam::123456789012:user/{}/{}", "p".repeat(path), "n".repeat(name))
        };
        let key = located(&arn(510, 64), None).unwrap();
        assert_eq!(key.id.len(), IamUser::KIND.longest_id);
        assert!(located(&arn(511, 64), None).is_err());
        assert!(located(&arn(510, 65), None).is_err());
    }

    #[test]
    fn what_does_not_agree_is_refused() {
        for (id, id_alt) in [
            ("arn:aws:iam::999999999999:user/jo", None),
            ("arn:aws:iam:::user/jo", None),
            ("arn:aws:iam:eu-west-1:123456789012:user/jo", None),
            ("arn:aws-cn:iam::123456789012:user/jo", None),
            ("arn:aws:s3::123456789012:user/jo", None),
            ("arn:aws:iam::123456789012:root", None),
            ("arn:aws:iam::123456789012:role/jo", None),
            ("arn:aws:iam::123456789012:user/", None),
            ("arn:aws:iam::123456789012:user/jo/", None),
            ("arn:aws:iam::123456789012:user//jo", None),
            ("arn:aws:iam::123456789012:user/*", None),
            ("arn:aws:iam::123456789012:user/a*/jo", None),
            ("arn:aws:iam::123456789012:user/${aws:username}", None),
            ("arn:aws:iam::123456789012:user/j o", None),
            ("arn:aws:iam::123456789012:user/jo", Some("arn:aws:iam::123456789012:user/ann")),
            ("AIDAEXAMPLEEXAMPLEEXA", None),
            ("jo", None),
            ("", None),
        ] {
            assert!(located(id, id_alt).is_err(), "{id} {id_alt:?}");
        }
    }

    #[test]
    fn a_key_from_a_record_is_checked_again() {
        for key in [
            "aws/123456789012/eu-west-1/AwsIamUser/jo",
            "aws/123456789012/global/AwsIamUser/*",
            "aws/123456789012/global/AwsIamUser/a/../*",
        ] {
            assert!(IamUser::from_key(&key.parse().unwrap()).is_err(), "{key}");
        }
    }
}
