//! What every remediator is tried with: resources that it must put right, leave alone or refuse, made through the
//! SDK as anybody would, in the embedded emulator or in any other.
//!
//! Tests walk [`SCENARIOS`] beside the registry and fail where a remediator has no part in it, so that one which is
//! added is held to every promise without a test being written for it.

mod cloudtrail;
mod cognito;
mod dynamodb;
mod ec2;
mod ecr;
mod elasticache;
mod guardduty;
mod iam;
mod kms;
mod lambda;
mod list;
mod logs;
mod macie2;
mod public;
mod rds;
mod redshift;
mod s3;
mod secretsmanager;
mod sns;
mod sqs;
mod ssm;

use std::pin::Pin;

use aws_config::SdkConfig;
use redress_remediators::find;
use serde_json::{Value, json};

pub use list::SCENARIOS;

pub use crate::account::Error;
use crate::{findings::ControlFinding, securityhub::partition};

/// What a call of the SDK comes to, some time.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// Makes the resource of a case, and gives its id as findings have it.
pub type Make = for<'a> fn(&'a Place) -> BoxFuture<'a, String>;

/// Reads what a remediator may alter of a resource, and what stands beside it, by calls that are none of the
/// remediator's own code. Ids that AWS gives anew are left out.
pub type Look = for<'a> fn(&'a Place, &'a str) -> BoxFuture<'a, Value>;

/// Where a case takes place.
#[derive(Clone, Debug)]
pub struct Place {
    /// The way to AWS, as the account's root. S3 is spoken to by path.
    pub config: SdkConfig,
    /// The account; 12 digits.
    pub account: String,
    /// The Region.
    pub region: String,
    /// A name that nothing else in the account has: lowercase letters, digits and hyphens.
    pub name: String,
}

impl Place {
    pub(crate) fn s3(&self) -> aws_sdk_s3::Client {
        let config = aws_sdk_s3::config::Builder::from(&self.config).force_path_style(true).build();
        aws_sdk_s3::Client::from_conf(config)
    }

    pub(crate) fn ec2(&self) -> aws_sdk_ec2::Client {
        aws_sdk_ec2::Client::new(&self.config)
    }

    pub(crate) fn arn(&self, service: &str, rest: &str) -> String {
        format!("arn:{}:{service}:{}:{}:{rest}", partition(&self.region), self.region, self.account)
    }
}

/// What one remediator is tried with.
pub struct Scenarios {
    /// Its name.
    pub remediator: &'static str,
    /// The type of its resources, as findings have it.
    pub resource_type: &'static str,
    /// The id of a resource that does not exist; `None` where there is always one.
    pub absent: Option<fn(&Place) -> String>,
    /// Each with a resource of its own.
    pub cases: &'static [Case],
    /// What is looked at.
    pub look: Look,
    /// What another emulator, which enforces IAM, can show of it.
    pub ministack: OnMinistack,
}

/// How far ministack, an independent emulator that enforces IAM, can show a remediator.
#[derive(Clone, Copy, Debug)]
pub enum OnMinistack {
    /// The whole way and back, save that it lets these actions through without asking for leave.
    Whole(&'static [&'static str]),
    /// The fix, and not the way back, for this reason.
    NoWayBack(&'static str),
    /// Not at all, for this reason.
    No(&'static str),
}

/// One resource, and what the remediator makes of it.
pub struct Case {
    /// What is special about it, after "a resource".
    pub name: &'static str,
    /// The control that it fails or passes.
    pub control: &'static str,
    /// The `params` of its rule, in YAML's flow style; empty for none.
    pub params: &'static str,
    /// The control's parameters in Security Hub.
    pub parameters: &'static [(&'static str, &'static [&'static str])],
    /// How many days ago the user was last seen, where the activity table is the evidence; `None`: it has no row.
    pub last_seen: Option<u16>,
    /// Whether the finding is of the account, which stands for the resource without naming it.
    pub of_account: bool,
    /// Makes it.
    pub make: Make,
    /// What is to come of it.
    pub expect: Expect,
}

