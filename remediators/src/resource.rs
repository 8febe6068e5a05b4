//! Resources: from what a finding says to one proven key.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{Action, Aws, Result, text::shown};

/// Tags of a resource, as AWS returned them.
pub type Tags = Vec<(String, String)>;

/// The one name of a resource. Leases, holds, exemptions, caps and records all use it.
///
/// Written `partition/account/region/kind/id`, for instance
/// `aws/123456789012/eu-west-1/AwsS3Bucket/logs`. The Region is `global` for resources that have none.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// `aws`, `aws-cn`, `aws-us-gov`, …
    pub partition: String,
    /// The 12 digits of the account that owns the resource.
    pub account: String,
    /// The Region, or `global`.
    pub region: String,
    /// The resource type in the Security Finding Format, such as `AwsS3Bucket`.
    pub kind: String,
    /// The id within account, Region and kind, such as a bucket's name.
    pub id: String,
}

impl Key {
    /// The key that stands for every resource of a kind: for role policies.
    pub fn any(partition: &str, account: &str, kind: &str) -> Self {
        let any = || "*".to_owned();
        Self {
            partition: partition.to_owned(),
            account: account.to_owned(),
            region: any(),
            kind: kind.to_owned(),
            id: any(),
        }
    }

    /// `template` with `{partition}`, `{region}`, `{account}` and `{id}` filled in.
    ///
    /// An id of two parts, such as a pool's and a user's, is also to be had in parts: `{id.0}` is what stands
    /// before its first slash, `{id.1}` what stands after it, and both are the whole id where it has none. Of one that
    /// may end in a qualifier, as a function's does, `{id.name}` is what stands before the colon.
    pub fn fill(&self, template: &str) -> String {
        let (first, second) = self.id.split_once('/').unwrap_or((&self.id, &self.id));
        let unqualified = self.id.split(':').next().unwrap_or(&self.id);
        // The id comes last: it is the only part that could hold a brace.
        template
            .replace("{partition}", &self.partition)
            .replace("{region}", &self.region)
            .replace("{account}", &self.account)
            .replace("{id.0}", first)
            .replace("{id.1}", second)
            .replace("{id.name}", unqualified)
            .replace("{id}", &self.id)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { partition, account, region, kind, id } = self;
        write!(f, "{partition}/{account}/{region}/{kind}/{id}")
    }
}

impl FromStr for Key {
    type Err = Misplaced;

    fn from_str(text: &str) -> Result<Self, Misplaced> {
        let mut parts = text.splitn(5, '/').map(str::to_owned);
        let mut next = || parts.next().filter(|part| !part.is_empty());
        match (next(), next(), next(), next(), next()) {
            (Some(partition), Some(account), Some(region), Some(kind), Some(id)) => {
                Ok(Self { partition, account, region, kind, id })
            }
            _ => Err(Misplaced::new("a resource key is `partition/account/region/kind/id`")),
        }
    }
}

impl Serialize for Key {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Why a resource in a finding is refused: what it says of itself does not agree, or can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Misplaced {
    why: String,
}

impl Misplaced {
    /// A refusal, in one line.
    pub fn new(why: impl Into<String>) -> Self {
        Self { why: why.into() }
    }
}

/// A resource as a finding names it. Nothing in it is trusted.
#[derive(Clone, Copy, Debug)]
pub struct Sighting<'a> {
    /// `Resources[].Type`: `AwsS3Bucket` (ASFF) or `AWS::S3::Bucket` (OCSF).
    pub kind: &'a str,
    /// `Resources[].Id`, or `uid` in OCSF.
    pub id: &'a str,
    /// `uid_alt` in OCSF: the ARN, where `uid` is none.
    pub id_alt: Option<&'a str>,
    /// The finding's account.
    pub account: &'a str,
    /// The resource's Region where it states one, else the finding's.
    pub region: &'a str,
    /// The deployment's partition.
    pub partition: &'a str,
}

impl<'a> Sighting<'a> {
    /// The ARN, whichever field holds it.
    pub fn arn(&self) -> Option<Arn<'a>> {
        Arn::parse(self.id).or_else(|| self.id_alt.and_then(Arn::parse))
    }

    /// Refuses names that could not be an account, a Region or a partition, and an ARN that states other
    /// ones than the finding.
    ///
    /// Regions are taken as they come: there is no list to fall behind. They become part of a host name,
    /// so they must be made of what a host name can hold.
    pub fn agreed(&self, service: &str) -> Result<Option<Arn<'a>>, Misplaced> {
        if self.account.len() != 12 || !self.account.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Misplaced::new("the finding's account is not 12 digits"));
        }
        let label = |text: &str| {
            !text.is_empty()
                && text.len() <= 32
                && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        };
        if !label(self.region) || !label(self.partition) {
            return Err(Misplaced::new("the finding's Region or partition is not a name of AWS's"));
        }
        let Some(arn) = self.arn() else { return Ok(None) };
        let differs = |name: &str, stated: &str, expected: &str| {
            (!stated.is_empty() && stated != expected).then(|| {
                Misplaced::new(format!(
                    "the ARN's {name} is `{}`, the finding's `{expected}`",
                    stated.escape_debug()
                ))
            })
        };
        if arn.service != service {
            return Err(Misplaced::new(format!("the ARN is none of `{service}`")));
        }
        let region = if self.region == "global" { arn.region } else { self.region };
        match differs("partition", arn.partition, self.partition)
            .or_else(|| differs("account", arn.account, self.account))
            .or_else(|| differs("Region", arn.region, region))
        {
            Some(misplaced) => Err(misplaced),
            None => Ok(Some(arn)),
        }
    }

    /// The key of a resource with this id, which the caller has checked.
    pub fn key(&self, kind: &str, region: &str, id: &str) -> Key {
        Key {
            partition: self.partition.to_owned(),
            account: self.account.to_owned(),
            region: region.to_owned(),
            kind: kind.to_owned(),
            id: id.to_owned(),
        }
    }
}

