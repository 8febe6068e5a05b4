//! Runs a runbook of Systems Manager's.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use aws_sdk_ssm::{
    error::ProvideErrorMetadata as _,
    types::{
        AutomationExecutionFilter, AutomationExecutionFilterKey, AutomationExecutionMetadata,
        AutomationExecutionStatus as Status, Tag,
    },
};
use jiff::{SignedDuration, Timestamp};
use serde::Deserializer;
use sha2::{Digest as _, Sha256};

use super::{any::AnyResource, template::Template};
use crate::{Narrowed, Progress, prelude::*, remediator::Proposal, resource::Arn};

pub(crate) struct RunRunbook;

/// The parameter by which a runbook is given the role that it works with:
/// <https://docs.aws.amazon.com/systems-manager/latest/userguide/automation-setup-iam.html>.
const ROLE: &str = "AutomationAssumeRole";

/// How many values of an execution's outputs are kept, and how many characters of each.
const OUTPUTS: usize = 32;
const LONGEST_OUTPUT: usize = 1024;

/// How many characters of an output stand in the outcome's line.
const SHOWN_OUTPUT: usize = 128;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Params {
    /// The runbook: the name of a document of type Automation, the account's own or Amazon's; the ARN of one that is
    /// shared with the account.
    #[serde(deserialize_with = "document")]
    document: Option<String>,
    /// The runbook's version: a number, `$DEFAULT` or `$LATEST`. Whoever owns the document decides what the last two
    /// are.
    #[serde(deserialize_with = "version")]
    version: Option<String>,
    /// The name, with its path, of the role in the finding's account that the runbook works with. It is given to the
    /// runbook as `AutomationAssumeRole`.
    #[serde(deserialize_with = "role")]
    role: Option<String>,
    /// The runbook's other parameters: a text or a list of texts each. `{account}`, `{region}`, `{partition}`,
    /// `{control}`, `{resource.id}`, `{resource.arn}` and `{resource.type}` stand for those of the finding,
    /// `{finding:/Resources/0/Id}` for what a JSON pointer finds in it, `{{` and `}}` for braces.
    #[serde(deserialize_with = "parameters")]
    #[schemars(with = "BTreeMap<String, Texts>")]
    parameters: BTreeMap<String, Texts>,
    /// The worst that can come of the runbook.
    risk: Risk,
    /// For how many hours a runbook is not started again on the resource that it was started on, unless it failed and
    /// a person asks.
    #[serde(deserialize_with = "hours")]
    #[schemars(range(min = 1, max = 720))]
    again_after_hours: u16,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            document: None,
            version: None,
            role: None,
            parameters: BTreeMap::new(),
            risk: Risk::Downtime,
            again_after_hours: 24,
        }
    }
}

/// One text or several.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "Given", into = "Given")]
#[schemars(with = "Given")]
enum Texts {
    One(Template),
    Several(Vec<Template>),
}

/// As a rule gives them.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected a text or a list of texts")]
enum Given {
    One(String),
    Several(Vec<String>),
}

impl TryFrom<Given> for Texts {
    type Error = String;

    fn try_from(given: Given) -> Result<Self, String> {
        Ok(match given {
            Given::One(text) => Self::One(text.try_into()?),
            Given::Several(texts) => {
                Self::Several(texts.into_iter().map(Template::try_from).collect::<Result<_, _>>()?)
            }
        })
    }
}

impl From<Texts> for Given {
    fn from(texts: Texts) -> Self {
        match texts {
            Texts::One(text) => Self::One(text.to_string()),
            Texts::Several(texts) => Self::Several(texts.iter().map(ToString::to_string).collect()),
        }
    }
}

impl Texts {
    fn as_slice(&self) -> &[Template] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Several(several) => several,
        }
    }
}

/// What is known of the resource: what redress has had run on it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Runs {
    /// What is to be started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    start: Option<Start>,
    /// The newest execution of each runbook, by the runbook's name.
    executions: BTreeMap<String, Execution>,
}

