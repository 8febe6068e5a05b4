//! Tests of rules, as data beside them: a finding, and what the rules are to make of it.
//!
//! `NAME-tests.yaml` is tried on the rules file `NAME.yaml`, or on all rules and exemptions of its folder
//! together. Nothing is called and nothing written. A finding is given whole (ASFF or OCSF, as
//! `get-findings` prints it), or by what matters of it, to which the rest is made up.

use std::{collections::BTreeMap, fmt, path::Path};

use jiff::{Timestamp, civil::Date, tz::TimeZone};
use redress_remediators::{Erased, Key, REGISTRY, Risk, Sighting, Tags};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::{
    control::{self, ControlId, INACTIVE_USER},
    event::{Decoded, decode_many, shown},
    exemption::{self, Found},
    finding::{Finding, is_account},
    rules::{ExemptBy, Mode, Rule, RuleSet, RulesError, yaml_files},
    yaml,
};

/// A file of tests.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "redress tests of rules")]
pub struct TestsFile {
    /// The day on which it is decided whether an exemption counts, such as `2027-01-31`. Without one, no
    /// exemption has run out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub today: Option<String>,
    /// The tests.
    pub tests: Vec<Test>,
}

/// A finding, and what is to become of it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Test {
    /// What is tested, in words. Unique in its file.
    pub name: String,
    /// The finding: a whole one (ASFF, OCSF or an EventBridge event), or a [`Shorthand`].
    pub finding: Value,
    /// What the rules are to make of it. What is not given is not tested.
    pub expect: Expected,
}

/// What matters of a finding. The rest is made up, as Security Hub would write it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Shorthand {
    /// The control that failed.
    pub control: ControlText,
    /// The resource: an ARN, or `AWS::::Account:` and an account.
    pub resource: String,
    /// The resource's type, such as `AwsS3Bucket`; else that of the remediator that fixes the control.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The account; else the resource's, else 123456789012.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The Region; else the resource's, else eu-west-1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// The severity; else the control's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    /// The resource's tags. The live resource is taken to have the same.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// The workflow status; else `NEW`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow: Option<WorkflowWord>,
    /// The control's verdict; else `FAILED`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compliance: Option<ComplianceWord>,
    /// The control's parameters, as set in Security Hub.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, Vec<String>>,
    /// The format; else ASFF. Patterns see the finding as it came: write one for each format that comes.
    #[serde(default)]
    pub format: FormatWord,
    /// More fields of the finding, in its format's own names; they take the place of what is made up.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub fields: Map<String, Value>,
}

/// A control's id, in any case.
pub type ControlText = String;

/// A severity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
#[expect(missing_docs, reason = "the words are Security Hub's own")]
pub enum Severity {
    Informational,
    Low,
    Medium,
    High,
    Critical,
}

/// A workflow status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
#[expect(missing_docs, reason = "the words are Security Hub's own")]
pub enum WorkflowWord {
    New,
    Notified,
    Suppressed,
    Resolved,
}

/// A control's verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
#[expect(missing_docs, reason = "the words are Security Hub's own")]
pub enum ComplianceWord {
    Passed,
    Warning,
    Failed,
}

/// A finding's format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FormatWord {
    /// AWS Security Finding Format: Security Hub CSPM.
    #[default]
    Asff,
    /// Open Cybersecurity Schema Framework: the newer Security Hub.
    Ocsf,
}

/// What rules make of a finding.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    /// The name of the rule that decides, or `none`.
    pub rule: String,
    /// How far it goes by itself. The deployment's ceiling may lower it; risk, holds and limits are known
    /// only on the live resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub automatic: Option<Mode>,
    /// How far it goes when a person asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_request: Option<Mode>,
    /// How far each custom action goes that belongs to a rule of its own; `off` where that rule is not for
    /// the finding.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub actions: BTreeMap<String, Mode>,
    /// The worst that an automatic change may bring.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_risk: Option<Risk>,
    /// Whether, and by what, the resource is exempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exempt: Option<Exempt>,
}