/// An ARN's parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arn<'a> {
    /// `aws`, `aws-cn`, …
    pub partition: &'a str,
    /// The service's prefix, such as `s3`.
    pub service: &'a str,
    /// The Region; empty where the ARN states none.
    pub region: &'a str,
    /// The account; empty where the ARN states none.
    pub account: &'a str,
    /// All that follows, colons and slashes included.
    pub resource: &'a str,
}

impl<'a> Arn<'a> {
    /// Splits `text`, or `None` if it is no ARN.
    pub fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.splitn(6, ':');
        let mut next = || parts.next();
        match (next(), next(), next(), next(), next(), next()) {
            (Some("arn"), Some(partition), Some(service), Some(region), Some(account), Some(resource))
                if !resource.is_empty() =>
            {
                Some(Self { partition, service, region, account, resource })
            }
            _ => None,
        }
    }
}

/// What is fixed about a kind of resource.
#[derive(Clone, Copy, Debug)]
pub struct KindInfo {
    /// What one is called, with its article: `a bucket`.
    pub what: &'static str,
    /// The type in the Security Finding Format: `AwsS3Bucket`; `*` for any.
    pub asff: &'static str,
    /// The type in OCSF findings (CloudFormation's): `AWS::S3::Bucket`; `*` for any.
    pub cfn: &'static str,
    /// The ARN, as a template that [`Key::fill`] completes.
    pub arn: &'static str,
    /// What [`Resource::inspect`] reads.
    pub reads: &'static [Action],
    /// The longest id that AWS allows, in characters: session policies must hold it.
    pub longest_id: usize,
}

impl KindInfo {
    /// Whether a finding's resource of this type, in either spelling, is of this kind.
    pub fn covers(&self, kind: &str) -> bool {
        self.is_any() || kind == self.asff || kind == self.cfn
    }

    /// The key of what a finding names by its ARN, or by the bare id, which OCSF has as `uid`.
    ///
    /// The id is what stands in the ARN where the template has `{id}`, which ends it. Where it is not that simple, a
    /// resource has a [`Resource::locate`] of its own.
    fn locate(&self, seen: &Sighting<'_>) -> Result<Key, Misplaced> {
        let none_of = || Misplaced::new(format!("the ARN is none of {}", self.what));
        let template = Arn::parse(self.arn).ok_or_else(none_of)?;
        let before = template.resource.strip_suffix("{id}").ok_or_else(none_of)?;
        let id = match seen.agreed(template.service)? {
            Some(arn) => arn.resource.strip_prefix(before).ok_or_else(none_of)?,
            None => seen.id,
        };
        Ok(seen.key(self.asff, seen.region, id))
    }

    /// Refuses a key whose id AWS would not have given, as the caller has found, and one that names no Region where
    /// the ARN has one.
    pub(crate) fn check(&self, key: &Key, is_id: bool) -> Result<(), Misplaced> {
        if !is_id {
            return Err(Misplaced::new(format!("`{}` is no name or id of {}", shown(&key.id), self.what)));
        }
        if key.region == "global" && self.arn.contains("{region}") {
            return Err(Misplaced::new(format!("{} has a Region, and none is named", self.what)));
        }
        Ok(())
    }

    /// Whether every type is of this kind.
    pub const fn is_any(&self) -> bool {
        matches!(self.asff.as_bytes(), b"*")
    }
}

/// What a live look at a resource says besides its state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Its tags; `None` where this kind of resource has none.
    pub tags: Option<Tags>,
}

/// A resource type: parsed from a finding, checked, and owned by who the finding says.
pub trait Resource: Sized + Send + Sync + 'static {
    /// What is fixed about it.
    const KIND: KindInfo;

    /// The key of the resource that the finding names.
    ///
    /// Where the ARN states account or Region they must be the finding's; an id that AWS would not have
    /// given is refused here, before it comes near a request. Unless it is said otherwise, the id is what the ARN ends
    /// in, after what stands before `{id}` in the template, or the whole of a bare id.
    fn locate(seen: &Sighting<'_>) -> Result<Key, Misplaced> {
        let key = Self::KIND.locate(seen)?;
        Self::from_key(&key)?;
        Ok(key)
    }

    /// The ARN of the resource of this key.
    fn arn(key: &Key) -> String {
        key.fill(Self::KIND.arn)
    }

    /// The resource of this key, which may come from a file or a stored record and is checked again.
    fn from_key(key: &Key) -> Result<Self, Misplaced>;

    /// Proves on the live resource what the ARN can't (its Region, its owner), and reads its tags if
    /// asked to.
    fn inspect(&self, aws: &Aws, tags: bool) -> impl Future<Output = Result<Facts>> + Send;
}