/// A call of `StartAutomationExecution`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Start {
    document: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    parameters: BTreeMap<String, Vec<String>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Execution {
    id: String,
    /// As Systems Manager has it, such as `Success`.
    status: String,
    started: Timestamp,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    outputs: BTreeMap<String, Vec<String>>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
}

/// What a version's permissions are checked on. Documents are anybody's who shares them, and accounts whose setting is
/// one for all Regions have no Region in their key.
const DOCUMENTS: [&str; 2] =
    ["arn:{partition}:ssm:*:*:automation-definition/*:*", "arn:{partition}:ssm:*:*:document/*"];
const ROLES: &str = "arn:{partition}:iam::{account}:role/*";
const EXECUTIONS: &str = "arn:{partition}:ssm:*:{account}:automation-execution/*";

impl Remediator for RunRunbook {
    const SPEC: Spec = Spec {
        name: "ssm.run_runbook",
        version: 1,
        controls: &[],
        risk: Risk::Loss,
        what: "Starts the runbook that the rule names, with the parameters that the rule states, and waits for its \
               end. What the runbook changes is for its author to say: redress does not look at the resource itself, \
               and records the call, how the execution ended and what it put out.",
        who_notices: "Whoever the runbook's own work touches. It works with the role that the rule names, which no \
                      session policy of redress's narrows to the one resource.",
        way_back: "None: what a runbook has done, redress can't take back.",
        reads: &[Action::new("ssm:DescribeAutomationExecutions", On::Anything)],
        writes: &[
            Action::new("ssm:StartAutomationExecution", On::Arn(DOCUMENTS[0])),
            Action::new("ssm:StartAutomationExecution", On::Arn(DOCUMENTS[1])),
            Action::new("ssm:StartAutomationExecution", On::Arn(EXECUTIONS)),
        ],
        undo: &[],
        implied: &[
            Implied {
                action: Action::new("ssm:AddTagsToResource", On::Arn(EXECUTIONS)),
                why: "To mark the execution as the resource's, which is how it is found again: \
                      https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_StartAutomationExecution.html.",
            },
            Implied {
                action: Action::new("iam:PassRole", On::Passed(ROLES, "ssm.amazonaws.com")),
                why: "To hand Systems Manager the role that the runbook works with: \
                      https://docs.aws.amazon.com/systems-manager/latest/userguide/automation-setup-iam.html.",
            },
        ],
    };
    type Resource = AnyResource;
    type Params = Params;
    type State = Runs;

    async fn observe(aws: &Aws, _: &AnyResource) -> Result<Runs> {
        let mut newest: BTreeMap<String, Execution> = BTreeMap::new();
        let mut page = None;
        loop {
            let filter = AutomationExecutionFilter::builder()
                .key(AutomationExecutionFilterKey::TagKey)
                .values(tag_key(aws))
                .build()
                .map_err(unbuilt)?;
            let request = aws.ssm().describe_automation_executions().filters(filter).set_next_token(page);
            let found = request.send().await?;
            for one in found.automation_execution_metadata_list.unwrap_or_default() {
                // What a runbook starts in its turn is part of it.
                if one.parent_automation_execution_id.is_some() {
                    continue;
                }
                let (name, execution) = read(one)?;
                match newest.get(&name) {
                    Some(other) if other.started >= execution.started => {}
                    _ => drop(newest.insert(name, execution)),
                }
            }
            page = found.next_token.filter(|token| !token.is_empty());
            if page.is_none() {
                return Ok(Runs { start: None, executions: newest });
            }
        }
    }