/// Whether a resource is exempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Exempt {
    /// It is not.
    None,
    /// By the exemptions file.
    File,
    /// By its tag.
    Tag,
    /// Its tag can't be read, which stops a change as well.
    Malformed,
}

/// What came of all tests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// One for each test, in order.
    pub results: Vec<TestResult>,
}

/// What came of one test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestResult {
    /// The file.
    pub file: String,
    /// The test's name.
    pub name: String,
    /// What is not as expected, a line each; empty where all is.
    pub failures: Vec<String>,
}

impl Report {
    /// How many tests failed.
    pub fn failed(&self) -> usize {
        self.results.iter().filter(|result| !result.failures.is_empty()).count()
    }

    /// How many tests passed.
    pub fn passed(&self) -> usize {
        self.results.len() - self.failed()
    }
}

impl fmt::Display for TestResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.failures.is_empty() { "ok" } else { "FAILED" };
        write!(f, "{}: {}: {verdict}", self.file, self.name)?;
        self.failures.iter().try_for_each(|failure| write!(f, "\n    {failure}"))
    }
}

/// Runs the tests that belong to `path`: a rules file (`NAME-tests.yaml` beside it), a folder (all of its
/// tests, on all its rules), or one `NAME-tests.yaml` (on its folder).
///
/// # Errors
/// Where rules, exemptions or tests can't be read, or where there are no tests. That one fails is no error.
pub fn run(path: &Path, registry: &'static [&'static dyn Erased]) -> Result<Report, RulesError> {
    let is_tests = |file: &Path| {
        file.file_stem().and_then(|stem| stem.to_str()).is_some_and(|stem| stem.ends_with("-tests"))
    };
    let (rules, files) = if path.is_dir() {
        let files: Vec<_> = yaml_files(path)?.into_iter().filter(|file| is_tests(file)).collect();
        (path, files)
    } else if is_tests(path) {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        (folder.unwrap_or(Path::new(".")), vec![path.to_owned()])
    } else {
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let beside =
            ["yaml", "yml"].map(|extension| path.with_file_name(format!("{stem}-tests.{extension}")));
        (path, beside.into_iter().filter(|file| file.is_file()).collect())
    };
    let rules = RuleSet::load(rules, registry)?;
    let mut report = Report::default();
    for file in &files {
        report.results.extend(run_file(&file.display().to_string(), &yaml::text(file)?, &rules, registry)?);
    }
    if report.results.is_empty() {
        let what = "no tests: they stand in `NAME-tests.yaml` beside the rules `NAME.yaml`".to_owned();
        return Err(RulesError { file: path.display().to_string(), what });
    }
    Ok(report)
}

/// Runs the tests of one file, given as name and text, on these rules.
///
/// # Errors
/// Names the place in the file that can't be read.
pub fn run_file(
    name: &str,
    text: &str,
    rules: &RuleSet,
    registry: &'static [&'static dyn Erased],
) -> Result<Vec<TestResult>, RulesError> {
    let file: TestsFile = yaml::read(name, text)?;
    let fault = |at: &str, what: &str| Err(yaml::fault_at(name, text, at, what));
    let now = match &file.today {
        None => Timestamp::UNIX_EPOCH,
        Some(today) => match noon(today) {
            Some(now) => now,
            None => return fault("/today", &format!("today: `{}` is no date like 2027-01-31", shown(today))),
        },
    };
    let mut results: Vec<TestResult> = Vec::new();
    for (index, test) in file.tests.iter().enumerate() {
        if results.iter().any(|other| other.name == test.name) {
            return fault(&format!("/tests/{index}/name"), "name: another test has it");
        }
        let finding = match given(&test.finding, registry) {
            Ok(finding) => finding,
            Err(what) => return fault(&format!("/tests/{index}/finding"), &format!("finding: {what}")),
        };
        if let Some(unknown) = test.expect.actions.keys().find(|id| rules.by_action(id).is_none()) {
            let what = format!("no rule has the custom action `{}`", shown(unknown));
            return fault(&format!("/tests/{index}/expect/actions/{unknown}"), &what);
        }
        let named = &test.expect.rule;
        if named != "none" && rules.rule(named).is_none() {
            let known = rules.rules.iter().map(Rule::name);
            let what = format!("there is no rule `{}`; {}", shown(named), yaml::suggest(named, known));
            return fault(&format!("/tests/{index}/expect/rule"), &what);
        }
        let failures = judge(&finding, &test.expect, rules, now);
        results.push(TestResult { file: name.to_owned(), name: test.name.clone(), failures });
    }
    Ok(results)
}

