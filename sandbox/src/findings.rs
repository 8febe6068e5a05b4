//! Findings as Security Hub makes them, for the sandbox and the tests.
//!
//! A [`ControlFinding`] is one failed or passed check of a control on one resource. It is written out in
//! each of the forms in which Security Hub sends it: ASFF with consolidated control findings
//! ([`ControlFinding::asff`]), ASFF of one standard without them
//! ([`ControlFinding::asff_unconsolidated`]), and OCSF ([`ControlFinding::ocsf`]). All members are there
//! that the samples of AWS's documentation have
//! ([consolidation](https://docs.aws.amazon.com/securityhub/latest/userguide/asff-changes-consolidation.html)),
//! in its spellings.
//!
//! ```
//! # use redress_sandbox::findings::{ControlFinding, Standard};
//! let finding = ControlFinding::new("S3.14").resource("AwsS3Bucket", "arn:aws:s3:::invoices");
//! assert_eq!(finding.asff()["GeneratorId"], "security-control/S3.14");
//! assert_eq!(finding.asff_unconsolidated(Standard::Nist80053)["GeneratorId"], "nist-800-53/v/5.0.0/S3.14");
//! assert_eq!(finding.ocsf()["compliance"]["control"], "S3.14");
//! ```

use std::str::FromStr;

use jiff::Timestamp;
use redress_remediators::REGISTRY;
use serde_json::{Map, Value, json};

use crate::securityhub::controls::{BUILT_IN, BuiltIn};
use crate::securityhub::{fingerprint, partition, time};

const TYPE: &str = "Software and Configuration Checks/Industry and Regulatory Standards";
const HOW_TO: &str =
    "For information on how to correct this issue, consult the AWS Security Hub controls documentation.";

/// The result of a control's check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ComplianceStatus {
    /// The resource complies.
    Passed,
    /// The check could not decide.
    Warning,
    /// The resource does not comply.
    Failed,
    /// The check could not be made.
    NotAvailable,
}

impl ComplianceStatus {
    /// The spelling of ASFF.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "PASSED",
            Self::Warning => "WARNING",
            Self::Failed => "FAILED",
            Self::NotAvailable => "NOT_AVAILABLE",
        }
    }

    /// `compliance.status_id` and `compliance.status` of OCSF.
    pub fn ocsf(self) -> (i64, &'static str) {
        match self {
            Self::Passed => (1, "Pass"),
            Self::Warning => (2, "Warning"),
            Self::Failed => (3, "Fail"),
            Self::NotAvailable => (0, "Unknown"),
        }
    }
}

impl FromStr for ComplianceStatus {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Passed, Self::Warning, Self::Failed, Self::NotAvailable]
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or_else(|| format!("`{text}` is no compliance status"))
    }
}

/// A standard that sends findings of its own where control findings are not consolidated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standard {
    /// AWS Foundational Security Best Practices 1.0.0.
    Fsbp,
    /// CIS AWS Foundations Benchmark 1.2.0, whose spellings differ from its successors'.
    Cis120,
    /// CIS AWS Foundations Benchmark 1.4.0.
    Cis140,
    /// CIS AWS Foundations Benchmark 3.0.0. That it is spelled as 1.4.0 is not documented.
    Cis300,
    /// CIS AWS Foundations Benchmark 5.0.0. That it is spelled as 1.4.0 is not documented.
    Cis500,
    /// NIST SP 800-53 revision 5.
    Nist80053,
    /// PCI DSS 3.2.1, whose numbers are not those of the controls: `PCI.S3.1` is S3.3.
    PciDss321,
    /// Service-Managed Standard: AWS Control Tower.
    ControlTower,
}

