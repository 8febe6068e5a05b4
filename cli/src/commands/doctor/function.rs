//! The function, what it says of itself, and what brings it its events.

use std::time::Duration;

use aws_config::{retry::RetryConfig, timeout::TimeoutConfig};
use aws_sdk_lambda::{
    Client,
    operation::get_function_configuration::GetFunctionConfigurationOutput,
    primitives::Blob,
    types::{EventSourceMappingConfiguration, FunctionResponseType, LastUpdateStatus, State},
};
use redress_remediators::{Error, ErrorKind};
use redress_router::doctor::Report;
use serde_json::Value;

use super::{APPLY_AGAIN, Line, Place};
use crate::commands::dispatcher::{self, Dispatcher};

const MAPPING: &str = "event_source_mapping";

/// Longer than the function's look at itself can take, with its start.
const PATIENCE: Duration = Duration::from_secs(75);

/// What is known of the function.
pub(super) struct Function {
    pub(super) lines: Vec<Line>,
    pub(super) report: Option<Report>,
    /// The hash of its rules: as it says, else as it was told.
    pub(super) rules_hash: Option<String>,
    /// Its time-out; `None` where there is no function.
    pub(super) timeout: Option<i32>,
    /// Whether it looks after users.
    pub(super) activity: bool,
}

pub(super) async fn look(place: &Place<'_>) -> Function {
    let name = place.named("dispatcher");
    let mut known =
        Function { lines: Vec::new(), report: None, rules_hash: None, timeout: None, activity: false };
    let dispatcher = match Box::pin(Dispatcher::read(place.aws, &name)).await {
        Ok(dispatcher) => dispatcher,
        Err(error) => {
            known.lines.push(match error.kind {
                ErrorKind::NotFound => Line::wrong(
                    "function",
                    &name,
                    format!("there is none in account {}, Region {}", place.account, place.region),
                    "give the --deployment and --region of a deployment, or deploy it (docs/deploy.md)",
                ),
                _ => Line::unseen("function", &name, dispatcher::READS, &error),
            });
            return known;
        }
    };
    known.timeout = Some(dispatcher.found.timeout().unwrap_or_default());
    known.rules_hash = dispatcher.variable("REDRESS_RULES_HASH").map(str::to_owned);
    known.activity = dispatcher.variable("REDRESS_ACTIVITY_TABLE").is_some();
    let ceiling = dispatcher.variable("REDRESS_CEILING").unwrap_or("plan");
    known.lines.push(condition(&name, &dispatcher.found, ceiling));
    match Box::pin(ask(place, &name)).await {
        Ok(report) => {
            known.lines.push(said(place, &name, &report));
            known.lines.extend(report.checks.iter().cloned().map(Line::told));
            known.rules_hash = Some(report.rules_hash.clone());
            known.report = Some(report);
        }
        Err(line) => known.lines.push(*line),
    }
    known
}

fn condition(name: &str, found: &GetFunctionConfigurationOutput, ceiling: &str) -> Line {
    let mend = "wait a minute where it is under way; else apply the deployment again";
    match (found.state(), found.last_update_status()) {
        // A function that nobody has called for weeks is inactive until somebody does.
        (None | Some(State::Active | State::Inactive), None | Some(LastUpdateStatus::Successful)) => {
            Line::ok("function", name, format!("active, ceiling {ceiling}"))
        }
        (None | Some(State::Active | State::Inactive), Some(status)) => {
            let what = format!("its last update is {}", status.as_str());
            Line::wrong("function", name, because(&what, found.last_update_status_reason()), mend)
        }
        (Some(state), _) => {
            let what = format!("it is {}", state.as_str());
            Line::wrong("function", name, because(&what, found.state_reason()), mend)
        }
    }
}

fn because(what: &str, reason: Option<&str>) -> String {
    reason.filter(|reason| !reason.is_empty()).map_or(what.to_owned(), |reason| format!("{what}: {reason}"))
}

/// Has the function look at itself.
async fn ask(place: &Place<'_>, name: &str) -> Result<Report, Box<Line>> {
    let log = format!("its log says why: aws logs tail /aws/lambda/{name} --since 10m");
    // A second try would only make a second one wait.
    let config = aws_sdk_lambda::config::Builder::from(place.aws)
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::builder().operation_timeout(PATIENCE).build())
        .build();
    let asked = Client::from_conf(config).invoke().function_name(name);
    let answer = asked.payload(Blob::new(r#"{"redress":"doctor"}"#)).send().await.map_err(|error| {
        Box::new(Line::unseen("self_check", name, "lambda:InvokeFunction", &Error::from(error)))
    })?;
    let payload: Value =
        answer.payload().and_then(|blob| serde_json::from_slice(blob.as_ref()).ok()).unwrap_or_default();
    if answer.function_error().is_some() {
        let why = payload["errorMessage"].as_str().unwrap_or("no message");
        return Err(Box::new(Line::wrong("self_check", name, format!("the function fails: {why}"), log)));
    }
    serde_json::from_value(payload).map_err(|_| {
        Box::new(Line::wrong(
            "self_check",
            name,
            "the function does not know the question: it is of an older version",
            "upgrade the deployment (docs/deploy.md#upgrade)",
        ))
    })
}