fn noon(date: &str) -> Option<Timestamp> {
    let date: Date = date.parse().ok()?;
    Some(date.at(12, 0, 0, 0).to_zoned(TimeZone::UTC).ok()?.timestamp())
}

/// What differs from what is expected.
fn judge(
    finding: &Result<Finding, String>,
    expected: &Expected,
    rules: &RuleSet,
    now: Timestamp,
) -> Vec<String> {
    let mut failures = Vec::new();
    let mut differs = |what: &str, expected: &str, found: &str, why: &str| {
        if expected != found {
            let why = if why.is_empty() { String::new() } else { format!(" ({why})") };
            failures.push(format!("{what}: expected `{expected}`, found `{found}`{why}"));
        }
    };
    let (finding, unread) = match finding {
        Ok(finding) => (Some(finding), ""),
        Err(why) => (None, why.as_str()),
    };
    let rule = finding.and_then(|finding| rules.route(finding));
    let why = match (finding, rules.rule(&expected.rule)) {
        (Some(finding), Some(meant)) => missed(finding, meant, rule),
        _ => unread.to_owned(),
    };
    differs("rule", &expected.rule, rule.map_or("none", Rule::name), &why);
    for (what, automatic, expected) in
        [("automatic", true, expected.automatic), ("on_request", false, expected.on_request)]
    {
        if let Some(expected) = expected {
            let (found, why) = reach(finding, rule, automatic);
            differs(what, expected.as_str(), found.as_str(), &why);
        }
    }
    for (id, expected) in &expected.actions {
        let own = rules.by_action(id).filter(|own| finding.is_some_and(|finding| own.matches(finding)));
        let (found, why) = reach(finding, own, false);
        differs(&format!("action {id}"), expected.as_str(), found.as_str(), &why);
    }
    if let Some(expected) = expected.max_risk {
        let found = rule.map_or("none", |rule| rule.source.max_risk.unwrap_or_default().as_str());
        differs("max_risk", expected.as_str(), found, "");
    }
    if let Some(expected) = expected.exempt {
        let (found, why) = match (finding, rule) {
            (Some(finding), Some(rule)) => exempt(finding, rule, rules, now),
            _ => (Exempt::None, "no rule, so nothing is asked".to_owned()),
        };
        differs("exempt", expected.as_str(), found.as_str(), &why);
    }
    failures
}

impl Exempt {
    fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::File => "file",
            Self::Tag => "tag",
            Self::Malformed => "malformed",
        }
    }
}

/// Why the rule that was meant does not decide.
fn missed(finding: &Finding, meant: &Rule, instead: Option<&Rule>) -> String {
    if !meant.controls.iter().any(|control| control == finding.control.as_str()) {
        format!("`{}` is for {}, and this is {}", meant.name(), meant.controls.join(", "), finding.control)
    } else if !meant.matches(finding) {
        format!("`when` of `{}` does not match", meant.name())
    } else {
        instead.map(|rule| format!("`{}` stands before it", rule.name())).unwrap_or_default()
    }
}

