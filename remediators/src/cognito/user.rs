//! Users of Cognito user pools.

use super::USER_LIST;
use crate::{
    Action, Aws, Error, ErrorKind, Facts, Key, KindInfo, Misplaced, Resource, Result, Sighting, action::On,
    text::shown,
};

const POOL_ARN: &str = "arn:{partition}:cognito-idp:{region}:{account}:userpool/{id.0}";

/// What every action on a user is allowed on: AWS has no ARN for users.
pub(crate) const POOL: On = On::Arn(POOL_ARN);

/// One user of one pool, by the id that AWS gave it: a name can be an e-mail address, and can pass to somebody
/// else.
pub(crate) struct User {
    pub(crate) pool: String,
    /// A UUID.
    pub(crate) sub: String,
    pool_arn: String,
}

impl Resource for User {
    /// The Security Finding Format has no type for users of a pool, and asks for `Other` then:
    /// <https://docs.aws.amazon.com/securityhub/latest/userguide/asff-resources-attributes.html>. The ARN is
    /// ours, made of the pool's.
    const KIND: KindInfo = KindInfo {
        what: "a user",
        asff: "Other",
        cfn: "AWS::Cognito::UserPoolUser",
        arn: "arn:{partition}:cognito-idp:{region}:{account}:userpool/{id.0}/user/{id.1}",
        reads: &[Action::new("cognito-idp:ListTagsForResource", POOL)],
        // https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_ListUsers.html
        // gives a pool's id 55; then a slash and a UUID.
        longest_id: 92,
    };

    fn locate(seen: &Sighting<'_>) -> Result<Key, Misplaced> {
        let not_ours = || Misplaced::new("it is no `arn:…:cognito-idp:…:userpool/POOL/user/SUB`");
        let arn = seen.agreed("cognito-idp")?.ok_or_else(not_ours)?;
        // Here the ARN is all there is to tell whose user it is.
        if arn.account.is_empty() || arn.region.is_empty() {
            return Err(not_ours());
        }
        let user = arn.resource.strip_prefix("userpool/").ok_or_else(not_ours)?;
        let (pool, sub) = user.split_once("/user/").ok_or_else(not_ours)?;
        let key = seen.key("CognitoUser", arn.region, &format!("{pool}/{sub}"));
        Self::from_key(&key)?;
        Ok(key)
    }

    fn from_key(key: &Key) -> Result<Self, Misplaced> {
        let (pool, sub) = key.id.split_once('/').unwrap_or((&key.id, ""));
        // It becomes part of a filter expression, within quotes.
        let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte) || byte == b'-';
        Self::KIND.check(key, is_pool(pool) && sub.len() == 36 && sub.bytes().all(digit))?;
        in_its_region(pool, &key.region)?;
        Ok(Self { pool: pool.to_owned(), sub: sub.to_owned(), pool_arn: key.fill(POOL_ARN) })
    }

    /// A user has no tags of its own: those of its pool stand for it, so that an exemption of a pool exempts
    /// its users. The ARN that they are asked for proves the pool's account and Region.
    async fn inspect(&self, aws: &Aws, tags: bool) -> Result<Facts> {
        if !tags {
            return Ok(Facts { tags: Some(Vec::new()) });
        }
        let request = aws.cognito().list_tags_for_resource().resource_arn(&self.pool_arn);
        let found = aws.tried(|| request.clone().send()).await?;
        let mut tags: Vec<_> = found.tags.unwrap_or_default().into_iter().collect();
        tags.sort_unstable();
        Ok(Facts { tags: Some(tags) })
    }
}

impl User {
    /// The user as the pool lists it.
    ///
    /// By `ListUsers`, since `AdminGetUser` makes the user an active one, who is billed:
    /// <https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_AdminGetUser.html>.
    /// All of the user's attributes come with it: asked for some (`AttributesToGet`), Cognito fails where the
    /// user lacks one, and refuses `sub`. Nothing but what the caller takes out of them is kept.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] where the pool or the user does not exist.
    pub(crate) async fn find(&self, aws: &Aws) -> Result<Found> {
        let filter = format!("sub = \"{}\"", self.sub);
        let request = aws.cognito().list_users().user_pool_id(&self.pool).filter(filter);
        let mut users = Vec::new();
        let mut token = None;
        loop {
            let page = request.clone().set_pagination_token(token);
            let found = aws.paced(&USER_LIST, || page.clone().send()).await?;
            users.extend(found.users.unwrap_or_default());
            token = found.pagination_token.filter(|token| !token.is_empty());
            if token.is_none() {
                break;
            }
        }
        let mut only = None;
        for user in users {
            let attributes = user.attributes.unwrap_or_default();
            // Whatever is made of the filter, no other user is meant.
            if !attributes.iter().any(|is| is.name == "sub" && is.value.as_deref() == Some(&self.sub)) {
                continue;
            }
            let Some(name) = user.username.filter(|name| !name.is_empty()) else { continue };
            let custom = |name: &str| name.starts_with("custom:") || name.starts_with("dev:custom:");
            let set = |value: Option<&str>| value.is_some_and(|value| !value.is_empty() && value != "false");
            let found = Found {
                name,
                enabled: user.enabled,
                status: user.user_status.map_or_else(String::new, |status| status.as_str().to_owned()),
                marks: attributes
                    .into_iter()
                    .filter(|is| custom(&is.name) && set(is.value.as_deref()))
                    .map(|is| is.name)
                    .collect(),
            };
            if only.replace(found).is_some() {
                return Err(Error::new(
                    ErrorKind::Rejected,
                    format!("two users have the `sub` `{}`", self.sub),
                ));
            }
        }
        only.ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("no user `{}` in the pool `{}`", self.sub, self.pool))
        })
    }
}