    fn plan(now: &Runs, ask: &Ask<'_, Params>) -> Plan<Runs> {
        let (Some(document), Some(role)) = (&ask.params.document, &ask.params.role) else {
            return Plan::Refuse(
                "the rule must say which `document` is run, and with which `role`".to_owned(),
            );
        };
        let under_way = now.executions.iter().find(|(_, one)| matches!(one.progress(), Progress::Going(_)));
        if let Some((name, one)) = under_way {
            let until = ask.at + SignedDuration::from_mins(5);
            return Plan::Wait {
                until,
                why: format!("{} of `{name}` is under way on the resource", one.called()),
            };
        }
        let rest = SignedDuration::from_hours(i64::from(ask.params.again_after_hours));
        if let Some(last) = now.executions.get(name_of(document)) {
            let until = last.started.saturating_add(rest).unwrap_or(ask.at);
            let failed = matches!(last.progress(), Progress::Failed(_));
            if until > ask.at && !(failed && ask.by_person) {
                let (called, name, status) = (last.called(), name_of(document), &last.status);
                let why = format!(
                    "{called} of `{name}` has ended as `{status}`, and it is not run on the resource again until then"
                );
                return Plan::Wait { until, why };
            }
        }
        let start = match ask.params.start(document, role, ask.fields) {
            Ok(start) => start,
            Err(why) => return Plan::Refuse(why),
        };
        let notes = vec![
            format!("the runbook works with the role `{role}`, which is not narrowed to this resource"),
            "redress sees how the runbook ends, not what it makes of the resource, and can't take it back"
                .to_owned(),
        ];
        let to = Runs { start: Some(start), executions: now.executions.clone() };
        Plan::Change(Proposal { to, risk: ask.params.risk, notes })
    }