/// How far one door goes, and what stops it.
fn reach(finding: Option<&Finding>, rule: Option<&Rule>, automatic: bool) -> (Mode, String) {
    let off = |why: String| (Mode::Off, why);
    let Some(finding) = finding else { return off("the finding is passed over".to_owned()) };
    if let Err(forged) = finding.authenticity() {
        return off(forged.to_string());
    }
    if let Err(ignored) = finding.actionable(automatic) {
        return off(ignored.to_string());
    }
    let Some(rule) = rule else { return off("no rule".to_owned()) };
    if let Err(why) = keys(finding, rule.remediator) {
        return off(why);
    }
    (if automatic { rule.source.automatic } else { rule.source.on_request }, String::new())
}

/// The key of each resource that the remediator is for.
fn keys(finding: &Finding, remediator: &dyn Erased) -> Result<Vec<Key>, String> {
    let kind = remediator.kind();
    let resources = finding.resources.iter().filter(|one| kind.covers(&one.kind));
    let keys = resources
        .map(|resource| {
            let seen = Sighting {
                kind: &resource.kind,
                id: &resource.id,
                id_alt: resource.id_alt.as_deref(),
                account: &finding.account,
                region: resource.region.as_deref().unwrap_or(&finding.region),
                partition: &finding.partition,
            };
            remediator.locate(&seen).map_err(|misplaced| misplaced.to_string())
        })
        .collect::<Result<Vec<_>, String>>()?;
    if keys.is_empty() {
        return Err(format!("no {} in it that `{}` could fix", kind.asff, remediator.spec().name));
    }
    Ok(keys)
}

fn exempt(finding: &Finding, rule: &Rule, rules: &RuleSet, now: Timestamp) -> (Exempt, String) {
    let by = &rule.source.exempt_by;
    let remediator = rule.remediator.spec().name;
    let keys = match keys(finding, rule.remediator) {
        Ok(keys) => keys,
        Err(why) => return (Exempt::None, why),
    };
    let tags = tags(finding);
    for key in &keys {
        let is_named = |resource: &str| exemption::is_named(resource, key, rule.remediator, &finding.region);
        if by.contains(&ExemptBy::File) {
            match exemption::find(&rules.exemptions, is_named, remediator, None, now) {
                Found::Exempt(line) => return (Exempt::File, line),
                Found::Malformed(line) => return (Exempt::Malformed, line),
                Found::None { .. } => {}
            }
        }
        if by.contains(&ExemptBy::Tag) {
            match exemption::find(&[], is_named, remediator, Some(&tags), now) {
                Found::Exempt(line) => return (Exempt::Tag, line),
                Found::Malformed(line) => return (Exempt::Malformed, line),
                Found::None { .. } => {}
            }
        }
    }
    (Exempt::None, String::new())
}

/// The tags in the finding: `Resources[].Tags` in ASFF, `resources[].tags` in OCSF.
fn tags(finding: &Finding) -> Tags {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut tags = Tags::new();
    for resources in ["Resources", "resources"] {
        for resource in finding.json.get(resources).and_then(Value::as_array).into_iter().flatten() {
            let asff = resource.get("Tags").and_then(Value::as_object).into_iter().flatten();
            tags.extend(asff.map(|(key, value)| (key.clone(), text(value))));
            let ocsf = resource.get("tags").and_then(Value::as_array).into_iter().flatten();
            tags.extend(ocsf.map(|tag| (text(&tag["name"]), text(&tag["value"]))));
        }
    }
    tags
}

/// The finding of a test. The inner error is what decode passes over, which a test may well expect.
fn given(
    finding: &Value,
    registry: &'static [&'static dyn Erased],
) -> Result<Result<Finding, String>, String> {
    let json = written(finding, registry)?;
    let decoded = decode_many(json.to_string().as_bytes()).map_err(|invalid| invalid.to_string())?;
    match <[Decoded; 1]>::try_from(decoded) {
        Ok([Decoded::Finding(finding)]) => Ok(Ok(*finding)),
        Ok([Decoded::Ignored(ignored)]) => Ok(Err(ignored.to_string())),
        Ok([Decoded::Invalid(invalid)]) => Ok(Err(invalid.to_string())),
        Err(several) => Err(format!("{} findings; a test has one", several.len())),
    }
}

