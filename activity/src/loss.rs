//! Sign-ins that could not be recorded.
//!
//! One line of the recorder's log tells of each: who it was, for `redress cognito reconcile`, and a metric in
//! CloudWatch's [embedded metric format](https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html),
//! which counts it by pool and day: nobody is disabled whose time rests on such a day. The log is the one
//! place that a function can still write to when it can't reach its table.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The namespace of the metric.
pub const NAMESPACE: &str = "redress";
/// The metric: sign-ins that were not recorded.
pub const METRIC: &str = "LostSignIns";
/// Its one dimension: the pool's id.
pub const DIMENSION: &str = "UserPool";

/// The metric of events that may have been sign-ins, and can't be read.
pub const UNREADABLE: &str = "UnreadableSignIns";

/// The line of the log for an event that can't be read, which says what it `lacks` and nothing of the event.
///
/// Where the pool is known it is also one of the pool's losses. Whose it was stands nowhere, so that only a
/// person can waive it.
pub fn unreadable(at: Timestamp, lacks: &str, pool: Option<&str>) -> String {
    let mut sets = vec![counted(&[], UNREADABLE)];
    let mut line = json!({
        "level": "ERROR",
        "message": "an event can't be read",
        "lacks": lacks,
        UNREADABLE: 1,
    });
    if let Some(pool) = pool {
        sets.push(counted(&[DIMENSION], METRIC));
        line[DIMENSION] = pool.into();
        line[METRIC] = 1.into();
    }
    line["_aws"] = json!({ "Timestamp": at.as_millisecond(), "CloudWatchMetrics": sets });
    line.to_string()
}

/// What says that a member of the line is a metric.
fn counted(dimensions: &[&str], metric: &str) -> Value {
    json!({
        "Namespace": NAMESPACE,
        "Dimensions": [dimensions],
        "Metrics": [{ "Name": metric, "Unit": "Count" }],
    })
}

/// A sign-in that was not recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loss {
    /// The pool's id.
    pub pool: String,
    /// The user's `sub`.
    pub sub: String,
    /// When the user was seen.
    pub at: Timestamp,
    /// What the user was seen by.
    pub trigger: String,
    /// Whether that was a sign-in, and not only a sign-up.
    pub signed_in: bool,
}

impl Loss {
    /// The line of the log.
    pub fn line(&self, why: &str) -> String {
        json!({
            "_aws": {
                "Timestamp": self.at.as_millisecond(),
                "CloudWatchMetrics": [counted(&[DIMENSION], METRIC)],
            },
            "level": "ERROR",
            "message": "a sign-in was not recorded",
            "why": why,
            DIMENSION: self.pool,
            METRIC: 1,
            "lost": self,
        })
        .to_string()
    }

    /// Reads a line of the log; `None` where it is another.
    pub fn read(line: &str) -> Option<Self> {
        #[derive(Deserialize)]
        struct Line {
            lost: Loss,
        }
        // Lambda may put a time and a request id before what a function prints.
        let line = line.get(line.find('{')?..)?;
        serde_json::from_str::<Line>(line.trim_end()).ok().map(|line| line.lost)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn a_line_of_the_log_is_read_back() {
        let loss = Loss {
            pool: "eu-west-1_AbC123".to_owned(),
            sub: "0b7d5c1e-6a2f-4c55-9c3e-2f1f6a7d8e90".to_owned(),
            at: "2026-08-01T10:11:12.345Z".parse().unwrap(),
            trigger: "TokenGeneration_RefreshTokens".to_owned(),
            signed_in: true,
        };
        let line = loss.line("throttled");
        assert_eq!(Loss::read(&line), Some(loss.clone()));
        assert_eq!(Loss::read(&format!("2026-08-01T10:11:12.400Z\t1-2-3\t{line}\n")), Some(loss));
        for other in ["", "{}", "START RequestId: 1", r#"{"lost":{"pool":"p"}}"#, "{"] {
            assert_eq!(Loss::read(other), None, "{other}");
        }
    }

    #[test]
    fn an_unreadable_event_of_a_known_pool_is_a_loss_of_that_pool() {
        let line = |pool| {
            let line = unreadable(Timestamp::UNIX_EPOCH, "sub", pool);
            assert_eq!(Loss::read(&line), None);
            serde_json::from_str::<serde_json::Value>(&line).unwrap()
        };
        let (with, without) = (line(Some("eu-west-1_AbC123")), line(None));
        for line in [&with, &without] {
            assert_eq!(line[UNREADABLE], 1);
            assert_eq!(line["_aws"]["CloudWatchMetrics"][0]["Metrics"][0]["Name"], UNREADABLE);
        }
        assert_eq!((&with[METRIC], &with[DIMENSION]), (&json!(1), &json!("eu-west-1_AbC123")));
        assert_eq!(with["_aws"]["CloudWatchMetrics"][1]["Dimensions"], json!([[DIMENSION]]));
        assert_eq!((without.get(METRIC), without.get(DIMENSION)), (None, None));
    }
}
