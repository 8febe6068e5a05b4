//! What the deployment's functions need of IAM for themselves: to receive, to record, to report, and to assume
//! the role that makes a change. None of it changes a resource.
//!
//! `cargo xtask generate` makes the policies of `terraform/policies/` from these lists.

use serde_json::{Map, Value, json};

/// When a permission is granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Always.
    Dispatcher,
    /// Once for each account whose findings are served: `${member}`.
    Member,
    /// Where findings in OCSF are taken as well.
    Ocsf,
    /// Where Cognito users are looked after.
    Cognito,
    /// Where a key of the customer's own encrypts tables and queues: `${key}`.
    Key,
    /// To the sign-in recorder.
    Recorder,
    /// To the sign-in recorder, with a key of the customer's own: `${key}`.
    RecorderKey,
    /// To Firehose, which takes records to the archive: `${bucket}`.
    Archive,
    /// To CloudWatch Logs, which hands them to Firehose.
    ArchiveLogs,
}

impl Part {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Dispatcher,
        Self::Member,
        Self::Ocsf,
        Self::Cognito,
        Self::Key,
        Self::Recorder,
        Self::RecorderKey,
        Self::Archive,
        Self::ArchiveLogs,
    ];

    /// The name of its file in `terraform/policies/`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dispatcher => "dispatcher",
            Self::Member => "member",
            Self::Ocsf => "ocsf",
            Self::Cognito => "cognito",
            Self::Key => "key",
            Self::Recorder => "recorder",
            Self::RecorderKey => "recorder-key",
            Self::Archive => "archive",
            Self::ArchiveLogs => "archive-logs",
        }
    }
}

/// One statement of a policy.
#[derive(Clone, Copy, Debug)]
pub struct Permission {
    /// When it is granted.
    pub part: Part,
    /// The statement's id.
    pub sid: &'static str,
    /// Whether it denies.
    pub deny: bool,
    /// The actions, as the
    /// [Service Authorization Reference](https://docs.aws.amazon.com/service-authorization/latest/reference/)
    /// spells them.
    pub actions: &'static [&'static str],
    /// What they are allowed on. `${partition}`, `${region}`, `${account}` and `${name}` are the deployment's.
    pub on: &'static [&'static str],
    /// Operator, key and values of a condition.
    pub condition: Option<(&'static str, &'static str, &'static [&'static str])>,
    /// What it is for; where it is `*`, why there is nothing narrower.
    pub why: &'static str,
}

impl Permission {
    const fn allow(
        part: Part,
        sid: &'static str,
        actions: &'static [&'static str],
        on: &'static [&'static str],
        why: &'static str,
    ) -> Self {
        Self { part, sid, deny: false, actions, on, condition: None, why }
    }

    const fn only(self, operator: &'static str, key: &'static str, values: &'static [&'static str]) -> Self {
        Self { condition: Some((operator, key, values)), ..self }
    }

    fn statement(&self) -> Value {
        let mut statement = json!({
            "Sid": self.sid,
            "Effect": if self.deny { "Deny" } else { "Allow" },
            "Action": self.actions,
            "Resource": self.on,
        });
        if let Some((operator, key, values)) = self.condition {
            let keys = Map::from_iter([(key.to_owned(), Value::from(values))]);
            statement["Condition"] = Value::Object(Map::from_iter([(operator.to_owned(), keys.into())]));
        }
        statement
    }
}

/// The policy of a part.
pub fn policy(part: Part) -> Value {
    let statements: Vec<Value> =
        PERMISSIONS.iter().filter(|one| one.part == part).map(Permission::statement).collect();
    json!({ "Version": "2012-10-17", "Statement": statements })
}

const STATE: &[&str] = &["arn:${partition}:dynamodb:${region}:${account}:table/${name}-state"];
const AUDIT: &[&str] = &["arn:${partition}:dynamodb:${region}:${account}:table/${name}-audit"];
const ACTIVITY: &[&str] = &["arn:${partition}:dynamodb:${region}:${account}:table/${name}-activity"];
const STREAM: &[&str] = &["arn:${partition}:dynamodb:${region}:${account}:table/${name}-activity/stream/*"];
const FINDINGS: &[&str] = &["arn:${partition}:sqs:${region}:${account}:${name}-findings"];
const HUB: &[&str] = &["arn:${partition}:securityhub:${region}:${account}:hub/default"];
const ANYTHING: &[&str] = &["*"];