/// Whether `id` is made of lower-case letters, digits and single hyphens, begins with a letter and doesn't end with a
/// hyphen: RDS, `ElastiCache` and Redshift keep names so, whatever they were given.
#[cfg(any(feature = "elasticache", feature = "rds", feature = "redshift"))]
pub(crate) fn is_dashed(id: &str, longest: usize) -> bool {
    id.len() <= longest
        && id.starts_with(|first: char| first.is_ascii_lowercase())
        && id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && !id.ends_with('-')
        && !id.contains("--")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn an_id_of_two_parts_fills_in_parts_and_whole() {
        let key = |id: &str| Key { id: id.to_owned(), ..Key::any("aws", "123456789012", "CognitoUser") };
        let template = "{partition}:{account}:{id.0}:{id.1}:{id}";
        assert_eq!(key("pool/user").fill(template), "aws:123456789012:pool:user:pool/user");
        assert_eq!(key("a/b/c").fill(template), "aws:123456789012:a:b/c:a/b/c");
        assert_eq!(key("plain").fill(template), "aws:123456789012:plain:plain:plain");
        assert_eq!(key("*").fill(template), "aws:123456789012:*:*:*");
        assert_eq!(key("function:alias").fill("{id.name} {id}"), "function function:alias");
        assert_eq!(key("function").fill("{id.name} {id}"), "function function");
    }

    fn seen<'a>(id: &'a str, id_alt: Option<&'a str>) -> Sighting<'a> {
        Sighting { kind: "", id, id_alt, account: "123456789012", region: "eu-west-1", partition: "aws" }
    }

    const TABLE: KindInfo = KindInfo {
        what: "a table",
        asff: "AwsTable",
        cfn: "AWS::Table",
        arn: "arn:{partition}:tables:{region}:{account}:table/{id}",
        reads: &[],
        longest_id: 8,
    };

    #[test]
    fn an_id_is_what_follows_in_an_arn_or_all_of_a_bare_one() {
        let arn = "arn:aws:tables:eu-west-1:123456789012:table/orders/2";
        let key = TABLE.locate(&seen(arn, None)).unwrap();
        assert_eq!((key.id.as_str(), key.fill(TABLE.arn).as_str()), ("orders/2", arn));
        assert_eq!(TABLE.locate(&seen("something", Some(arn))).unwrap(), key);
        assert_eq!(TABLE.locate(&seen("orders/2", None)).unwrap(), key);
        for (wrong, why) in [
            ("arn:aws:tables:eu-west-1:123456789012:chair/orders", "the ARN is none of a table"),
            ("arn:aws:chairs:eu-west-1:123456789012:table/orders", "the ARN is none of `tables`"),
        ] {
            assert_eq!(TABLE.locate(&seen(wrong, None)).unwrap_err().to_string(), why);
        }
    }

    #[test]
    fn a_template_that_does_not_end_in_the_id_says_nothing_of_where_it_is() {
        for arn in ["arn:{partition}:tables:{region}:{account}:table/{id}/leg", "{id}"] {
            let kind = KindInfo { arn, ..TABLE };
            assert!(kind.locate(&seen("orders", None)).is_err(), "{arn}");
        }
    }

    #[test]
    fn a_key_has_an_id_of_its_kind_and_the_region_of_its_arn() {
        let key = |region: &str, id: &str| seen("", None).key(TABLE.asff, region, id);
        assert!(TABLE.check(&key("eu-west-1", "orders"), true).is_ok());
        let refused = |kind: &KindInfo, key: &Key, is_id| kind.check(key, is_id).unwrap_err().to_string();
        assert_eq!(refused(&TABLE, &key("eu-west-1", "a\nb"), false), r"`a\nb` is no name or id of a table");
        assert_eq!(
            refused(&TABLE, &key("global", "orders"), true),
            "a table has a Region, and none is named"
        );
        let everywhere = KindInfo { arn: "arn:{partition}:tables::{account}:table/{id}", ..TABLE };
        assert!(everywhere.check(&key("global", "orders"), true).is_ok());
    }

    #[cfg(any(feature = "elasticache", feature = "rds", feature = "redshift"))]
    #[test]
    fn dashed_names_are_told() {
        for name in ["a", "orders", "orders-2"] {
            assert!(is_dashed(name, 63), "{name}");
        }
        for name in
            ["", "2orders", "Orders", "orders-", "or--ders", "orders/x", "db-ABCDEFGHIJKLM", "*", "a:b"]
        {
            assert!(!is_dashed(name, 63), "{name}");
        }
        assert!(!is_dashed(&"x".repeat(64), 63));
    }
}