impl Standard {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Fsbp,
        Self::Cis120,
        Self::Cis140,
        Self::Cis300,
        Self::Cis500,
        Self::Nist80053,
        Self::PciDss321,
        Self::ControlTower,
    ];

    /// Slug and version, as in the standard's ARN.
    pub fn slug(self) -> &'static str {
        match self {
            Self::Fsbp => "aws-foundational-security-best-practices/v/1.0.0",
            Self::Cis120 => "cis-aws-foundations-benchmark/v/1.2.0",
            Self::Cis140 => "cis-aws-foundations-benchmark/v/1.4.0",
            Self::Cis300 => "cis-aws-foundations-benchmark/v/3.0.0",
            Self::Cis500 => "cis-aws-foundations-benchmark/v/5.0.0",
            Self::Nist80053 => "nist-800-53/v/5.0.0",
            Self::PciDss321 => "pci-dss/v/3.2.1",
            Self::ControlTower => "service-managed-aws-control-tower/v/1.0.0",
        }
    }

    /// The last part of the finding's type.
    fn name(self) -> &'static str {
        match self {
            Self::Fsbp => "AWS-Foundational-Security-Best-Practices",
            Self::Cis120 | Self::Cis140 | Self::Cis300 | Self::Cis500 => "CIS AWS Foundations Benchmark",
            Self::Nist80053 => "NIST-800-53",
            Self::PciDss321 => "PCI-DSS",
            Self::ControlTower => "Service-Managed-AWS-Control-Tower",
        }
    }

    /// `ruleset` or `standards`, as in `StandardsId`.
    fn kind(self) -> &'static str {
        if self == Self::Cis120 { "ruleset" } else { "standards" }
    }
}

/// A check of a control on a resource. Without more, it failed on 2026-11-20 in account 123456789012,
/// Region us-east-1, and is ACTIVE and NEW.
///
/// The same control, resource, account, Region and [number](Self::number) give the same ids every time.
#[derive(Clone, Debug)]
pub struct ControlFinding {
    control: String,
    title: String,
    description: String,
    severity: String,
    config_rule: String,
    standards: Vec<String>,
    requirement: Option<String>,
    resource_type: String,
    resource_id: String,
    details: Option<Value>,
    tags: Map<String, Value>,
    account: String,
    region: String,
    status: ComplianceStatus,
    workflow: String,
    archived: bool,
    sample: bool,
    parameters: Vec<(String, Vec<String>)>,
    created: Timestamp,
    updated: Timestamp,
    number: u32,
}