/// The findings of a tests file, as Security Hub writes them, each with its test's name.
///
/// # Errors
/// Names the file, and the test whose finding can't be read.
pub fn findings(path: &Path) -> Result<Vec<(String, Value)>, RulesError> {
    let file = path.display().to_string();
    let text = yaml::text(path)?;
    let tests: TestsFile = yaml::read(&file, &text)?;
    tests
        .tests
        .into_iter()
        .map(|test| match written(&test.finding, REGISTRY) {
            Ok(json) => Ok((test.name, json)),
            Err(what) => {
                Err(RulesError { file: file.clone(), what: format!("{}: {what}", shown(&test.name)) })
            }
        })
        .collect()
}

/// The finding of a test: whole as it stands there, or made of its shorthand.
fn written(finding: &Value, registry: &'static [&'static dyn Erased]) -> Result<Value, String> {
    let whole = ["ProductArn", "SchemaVersion", "finding_info", "class_uid", "detail-type", "Findings"];
    if whole.iter().any(|field| finding.get(field).is_some()) {
        return Ok(finding.clone());
    }
    let known = Shorthand::deserialize(finding).map_err(|error| error.to_string())?;
    expand(&known, registry)
}

/// A finding as Security Hub writes it.
fn expand(known: &Shorthand, registry: &'static [&'static dyn Erased]) -> Result<Value, String> {
    let control = ControlId::parse(&known.control)
        .ok_or_else(|| format!("control: `{}` is no control such as `S3.14`", shown(&known.control)))?;
    let info = control.info();
    let mut parts = known.resource.splitn(6, ':');
    let arn = parts.next() == Some("arn");
    let mut part = || parts.next().filter(|part| arn && !part.is_empty());
    let (partition, _, region, owner) = (part(), part(), part(), part());
    let partition = partition.unwrap_or("aws");
    let of_account = known.resource.strip_prefix("AWS::::Account:");
    let account = known.account.as_deref().or(owner).or(of_account).unwrap_or("123456789012");
    if !is_account(account) {
        return Err(format!("account: `{}` is not 12 digits", shown(account)));
    }
    let region = known.region.as_deref().or(region).unwrap_or("eu-west-1");
    let remediator =
        registry.iter().find(|remediator| remediator.spec().controls.contains(&control.as_str()));
    let asff = known.format == FormatWord::Asff;
    let kind = match (&known.kind, remediator, info) {
        (Some(kind), ..) => kind.clone(),
        (None, Some(remediator), _) if asff => remediator.kind().asff.to_owned(),
        (None, Some(remediator), _) => remediator.kind().cfn.to_owned(),
        (None, None, Some(info)) if asff => info.resource_type.replace("::", "").replacen("AWS", "Aws", 1),
        (None, None, Some(info)) => info.resource_type.to_owned(),
        (None, None, None) => return Err(format!("type: is needed, since {control} is in no list")),
    };
    let severity = known.severity.unwrap_or(match info.map(|info| info.severity) {
        Some("CRITICAL") => Severity::Critical,
        Some("HIGH") => Severity::High,
        Some("LOW") => Severity::Low,
        _ => Severity::Medium,
    });
    let made = Made { known, control: &control, info, partition, account, region, kind: &kind, severity };
    let mut json = if asff { made.asff() } else { made.ocsf() };
    for (field, value) in &known.fields {
        overlay(&mut json, field, value);
    }
    Ok(json)
}

/// Objects are laid over objects; anything else takes the place of what was there.
fn overlay(under: &mut Value, field: &str, over: &Value) {
    match (under.get_mut(field), over) {
        (Some(below @ Value::Object(_)), Value::Object(fields)) => {
            fields.iter().for_each(|(field, value)| overlay(below, field, value));
        }
        _ => {
            if let Some(object) = under.as_object_mut() {
                object.insert(field.to_owned(), over.clone());
            }
        }
    }
}

