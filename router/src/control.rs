//! Security Hub controls: their ids, in every spelling that findings use, and what is known about each.
//!
//! With *consolidated control findings* a finding names its control plainly (`security-control/S3.14`).
//! Without them each standard has its own name for it (`PCI.S3.1` is S3.3, CIS 1.2's rule 2.9 is EC2.6),
//! and for a day after the setting changes both kinds arrive mixed:
//! <https://docs.aws.amazon.com/securityhub/latest/userguide/asff-changes-consolidation.html>.
//! [`identify`] reads all the fields that can name a control and demands that they agree.

use std::{borrow::Cow, collections::HashMap, fmt, sync::LazyLock};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::event::shown;

/// The `GeneratorId` and control id of redress's own findings: a user of a Cognito user pool who has not
/// signed in for longer than the deployment allows.
pub const INACTIVE_USER: &str = "redress.cognito-inactive-user";

/// Longest control id that is taken: AWS's longest today has 21 characters.
const LONGEST: usize = 64;

const CONTROLS: &str = include_str!("../data/security-controls.tsv");
const GENERATORS: &str = include_str!("../data/generator-ids.tsv");
const CIS_1_2: &str = "arn:aws:securityhub:::ruleset/cis-aws-foundations-benchmark/v/1.2.0/rule/";

/// Standards whose `GeneratorIds` have the form `STANDARD/v/VERSION/CONTROL`.
const STANDARDS: [&str; 7] = [
    "aws-foundational-security-best-practices",
    "aws-resource-tagging-standard",
    "cis-aws-foundations-benchmark",
    "nist-800-171",
    "nist-800-53",
    "pci-dss",
    "service-managed-aws-control-tower",
];

/// A control's id in AWS's own spelling, such as `S3.14` or `Autoscaling.5`, or [`INACTIVE_USER`].
///
/// Two ids of one control are equal, however the finding spelt them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ControlId(String);

/// A text that is no control id.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{}` is not a control id such as `S3.14`", shown(.0))]
pub struct NotAControlId(pub String);

impl ControlId {
    /// Reads a control id without regard to case.
    ///
    /// Known ids come back in AWS's spelling. Ids of the right form that are not in the vendored list are
    /// taken as they are: AWS adds controls faster than any list follows.
    pub fn parse(text: &str) -> Option<Self> {
        spelling(text).map(|id| Self(id.into_owned()))
    }

    /// The id.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is the id of redress's own findings.
    pub fn is_own(&self) -> bool {
        self.0 == INACTIVE_USER
    }

    /// What the vendored list knows about the control: nothing, where it is newer than the list, retired,
    /// or redress's own.
    pub fn info(&self) -> Option<&'static ControlInfo> {
        CATALOGUE.get(self.as_str())
    }
}

impl fmt::Display for ControlId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for ControlId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ControlId {
    type Error = NotAControlId;

    fn try_from(text: String) -> Result<Self, NotAControlId> {
        Self::parse(&text).ok_or(NotAControlId(text))
    }
}

impl std::str::FromStr for ControlId {
    type Err = NotAControlId;

    fn from_str(text: &str) -> Result<Self, NotAControlId> {
        Self::parse(text).ok_or_else(|| NotAControlId(text.to_owned()))
    }
}

impl From<ControlId> for String {
    fn from(id: ControlId) -> Self {
        id.0
    }
}

/// What AWS publishes about a control
/// (<https://docs.aws.amazon.com/securityhub/latest/userguide/securityhub-controls-reference.html>).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ControlInfo {
    /// Id in AWS's spelling.
    pub id: &'static str,
    /// Title.
    pub title: &'static str,
    /// `LOW`, `MEDIUM`, `HIGH` or `CRITICAL`.
    pub severity: &'static str,
    /// Resource type in `CloudFormation`'s spelling, such as `AWS::S3::Bucket`; empty where not known.
    pub resource_type: &'static str,
    /// When AWS checks: `Change triggered`, `Periodic` (every 12 or 24 hours) or both.
    pub schedule: &'static str,
    /// Parameters with AWS's defaults and bounds, such as `daysToExpiration=30 (14..365)`; empty where
    /// there are none.
    pub parameters: &'static str,
}