/// A user, without anything that says who it is but the name that calls need.
pub(crate) struct Found {
    /// For the calls of this run only: it may be an e-mail address.
    pub(crate) name: String,
    pub(crate) enabled: bool,
    /// `CONFIRMED`, `EXTERNAL_PROVIDER`, …
    pub(crate) status: String,
    /// The names of the custom attributes that are set: neither empty nor `false`.
    pub(crate) marks: std::collections::BTreeSet<String>,
}

/// Whether AWS gives such an id to a pool.
pub(super) fn is_pool(id: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=55).contains(&id.len()) && id.bytes().all(legal)
}

/// Refuses a pool whose id states another Region.
pub(super) fn in_its_region(pool: &str, region: &str) -> Result<(), Misplaced> {
    let of = pool.split_once('_').map_or("", |(of, _)| of);
    if looks_like_a_region(of) && of != region {
        return Err(Misplaced::new(format!("the pool `{pool}` is not in `{}`", shown(region))));
    }
    Ok(())
}

/// `eu-west-1`, `us-gov-west-1`: words, then a number.
fn looks_like_a_region(text: &str) -> bool {
    let mut parts = text.rsplit('-');
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let number = parts.next().is_some_and(digits);
    let words = parts.filter(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase()));
    number && words.count() >= 2
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    const SUB: &str = "0b7d5c1e-6a2f-4c55-9c3e-2f1f6a7d8e90";

    fn located(id: &str, region: &str) -> Result<Key, Misplaced> {
        User::locate(&Sighting {
            kind: "Other",
            id,
            id_alt: None,
            account: "123456789012",
            region,
            partition: "aws",
        })
    }

    fn arn(pool: &str, sub: &str) -> String {
        format!("arn:aws:cognito-idp:eu-west-1:123456789012:userpool/{pool}/user/{sub}")
    }

    #[test]
    fn the_arn_names_pool_and_user() {
        let key = located(&arn("eu-west-1_AbC123", SUB), "eu-west-1").unwrap();
        assert_eq!(key.to_string(), format!("aws/123456789012/eu-west-1/CognitoUser/eu-west-1_AbC123/{SUB}"));
        assert_eq!(key.to_string().parse::<Key>().unwrap(), key);
        assert_eq!(key.fill(User::KIND.arn), arn("eu-west-1_AbC123", SUB));
        let user = User::from_key(&key).unwrap();
        assert_eq!((user.pool.as_str(), user.sub.as_str()), ("eu-west-1_AbC123", SUB));
        assert_eq!(user.pool_arn, "arn:aws:cognito-idp:eu-west-1:123456789012:userpool/eu-west-1_AbC123");
    }

    #[test]
    fn a_pool_id_need_not_name_its_region_but_must_not_name_another() {
        assert!(located(&arn("local_4kYgX0", SUB), "eu-west-1").is_ok());
        assert!(located(&arn("plain", SUB), "eu-west-1").is_ok());
        assert!(located(&arn("us-east-1_AbC123", SUB), "eu-west-1").is_err());
        assert!(located(&arn("us-gov-west-1_AbC123", SUB), "eu-west-1").is_err());
    }

    #[test]
    fn what_does_not_agree_is_refused() {
        let quote = r#"0b7d5c1e-6a2f-4c55-9c3e-2f1f6a7d8e9""#;
        for id in [
            "arn:aws:cognito-idp:eu-west-1:123456789012:userpool/eu-west-1_AbC123",
            &arn("eu-west-1_AbC123", ""),
            &arn("eu-west-1_AbC123", &SUB.to_uppercase()),
            &arn("eu-west-1_AbC123", &SUB[1..]),
            &arn("eu-west-1_AbC123", &format!("{SUB}/x")),
            &arn("eu-west-1_AbC123", quote),
            &arn("", SUB),
            &arn("a/b", SUB),
            &arn(&"x".repeat(56), SUB),
            &format!("arn:aws:cognito-idp:eu-west-1:999999999999:userpool/eu-west-1_AbC123/user/{SUB}"),
            &format!("arn:aws:cognito-idp:eu-west-1::userpool/eu-west-1_AbC123/user/{SUB}"),
            &format!("arn:aws:cognito-idp::123456789012:userpool/eu-west-1_AbC123/user/{SUB}"),
            &format!("arn:aws:cognito-idp:us-east-1:123456789012:userpool/eu-west-1_AbC123/user/{SUB}"),
            &format!("arn:aws:cognito-identity:eu-west-1:123456789012:userpool/eu-west-1_AbC123/user/{SUB}"),
            &format!("eu-west-1_AbC123/{SUB}"),
            "arn:aws:s3:::logs",
        ] {
            assert!(located(id, "eu-west-1").is_err(), "{id}");
        }
    }

    #[test]
    fn regions_are_told_from_other_prefixes() {
        for region in ["eu-west-1", "us-gov-west-1", "ap-southeast-2", "us-iso-east-1", "mx-central-1"] {
            assert!(looks_like_a_region(region), "{region}");
        }
        for other in ["", "local", "my-pool", "eu-west-", "eu-1", "EU-WEST-1", "-west-1"] {
            assert!(!looks_like_a_region(other), "{other}");
        }
    }
}
