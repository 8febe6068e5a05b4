//! The tables of state and records.

use aws_sdk_dynamodb::{
    Client,
    types::{PointInTimeRecoveryStatus, TableStatus, TimeToLiveStatus},
};
use redress_remediators::{Error, ErrorKind};

use super::{APPLY_AGAIN, Line, Place};

const CHECK: &str = "table";

/// The attribute by which items expire.
const EXPIRES: &str = "expires";

pub(super) async fn look(place: &Place<'_>) -> Vec<Line> {
    let client = Client::new(place.aws);
    let (state, audit) = (place.named("state"), place.named("audit"));
    let (mut lines, of_audit) = tokio::join!(table(&client, &state), table(&client, &audit));
    lines.extend(of_audit);
    lines
}

async fn table(client: &Client, name: &str) -> Vec<Line> {
    let (table, expiry, backups) = tokio::join!(
        client.describe_table().table_name(name).send(),
        client.describe_time_to_live().table_name(name).send(),
        client.describe_continuous_backups().table_name(name).send(),
    );
    let table = match table {
        Ok(found) => found.table,
        Err(error) => {
            let error = Error::from(error);
            return vec![match error.kind {
                ErrorKind::NotFound => Line::wrong(CHECK, name, "there is no such table", APPLY_AGAIN),
                _ => Line::unseen(CHECK, name, "dynamodb:DescribeTable", &error),
            }];
        }
    };
    let mut faults = Vec::new();
    match table.as_ref().and_then(|table| table.table_status()) {
        Some(TableStatus::Active | TableStatus::Updating) => {}
        other => {
            let status = other.map_or("unknown", TableStatus::as_str);
            faults.push(Line::wrong(
                CHECK,
                name,
                format!("it is {status}"),
                "wait a minute, then look again",
            ));
        }
    }
    match expiry.map_err(Error::from) {
        Ok(found) => {
            let set = found.time_to_live_description;
            let on = set.as_ref().is_some_and(|set| {
                let on = matches!(
                    set.time_to_live_status(),
                    Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling)
                );
                on && set.attribute_name() == Some(EXPIRES)
            });
            if !on {
                let what = format!("time to live is not on for `{EXPIRES}`: what has expired stays");
                faults.push(Line::wrong(CHECK, name, what, APPLY_AGAIN));
            }
        }
        Err(error) => faults.push(Line::unseen(CHECK, name, "dynamodb:DescribeTimeToLive", &error)),
    }
    match backups.map_err(Error::from) {
        Ok(found) => {
            let status = found
                .continuous_backups_description
                .and_then(|found| found.point_in_time_recovery_description)
                .and_then(|found| found.point_in_time_recovery_status);
            if status != Some(PointInTimeRecoveryStatus::Enabled) {
                let what = "point-in-time recovery is off: a table that is lost can't be had back";
                faults.push(Line::wrong(CHECK, name, what, APPLY_AGAIN));
            }
        }
        Err(error) => faults.push(Line::unseen(CHECK, name, "dynamodb:DescribeContinuousBackups", &error)),
    }
    if table.is_some_and(|table| table.deletion_protection_enabled() != Some(true)) {
        faults.push(Line::warning(
            CHECK,
            name,
            "deletion protection is off",
            "set deletion_protection, unless you are about to remove the deployment",
        ));
    }
    if faults.is_empty() {
        let what = "active, with time to live, point-in-time recovery and deletion protection";
        faults.push(Line::ok(CHECK, name, what));
    }
    faults
}
