//! What goes to standard output: the second copy of every record, and metrics.
//!
//! A record's states are shown as hashes only: the log proves what the store says, and holds nothing that
//! the store would have to protect.

use redress_remediators::Change;
use serde_json::{Value, json};
use tracing::info;

use crate::{
    audit::{Record, Sealed, sha256},
    engine::{Done, Outcome},
    rules::Mode,
};

/// The CloudWatch namespace of every metric.
pub const NAMESPACE: &str = "redress";

/// Logs a record that has been stored.
pub(crate) fn recorded(record: &Record, sealed: &Sealed) {
    let short = |value: &Value| Value::from(sha256(value.to_string()));
    let mut shown = record.clone();
    shown.change =
        record.change.as_ref().map(|change| Change { from: short(&change.from), to: short(&change.to) });
    shown.after = record.after.as_ref().map(short);
    shown.replaced_note = record.replaced_note.as_ref().map(short);
    // Notes may quote names from the resource, which are the store's to protect.
    shown.notes = Vec::new();
    match serde_json::to_string(&shown) {
        Ok(record) => info!(target: "audit", hash = sealed.hash, record, "recorded"),
        Err(error) => {
            tracing::error!(target: "audit", hash = sealed.hash, %error, "recorded, can't be shown");
        }
    }
}

/// The metrics of what came of an event, one EMF line each, in CloudWatch's
/// [embedded metric format](https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html).
///
/// Dimensions are few and bounded, since each distinct set of them is a metric that is paid for: the stage,
/// the control and the mode; never a resource.
pub fn metrics(done: &Done, millis: i64) -> Vec<String> {
    let mut lines = Vec::new();
    let mut emit = |dimensions: Value, metric: &str| {
        let names: Vec<&String> = dimensions.as_object().map(|map| map.keys().collect()).unwrap_or_default();
        // An alarm watches one metric and can't add up a search: the stage is counted by itself as well.
        let mut sets = vec![names.clone()];
        if names.len() > 1 {
            sets.extend(names.iter().filter(|name| **name == "stage").map(|name| vec![*name]));
        }
        let mut line = json!({
            "_aws": {
                "Timestamp": millis,
                "CloudWatchMetrics": [{
                    "Namespace": NAMESPACE,
                    "Dimensions": sets,
                    "Metrics": [{ "Name": metric, "Unit": "Count" }],
                }],
            },
        });
        if let (Some(line), Value::Object(dimensions)) = (line.as_object_mut(), dimensions) {
            line.extend(dimensions);
            line.insert(metric.to_owned(), json!(1));
        }
        lines.push(line.to_string());
    };
    match done {
        Done::Outcome(outcome) => {
            let Outcome { stage, subject, alarm, .. } = &**outcome;
            let mode = if subject.mode == Mode::Apply { "apply" } else { "plan" };
            emit(
                json!({ "stage": stage.as_str(), "control": control(&subject.control), "mode": mode }),
                "outcomes",
            );
            if let Some(alarm) = alarm {
                emit(json!({ "alarm": alarm }), "alarms");
            }
        }
        Done::Repeat { stage, .. } => emit(json!({ "stage": stage.as_str() }), "repeats"),
        Done::Unwanted(_) => emit(json!({}), "unwanted"),
        Done::Retry { error, .. } => {
            emit(json!({ "error": error.map_or("busy", redress_remediators::ErrorKind::as_str) }), "retries");
        }
    }
    lines
}

/// A control that no list knows must not become a metric of its own: anybody could make thousands.
fn control(id: &str) -> &str {
    if crate::control::ControlId::parse(id).is_some_and(|id| id.info().is_some() || id.is_own()) {
        id
    } else {
        "other"
    }
}

/// Writes one line to standard output. CloudWatch reads metrics from lines of their own, not from within
/// a log record.
#[allow(clippy::print_stdout, reason = "standard output is the channel that the metric format asks for")]
pub fn print(line: &str) {
    println!("{line}");
}
