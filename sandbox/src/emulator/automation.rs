//! Automations of Systems Manager, which winterbaume starts and never ends.
//!
//! What a runbook does is not done: it takes as long as its steps
//! [`aws:sleep`](https://docs.aws.amazon.com/systems-manager/latest/userguide/automation-action-sleep.html) say, fails
//! where one of its steps is
//! [`aws:assertAwsResourceProperty`](https://docs.aws.amazon.com/systems-manager/latest/userguide/automation-action-assertAwsResourceProperty.html),
//! and puts out `ok` for each of its outputs.

use std::collections::BTreeMap;
use std::sync::Mutex;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::locked;
use super::wire::Refusal;

/// Runbooks and executions of one account.
#[derive(Default)]
pub(super) struct Automations {
    /// Content by Region and name.
    documents: Mutex<BTreeMap<(String, String), Value>>,
    executions: Mutex<Vec<Execution>>,
}

struct Execution {
    id: String,
    region: String,
    document: String,
    version: String,
    parameters: Value,
    tags: Vec<String>,
    token: Option<String>,
    started: Timestamp,
    ends: Instant,
    fails: bool,
    outputs: Vec<String>,
}

impl Automations {
    /// Keeps a document that was made.
    pub(super) fn keep(&self, region: &str, name: &str, content: &str) {
        let Ok(content) = serde_json::from_str(content) else { return };
        locked(&self.documents).insert((region.to_owned(), name.to_owned()), content);
    }

    pub(super) fn answer(&self, region: &str, operation: &str, input: &Value) -> Result<Value, Refusal> {
        match operation {
            "StartAutomationExecution" => self.start(region, input),
            "DescribeAutomationExecutions" => self.describe(region, input),
            _ => self.get(region, input),
        }
    }

    fn start(&self, region: &str, input: &Value) -> Result<Value, Refusal> {
        let given = input["DocumentName"].as_str().unwrap_or_default();
        let name = given.rsplit('/').next().unwrap_or_default();
        let content = locked(&self.documents).get(&(region.to_owned(), name.to_owned())).cloned();
        let content = content.ok_or_else(|| {
            let message = "An automation runbook with the specified name couldn't be found.";
            Refusal::new(400, "AutomationDefinitionNotFoundException", message)
        })?;
        let parameters = input["Parameters"].clone();
        let known = content["parameters"].as_object();
        let foreign = parameters.as_object().into_iter().flatten();
        let mut foreign = foreign.filter(|(name, _)| known.is_none_or(|known| !known.contains_key(*name)));
        if let Some((name, _)) = foreign.next() {
            let message = format!("Parameter \"{name}\" is not defined by the runbook.");
            return Err(Refusal::new(400, "InvalidAutomationExecutionParametersException", &message));
        }
        let token = input["ClientToken"].as_str().map(str::to_owned);
        let mut executions = locked(&self.executions);
        let before =
            executions.iter().find(|one| token.is_some() && one.token == token && one.region == region);
        if let Some(before) = before {
            if before.document == given && before.parameters == parameters {
                return Ok(json!({ "AutomationExecutionId": before.id }));
            }
            let message = "The token was used with other parameters.";
            return Err(Refusal::new(400, "IdempotentParameterMismatch", message));
        }
        let steps = content["mainSteps"].as_array().cloned().unwrap_or_default();
        let of =
            |action: &str| steps.iter().filter(|step| step["action"] == action).cloned().collect::<Vec<_>>();
        let sleeps = of("aws:sleep");
        let sleeps = sleeps
            .iter()
            .filter_map(|step| step["inputs"]["Duration"].as_str()?.parse::<SignedDuration>().ok());
        let takes = sleeps.sum::<SignedDuration>();
        let names = |list: &Value, field: Option<&str>| -> Vec<String> {
            let list = list.as_array().into_iter().flatten();
            let name = |one: &Value| match field {
                Some(field) => one[field].as_str().map(str::to_owned),
                None => one.as_str().map(str::to_owned),
            };
            list.filter_map(name).collect()
        };
        let id = format!("00000000-0000-4000-8000-{:012}", executions.len() + 1);
        executions.push(Execution {
            id: id.clone(),
            region: region.to_owned(),
            document: given.to_owned(),
            version: input["DocumentVersion"].as_str().unwrap_or("1").to_owned(),
            parameters,
            tags: names(&input["Tags"], Some("Key")),
            token,
            started: Timestamp::now(),
            ends: Instant::now() + takes.unsigned_abs(),
            fails: !of("aws:assertAwsResourceProperty").is_empty(),
            outputs: names(&content["outputs"], None),
        });
        Ok(json!({ "AutomationExecutionId": id }))
    }

    fn describe(&self, region: &str, input: &Value) -> Result<Value, Refusal> {
        let filters = input["Filters"].as_array().cloned().unwrap_or_default();
        if filters.iter().any(|filter| filter["Key"] != "TagKey") {
            let message = "The sandbox filters executions by the keys of their tags only.";
            return Err(Refusal::new(400, "InvalidFilterKey", message));
        }
        let executions = locked(&self.executions);
        let fits = |one: &&Execution| {
            let tagged = |key: &Value| one.tags.iter().any(|tag| key == tag);
            one.region == region
                && filters
                    .iter()
                    .all(|filter| filter["Values"].as_array().is_some_and(|keys| keys.iter().any(tagged)))
        };
        let found: Vec<Value> = executions.iter().filter(fits).map(Execution::shown).collect();
        Ok(json!({ "AutomationExecutionMetadataList": found }))
    }

    fn get(&self, region: &str, input: &Value) -> Result<Value, Refusal> {
        let executions = locked(&self.executions);
        let found =
            executions.iter().find(|one| one.region == region && input["AutomationExecutionId"] == one.id);
        let found = found.ok_or_else(|| {
            let message = "There is no automation execution information for the requested id.";
            Refusal::new(400, "AutomationExecutionNotFoundException", message)
        })?;
        let mut shown = found.shown();
        shown["Parameters"] = found.parameters.clone();
        Ok(json!({ "AutomationExecution": shown }))
    }
}

impl Execution {
    #[allow(clippy::cast_precision_loss, reason = "times of this protocol are floating-point seconds")]
    fn shown(&self) -> Value {
        let ended = Instant::now() >= self.ends;
        let status = match (ended, self.fails) {
            (false, _) => "InProgress",
            (true, true) => "Failed",
            (true, false) => "Success",
        };
        let mut shown = json!({
            "AutomationExecutionId": self.id,
            "DocumentName": self.document,
            "DocumentVersion": self.version,
            "AutomationExecutionStatus": status,
            "ExecutionStartTime": self.started.as_millisecond() as f64 / 1000.0,
            "Outputs": {},
        });
        if status == "Success" {
            let outputs = self.outputs.iter().map(|name| (name.clone(), json!(["ok"])));
            shown["Outputs"] = outputs.collect::<serde_json::Map<_, _>>().into();
        }
        if status == "Failed" {
            shown["FailureMessage"] = "Step fails when it is asserting the property.".into();
        }
        shown
    }
}