/// What is to come of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// It is fixed, and undo puts it back as it was.
    Fixed,
    /// It is fixed, and undo leads to this, in JSON: there is no way back to what it was.
    FixedOneWay(&'static str),
    /// It is fixed, and undo is refused for a reason that has this in it.
    FixedForGood(&'static str),
    /// There is nothing to do.
    Compliant,
    /// It is refused, for a reason that has this in it.
    Refused(&'static str),
    /// It is left alone, for a reason that has this in it.
    Exempt(&'static str),
}

impl Expect {
    /// Whether anything is to be changed.
    pub fn changes(self) -> bool {
        matches!(self, Self::Fixed | Self::FixedOneWay(_) | Self::FixedForGood(_))
    }
}

impl Case {
    /// A case of a control without parameters, of a resource that is known to be unused for 200 days where that
    /// matters.
    pub(crate) const fn new(name: &'static str, control: &'static str, make: Make, expect: Expect) -> Self {
        Self {
            name,
            control,
            params: "",
            parameters: &[],
            last_seen: Some(200),
            of_account: false,
            make,
            expect,
        }
    }

    pub(crate) const fn of_account(self) -> Self {
        Self { of_account: true, ..self }
    }

    pub(crate) const fn params(self, params: &'static str) -> Self {
        Self { params, ..self }
    }

    pub(crate) const fn parameters(
        self,
        parameters: &'static [(&'static str, &'static [&'static str])],
    ) -> Self {
        Self { parameters, ..self }
    }

    pub(crate) const fn last_seen(self, days: Option<u16>) -> Self {
        Self { last_seen: days, ..self }
    }
}

impl Scenarios {
    /// The finding of a case on a resource.
    pub fn control_finding(&self, case: &Case, at: &Place, id: &str) -> ControlFinding {
        // A finding of redress's own borrows the form of one of Security Hub's.
        let control = if case.control.starts_with("redress.") { "S3.14" } else { case.control };
        let account = format!("AWS::::Account:{}", at.account);
        let (kind, id) =
            if case.of_account { ("AwsAccount", account.as_str()) } else { (self.resource_type, id) };
        let finding = ControlFinding::new(control).resource(kind, id).account(&at.account).region(&at.region);
        case.parameters.iter().fold(finding, |finding, (name, values)| finding.parameter(name, values))
    }

    /// The finding of a case on a resource, in ASFF.
    pub fn finding(&self, case: &Case, at: &Place, id: &str) -> Value {
        let mut finding = self.control_finding(case, at, id).asff();
        let Some(own) = case.control.strip_prefix("redress.") else { return finding };
        // A finding of redress's own, which the account's own product brings.
        finding["Id"] = json!(format!("redress/{own}/{id}"));
        finding["GeneratorId"] = json!(case.control);
        let product = format!("product/{}/default", at.account);
        finding["ProductArn"] = json!(at.arn("securityhub", &product));
        finding["Compliance"] = json!({ "Status": "FAILED" });
        finding["ProductFields"] = json!({});
        finding
    }

    /// Rules that give each of these cases to the remediator, with leave to do whatever it can: those of one case.
    pub fn rules(&self, case: &Case) -> String {
        let params = if case.params.is_empty() { "{}" } else { case.params };
        // Tags of resources of any type are not read.
        let general = find(self.remediator).is_some_and(|remediator| remediator.kind().is_any());
        let exempt_by = if general { "    exempt_by: [file]\n" } else { "" };
        format!(
            "rules:\n  - name: scenario\n    control: {}\n    remediator: {}\n    params: {params}\n    \
             automatic: apply\n    on_request: apply\n    max_risk: loss\n{exempt_by}",
            case.control, self.remediator,
        )
    }
}