/// Looks a control up by its id, in any case.
pub fn info(id: &str) -> Option<&'static ControlInfo> {
    CATALOGUE.get(canonical(id)?)
}

/// All controls of the vendored list, sorted by service and number.
pub fn all() -> &'static [ControlInfo] {
    &CATALOGUE.controls
}

struct Catalogue {
    controls: Vec<ControlInfo>,
    position: HashMap<&'static str, usize>,
}

impl Catalogue {
    fn get(&self, id: &str) -> Option<&ControlInfo> {
        self.position.get(id).and_then(|&at| self.controls.get(at))
    }
}

static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| {
    let controls: Vec<_> = CONTROLS.lines().skip(1).filter_map(control_row).collect();
    let position = controls.iter().enumerate().map(|(at, control)| (control.id, at)).collect();
    Catalogue { controls, position }
});

fn control_row(line: &'static str) -> Option<ControlInfo> {
    let mut cells = line.split('\t');
    let (id, title, severity, resource_type) = (cells.next()?, cells.next()?, cells.next()?, cells.next()?);
    let (_config_rule, schedule, _custom) = (cells.next()?, cells.next()?, cells.next()?);
    Some(ControlInfo { id, title, severity, resource_type, schedule, parameters: cells.next()? })
}

fn generator_rows() -> impl Iterator<Item = (&'static str, &'static str)> {
    GENERATORS.lines().skip(1).filter_map(|line| line.split_once('\t'))
}

/// AWS's spelling of every known id, by the id in lower case. Retired controls (S3.4, IAM.20) are known by
/// the standards that still name them.
static SPELLINGS: LazyLock<HashMap<String, &'static str>> = LazyLock::new(|| {
    let mut spellings = HashMap::with_capacity(1024);
    for id in generator_rows().map(|(_, id)| id).chain(all().iter().map(|control| control.id)) {
        spellings.insert(id.to_ascii_lowercase(), id);
    }
    // FSBP and Control Tower call it ELBv2.1; the control is ELB.1.
    spellings.insert("elbv2.1".to_owned(), "ELB.1");
    spellings.insert(INACTIVE_USER.to_owned(), INACTIVE_USER);
    spellings
});

/// Controls by `GeneratorId` in lower case. A few `GeneratorIds` stand for two controls.
static BY_GENERATOR: LazyLock<HashMap<String, Vec<&'static str>>> = LazyLock::new(|| {
    let mut by_generator: HashMap<String, Vec<&'static str>> = HashMap::with_capacity(512);
    for (generator, id) in generator_rows() {
        by_generator.entry(generator.to_ascii_lowercase()).or_default().push(canonical(id).unwrap_or(id));
    }
    by_generator
});

/// AWS's spelling of a known id.
fn canonical(id: &str) -> Option<&'static str> {
    if id.len() > LONGEST {
        return None;
    }
    if id.bytes().any(|byte| byte.is_ascii_uppercase()) {
        SPELLINGS.get(&id.to_ascii_lowercase()).copied()
    } else {
        SPELLINGS.get(id).copied()
    }
}

/// The spelling to use for an id: AWS's where it is known, its own where it has the form of one.
fn spelling(id: &str) -> Option<Cow<'_, str>> {
    canonical(id).map(Cow::Borrowed).or_else(|| has_form(id).then_some(Cow::Borrowed(id)))
}

/// `Service.Number`: letters and digits that begin with a letter, a dot, one to four digits.
fn has_form(id: &str) -> bool {
    let Some((service, number)) = id.split_once('.') else { return false };
    id.len() <= LONGEST
        && service.starts_with(|c: char| c.is_ascii_alphabetic())
        && service.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && (1..=4).contains(&number.len())
        && number.bytes().all(|byte| byte.is_ascii_digit())
}

