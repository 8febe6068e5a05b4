//! Resources: from what a finding says to one proven key.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{Action, Aws, Result};

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
    /// given is refused here, before it comes near a request.
    fn locate(seen: &Sighting<'_>) -> Result<Key, Misplaced>;

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

#[cfg(test)]
mod tests {
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
}
