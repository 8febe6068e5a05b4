//! Turns on a flow log for a VPC.

use std::collections::BTreeSet;

use aws_sdk_ec2::types::{
    self, Filter, FlowLogsResourceType, LogDestinationType, TrafficType, UnsuccessfulItem,
};

use super::{filled, network::Vpc};
use crate::{Implied, prelude::*, remediator::Proposal, resource::Arn};

pub(crate) struct LogVpcTraffic;

/// What AWS writes where nothing is said.
/// <https://docs.aws.amazon.com/vpc/latest/userguide/flow-log-records.html>
const FORMAT: &str = "${version} ${account-id} ${interface-id} ${srcaddr} ${dstaddr} ${srcport} ${dstport} \
                      ${protocol} ${packets} ${bytes} ${start} ${end} ${action} ${log-status}";

/// Seconds; the longer, and cheaper, of the two that there are.
const INTERVAL: i32 = 600;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Params {
    /// Which traffic is logged.
    traffic: Traffic,
    /// The name of a log group of CloudWatch Logs, in the VPC's account and Region, to log to. Where there is none of
    /// that name, AWS makes it when the role may, and keeps what is in it for ever.
    log_group: Option<String>,
    /// The name, with its path, of the role in the VPC's account by which AWS writes to the log group.
    role: Option<String>,
    /// The ARN of a bucket to log to, in place of a log group; a prefix may follow after a slash. The bucket's policy
    /// must let `delivery.logs.amazonaws.com` write.
    bucket: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Traffic {
    /// What security groups and network ACLs reject: all that EC2.6 asks for.
    #[default]
    Reject,
    /// All of it.
    All,
}

/// A flow log that works, without its id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct FlowLog {
    /// `ACCEPT`, `REJECT` or `ALL`.
    traffic: String,
    #[serde(flatten)]
    destination: Destination,
    format: String,
    /// Over how many seconds a record sums up.
    interval: i32,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Destination {
    LogGroup {
        name: String,
        /// The name of a role of the account, with its path; the ARN of any other.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        role: Option<String>,
    },
    Bucket(String),
    Other(String),
}

impl Remediator for LogVpcTraffic {
    const SPEC: Spec = Spec {
        name: "ec2.log_vpc_traffic",
        version: 1,
        controls: &["EC2.6"],
        risk: Risk::Cost,
        what: "Turns on a flow log for the VPC, of rejected traffic unless the rule says all of it, to the log \
               group or the bucket that the rule names. Flow logs that the VPC has stay as they are.",
        who_notices: "The bill: AWS charges for what is written, by the gigabyte, and for keeping it. A VPC \
                      with a busy address on the internet rejects much.",
        way_back: "Deletes the flow log that was made. What it has written stays, and a log group that AWS has \
                   made for it as well.",
        reads: &[Action::new("ec2:DescribeFlowLogs", On::Region)],
        writes: &[
            Action::new("ec2:CreateFlowLogs", On::Resource),
            Action::new("ec2:CreateFlowLogs", On::Arn(FLOW_LOGS)),
        ],
        undo: &[Action::new("ec2:DeleteFlowLogs", On::Arn(FLOW_LOGS))],
        implied: &[
            Implied {
                action: Action::new(
                    "iam:PassRole",
                    On::Passed("arn:{partition}:iam::{account}:role/*", "vpc-flow-logs.amazonaws.com"),
                ),
                why: "To hand AWS the role by which it writes to a log group: \
                      https://docs.aws.amazon.com/vpc/latest/userguide/flow-logs-iam-role.html.",
            },
            Implied {
                action: Action::new("logs:CreateLogDelivery", On::Region),
                why: "For a flow log to a bucket: \
                      https://docs.aws.amazon.com/vpc/latest/userguide/flow-logs-s3-permissions.html.",
            },
            Implied {
                action: Action::new("logs:DeleteLogDelivery", On::Region),
                why: "For a flow log to a bucket: \
                      https://docs.aws.amazon.com/vpc/latest/userguide/flow-logs-s3-permissions.html.",
            },
        ],
    };
    type Resource = Vpc;
    type Params = Params;
    type State = BTreeSet<FlowLog>;

    async fn observe(aws: &Aws, at: &Vpc) -> Result<BTreeSet<FlowLog>> {
        Ok(present(aws, at).await?.into_iter().map(|(_, log)| log).collect())
    }

    fn plan(now: &BTreeSet<FlowLog>, ask: &Ask<'_, Params>) -> Plan<BTreeSet<FlowLog>> {
        // One of all traffic has the rejected in it.
        if now.iter().any(|log| matches!(log.traffic.as_str(), "REJECT" | "ALL")) {
            return Plan::Compliant;
        }
        let destination = match ask.params.destination() {
            Ok(destination) => destination,
            Err(why) => return Plan::Refuse(why),
        };
        let traffic = match ask.params.traffic {
            Traffic::Reject => "REJECT",
            Traffic::All => "ALL",
        };
        let note = match &destination {
            Destination::LogGroup { name, .. } => {
                format!("CloudWatch Logs charges for what is written to `{}`", shown(name))
            }
            Destination::Bucket(bucket) | Destination::Other(bucket) => {
                format!("AWS charges for what is written to `{}`", shown(bucket))
            }
        };
        let mut to = now.clone();
        to.insert(FlowLog {
            traffic: traffic.to_owned(),
            destination,
            format: FORMAT.to_owned(),
            interval: INTERVAL,
        });
        Plan::Change(Proposal { to, risk: Risk::Cost, notes: vec![note] })
    }

    async fn apply(aws: &Aws, at: &Vpc, change: &Change<BTreeSet<FlowLog>>) -> Result<()> {
        let present = present(aws, at).await?;
        for log in change.to.difference(&change.from) {
            if !present.iter().any(|(_, found)| found == log) {
                create(aws, at, log).await?;
            }
        }
        for log in change.from.difference(&change.to) {
            let ids: Vec<&String> =
                present.iter().filter(|(_, found)| found == log).map(|(id, _)| id).collect();
            match ids.as_slice() {
                [] => {}
                [id] => delete(aws, id).await?,
                _ => {
                    let why = "the VPC has more than one such flow log, and which is the run's is not known";
                    return Err(Error::new(ErrorKind::Rejected, why));
                }
            }
        }
        Ok(())
    }

    fn undo(change: &Change<BTreeSet<FlowLog>>, now: &BTreeSet<FlowLog>) -> Undo<BTreeSet<FlowLog>> {
        // A flow log can't be altered, only deleted and made anew: one that differs is somebody else's.
        let made: BTreeSet<FlowLog> = change.to.difference(&change.from).cloned().collect();
        let to: BTreeSet<FlowLog> = now.difference(&made).cloned().collect();
        if to == *now {
            return Undo::Nothing;
        }
        Undo::To { to, notes: vec!["what was written stays where it is".to_owned()] }
    }
}

const FLOW_LOGS: &str = "arn:{partition}:ec2:{region}:{account}:vpc-flow-log/*";

impl Params {
    /// Where the rule says to log to; the error says what it lacks.
    fn destination(&self) -> Result<Destination, String> {
        match (&self.log_group, &self.role, &self.bucket) {
            (Some(name), Some(role), None) => {
                // https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_CreateLogGroup.html
                let known = |c: char| c.is_ascii_alphanumeric() || ".-_/#".contains(c);
                if name.is_empty() || name.len() > 512 || !name.chars().all(known) {
                    return Err(format!("`{}` is no name of a log group", shown(name)));
                }
                // https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
                let known = |c: char| c.is_ascii_alphanumeric() || "+=,.@_-/".contains(c);
                if role.is_empty() || role.starts_with('/') || !role.chars().all(known) {
                    return Err(format!(
                        "`{}` is no name of a role: not its ARN, and its path without the first slash",
                        shown(role)
                    ));
                }
                Ok(Destination::LogGroup { name: name.clone(), role: Some(role.clone()) })
            }
            (None, None, Some(bucket)) => match Arn::parse(bucket) {
                Some(arn) if arn.service == "s3" && !arn.resource.starts_with('/') => {
                    Ok(Destination::Bucket(bucket.clone()))
                }
                _ => Err(format!("`{}` is no ARN of a bucket", shown(bucket))),
            },
            _ => Err("the rule must say where to log to: set `log_group` and `role`, or `bucket`".to_owned()),
        }
    }
}

impl FlowLog {
    /// A flow log in normal form.
    fn from_aws(log: &types::FlowLog, account: &str) -> Result<Self> {
        let unknown = |what: &str| {
            let id = shown(log.flow_log_id().unwrap_or_default());
            Error::new(ErrorKind::Rejected, format!("flow log `{id}` has no {what}"))
        };
        let arn = filled(log.log_destination());
        let destination = match log.log_destination_type() {
            None | Some(LogDestinationType::CloudWatchLogs) => {
                let of_arn =
                    || Some(arn.as_deref()?.split_once(":log-group:")?.1.trim_end_matches(":*").to_owned());
                let name = filled(log.log_group_name()).or_else(of_arn);
                let role = filled(log.deliver_logs_permission_arn());
                Destination::LogGroup {
                    name: name.ok_or_else(|| unknown("log group"))?,
                    role: role.map(|arn| own_role(&arn, account).unwrap_or(arn)),
                }
            }
            Some(LogDestinationType::S3) => Destination::Bucket(arn.ok_or_else(|| unknown("bucket"))?),
            Some(_) => Destination::Other(arn.ok_or_else(|| unknown("destination"))?),
        };
        Ok(Self {
            traffic: log.traffic_type().ok_or_else(|| unknown("type of traffic"))?.as_str().to_owned(),
            destination,
            format: filled(log.log_format()).unwrap_or_else(|| FORMAT.to_owned()),
            interval: log.max_aggregation_interval().unwrap_or(INTERVAL),
        })
    }
}

/// What follows `role/`, where the role is one of this account.
fn own_role(arn: &str, account: &str) -> Option<String> {
    let arn = Arn::parse(arn).filter(|arn| arn.service == "iam" && arn.account == account)?;
    arn.resource.strip_prefix("role/").map(str::to_owned)
}

/// The VPC's flow logs that work, with their ids.
async fn present(aws: &Aws, at: &Vpc) -> Result<Vec<(String, FlowLog)>> {
    let found = aws
        .ec2()
        .describe_flow_logs()
        .filter(Filter::builder().name("resource-id").values(&at.id).build())
        .into_paginator()
        .page_size(1000)
        .items()
        .send()
        .collect::<Result<Vec<_>, _>>()
        .await?;
    found
        .iter()
        // `ACTIVE` is all that AWS documents.
        .filter(|log| log.resource_id() == Some(&at.id) && log.flow_log_status() == Some("ACTIVE"))
        .map(|log| {
            let id = log.flow_log_id().unwrap_or_default().to_owned();
            Ok((id, FlowLog::from_aws(log, &aws.key().account)?))
        })
        .collect()
}

/// AWS refuses a second flow log of the same traffic and destination, so this can be tried again: a client token
/// would have to differ between a run and the one after its undo, which nothing here does.
async fn create(aws: &Aws, at: &Vpc, log: &FlowLog) -> Result<()> {
    let request = aws
        .ec2()
        .create_flow_logs()
        .resource_type(FlowLogsResourceType::Vpc)
        .resource_ids(&at.id)
        .traffic_type(TrafficType::from(log.traffic.as_str()))
        .log_format(&log.format)
        .max_aggregation_interval(log.interval);
    let request = match &log.destination {
        Destination::LogGroup { name, role } => {
            let role = role.as_ref().map(|role| match Arn::parse(role) {
                Some(_) => role.clone(),
                None => aws.key().fill(&format!("arn:{{partition}}:iam::{{account}}:role/{role}")),
            });
            request
                .log_destination_type(LogDestinationType::CloudWatchLogs)
                .log_group_name(name)
                .set_deliver_logs_permission_arn(role)
        }
        Destination::Bucket(arn) => request.log_destination_type(LogDestinationType::S3).log_destination(arn),
        Destination::Other(arn) => request.log_destination(arn),
    };
    let made = match request.send().await.map_err(Error::from) {
        Ok(made) => unsuccessful(made.unsuccessful()),
        Err(error) => Err(error),
    };
    match made {
        // The SDK's own second attempt after a lost answer, or somebody was faster.
        Err(error) if error.code.as_deref() == Some("FlowLogAlreadyExists") => {
            if present(aws, at).await?.iter().any(|(_, found)| found == log) {
                return Ok(());
            }
            Err(Error { kind: ErrorKind::Drifted, ..error })
        }
        made => made,
    }
}

async fn delete(aws: &Aws, id: &str) -> Result<()> {
    let deleted = match aws.ec2().delete_flow_logs().flow_log_ids(id).send().await.map_err(Error::from) {
        Ok(deleted) => unsuccessful(deleted.unsuccessful()),
        Err(error) => Err(error),
    };
    match deleted {
        Err(error) if error.code.as_deref() == Some("InvalidFlowLogId.NotFound") => Ok(()),
        deleted => deleted,
    }
}

/// What an answer of 200 says of what went wrong: a bucket that may not be written to, for one.
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateFlowLogs.html>
fn unsuccessful(items: &[UnsuccessfulItem]) -> Result<()> {
    let Some(error) = items.iter().find_map(UnsuccessfulItem::error) else { return Ok(()) };
    let (code, message) = (error.code().unwrap_or_default(), error.message().unwrap_or_default());
    let what = format!("{}: {}", shown(code), message.escape_debug());
    Err(Error { code: Some(code.to_owned()), ..Error::new(ErrorKind::Rejected, what) })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
    use super::*;
    use crate::remediator::test::ask;

    const BUCKET: &str = "arn:aws:s3:::flow-logs/vpcs/";

    fn log(traffic: &str) -> FlowLog {
        FlowLog {
            traffic: traffic.to_owned(),
            destination: Destination::LogGroup {
                name: "/vpc/flow".to_owned(),
                role: Some("flow-logs".to_owned()),
            },
            format: FORMAT.to_owned(),
            interval: INTERVAL,
        }
    }

    fn params(json: &str) -> Params {
        serde_json::from_str(json).unwrap()
    }

    fn plan(now: &[FlowLog], json: &str) -> Plan<BTreeSet<FlowLog>> {
        let params = params(json);
        let plan = LogVpcTraffic::plan(&now.iter().cloned().collect(), &ask("EC2.6", &params));
        if let Plan::Change(change) = &plan {
            assert_eq!(LogVpcTraffic::plan(&change.to, &ask("EC2.6", &params)), Plan::Compliant);
        }
        plan
    }

    const GROUP: &str = r#"{"log_group": "/vpc/flow", "role": "flow-logs"}"#;

    #[test]
    fn rejected_traffic_is_logged_beside_what_is() {
        for fine in ["REJECT", "ALL"] {
            assert_eq!(plan(&[log(fine)], GROUP), Plan::Compliant);
        }
        let Plan::Change(change) = plan(&[log("ACCEPT")], GROUP) else { panic!("no change") };
        assert_eq!(change.to, [log("ACCEPT"), log("REJECT")].into());
        assert_eq!(change.risk, Risk::Cost);
        let Plan::Change(change) =
            plan(&[], r#"{"traffic": "all", "bucket": "arn:aws:s3:::flow-logs/vpcs/"}"#)
        else {
            panic!("no change")
        };
        let to = FlowLog { destination: Destination::Bucket(BUCKET.to_owned()), ..log("ALL") };
        assert_eq!(change.to, [to].into());
    }

    #[test]
    fn a_rule_that_names_no_destination_changes_nothing() {
        for (json, why) in [
            ("{}", "where to log to"),
            (r#"{"log_group": "a"}"#, "where to log to"),
            (r#"{"role": "a"}"#, "where to log to"),
            (r#"{"log_group": "a", "role": "b", "bucket": "arn:aws:s3:::c"}"#, "where to log to"),
            (r#"{"log_group": "a b", "role": "b"}"#, "no name of a log group"),
            (r#"{"log_group": "a", "role": "arn:aws:iam::123456789012:role/b"}"#, "no name of a role"),
            (r#"{"log_group": "a", "role": "/b"}"#, "no name of a role"),
            (r#"{"bucket": "flow-logs"}"#, "no ARN of a bucket"),
            (r#"{"bucket": "arn:aws:sqs:::flow\u001b"}"#, "no ARN of a bucket"),
        ] {
            let Plan::Refuse(said) = plan(&[], json) else { panic!("{json}") };
            assert!(said.contains(why) && !said.chars().any(char::is_control), "{json}: {said}");
            // Nothing to do is nothing to know.
            assert_eq!(plan(&[log("ALL")], json), Plan::Compliant);
        }
    }

    #[test]
    fn undo_takes_away_its_own_only() {
        let (own, made) = (log("ACCEPT"), log("REJECT"));
        let change = Change { from: [own.clone()].into(), to: [own.clone(), made.clone()].into() };
        let undo = |now: &[FlowLog]| LogVpcTraffic::undo(&change, &now.iter().cloned().collect());
        assert!(
            matches!(undo(&[own.clone(), made.clone()]), Undo::To { to, .. } if to == [own.clone()].into())
        );
        assert!(matches!(undo(&[made, log("ALL")]), Undo::To { to, .. } if to == [log("ALL")].into()));
        let theirs = FlowLog { interval: 60, ..log("REJECT") };
        assert_eq!(undo(&[own, theirs]), Undo::Nothing);
    }

    #[test]
    fn every_spelling_of_a_flow_log_is_one() {
        let read = |log: types::FlowLog| FlowLog::from_aws(&log, "123456789012").unwrap();
        let base = || types::FlowLog::builder().traffic_type(TrafficType::Reject);
        let role = "arn:aws:iam::123456789012:role/flow-logs";
        let arn = "arn:aws:logs:eu-west-1:123456789012:log-group:/vpc/flow:*";
        assert_eq!(
            read(base().log_group_name("/vpc/flow").deliver_logs_permission_arn(role).build()),
            log("REJECT")
        );
        let by_arn = base().log_destination_type(LogDestinationType::CloudWatchLogs).log_destination(arn);
        assert_eq!(read(by_arn.deliver_logs_permission_arn(role).build()), log("REJECT"));
        let bucket = base().log_destination_type(LogDestinationType::S3).log_destination(BUCKET).build();
        assert_eq!(read(bucket).destination, Destination::Bucket(BUCKET.to_owned()));
        let foreign = "arn:aws:iam::999999999999:role/flow-logs";
        let other = read(base().log_group_name("/vpc/flow").deliver_logs_permission_arn(foreign).build());
        assert!(
            matches!(other.destination, Destination::LogGroup { role: Some(role), .. } if role == foreign)
        );
        assert!(FlowLog::from_aws(&base().build(), "123456789012").is_err());
    }

    #[test]
    fn the_stored_form_reads_back() {
        let logs: BTreeSet<FlowLog> =
            [log("ALL"), FlowLog { destination: Destination::Bucket(BUCKET.to_owned()), ..log("REJECT") }]
                .into();
        let json = serde_json::to_value(&logs).unwrap();
        assert_eq!(serde_json::from_value::<BTreeSet<FlowLog>>(json.clone()).unwrap(), logs);
        assert_eq!(json[0]["log_group"]["name"], "/vpc/flow");
        assert_eq!(json[1]["bucket"], BUCKET);
    }
}