/// The fields of a finding that can name its control, as they came. What a finding lacks is `None`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spellings<'a> {
    /// ASFF `Compliance.SecurityControlId`.
    pub security_control_id: Option<&'a str>,
    /// OCSF `compliance.control`.
    pub compliance_control: Option<&'a str>,
    /// ASFF `GeneratorId`.
    pub generator_id: Option<&'a str>,
    /// ASFF `Id`, OCSF `finding_info.uid`.
    pub finding_id: Option<&'a str>,
    /// ASFF `ProductFields.ControlId`.
    pub control_id: Option<&'a str>,
    /// ASFF `ProductFields.RuleId`.
    pub rule_id: Option<&'a str>,
    /// ASFF `ProductFields.StandardsArn` or `.StandardsGuideArn`: without it a `RuleId` such as `2.9` means
    /// nothing.
    pub standard: Option<&'a str>,
}

/// What the fields of a finding say about its control.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity<'a> {
    /// All fields that say something name this control.
    Control(Cow<'a, str>),
    /// The finding is one of a Security Hub control, but of which is not known: here is what it calls it.
    Unknown(Cow<'a, str>),
    /// Nothing in the finding names a control.
    None,
}

/// Two fields of one finding that name different controls.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("control id `{}` in {first_field} and `{}` in {second_field}", shown(.first), shown(.second))]
pub struct Conflict {
    /// Name of one field.
    pub first_field: &'static str,
    /// What it holds.
    pub first: String,
    /// Name of the other field.
    pub second_field: &'static str,
    /// What that holds.
    pub second: String,
}

/// What one field says.
enum Claim<'a> {
    Silent,
    /// A control, by a name that no list maps.
    Unmapped,
    /// One of these.
    OneOf(Vec<Cow<'a, str>>),
}

/// Reads the control from every field that can name it.
///
/// # Errors
/// [`Conflict`] where two fields name different controls.
pub fn identify<'a>(fields: &Spellings<'a>) -> Result<Identity<'a>, Conflict> {
    let plain = [
        ("Compliance.SecurityControlId", fields.security_control_id),
        ("compliance.control", fields.compliance_control),
    ];
    let mut claims = Vec::with_capacity(4);
    for (field, text) in plain {
        let Some(text) = text else { continue };
        match spelling(text) {
            Some(id) => claims.push((field, text, Claim::OneOf(vec![id]))),
            None => return Ok(Identity::Unknown(Cow::Borrowed(text))),
        }
    }
    if let Some(text) = fields.generator_id {
        claims.push(("GeneratorId", text, by_generator(text)));
    }
    if let Some(text) = fields.finding_id {
        claims.push(("Id", text, by_finding_id(text)));
    }
    let certain = claims.iter().any(|(.., claim)| !matches!(claim, Claim::Silent));
    let standard = fields.standard.or(fields.generator_id);
    for (field, text) in
        [("ProductFields.ControlId", fields.control_id), ("ProductFields.RuleId", fields.rule_id)]
    {
        let Some(text) = text else { continue };
        let claim = by_product_field(text, standard);
        // Other vendors have a `ControlId` too: by itself it only counts with the name of a known control.
        let known = matches!(&claim, Claim::OneOf(ids) if ids.iter().any(|id| canonical(id).is_some()));
        if certain || known {
            claims.push((field, text, claim));
        }
    }
    agree(claims)
}

fn agree<'a>(claims: Vec<(&'static str, &'a str, Claim<'a>)>) -> Result<Identity<'a>, Conflict> {
    let mut agreed: Option<(&'static str, &'a str, Vec<Cow<'a, str>>)> = None;
    let mut unmapped = None;
    for (field, text, claim) in claims {
        match (claim, &mut agreed) {
            (Claim::Silent, _) => {}
            (Claim::Unmapped, _) => unmapped = unmapped.or(Some(text)),
            (Claim::OneOf(ids), None) => agreed = Some((field, text, ids)),
            (Claim::OneOf(ids), Some((first_field, first, kept))) => {
                kept.retain(|id| ids.iter().any(|other| other.eq_ignore_ascii_case(id)));
                if kept.is_empty() {
                    return Err(Conflict {
                        first_field,
                        first: (*first).to_owned(),
                        second_field: field,
                        second: text.to_owned(),
                    });
                }
            }
        }
    }
    let Some((_, text, mut ids)) = agreed else {
        return Ok(unmapped.map_or(Identity::None, |text| Identity::Unknown(Cow::Borrowed(text))));
    };
    if ids.len() > 1 {
        // CIS 1.2's rule 1.1 is CloudWatch.1 and the retired IAM.20.
        ids.retain(|id| CATALOGUE.get(id).is_some());
    }
    match (ids.pop(), ids.is_empty()) {
        (Some(id), true) => Ok(Identity::Control(id)),
        _ => Ok(Identity::Unknown(Cow::Borrowed(text))),
    }
}