/// Every permission, in the order in which policies state them.
pub const PERMISSIONS: &[Permission] = &[
    Permission::allow(
        Part::Dispatcher,
        "Receive",
        &["sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"],
        FINDINGS,
        "Lambda takes events from the queue with it; the function sets when one that must wait comes again",
    ),
    Permission::allow(
        Part::Dispatcher,
        "PutAside",
        &["sqs:GetQueueAttributes", "sqs:SendMessage"],
        &[
            "arn:${partition}:sqs:${region}:${account}:${name}-findings-dead",
            "arn:${partition}:sqs:${region}:${account}:${name}-async-dead",
        ],
        "the dead-letter queues: what can't be decoded, and what Lambda gives up on",
    ),
    Permission::allow(
        Part::Dispatcher,
        "State",
        &[
            "dynamodb:BatchGetItem",
            "dynamodb:DeleteItem",
            "dynamodb:GetItem",
            "dynamodb:PutItem",
            "dynamodb:Scan",
            "dynamodb:UpdateItem",
        ],
        STATE,
        "leases, holds, caps, stops, memos; `recover` scans for leases that were left",
    ),
    Permission::allow(
        Part::Dispatcher,
        "Record",
        &["dynamodb:PutItem", "dynamodb:Query"],
        AUDIT,
        "records are put, never updated or deleted. That a put takes no other's place is a condition of the \
         function's own: IAM has none for it",
    ),
    Permission::allow(
        Part::Dispatcher,
        "Log",
        &["logs:CreateLogStream", "logs:PutLogEvents"],
        &["arn:${partition}:logs:${region}:${account}:log-group:/aws/lambda/${name}-dispatcher:*"],
        "the log: the second copy of every record",
    ),
    Permission::allow(
        Part::Dispatcher,
        "Trace",
        &["xray:PutTelemetryRecords", "xray:PutTraceSegments"],
        ANYTHING,
        "tracing; AWS offers no resource for these actions",
    ),
    Permission::allow(
        Part::Dispatcher,
        "TellOutcomes",
        &["events:PutEvents"],
        &["arn:${partition}:events:${region}:${account}:event-bus/default"],
        "an event for each outcome, in redress's own name only",
    )
    .only("StringEqualsIfExists", "events:source", &[crate::report::EVENT_SOURCE]),
    Permission::allow(
        Part::Dispatcher,
        "TellSecurityHub",
        &["securityhub:BatchUpdateFindings", "securityhub:GetFindings"],
        HUB,
        "the note on the finding; the hourly look at redress's own findings, and that of `redress doctor`",
    ),
    Permission {
        deny: true,
        ..Permission::allow(
            Part::Dispatcher,
            "NeverCloseFindings",
            &["securityhub:BatchUpdateFindings"],
            ANYTHING,
            "a finding is resolved by Security Hub when its check passes, and suppressed by a person",
        )
        .only(
            "StringEquals",
            "securityhub:ASFFSyntaxPath/Workflow.Status",
            &["RESOLVED", "SUPPRESSED"],
        )
    },
    Permission::allow(
        Part::Member,
        "Remediate${member}",
        &["sts:AssumeRole", "sts:SetSourceIdentity"],
        &["arn:${partition}:iam::${member}:role/${name}-remediator"],
        "the one way to a change: the role in the finding's account, narrowed by the run's session policy",
    ),
    Permission::allow(
        Part::Ocsf,
        "TellSecurityHubV2",
        // The operation BatchUpdateFindingsV2 has no action of its own:
        // https://docs.aws.amazon.com/service-authorization/latest/reference/list_awssecurityhub.html
        &["securityhub:BatchUpdateFindings"],
        &["arn:${partition}:securityhub:${region}:${account}:hubv2/*"],
        "the comment on an OCSF finding",
    ),
    Permission {
        deny: true,
        ..Permission::allow(
            Part::Ocsf,
            "NeverCloseFindingsV2",
            &["securityhub:BatchUpdateFindings"],
            ANYTHING,
            "as of a finding in ASFF: none in OCSF is suppressed, resolved or archived",
        )
        // https://docs.aws.amazon.com/securityhub/1.0/APIReference/API_BatchUpdateFindingsV2.html
        .only("StringEquals", "securityhub:OCSFSyntaxPath/StatusId", &["3", "4", "5"])
    },
    Permission::allow(
        Part::Cognito,
        "Activity",
        &[
            "dynamodb:DeleteItem",
            "dynamodb:GetItem",
            "dynamodb:PutItem",
            "dynamodb:Query",
            "dynamodb:UpdateItem",
        ],
        ACTIVITY,
        "when users were last seen: rows are put back, marked, and dropped for users who are gone",
    ),
    Permission::allow(
        Part::Cognito,
        "Expiries",
        &["dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator"],
        STREAM,
        "Lambda reads the activity table's stream with it",
    ),
    Permission::allow(
        Part::Cognito,
        "PutAsideExpiries",
        &["sqs:SendMessage"],
        &["arn:${partition}:sqs:${region}:${account}:${name}-stream-dead"],
        "the dead-letter queue of the stream",
    ),
    Permission::allow(
        Part::Cognito,
        "Streams",
        &["dynamodb:ListStreams"],
        ANYTHING,
        "Lambda asks for it to set up the mapping; AWS offers no resource for this action",
    ),
    Permission::allow(
        Part::Cognito,
        "LostSignIns",
        &["cloudwatch:GetMetricStatistics"],
        ANYTHING,
        "days on which sign-ins were not recorded; AWS offers no resource for this action",
    ),
    Permission::allow(
        Part::Cognito,
        "InactiveUsers",
        &["securityhub:BatchImportFindings"],
        &["arn:${partition}:securityhub:${region}:${account}:product/${account}/default"],
        "redress's own findings, as the account's default product",
    ),
    Permission::allow(
        Part::Key,
        "Decrypt",
        &["kms:Decrypt", "kms:GenerateDataKey"],
        &["${key}"],
        "the key of tables, queues and settings",
    ),
    Permission::allow(
        Part::Recorder,
        "Activity",
        &["dynamodb:GetItem", "dynamodb:PutItem"],
        ACTIVITY,
        "one small write for a user who was seen",
    ),
    Permission::allow(
        Part::Recorder,
        "Log",
        &["logs:CreateLogStream", "logs:PutLogEvents"],
        &["arn:${partition}:logs:${region}:${account}:log-group:/aws/lambda/${name}-sign-in:*"],
        "the log: where a sign-in stands that could not be recorded",
    ),
    Permission::allow(
        Part::Recorder,
        "Trace",
        &["xray:PutTelemetryRecords", "xray:PutTraceSegments"],
        ANYTHING,
        "tracing; AWS offers no resource for these actions",
    ),
    Permission::allow(
        Part::RecorderKey,
        "Decrypt",
        &["kms:Decrypt"],
        &["${key}"],
        "the key of the activity table and of the settings",
    ),
    Permission::allow(
        Part::Archive,
        "Write",
        &["s3:AbortMultipartUpload", "s3:PutObject"],
        &["arn:${partition}:s3:::${bucket}/*"],
        "records into the archive's bucket",
    ),
    Permission::allow(
        Part::Archive,
        "Bucket",
        &["s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketMultipartUploads"],
        &["arn:${partition}:s3:::${bucket}"],
        "Firehose looks at the bucket before it writes",
    ),
    Permission::allow(
        Part::ArchiveLogs,
        "Put",
        &["firehose:PutRecord", "firehose:PutRecordBatch"],
        &["arn:${partition}:firehose:${region}:${account}:deliverystream/${name}-archive"],
        "records from the log to Firehose",
    ),
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn nothing_changes_a_resource_or_grants_a_right() {
        let harmless = [
            "sqs",
            "dynamodb",
            "logs",
            "xray",
            "events",
            "securityhub",
            "sts",
            "cloudwatch",
            "kms",
            "firehose",
            "s3",
        ];
        for permission in PERMISSIONS {
            for action in permission.actions {
                let (service, name) = action.split_once(':').unwrap();
                assert!(harmless.contains(&service) && !name.contains('*'), "{action}");
                let kept = service != "dynamodb" || permission.on != AUDIT;
                assert!(kept || ["PutItem", "Query"].contains(&name), "{action} on the audit table");
            }
        }
    }

    #[test]
    fn whatever_is_allowed_on_anything_says_why() {
        for permission in PERMISSIONS.iter().filter(|one| one.on == ANYTHING && !one.deny) {
            let why = permission.why;
            assert!(why.contains("no resource"), "{}: {why}", permission.sid);
        }
    }

    #[test]
    fn sids_are_unique_within_a_policy() {
        for part in Part::ALL {
            let policy = policy(part);
            let mut sids: Vec<&str> = policy["Statement"]
                .as_array()
                .unwrap()
                .iter()
                .map(|one| one["Sid"].as_str().unwrap())
                .collect();
            let all = sids.len();
            sids.sort_unstable();
            sids.dedup();
            assert!(all > 0 && sids.len() == all, "{part:?}");
        }
    }
}