fn said(place: &Place<'_>, name: &str, report: &Report) -> Line {
    let Report { version, deployment, rules_hash, ceiling, .. } = report;
    let own = env!("CARGO_PKG_VERSION");
    if deployment.as_deref().is_some_and(|deployment| deployment != place.name) {
        let other = deployment.as_deref().unwrap_or_default();
        let what = format!("it takes itself for one of deployment {other} (REDRESS_DEPLOYMENT)");
        return Line::wrong("self_check", name, what, APPLY_AGAIN);
    }
    if version != own {
        let what = format!("the function is of version {version}, this command of {own}");
        return Line::warning("self_check", name, what, "use the same version of both");
    }
    Line::ok("self_check", name, format!("version {version}, ceiling {ceiling}, rules {rules_hash}"))
}

/// What takes events from the queue to the function.
pub(super) async fn mapping(place: &Place<'_>, there: bool) -> Vec<Line> {
    if !there {
        // That there is no function has been said.
        return Vec::new();
    }
    let (function, queue) = (place.named("dispatcher"), place.named("findings"));
    let subject = format!("{queue} to {function}");
    let client = Client::new(place.aws);
    let asked = client.list_event_source_mappings().function_name(&function);
    let found = match asked.event_source_arn(place.arn("sqs", &queue)).send().await {
        Ok(found) => found.event_source_mappings.unwrap_or_default(),
        Err(error) => {
            let error = Error::from(error);
            return vec![Line::unseen(MAPPING, subject, "lambda:ListEventSourceMappings", &error)];
        }
    };
    vec![takes(&subject, found.first())]
}

fn takes(subject: &str, mapping: Option<&EventSourceMappingConfiguration>) -> Line {
    let Some(mapping) = mapping else {
        return Line::wrong(MAPPING, subject, "there is none: events stay in the queue", APPLY_AGAIN);
    };
    let partial = mapping.function_response_types().contains(&FunctionResponseType::ReportBatchItemFailures);
    let uuid = mapping.uuid().unwrap_or_default();
    match mapping.state().unwrap_or_default() {
        "Enabled" if partial => Line::ok(MAPPING, subject, "enabled, takes partial batch responses"),
        "Enabled" => Line::wrong(
            MAPPING,
            subject,
            "it does not take partial batch responses: events that must come again are lost",
            APPLY_AGAIN,
        ),
        state @ ("Creating" | "Enabling" | "Updating") => {
            Line::warning(MAPPING, subject, format!("it is {state}"), "look again in a minute")
        }
        state => Line::wrong(
            MAPPING,
            subject,
            format!("it is {state}: events stay in the queue"),
            format!("aws lambda update-event-source-mapping --uuid {uuid} --enabled"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use aws_config::SdkConfig;

    use super::*;
    use crate::commands::doctor::Finding;

    fn report(version: &str, deployment: Option<&str>) -> Report {
        Report {
            version: version.to_owned(),
            deployment: deployment.map(str::to_owned),
            rules_hash: "0123456789abcdef".to_owned(),
            ceiling: "plan".to_owned(),
            checks: Vec::new(),
        }
    }

    #[test]
    fn a_function_of_another_version_or_deployment_is_told() {
        let aws = SdkConfig::builder().build();
        let place = Place {
            name: "redress",
            partition: "aws",
            account: "123456789012",
            region: "eu-west-1",
            aws: &aws,
        };
        let outcome = |report: &Report| said(&place, "redress-dispatcher", report).outcome;
        let own = env!("CARGO_PKG_VERSION");
        assert_eq!(outcome(&report(own, None)), Finding::Ok);
        assert_eq!(outcome(&report(own, Some("redress"))), Finding::Ok);
        assert_eq!(outcome(&report("0.0.1", Some("redress"))), Finding::Warning);
        assert_eq!(outcome(&report(own, Some("redress-two"))), Finding::Wrong);
    }

    #[test]
    fn a_function_that_is_being_made_or_was_not_updated_is_told() {
        let found = |state: State, updated: LastUpdateStatus| {
            let found = GetFunctionConfigurationOutput::builder().state(state).last_update_status(updated);
            let found = found.state_reason("being made").last_update_status_reason("no such layer").build();
            condition("redress-dispatcher", &found, "apply")
        };
        let fine = found(State::Active, LastUpdateStatus::Successful);
        assert_eq!((fine.outcome, fine.what.as_str()), (Finding::Ok, "active, ceiling apply"));
        assert_eq!(found(State::Inactive, LastUpdateStatus::Successful).outcome, Finding::Ok);
        let failed = found(State::Active, LastUpdateStatus::Failed);
        assert_eq!(
            (failed.outcome, failed.what.as_str()),
            (Finding::Wrong, "its last update is Failed: no such layer")
        );
        let pending = found(State::Pending, LastUpdateStatus::InProgress);
        assert_eq!((pending.outcome, pending.what.as_str()), (Finding::Wrong, "it is Pending: being made"));
    }

    #[test]
    fn a_mapping_that_is_on_its_way_is_a_warning() {
        let mapping = |state: &str| EventSourceMappingConfiguration::builder().uuid("u").state(state).build();
        assert_eq!(takes("q", Some(&mapping("Enabling"))).outcome, Finding::Warning);
        assert_eq!(takes("q", Some(&mapping("Disabled"))).outcome, Finding::Wrong);
        assert_eq!(takes("q", Some(&mapping("Enabled"))).outcome, Finding::Wrong);
        assert_eq!(takes("q", None).outcome, Finding::Wrong);
    }
}