fn by_generator(text: &str) -> Claim<'_> {
    if text == INACTIVE_USER {
        return Claim::OneOf(vec![Cow::Borrowed(INACTIVE_USER)]);
    }
    if let Some(id) = text.strip_prefix("security-control/") {
        return spelling(id).map_or(Claim::Unmapped, |id| Claim::OneOf(vec![id]));
    }
    if text.starts_with("arn:") {
        return match text.split_once(":securityhub:::ruleset/cis-aws-foundations-benchmark/v/1.2.0/rule/") {
            Some((_, rule)) => listed(&[CIS_1_2, rule].concat()),
            None => Claim::Silent,
        };
    }
    let mut parts = text.splitn(4, '/');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(standard), Some("v"), Some(version), Some(id)) => by_standard(standard, version, id),
        _ => Claim::Silent,
    }
}

/// `arn:…:securityhub:REGION:ACCOUNT:security-control/ID/finding/UUID` or
/// `…:subscription/STANDARD/v/VERSION/ID/finding/UUID`.
fn by_finding_id(text: &str) -> Claim<'_> {
    let mut parts = text.splitn(6, ':');
    let (Some("arn"), Some(_), Some("securityhub"), Some(resource)) =
        (parts.next(), parts.next(), parts.next(), parts.nth(2))
    else {
        return Claim::Silent;
    };
    let Some((name, _)) = resource.rsplit_once("/finding/") else { return Claim::Silent };
    if let Some(id) = name.strip_prefix("security-control/") {
        return spelling(id).map_or(Claim::Unmapped, |id| Claim::OneOf(vec![id]));
    }
    let Some(rest) = name.strip_prefix("subscription/") else { return Claim::Silent };
    let mut parts = rest.splitn(4, '/');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(standard), Some("v"), Some(version), Some(id)) => by_standard(standard, version, id),
        _ => Claim::Silent,
    }
}

/// `S3.14`, `PCI.S3.1`, `CT.CloudTrail.2`, or a number of the given standard.
fn by_product_field<'a>(text: &'a str, standard: Option<&str>) -> Claim<'a> {
    let id = text.strip_prefix("CT.").unwrap_or(text);
    if let Some(id) = spelling(id) {
        return Claim::OneOf(vec![id]);
    }
    if id.starts_with("PCI.") {
        return listed(&["pci-dss/v/3.2.1/", id].concat());
    }
    let version = standard.and_then(|standard| standard.split_once("cis-aws-foundations-benchmark/v/"));
    match version.and_then(|(_, rest)| rest.split('/').next()) {
        Some(version) => match by_standard("cis-aws-foundations-benchmark", version, id) {
            Claim::OneOf(ids) => Claim::OneOf(ids),
            Claim::Silent | Claim::Unmapped => Claim::Silent,
        },
        None => Claim::Silent,
    }
}

fn by_standard<'a>(standard: &str, version: &str, id: &'a str) -> Claim<'a> {
    if !STANDARDS.contains(&standard) {
        return Claim::Silent;
    }
    let name = match (standard, version) {
        ("cis-aws-foundations-benchmark", "1.2.0") => [CIS_1_2, id].concat(),
        _ => [standard, "/v/", version, "/", id].concat(),
    };
    match listed(&name) {
        Claim::OneOf(ids) => Claim::OneOf(ids),
        Claim::Silent | Claim::Unmapped => spelling(id.strip_prefix("CT.").unwrap_or(id))
            .map_or(Claim::Unmapped, |id| Claim::OneOf(vec![id])),
    }
}

