//! Exemptions: who said that a resource is to be left alone, why, and until when.

use jiff::{Timestamp, civil::Date, tz::TimeZone};
use redress_remediators::{Erased, Key, REGISTRY, Sighting, Tags};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{event::shown, yaml};

/// The tag that exempts a resource: `2027-01-31 owner reason`.
pub const TAG: &str = "redress:exempt";

/// An exemptions file.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "redress exemptions")]
pub struct ExemptionsFile {
    /// The exemptions.
    pub exemptions: Vec<Exemption>,
}

/// One exemption. None is without end: a date makes somebody look again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Exemption {
    /// The resource: its ARN, or its key `partition/account/region/kind/id`. `*` stands for any text; with one, an ARN
    /// must be spelt as records and plans spell it.
    pub resource: String,
    /// The remediator it is for; without one, it is for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remediator: Option<String>,
    /// Who answers for it.
    pub owner: String,
    /// Why.
    pub reason: String,
    /// The last day on which it counts, such as `2027-01-31`.
    pub until: String,
}

impl ExemptionsFile {
    /// Checks every entry: one that can't count, by a slip of the pen, would exempt nothing and say nothing.
    ///
    /// # Errors
    /// The JSON pointer and the fault of the first that is wrong.
    pub(crate) fn check(self, registry: &[&dyn Erased]) -> Result<Vec<Exemption>, (String, String)> {
        for (number, exemption) in self.exemptions.iter().enumerate() {
            let Exemption { resource, remediator, owner, reason, until } = exemption;
            let fault = |field: &str, what: &str| {
                Err((
                    format!("/exemptions/{number}/{field}"),
                    format!("exemptions[{number}]: {field}: {what}"),
                ))
            };
            let named = resource.starts_with("arn:") || resource.contains('*');
            if !named && resource.parse::<Key>().is_err() {
                return fault(
                    "resource",
                    "is neither an ARN nor `partition/account/region/kind/id`, nor has it a `*`",
                );
            }
            let meant = registry
                .iter()
                .filter(|known| remediator.as_ref().is_none_or(|name| known.spec().name == name));
            let names_one = |known: &&dyn Erased| locate(*known, resource, None).is_some();
            if is_arn(resource) && meant.clone().next().is_some() && !meant.clone().any(names_one) {
                return fault("resource", "is no ARN of a resource that could be fixed");
            }
            if let Some(given) = remediator
                && !registry.iter().any(|known| known.spec().name == given)
            {
                let names = registry.iter().map(|known| known.spec().name);
                return fault(
                    "remediator",
                    &format!("there is no `{}`; {}", shown(given), yaml::suggest(given, names)),
                );
            }
            for (field, text) in [("owner", owner), ("reason", reason)] {
                if text.trim().is_empty() {
                    return fault(field, "is empty");
                }
            }
            if until.parse::<Date>().is_err() {
                return fault("until", &format!("`{}` is no date like 2027-01-31", shown(until)));
            }
        }
        Ok(self.exemptions)
    }
}

/// Whether the text is meant as the ARN of one resource.
fn is_arn(resource: &str) -> bool {
    resource.starts_with("arn:") && !resource.contains('*')
}

/// The key of the resource that this remediator takes an ARN for. Of an ARN without account or Region it is one of
/// `like`'s, if that is given.
fn locate(remediator: &dyn Erased, arn: &str, like: Option<(&Key, &str)>) -> Option<Key> {
    let mut fields = arn.split(':').skip(1);
    let (partition, _, region, account) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    let or = |stated: &'_ str, otherwise: &str| {
        if stated.is_empty() { otherwise.to_owned() } else { stated.to_owned() }
    };
    let account = or(account, like.map_or("000000000000", |(key, _)| &key.account));
    let region = or(region, like.map_or("us-east-1", |(_, region)| region));
    let kind = like.map_or(remediator.kind().asff, |(key, _)| &key.kind);
    let seen = Sighting { kind, id: arn, id_alt: None, account: &account, region: &region, partition };
    remediator.locate(&seen).ok()
}

/// Whether an exemption's resource is this one, whose finding is of this Region. Findings spell ARNs in more than one
/// way, and so do people.
pub(crate) fn is_named(resource: &str, key: &Key, remediator: &dyn Erased, region: &str) -> bool {
    glob(resource, &key.to_string())
        || glob(resource, &remediator.arn(key))
        || is_arn(resource) && locate(remediator, resource, Some((key, region))).as_ref() == Some(key)
}

/// The JSON schema of an exemptions file.
///
/// # Errors
/// If it is no JSON; a test holds that it is.
pub fn schema() -> Result<serde_json::Value, serde_json::Error> {
    let mut schema = serde_json::to_value(schemars::schema_for!(ExemptionsFile))?;
    let names: Vec<&str> = REGISTRY.iter().map(|known| known.spec().name).collect();
    if let Some(fields) = schema.pointer_mut("/$defs/Exemption/properties").and_then(|at| at.as_object_mut())
    {
        let described = fields.get("remediator").and_then(|field| field.get("description")).cloned();
        fields
            .insert("remediator".to_owned(), serde_json::json!({ "description": described, "enum": names }));
        if let Some(until) = fields.get_mut("until").and_then(|field| field.as_object_mut()) {
            until.insert("format".to_owned(), "date".into());
        }
    }
    Ok(schema)
}