struct Made<'a> {
    known: &'a Shorthand,
    control: &'a ControlId,
    info: Option<&'static control::ControlInfo>,
    partition: &'a str,
    account: &'a str,
    region: &'a str,
    kind: &'a str,
    severity: Severity,
}

const MADE_AT: &str = "2026-01-01T00:00:00.000Z";
const FINDING: &str = "00000000-0000-4000-8000-000000000000";

impl Made<'_> {
    fn title(&self) -> &'static str {
        match self.info {
            Some(info) => info.title,
            None if self.control.as_str() == INACTIVE_USER => {
                "A user of a user pool has not been seen lately"
            }
            None => "",
        }
    }

    fn id(&self) -> String {
        let Self { partition, region, account, control, .. } = self;
        format!("arn:{partition}:securityhub:{region}:{account}:security-control/{control}/finding/{FINDING}")
    }

    fn asff(&self) -> Value {
        let Self { known, control, partition, account, region, kind, .. } = self;
        let own = control.is_own();
        let (product, generator) = if own {
            (
                format!("arn:{partition}:securityhub:{region}:{account}:product/{account}/default"),
                control.to_string(),
            )
        } else {
            let generator = format!("security-control/{control}");
            (format!("arn:{partition}:securityhub:{region}::product/aws/securityhub"), generator)
        };
        let severity = match self.severity {
            Severity::Informational => ("INFORMATIONAL", 0),
            Severity::Low => ("LOW", 1),
            Severity::Medium => ("MEDIUM", 40),
            Severity::High => ("HIGH", 70),
            Severity::Critical => ("CRITICAL", 90),
        };
        let severity = json!({ "Label": severity.0, "Normalized": severity.1, "Original": severity.0 });
        let workflow = known.workflow.unwrap_or(WorkflowWord::New);
        let mut compliance = json!({ "Status": known.compliance.unwrap_or(ComplianceWord::Failed) });
        if !own {
            compliance["SecurityControlId"] = json!(control);
            compliance["AssociatedStandards"] =
                json!([{ "StandardsId": "standards/aws-foundational-security-best-practices/v/1.0.0" }]);
        }
        if !known.parameters.is_empty() {
            let parameters =
                known.parameters.iter().map(|(name, value)| json!({ "Name": name, "Value": value }));
            compliance["SecurityControlParameters"] = parameters.collect();
        }
        let mut resource = json!({
            "Type": kind, "Id": known.resource, "Partition": partition, "Region": region,
        });
        if !known.tags.is_empty() {
            resource["Tags"] = json!(known.tags);
        }
        json!({
            "SchemaVersion": "2018-10-08",
            "Id": if own { format!("redress/{}", known.resource) } else { self.id() },
            "ProductArn": product,
            "ProductName": if own { "Default" } else { "Security Hub" },
            "CompanyName": if own { "Personal" } else { "AWS" },
            "Region": region,
            "GeneratorId": generator,
            "AwsAccountId": account,
            "Types": ["Software and Configuration Checks/Industry and Regulatory Standards"],
            "FirstObservedAt": MADE_AT, "LastObservedAt": MADE_AT, "CreatedAt": MADE_AT, "UpdatedAt": MADE_AT,
            "Severity": severity,
            "Title": self.title(),
            "Description": self.title(),
            "Resources": [resource],
            "Compliance": compliance,
            "WorkflowState": workflow,
            "Workflow": { "Status": workflow },
            "RecordState": "ACTIVE",
            "FindingProviderFields": {
                "Severity": severity,
                "Types": ["Software and Configuration Checks/Industry and Regulatory Standards"],
            },
        })
    }

    fn ocsf(&self) -> Value {
        let Self { known, control, partition, account, region, kind, .. } = self;
        let (severity_id, severity) = match self.severity {
            Severity::Informational => (1, "Informational"),
            Severity::Low => (2, "Low"),
            Severity::Medium => (3, "Medium"),
            Severity::High => (4, "High"),
            Severity::Critical => (5, "Critical"),
        };
        let (status_id, status) = match known.workflow.unwrap_or(WorkflowWord::New) {
            WorkflowWord::New => (1, "New"),
            WorkflowWord::Notified => (2, "In Progress"),
            WorkflowWord::Suppressed => (3, "Suppressed"),
            WorkflowWord::Resolved => (4, "Resolved"),
        };
        let (verdict_id, verdict) = match known.compliance.unwrap_or(ComplianceWord::Failed) {
            ComplianceWord::Passed => (1, "Pass"),
            ComplianceWord::Warning => (2, "Warning"),
            ComplianceWord::Failed => (3, "Fail"),
        };
        let uid = known.resource.rsplit([':', '/']).next().unwrap_or_default();
        let tags = known.tags.iter().map(|(name, value)| json!({ "name": name, "value": value }));
        let parameters =
            known.parameters.iter().map(|(name, values)| json!({ "name": name, "values": values }));
        json!({
            "activity_id": 1, "activity_name": "Create",
            "category_name": "Findings", "category_uid": 2,
            "class_name": "Compliance Finding", "class_uid": 2003,
            "type_name": "Compliance Finding: Create", "type_uid": 200_301,
            "cloud": {
                "account": { "uid": account },
                "cloud_partition": partition, "provider": "AWS", "region": region,
            },
            "compliance": {
                "control": control,
                "control_parameters": parameters.collect::<Value>(),
                "standards": ["standards/aws-foundational-security-best-practices/v/1.0.0"],
                "status": verdict, "status_id": verdict_id,
            },
            "finding_info": {
                "uid": self.id(), "title": self.title(), "desc": self.title(),
                "created_time_dt": MADE_AT, "modified_time_dt": MADE_AT,
            },
            "metadata": {
                "product": {
                    "name": "Security Hub", "vendor_name": "AWS",
                    "uid": format!("arn:{partition}:securityhub:{region}::productv2/aws/securityhub"),
                },
                "uid": "0".repeat(64), "version": "1.9.0",
            },
            "resources": [{
                "cloud_partition": partition, "region": region, "provider": "AWS", "type": kind,
                "owner": { "account": { "uid": account } },
                "uid": uid, "uid_alt": known.resource,
                "tags": tags.collect::<Value>(),
            }],
            "severity": severity, "severity_id": severity_id,
            "status": status, "status_id": status_id,
        })
    }
}