    async fn apply(aws: &Aws, _: &AnyResource, change: &Change<Runs>) -> Result<()> {
        let Some(start) = &change.to.start else {
            return Err(Error::new(ErrorKind::Invalid, "the record names no runbook to start"));
        };
        let mut request = aws.ssm().start_automation_execution().document_name(&start.document);
        request = request.set_document_version(start.version.clone());
        request = request.set_parameters(Some(start.parameters.clone().into_iter().collect()));
        for (key, value) in [(tag_key(aws), aws.run()), ("redress:run".to_owned(), aws.run())] {
            request = request.tags(Tag::builder().key(key).value(value).build().map_err(unbuilt)?);
        }
        // One execution a run, however often it is asked for.
        if !aws.run().is_empty() {
            request = request.client_token(aws.run());
        }
        match request.send().await {
            Ok(_) => Ok(()),
            // It was started by an earlier attempt of this run, whose answer was lost.
            Err(error) if error.code() == Some("IdempotentParameterMismatch") => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn progress(change: &Change<Runs>, now: &Runs) -> Option<Progress> {
        let name = name_of(&change.to.start.as_ref()?.document);
        let last = now.executions.get(name)?;
        let before = change.from.executions.get(name);
        (before.is_none_or(|before| before.id != last.id)).then(|| last.progress())
    }

    fn undo(_: &Change<Runs>, _: &Runs) -> Undo<Runs> {
        Undo::Refuse("what a runbook has done can't be taken back by redress".to_owned())
    }

    fn fields(params: &Params) -> BTreeSet<String> {
        let all = params.parameters.values().flat_map(Texts::as_slice);
        all.flat_map(Template::fields)
            .map(str::to_owned)
            .chain(["account", "partition"].map(str::to_owned))
            .collect()
    }

    /// The one runbook and the one role: what a role policy, which knows no rule, can't say.
    fn narrowed(params: &Params) -> Narrowed {
        let document = params.document.iter().map(|document| name_of(document)).flat_map(|name| {
            let [definition, document] = DOCUMENTS;
            [
                (definition, definition.replace("/*:", &format!("/{name}:"))),
                (document, document.replace("/*", &format!("/{name}"))),
            ]
        });
        let role = params.role.iter().map(|role| (ROLES, ROLES.replace("/*", &format!("/{role}"))));
        document.chain(role).collect()
    }
}

impl Params {
    /// The call, with everything filled in.
    fn start(&self, document: &str, role: &str, fields: &BTreeMap<String, String>) -> Result<Start, String> {
        let mut parameters = BTreeMap::new();
        for (name, texts) in &self.parameters {
            let texts: Result<Vec<String>, String> =
                texts.as_slice().iter().map(|text| text.fill(fields)).collect();
            parameters.insert(name.clone(), texts.map_err(|why| format!("parameter `{name}`: {why}"))?);
        }
        let known = |name: &str| fields.get(name).ok_or_else(|| format!("the finding's {name} is not known"));
        let role = format!("arn:{}:iam::{}:role/{role}", known("partition")?, known("account")?);
        parameters.insert(ROLE.to_owned(), vec![role]);
        Ok(Start { document: document.to_owned(), version: self.version.clone(), parameters })
    }
}

impl Execution {
    fn called(&self) -> String {
        format!("execution `{}`", self.id.escape_debug())
    }

    /// <https://docs.aws.amazon.com/systems-manager/latest/userguide/automation-statuses.html>
    fn progress(&self) -> Progress {
        match Status::from(self.status.as_str()) {
            Status::Success | Status::CompletedWithSuccess => {
                let mut what = format!("{} has ended as `{}`", self.called(), self.status);
                for (name, values) in &self.outputs {
                    let values: String = values.join(", ").chars().take(SHOWN_OUTPUT).collect();
                    // Writing to a string can't fail.
                    let _ = write!(what, "; {} = {}", name.escape_debug(), values.escape_debug());
                }
                Progress::Done(what)
            }
            Status::Failed
            | Status::Timedout
            | Status::Cancelled
            | Status::Rejected
            | Status::ChangeCalendarOverrideRejected
            | Status::CompletedWithFailure
            | Status::Exited => {
                let mut why = format!("{} has ended as `{}`", self.called(), self.status);
                if let Some(failure) = &self.failure {
                    // Writing to a string can't fail.
                    let _ = write!(why, ": {failure}");
                }
                Progress::Failed(why)
            }
            // Whatever is not known to have ended may be at work.
            _ => Progress::Going(format!("{} is `{}`", self.called(), self.status.escape_debug())),
        }
    }
}

/// The tag by which executions on the run's resource are found: their list can be asked for by a tag's key alone.
fn tag_key(aws: &Aws) -> String {
    let sum = Sha256::digest(aws.key().to_string());
    sum.iter().take(16).fold("redress:".to_owned(), |mut key, byte| {
        // Writing to a string can't fail.
        let _ = write!(key, "{byte:02x}");
        key
    })
}

fn unbuilt(error: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Invalid, error.to_string())
}

/// A runbook's name, which is the end of its ARN.
fn name_of(document: &str) -> &str {
    document.rsplit_once('/').map_or(document, |(_, name)| name)
}

fn read(found: AutomationExecutionMetadata) -> Result<(String, Execution)> {
    let unsaid =
        |what| Error::new(ErrorKind::Rejected, format!("AWS's list of executions does not say {what}"));
    let started = found.execution_start_time.ok_or_else(|| unsaid("when one was started"))?;
    let started = Timestamp::from_second(started.secs()).map_err(|_| unsaid("when one was started"))?;
    let name = found.document_name.ok_or_else(|| unsaid("of which runbook one is"))?;
    let cut = |text: String| -> String { text.chars().take(LONGEST_OUTPUT).collect() };
    let outputs = found.outputs.unwrap_or_default().into_iter().collect::<BTreeMap<_, _>>().into_iter();
    let execution = Execution {
        id: found.automation_execution_id.ok_or_else(|| unsaid("an execution's id"))?,
        status: found.automation_execution_status.ok_or_else(|| unsaid("how one is"))?.as_str().to_owned(),
        started,
        outputs: outputs
            .take(OUTPUTS)
            .map(|(name, values)| (cut(name), values.into_iter().take(OUTPUTS).map(cut).collect()))
            .collect(),
        failure: found.failure_message.filter(|text| !text.is_empty()).map(cut),
    };
    Ok((name_of(&name).to_owned(), execution))
}

/// A text of a rule that is checked when the rule is read.
fn checked<'de, D: Deserializer<'de>>(
    source: D,
    is_fit: impl FnOnce(&str) -> bool,
    what: &str,
) -> Result<Option<String>, D::Error> {
    let text = Option::<String>::deserialize(source)?;
    match text.as_deref() {
        Some(given) if !is_fit(given) => {
            let given: String = given.chars().take(64).collect();
            Err(serde::de::Error::custom(format!("`{}` is no {what}", given.escape_debug())))
        }
        _ => Ok(text),
    }
}

/// <https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_StartAutomationExecution.html>
fn document<'de, D: Deserializer<'de>>(source: D) -> Result<Option<String>, D::Error> {
    let name = |text: &str| {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        (3..=128).contains(&text.len()) && text.bytes().all(legal)
    };
    let is_fit = |text: &str| match Arn::parse(text) {
        None => name(text),
        Some(arn) => arn.service == "ssm" && arn.resource.strip_prefix("document/").is_some_and(name),
    };
    checked(source, is_fit, "name or ARN of a document")
}

fn version<'de, D: Deserializer<'de>>(source: D) -> Result<Option<String>, D::Error> {
    let is_fit = |text: &str| {
        matches!(text, "$DEFAULT" | "$LATEST")
            || !text.starts_with('0')
                && text.len() <= 8
                && !text.is_empty()
                && text.bytes().all(|b| b.is_ascii_digit())
    };
    checked(source, is_fit, "version of a document: a number in quotes, `$DEFAULT` or `$LATEST`")
}

/// <https://docs.aws.amazon.com/IAM/latest/APIReference/API_Role.html>
fn role<'de, D: Deserializer<'de>>(source: D) -> Result<Option<String>, D::Error> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"+=,.@-_/".contains(&byte);
    let is_fit = |text: &str| {
        !text.starts_with('/')
            && !text.ends_with('/')
            && (1..=512).contains(&text.len())
            && text.bytes().all(legal)
    };
    checked(source, is_fit, "name of a role, with its path: no ARN, and no slash before it")
}