impl ControlFinding {
    /// A finding of a control, such as `S3.14`. Title, severity, description, Config rule and standards
    /// are known for the controls that redress fixes; for others, say them.
    pub fn new(control: &str) -> Self {
        let known = BUILT_IN.iter().find(|known| known.id == control);
        let or = |of: fn(&BuiltIn) -> &'static str, otherwise: String| {
            known.map_or(otherwise, |known| of(known).to_owned())
        };
        let created = Timestamp::constant(1_795_161_600, 0);
        Self {
            control: control.to_owned(),
            title: or(|known| known.title, format!("Control {control} should pass")),
            description: or(|known| known.description, format!("This control checks {control}.")),
            severity: or(|known| known.severity, "MEDIUM".to_owned()),
            config_rule: or(|known| known.config_rule, control.to_lowercase().replace('.', "-")),
            standards: known
                .map_or(&[] as &[&str], |known| known.standards)
                .iter()
                .map(|id| (*id).to_owned())
                .collect(),
            requirement: None,
            resource_type: "AwsAccount".to_owned(),
            resource_id: "AWS::::Account:123456789012".to_owned(),
            details: None,
            tags: Map::new(),
            account: "123456789012".to_owned(),
            region: "us-east-1".to_owned(),
            status: ComplianceStatus::Failed,
            workflow: "NEW".to_owned(),
            archived: false,
            sample: false,
            parameters: Vec::new(),
            created,
            updated: created,
            number: 0,
        }
    }

    /// The resource: its type in ASFF, such as `AwsS3Bucket`, and its id there, mostly an ARN.
    #[must_use]
    pub fn resource(mut self, resource_type: &str, id: &str) -> Self {
        (self.resource_type, self.resource_id) = (resource_type.to_owned(), id.to_owned());
        self
    }

    /// The account; 12 digits. The resource's id is not changed.
    #[must_use]
    pub fn account(mut self, account: &str) -> Self {
        account.clone_into(&mut self.account);
        self
    }

    /// The Region, which also says the partition.
    #[must_use]
    pub fn region(mut self, region: &str) -> Self {
        region.clone_into(&mut self.region);
        self
    }

    /// The control's title.
    #[must_use]
    pub fn title(mut self, title: &str) -> Self {
        title.clone_into(&mut self.title);
        self
    }

    /// The control's description.
    #[must_use]
    pub fn description(mut self, description: &str) -> Self {
        description.clone_into(&mut self.description);
        self
    }

    /// The control's severity, `LOW` to `CRITICAL`. A check that passed is `INFORMATIONAL` all the same.
    #[must_use]
    pub fn severity(mut self, severity: &str) -> Self {
        severity.clone_into(&mut self.severity);
        self
    }

    /// The AWS Config rule behind the control, without prefix and suffix.
    #[must_use]
    pub fn config_rule(mut self, rule: &str) -> Self {
        rule.clone_into(&mut self.config_rule);
        self
    }

    /// The control's number in a standard, for [`asff_unconsolidated`](Self::asff_unconsolidated), where
    /// it is not known or another is wanted.
    #[must_use]
    pub fn requirement(mut self, number: &str) -> Self {
        self.requirement = Some(number.to_owned());
        self
    }

    /// The result of the check.
    #[must_use]
    pub fn status(mut self, status: ComplianceStatus) -> Self {
        self.status = status;
        self
    }

    /// The workflow's status: `NEW`, `NOTIFIED`, `RESOLVED` or `SUPPRESSED`.
    #[must_use]
    pub fn workflow(mut self, workflow: &str) -> Self {
        workflow.clone_into(&mut self.workflow);
        self
    }

    /// Makes the finding archived.
    #[must_use]
    pub fn archived(mut self) -> Self {
        self.archived = true;
        self
    }

    /// Makes it a sample finding, of no real resource.
    #[must_use]
    pub fn sample(mut self) -> Self {
        self.sample = true;
        self
    }

    /// A parameter with which the control is customised, and its values.
    #[must_use]
    pub fn parameter(mut self, name: &str, values: &[&str]) -> Self {
        self.parameters.push((name.to_owned(), values.iter().map(|value| (*value).to_owned()).collect()));
        self
    }

    /// A tag of the resource.
    #[must_use]
    pub fn tag(mut self, key: &str, value: &str) -> Self {
        self.tags.insert(key.to_owned(), value.into());
        self
    }

    /// `Resources[0].Details` in ASFF, such as `{"AwsS3Bucket": {...}}`.
    #[must_use]
    pub fn details(mut self, details: Value) -> Self {
        self.details = Some(details);
        self
    }

    /// When the finding was created and last updated.
    #[must_use]
    pub fn times(mut self, created: Timestamp, updated: Timestamp) -> Self {
        (self.created, self.updated) = (created, updated);
        self
    }

    /// Another finding of the same control and resource: with ids of its own.
    #[must_use]
    pub fn number(mut self, number: u32) -> Self {
        self.number = number;
        self
    }

    /// The id in ASFF of the consolidated finding; also `finding_info.uid` in OCSF.
    pub fn id(&self) -> String {
        self.id_under(&format!("security-control/{}", self.control))
    }

    /// The `metadata.uid` in OCSF: 64 hexadecimal digits.
    pub fn metadata_uid(&self) -> String {
        let id = self.id();
        ["1", "2", "3", "4"].map(|part| fingerprint(&[&id, part])).concat()
    }

    /// The product ARN in ASFF.
    pub fn product_arn(&self) -> String {
        format!("arn:{}:securityhub:{}::product/aws/securityhub", partition(&self.region), self.region)
    }

    fn id_under(&self, path: &str) -> String {
        let Self { account, region, .. } = self;
        let key = [account, region, &self.control, &self.resource_id, path, &self.number.to_string()];
        let hex = [
            fingerprint(&[key.as_slice(), &["a"]].concat()),
            fingerprint(&[key.as_slice(), &["b"]].concat()),
        ];
        let bits = u128::from_str_radix(&hex.concat(), 16).unwrap_or_default();
        let uuid = uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid();
        format!("arn:{}:securityhub:{region}:{account}:{path}/finding/{uuid}", partition(region))
    }

    /// The severity's label: of the control, or of a check that passed.
    fn label(&self) -> &str {
        if self.status == ComplianceStatus::Passed { "INFORMATIONAL" } else { &self.severity }
    }

    fn workflow_status(&self) -> &str {
        if self.status == ComplianceStatus::Passed && self.workflow == "NEW" {
            "RESOLVED"
        } else {
            &self.workflow
        }
    }

    fn config_rule_name(&self) -> String {
        let suffix = fingerprint(&[&self.account, &self.region, &self.config_rule]);
        format!("securityhub-{}-{}", self.config_rule, suffix.get(..8).unwrap_or_default())
    }

    fn remediation_url(&self) -> String {
        format!("https://docs.aws.amazon.com/console/securityhub/{}/remediation", self.control)
    }

    fn standards_ids(&self) -> Vec<Value> {
        self.standards.iter().map(|id| json!({ "StandardsId": id })).collect()
    }

    /// The finding in ASFF, control findings consolidated.
    pub fn asff(&self) -> Value {
        let fields = json!({
            "RelatedAWSResources:0/name": self.config_rule_name(),
            "RelatedAWSResources:0/type": "AWS::Config::ConfigRule",
        });
        let id = self.id();
        let generator = format!("security-control/{}", self.control);
        self.write(&id, &generator, &self.title, TYPE, &fields, &json!(self.standards_ids()))
    }

    /// The finding in ASFF that one standard sends where control findings are not consolidated. The
    /// control's number in the standard is what [`requirement`](Self::requirement) says, else the known
    /// one, else the control's own id; the standard need not include the control.
    pub fn asff_unconsolidated(&self, standard: Standard) -> Value {
        let slug = standard.slug();
        let numbers = BUILT_IN.iter().find(|known| known.id == self.control).map(|known| known.numbers);
        let known = numbers.and_then(|numbers| numbers.iter().find(|(of, _)| *of == slug));
        let number =
            self.requirement.as_deref().or(known.map(|(_, number)| *number)).unwrap_or(&self.control);
        let Self { account, region, .. } = self;
        let arn = format!("arn:{}:securityhub", partition(region));
        let standards_id = format!("{}/{slug}", standard.kind());
        let subscription = format!("{arn}:{region}:{account}:subscription/{slug}");
        let (generator, control_path, title_number) = match standard {
            Standard::Cis120 => {
                (format!("{arn}:::ruleset/{slug}/rule/{number}"), format!("rule/{number}"), number.to_owned())
            }
            Standard::ControlTower => {
                (format!("{slug}/{number}"), format!("CT.{number}"), format!("CT.{number}"))
            }
            _ => (format!("{slug}/{number}"), number.to_owned(), number.to_owned()),
        };
        let mut fields = if standard == Standard::Cis120 {
            json!({
                "StandardsGuideArn": format!("{arn}:::{standards_id}"),
                "StandardsGuideSubscriptionArn": subscription,
                "RuleId": number,
            })
        } else {
            json!({
                "StandardsArn": format!("{arn}:::{standards_id}"),
                "StandardsSubscriptionArn": subscription,
                "ControlId": title_number,
            })
        };
        for (name, value) in [
            ("RecommendationUrl", self.remediation_url()),
            ("RelatedAWSResources:0/name", self.config_rule_name()),
            ("RelatedAWSResources:0/type", "AWS::Config::ConfigRule".to_owned()),
            ("StandardsControlArn", format!("{arn}:{region}:{account}:control/{slug}/{control_path}")),
        ] {
            if let Some(fields) = fields.as_object_mut() {
                fields.insert(name.to_owned(), value.into());
            }
        }
        let id = self.id_under(&format!("subscription/{slug}/{number}"));
        let title = format!("{title_number} {}", self.title);
        let kind = format!("{TYPE}/{}", standard.name());
        self.write(&id, &generator, &title, &kind, &fields, &json!([{ "StandardsId": standards_id }]))
    }

    /// What all forms of ASFF have in common.
    fn write(
        &self,
        id: &str,
        generator: &str,
        title: &str,
        kind: &str,
        fields: &Value,
        standards: &Value,
    ) -> Value {
        let product = self.product_arn();
        let mut fields = fields.as_object().cloned().unwrap_or_default();
        fields.insert("Resources:0/Id".to_owned(), self.resource_id.clone().into());
        fields.insert("aws/securityhub/ProductName".to_owned(), "Security Hub".into());
        fields.insert("aws/securityhub/CompanyName".to_owned(), "AWS".into());
        fields.insert("aws/securityhub/FindingId".to_owned(), format!("{product}/{id}").into());
        let label = self.label();
        let normalized = match label {
            "LOW" => 1,
            "MEDIUM" => 40,
            "HIGH" => 70,
            "CRITICAL" => 90,
            _ => 0,
        };
        let mut compliance = json!({
            "Status": self.status.as_str(),
            "SecurityControlId": self.control,
            "AssociatedStandards": standards,
        });
        if !self.parameters.is_empty() {
            let of = |(name, value): &(String, Vec<String>)| json!({ "Name": name, "Value": value });
            add(&mut compliance, "SecurityControlParameters", self.parameters.iter().map(of).collect());
        }
        let mut resource = json!({
            "Type": self.resource_type,
            "Id": self.resource_id,
            "Partition": partition(&self.region),
            "Region": self.region,
        });
        if !self.tags.is_empty() {
            add(&mut resource, "Tags", Value::Object(self.tags.clone()));
        }
        if let Some(details) = &self.details {
            add(&mut resource, "Details", details.clone());
        }
        let (created, updated) = (time(self.created), time(self.updated));
        let mut finding = json!({
            "SchemaVersion": "2018-10-08",
            "Id": id,
            "ProductArn": product,
            "ProductName": "Security Hub",
            "CompanyName": "AWS",
            "Region": self.region,
            "GeneratorId": generator,
            "AwsAccountId": self.account,
            "Types": [kind],
            "FirstObservedAt": created,
            "LastObservedAt": updated,
            "CreatedAt": created,
            "UpdatedAt": updated,
            "ProcessedAt": updated,
            "Severity": { "Label": label, "Normalized": normalized, "Original": label },
            "Title": title,
            "Description": self.description,
            "Remediation": { "Recommendation": { "Text": HOW_TO, "Url": self.remediation_url() } },
            "ProductFields": fields,
            "Resources": [resource],
            "Compliance": compliance,
            "WorkflowState": "NEW",
            "Workflow": { "Status": self.workflow_status() },
            "RecordState": if self.archived { "ARCHIVED" } else { "ACTIVE" },
            "FindingProviderFields": { "Severity": { "Label": label, "Original": label }, "Types": [kind] },
        });
        if self.sample {
            add(&mut finding, "Sample", true.into());
        }
        finding
    }

    /// The finding in OCSF: class 2003, Compliance Finding, as Security Hub (V2) sends it.
    pub fn ocsf(&self) -> Value {
        let Self { account, region, .. } = self;
        let (status_id, status) = self.status.ocsf();
        let (severity_id, severity) = match self.label() {
            "INFORMATIONAL" => (1, "Informational"),
            "LOW" => (2, "Low"),
            "HIGH" => (4, "High"),
            "CRITICAL" => (5, "Critical"),
            _ => (3, "Medium"),
        };
        let (workflow_id, workflow) = match (self.archived, self.workflow_status()) {
            (true, _) => (5, "Archived"),
            (_, "NOTIFIED") => (2, "In Progress"),
            (_, "SUPPRESSED") => (3, "Suppressed"),
            (_, "RESOLVED") => (4, "Resolved"),
            _ => (1, "New"),
        };
        let (activity_id, activity) = match (self.archived, self.created == self.updated) {
            (true, _) => (3, "Close"),
            (_, true) => (1, "Create"),
            _ => (2, "Update"),
        };
        let (created, updated) = (self.created.as_millisecond(), self.updated.as_millisecond());
        let (created_dt, updated_dt) = (time(self.created), time(self.updated));
        let mut compliance = json!({
            "control": self.control,
            "standards": self.standards,
            "status": status,
            "status_id": status_id,
        });
        if !self.parameters.is_empty() {
            let of = |(name, values): &(String, Vec<String>)| json!({ "name": name, "values": values });
            add(&mut compliance, "control_parameters", self.parameters.iter().map(of).collect());
        }
        json!({
            "activity_id": activity_id,
            "activity_name": activity,
            "category_name": "Findings",
            "category_uid": 2,
            "class_name": "Compliance Finding",
            "class_uid": 2003,
            "cloud": {
                "account": { "uid": account },
                "cloud_partition": partition(region),
                "provider": "AWS",
                "region": region,
            },
            "compliance": compliance,
            "finding_info": {
                "analytic": {
                    "category": "AWS::Config::ConfigRule",
                    "name": self.config_rule_name(),
                    "type": "Rule",
                    "type_id": 1,
                },
                "created_time": created,
                "created_time_dt": created_dt,
                "desc": self.description,
                "first_seen_time": created,
                "first_seen_time_dt": created_dt,
                "last_seen_time": updated,
                "last_seen_time_dt": updated_dt,
                "modified_time": updated,
                "modified_time_dt": updated_dt,
                "title": self.title,
                "types": [TYPE, "Posture Management"],
                "uid": self.id(),
            },
            "metadata": {
                "product": {
                    "name": "Security Hub",
                    "uid": format!("arn:{}:securityhub:{region}::productv2/aws/securityhub", partition(region)),
                    "vendor_name": "AWS",
                },
                "profiles": ["cloud", "datetime"],
                "uid": self.metadata_uid(),
                "version": "1.6.0",
            },
            "remediation": { "desc": HOW_TO, "references": [self.remediation_url()] },
            "resources": [self.ocsf_resource()],
            "severity": severity,
            "severity_id": severity_id,
            "status": workflow,
            "status_id": workflow_id,
            "time": updated,
            "time_dt": updated_dt,
            "type_name": format!("Compliance Finding: {activity}"),
            "type_uid": 200_300 + activity_id,
            "vendor_attributes": { "severity": severity, "severity_id": severity_id },
        })
    }

    fn ocsf_resource(&self) -> Value {
        // OCSF names types as CloudFormation does, and resources as AWS Config does; the ARN is beside.
        let resource_type = cloudformation(&self.resource_type);
        let id = self.resource_id.as_str();
        let uid = id.rsplit([':', '/']).next().unwrap_or(id);
        let global = self.resource_type.starts_with("AwsIam");
        let mut resource = json!({
            "cloud_partition": partition(&self.region),
            "owner": { "account": { "uid": self.account } },
            "provider": "AWS",
            "region": if global { "global" } else { &self.region },
            "type": resource_type,
            "uid": uid,
            "uid_alt": id,
        });
        if !self.tags.is_empty() {
            let of = |(name, value): (&String, &Value)| json!({ "name": name, "value": value });
            add(&mut resource, "tags", self.tags.iter().map(of).collect());
        }
        resource
    }
}

fn add(object: &mut Value, key: &str, value: Value) {
    if let Some(object) = object.as_object_mut() {
        object.insert(key.to_owned(), value);
    }
}

/// The `CloudFormation` type of an ASFF type, by the remediators that work on it: `AwsEc2SecurityGroup` is
/// `AWS::EC2::SecurityGroup`.
fn cloudformation(asff: &str) -> String {
    let kind = REGISTRY.iter().map(|remediator| remediator.kind()).find(|kind| kind.asff == asff);
    kind.map_or("Other", |kind| kind.cfn).to_owned()
}