fn listed<'a>(generator: &str) -> Claim<'a> {
    match BY_GENERATOR.get(&generator.to_ascii_lowercase()) {
        Some(ids) => Claim::OneOf(ids.iter().copied().map(Cow::Borrowed).collect()),
        None => Claim::Unmapped,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

    use super::*;

    fn control(fields: Spellings<'_>) -> Identity<'_> {
        identify(&fields).unwrap()
    }

    fn is(id: &'static str) -> Identity<'static> {
        Identity::Control(Cow::Borrowed(id))
    }

    fn generator(text: &str) -> Identity<'_> {
        control(Spellings { generator_id: Some(text), ..Spellings::default() })
    }

    #[test]
    fn every_row_of_the_lists_is_read() {
        assert_eq!(all().len(), CONTROLS.lines().count() - 1);
        assert_eq!(generator_rows().count(), GENERATORS.lines().count() - 1);
        for control in all() {
            assert!(has_form(control.id), "{}", control.id);
            assert_eq!(canonical(&control.id.to_ascii_uppercase()), Some(control.id));
            assert!(["LOW", "MEDIUM", "HIGH", "CRITICAL"].contains(&control.severity), "{}", control.id);
        }
        for (name, id) in generator_rows() {
            assert!(
                BY_GENERATOR.get(&name.to_ascii_lowercase()).unwrap().contains(&canonical(id).unwrap()),
                "{name}"
            );
        }
    }

    #[test]
    fn ids_are_spelt_as_aws_does() {
        for (given, id) in [
            ("s3.14", "S3.14"),
            ("AUTOSCALING.5", "Autoscaling.5"),
            ("opensearch.1", "Opensearch.1"),
            ("ELBv2.1", "ELB.1"),
            ("EC2.9999", "EC2.9999"),
        ] {
            assert_eq!(ControlId::parse(given).unwrap().as_str(), id);
        }
        for given in
            ["", "S3", "S3.", ".14", "S3.14 ", "S3.14\u{1b}", "1.3", "PCI.S3.1", "S3.14.1", "S3.12345", "é.1"]
        {
            assert_eq!(ControlId::parse(given), None, "{given:?}");
        }
        assert!("x".repeat(100).parse::<ControlId>().unwrap_err().to_string().len() < 200);
    }

    #[test]
    fn what_is_known_of_a_control() {
        let s3 = ControlId::parse("S3.14").unwrap().info().unwrap();
        assert_eq!(
            (s3.severity, s3.resource_type, s3.schedule),
            ("LOW", "AWS::S3::Bucket", "Change triggered")
        );
        assert_eq!(info("acm.1").unwrap().parameters, "daysToExpiration=30 (14..365)");
        assert_eq!(ControlId::parse(INACTIVE_USER).unwrap().info(), None);
    }

    #[test]
    fn a_generator_of_each_standard() {
        for (text, id) in [
            ("security-control/S3.14", "S3.14"),
            ("security-control/iam.9", "IAM.9"),
            ("aws-foundational-security-best-practices/v/1.0.0/S3.8", "S3.8"),
            ("aws-foundational-security-best-practices/v/1.0.0/ELBv2.1", "ELB.1"),
            ("arn:aws:securityhub:::ruleset/cis-aws-foundations-benchmark/v/1.2.0/rule/2.9", "EC2.6"),
            ("arn:aws-us-gov:securityhub:::ruleset/cis-aws-foundations-benchmark/v/1.2.0/rule/2.9", "EC2.6"),
            ("cis-aws-foundations-benchmark/v/1.4.0/2.1.5.1", "S3.1"),
            ("nist-800-53/v/5.0.0/S3.14", "S3.14"),
            ("pci-dss/v/3.2.1/PCI.S3.1", "S3.3"),
            ("service-managed-aws-control-tower/v/1.0.0/CloudTrail.2", "CloudTrail.2"),
            ("arn:aws:securityhub:::ruleset/cis-aws-foundations-benchmark/v/1.2.0/rule/1.1", "CloudWatch.1"),
            (INACTIVE_USER, INACTIVE_USER),
        ] {
            assert_eq!(generator(text), is(id), "{text}");
        }
        assert!(matches!(generator("cis-aws-foundations-benchmark/v/9.0.0/7.7"), Identity::Unknown(_)));
        assert!(matches!(generator("pci-dss/v/3.2.1/PCI.Nope.1"), Identity::Unknown(_)));
        assert_eq!(generator("arn:aws:guardduty:us-east-1:123456789012:detector/1"), Identity::None);
        assert_eq!(generator("acme-scanner/v/1.0.0/S3.14"), Identity::None);
    }

    #[test]
    fn a_finding_id_of_each_standard() {
        for (text, id) in [
            ("arn:aws:securityhub:us-east-1:123456789012:security-control/S3.14/finding/6f5b", "S3.14"),
            (
                "arn:aws:securityhub:us-east-1:123456789012:subscription/pci-dss/v/3.2.1/PCI.S3.1/finding/6f5b",
                "S3.3",
            ),
            (
                "arn:aws:securityhub:us-east-1:123456789012:subscription/cis-aws-foundations-benchmark/v/1.2.0/2.9/finding/1",
                "EC2.6",
            ),
        ] {
            assert_eq!(control(Spellings { finding_id: Some(text), ..Spellings::default() }), is(id));
        }
        let other = Spellings {
            finding_id: Some("arn:aws:inspector2:us-east-1:1:finding/1"),
            ..Spellings::default()
        };
        assert_eq!(control(other), Identity::None);
    }

    #[test]
    fn product_fields_need_their_standard() {
        let guide = "arn:aws:securityhub:::ruleset/cis-aws-foundations-benchmark/v/1.2.0";
        let cis = Spellings { rule_id: Some("2.9"), standard: Some(guide), ..Spellings::default() };
        assert_eq!(control(cis), is("EC2.6"));
        assert_eq!(control(Spellings { standard: None, ..cis }), Identity::None);
        for (text, id) in [("PCI.S3.1", "S3.3"), ("CT.CloudTrail.2", "CloudTrail.2"), ("s3.14", "S3.14")] {
            assert_eq!(control(Spellings { control_id: Some(text), ..Spellings::default() }), is(id));
        }
        let vendor = Spellings { control_id: Some("Acme.7"), ..Spellings::default() };
        assert_eq!(control(vendor), Identity::None);
    }

    #[test]
    fn fields_must_agree() {
        let pci = Spellings {
            security_control_id: Some("S3.3"),
            generator_id: Some("pci-dss/v/3.2.1/PCI.S3.1"),
            control_id: Some("PCI.S3.1"),
            ..Spellings::default()
        };
        assert_eq!(control(pci), is("S3.3"));
        let forged = Spellings { security_control_id: Some("S3.14"), ..pci };
        assert_eq!(
            identify(&forged).unwrap_err().to_string(),
            "control id `S3.14` in Compliance.SecurityControlId and `pci-dss/v/3.2.1/PCI.S3.1` in GeneratorId"
        );
        let newer = Spellings { generator_id: Some("cis-aws-foundations-benchmark/v/5.0.0/2.1.1"), ..pci };
        assert_eq!(control(newer), is("S3.3"), "a standard that no list maps says nothing");
        let own = Spellings {
            security_control_id: Some("S3.3"),
            generator_id: Some(INACTIVE_USER),
            ..Spellings::default()
        };
        assert!(identify(&own).is_err());
        let both = Spellings {
            security_control_id: Some("IAM.20"),
            generator_id: Some(
                "arn:aws:securityhub:::ruleset/cis-aws-foundations-benchmark/v/1.2.0/rule/1.1",
            ),
            ..Spellings::default()
        };
        assert_eq!(control(both), is("IAM.20"));
        let garbage = Spellings { security_control_id: Some("S3.14; rm"), ..pci };
        assert!(matches!(control(garbage), Identity::Unknown(_)));
    }
}