fn parameters<'de, D: Deserializer<'de>>(source: D) -> Result<BTreeMap<String, Texts>, D::Error> {
    let parameters = BTreeMap::<String, Texts>::deserialize(source)?;
    if parameters.contains_key(ROLE) {
        return Err(serde::de::Error::custom(format!("`{ROLE}` is what `role` says")));
    }
    Ok(parameters)
}

fn hours<'de, D: Deserializer<'de>>(source: D) -> Result<u16, D::Error> {
    let hours = u16::deserialize(source)?;
    // Executions are kept for 30 days: https://docs.aws.amazon.com/systems-manager/latest/userguide/automation-working.html
    if (1..=720).contains(&hours) {
        return Ok(hours);
    }
    Err(serde::de::Error::custom(format!("`{hours}` is not 1 to 720")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]
    use serde_json::json;

    use super::*;
    use crate::remediator::test::ask;

    fn params(value: serde_json::Value) -> Params {
        serde_json::from_value(value).unwrap()
    }

    fn rule() -> Params {
        params(json!({
            "document": "AWS-EnableS3BucketEncryption",
            "role": "automation/fixer",
            "parameters": { "BucketName": "{resource.id}", "Notes": ["{control}", "{{x}}"] },
        }))
    }

    fn fields() -> BTreeMap<String, String> {
        let fields =
            [("account", "123456789012"), ("partition", "aws"), ("resource.id", "logs"), ("control", "S3.4")];
        fields.map(|(name, text)| (name.to_owned(), text.to_owned())).into()
    }

    fn plan(now: &Runs, params: &Params, by_person: bool) -> Plan<Runs> {
        let fields = fields();
        RunRunbook::plan(now, &Ask { fields: &fields, by_person, ..ask("S3.4", params) })
    }

    fn ran(id: &str, status: &str, hours_ago: i64) -> Runs {
        let started = ask("", &()).at - SignedDuration::from_hours(hours_ago);
        let execution = Execution {
            id: id.to_owned(),
            status: status.to_owned(),
            started,
            outputs: BTreeMap::new(),
            failure: (status == "Failed").then(|| "Step failed".to_owned()),
        };
        Runs { start: None, executions: [("AWS-EnableS3BucketEncryption".to_owned(), execution)].into() }
    }

    #[test]
    fn the_call_is_what_the_rule_says_of_the_finding() {
        let Plan::Change(change) = plan(&Runs::default(), &rule(), false) else { panic!("no change") };
        assert_eq!(change.risk, Risk::Downtime);
        assert!(change.notes.iter().any(|note| note.contains("not narrowed")));
        let shown = serde_json::to_value(&change.to).unwrap();
        let expected = json!({ "start": { "document": "AWS-EnableS3BucketEncryption", "parameters": {
            "AutomationAssumeRole": ["arn:aws:iam::123456789012:role/automation/fixer"],
            "BucketName": ["logs"], "Notes": ["S3.4", "{x}"],
        } }, "executions": {} });
        assert_eq!(shown, expected);
        let lowered = Params { risk: Risk::Cost, ..rule() };
        assert!(
            matches!(plan(&Runs::default(), &lowered, false), Plan::Change(change) if change.risk == Risk::Cost)
        );
    }

    #[test]
    fn every_field_that_is_named_is_asked_for() {
        let names: Vec<String> = RunRunbook::fields(&rule()).into_iter().collect();
        assert_eq!(names, ["account", "control", "partition", "resource.id"]);
        let unknown =
            params(json!({ "document": "Fix", "role": "r", "parameters": { "A": "{finding:/Title}" } }));
        let Plan::Refuse(why) = plan(&Runs::default(), &unknown, true) else { panic!("not refused") };
        assert!(why.contains("`A`") && why.contains("finding:/Title"), "{why}");
    }

    #[test]
    fn it_is_not_started_twice() {
        let waits = |now: &Runs, by_person| match plan(now, &rule(), by_person) {
            Plan::Wait { why, .. } => Some(why),
            Plan::Change(_) => None,
            other => panic!("{other:?}"),
        };
        for status in ["InProgress", "PendingApproval", "SomethingNew"] {
            assert!(waits(&ran("e-1", status, 100), true).unwrap().contains("under way"), "{status}");
        }
        for by_person in [false, true] {
            assert!(waits(&ran("e-1", "Success", 23), by_person).unwrap().contains("`Success`"));
            assert_eq!(waits(&ran("e-1", "Success", 24), by_person), None);
        }
        assert!(waits(&ran("e-1", "Failed", 1), false).is_some());
        assert_eq!(waits(&ran("e-1", "Failed", 1), true), None);
        // Another runbook that has ended does not count.
        let other = Params { document: Some("Other".to_owned()), ..rule() };
        assert!(matches!(plan(&ran("e-1", "Success", 1), &other, false), Plan::Change(_)));
        assert!(matches!(plan(&ran("e-1", "Waiting", 1), &other, true), Plan::Wait { .. }));
    }

    #[test]
    fn an_execution_that_was_there_before_is_none_of_the_run() {
        let Plan::Change(change) = plan(&ran("e-1", "Failed", 30), &rule(), false) else {
            panic!("no change")
        };
        let change = Change { from: ran("e-1", "Failed", 30), to: change.to };
        let progress = |now: &Runs| RunRunbook::progress(&change, now);
        assert_eq!(progress(&change.from), None);
        assert_eq!(progress(&Runs::default()), None);
        let mut done = ran("e-2", "Success", 0);
        let one = done.executions.values_mut().next().unwrap();
        one.outputs = [("fix.Status".to_owned(), vec!["ok\u{1b}".to_owned(), "x".repeat(500)])].into();
        let Some(Progress::Done(what)) = progress(&done) else { panic!("not done") };
        assert!(what.contains("`e-2` has ended as `Success`; fix.Status = ok\\u{1b}, xxx"), "{what}");
        assert!(what.len() < 250, "{what}");
        assert!(matches!(progress(&ran("e-2", "Waiting", 0)), Some(Progress::Going(_))));
        let Some(Progress::Failed(why)) = progress(&ran("e-2", "Failed", 0)) else { panic!("not failed") };
        assert!(why.contains("`e-2`") && why.contains("Step failed"), "{why}");
        let shared = "arn:aws:ssm:eu-west-1:210987654321:document/AWS-EnableS3BucketEncryption";
        let mut by_arn = change.clone();
        by_arn.to.start.as_mut().unwrap().document = shared.to_owned();
        assert!(matches!(RunRunbook::progress(&by_arn, &done), Some(Progress::Done(_))));
    }

    #[test]
    fn there_is_no_way_back() {
        let change = Change { from: Runs::default(), to: ran("e-1", "Success", 0) };
        assert!(matches!(RunRunbook::undo(&change, &change.to), Undo::Refuse(_)));
    }

    #[test]
    fn a_rule_that_can_not_work_is_refused_when_it_is_read() {
        for (field, value, why) in [
            ("document", json!("a/b"), "`a/b` is no name or ARN"),
            ("document", json!("arn:aws:s3:::document/Fix"), "is no name or ARN"),
            ("version", json!("latest"), "is no version"),
            ("version", json!("0"), "is no version"),
            ("role", json!("arn:aws:iam::123456789012:role/x"), "is no name of a role"),
            ("role", json!("/x"), "is no name of a role"),
            ("parameters", json!({ "A": "{nope}" }), "`{nope}` is none of"),
            ("parameters", json!({ "A": 1 }), "expected a text"),
            ("parameters", json!({ "AutomationAssumeRole": "x" }), "`role`"),
            ("again_after_hours", json!(0), "1 to 720"),
            ("again_after_hours", json!(721), "1 to 720"),
        ] {
            let error = crate::Erased::check_params(&RunRunbook, &json!({ field: value })).unwrap_err();
            assert!(error.message.contains(why), "{field}: {error}");
        }
        for params in [json!({}), json!({ "document": "Fix" }), json!({ "role": "fixer" })] {
            let now = Runs::default();
            let params: Params = serde_json::from_value(params).unwrap();
            assert!(matches!(plan(&now, &params, true), Plan::Refuse(why) if why.contains("`document`")));
        }
    }

    #[test]
    fn a_session_may_start_the_one_runbook_and_pass_the_one_role() {
        let key = "aws-us-gov/123456789012/us-gov-west-1/AwsS3Bucket/logs".parse().unwrap();
        let session = |access, params: &serde_json::Value| {
            let narrowed = crate::Erased::narrowed(&RunRunbook, params).unwrap();
            crate::narrowed_policy(&RunRunbook, access, &key, &narrowed).to_string()
        };
        let rule = json!({ "document": "Fix", "role": "automation/fixer" });
        let policy = session(crate::Access::Apply, &rule);
        for arn in [
            "arn:aws-us-gov:ssm:*:*:automation-definition/Fix:*",
            "arn:aws-us-gov:ssm:*:*:document/Fix",
            "arn:aws-us-gov:iam::123456789012:role/automation/fixer",
        ] {
            assert!(policy.contains(&format!("\"{arn}\"")), "{arn}: {policy}");
        }
        assert!(!policy.contains("role/*") && !policy.contains("document/*"), "{policy}");
        let long = json!({ "document": "x".repeat(128), "role": "y".repeat(512) });
        assert!(session(crate::Access::Undo, &long).chars().count() <= 2048);
    }

    #[test]
    fn records_of_its_state_stay_readable() {
        let stored =
            r#"{"executions":{"Fix":{"id":"e-1","status":"Success","started":"2026-01-01T00:00:00Z"}}}"#;
        let read: Runs = serde_json::from_str(stored).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), stored);
    }
}