/// What was found of exemptions for a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// None; expired ones are named.
    None {
        /// A line for each that has run out.
        expired: Vec<String>,
    },
    /// One that counts, described in a line.
    Exempt(String),
    /// One that can't be read: it stops the write and is reported.
    Malformed(String),
}

/// Looks for an exemption of a resource; `is_named` says whether a text in the file names it.
///
/// A malformed tag stops the write, since somebody meant something by it.
pub fn find(
    file: &[Exemption],
    is_named: impl Fn(&str) -> bool,
    remediator: &str,
    tags: Option<&Tags>,
    now: Timestamp,
) -> Found {
    let mut expired = Vec::new();
    for exemption in file {
        let meant = exemption.remediator.as_deref().is_none_or(|name| name == remediator);
        if !meant || !is_named(&exemption.resource) {
            continue;
        }
        let line = format!(
            "exempt until {} by the exemptions file, owner {}: {}",
            exemption.until,
            shown(&exemption.owner),
            shown(&exemption.reason)
        );
        match exemption.until.parse::<Date>() {
            Ok(until) if counts(until, now) => return Found::Exempt(line),
            Ok(_) => expired.push(format!("expired: {line}")),
            Err(_) => return Found::Malformed("an exemption in the file has no date".to_owned()),
        }
    }
    for (_, value) in tags.into_iter().flatten().filter(|(key, _)| key.eq_ignore_ascii_case(TAG)) {
        let malformed =
            || Found::Malformed(format!("tag `{TAG}` is `{}`, not `2027-01-31 owner reason`", shown(value)));
        let mut words = value.split_whitespace();
        let (Some(date), Some(owner), Some(_)) = (words.next(), words.next(), words.next()) else {
            return malformed();
        };
        let Ok(until) = date.parse::<Date>() else { return malformed() };
        let reason = value.split_whitespace().skip(2).collect::<Vec<_>>().join(" ");
        let line = format!("exempt until {until} by tag `{TAG}`, owner {}: {}", shown(owner), shown(&reason));
        if counts(until, now) {
            return Found::Exempt(line);
        }
        expired.push(format!("expired: {line}"));
    }
    Found::None { expired }
}

/// The last day counts whole, UTC.
fn counts(until: Date, now: Timestamp) -> bool {
    now.to_zoned(TimeZone::UTC).date() <= until
}

/// `*` stands for any text. Linear in the text for each star.
fn glob(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split('*');
    let Some(mut rest) = pieces.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let mut pieces = pieces.peekable();
    if pieces.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(piece) = pieces.next() {
        if pieces.peek().is_none() {
            return rest.ends_with(piece);
        }
        match rest.find(piece) {
            Some(at) => rest = rest.get(at + piece.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    const NAMES: [&str; 2] = ["aws/123456789012/eu-west-1/AwsS3Bucket/logs", "arn:aws:s3:::logs"];

    fn is_named(resource: &str) -> bool {
        NAMES.iter().any(|name| glob(resource, name))
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn by_tag(value: &str, now: &str) -> Found {
        let tags = vec![("redress:exempt".to_owned(), value.to_owned())];
        find(&[], is_named, "s3.enable_versioning", Some(&tags), at(now))
    }

    #[test]
    fn a_tag_counts_until_the_end_of_its_day() {
        let value = "2027-01-31 storage-team kept for the auditors";
        let Found::Exempt(line) = by_tag(value, "2027-01-31T23:59:59Z") else { unreachable!() };
        assert_eq!(
            line,
            "exempt until 2027-01-31 by tag `redress:exempt`, owner storage-team: kept for the auditors"
        );
        assert!(
            matches!(by_tag(value, "2027-02-01T00:00:00Z"), Found::None { expired } if expired.len() == 1)
        );
    }

    #[test]
    fn a_tag_that_cannot_be_read_stops_the_write() {
        for value in ["", "yes", "true forever", "2027-01-31", "2027-01-31 owner", "31.1.2027 owner reason"] {
            assert!(matches!(by_tag(value, "2026-01-01T00:00:00Z"), Found::Malformed(_)), "{value}");
        }
    }

    #[test]
    fn a_file_entry_is_for_its_resource_and_remediator() {
        let entry = |resource: &str, remediator: Option<&str>| Exemption {
            resource: resource.to_owned(),
            remediator: remediator.map(str::to_owned),
            owner: "o".to_owned(),
            reason: "r".to_owned(),
            until: "2027-01-31".to_owned(),
        };
        let found =
            |entry| find(&[entry], is_named, "s3.enable_versioning", None, at("2026-01-01T00:00:00Z"));
        assert!(matches!(found(entry("arn:aws:s3:::logs", None)), Found::Exempt(_)));
        assert!(matches!(found(entry("arn:aws:s3:::log*", None)), Found::Exempt(_)));
        assert!(matches!(found(entry("aws/123456789012/*/AwsS3Bucket/*", None)), Found::Exempt(_)));
        assert!(matches!(found(entry("*", Some("s3.enable_versioning"))), Found::Exempt(_)));
        assert!(matches!(found(entry("*", Some("s3.require_tls"))), Found::None { .. }));
        assert!(matches!(found(entry("arn:aws:s3:::log", None)), Found::None { .. }));
        assert!(matches!(found(entry("*:logs:*", None)), Found::None { .. }));
    }
}