/// The JSON schema of a file of tests.
///
/// # Errors
/// If it is no JSON; a test holds that it is.
pub fn schema() -> Result<Value, serde_json::Error> {
    let mut schema = serde_json::to_value(schemars::schema_for!(TestsFile))?;
    let mut shorthand = serde_json::to_value(schemars::schema_for!(Shorthand))?;
    let own = shorthand.as_object_mut().and_then(|shorthand| {
        shorthand.remove("$schema");
        shorthand.remove("title");
        shorthand.remove("$defs")
    });
    if let (Some(Value::Object(definitions)), Some(Value::Object(own))) = (schema.get_mut("$defs"), own) {
        definitions.extend(own);
        definitions.insert("Shorthand".to_owned(), shorthand);
    }
    if let Some(finding) = schema.pointer_mut("/$defs/Test/properties/finding") {
        // Whole findings are AWS's own affair.
        let whole = |field: &str| json!({ "type": "object", "required": [field] });
        *finding = json!({
            "description": "The finding: a whole one (ASFF, OCSF or an EventBridge event), or what matters of it.",
            "anyOf": [
                { "$ref": "#/$defs/Shorthand" },
                whole("ProductArn"), whole("finding_info"), whole("detail-type"), whole("Findings"),
            ],
        });
    }
    Ok(schema)
}
