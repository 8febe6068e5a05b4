//! Turns on point-in-time recovery for a table.

use aws_sdk_dynamodb::types::{PointInTimeRecoverySpecification, PointInTimeRecoveryStatus};

use super::table::Table;
use crate::{prelude::*, remediator::Proposal};

pub(crate) struct EnablePointInTimeRecovery;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Recovery {
    enabled: bool,
    /// How many days back the table can be restored, where DynamoDB says so. Read, never altered.
    #[serde(default)]
    days: Option<i32>,
}

/// What DynamoDB takes where nothing is said.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_PointInTimeRecoverySpecification.html>
const DAYS: i32 = 35;

impl Remediator for EnablePointInTimeRecovery {
    const SPEC: Spec = Spec {
        name: "dynamodb.enable_point_in_time_recovery",
        version: 1,
        controls: &["DynamoDB.2"],
        risk: Risk::Cost,
        what: "Turns on point-in-time recovery: from now on the table can be restored, to a new table, as it was at \
               any second of the last 35 days.",
        who_notices: "The bill, which grows by the size of the table and its local indexes. Reads and writes are \
                      as fast as before.",
        way_back: "Turns it off again. The history that has been gathered is lost with it: if it is turned on \
                   later, the table can be restored from then on only.",
        reads: &[Action::new("dynamodb:DescribeContinuousBackups", On::Resource)],
        writes: &[Action::new("dynamodb:UpdateContinuousBackups", On::Resource)],
        undo: &[],
        implied: &[],
    };
    type Resource = Table;
    type Params = NoParams;
    type State = Recovery;

    async fn observe(aws: &Aws, at: &Table) -> Result<Recovery> {
        let found = aws.dynamodb().describe_continuous_backups().table_name(&at.name).send().await?;
        let recovery = found
            .continuous_backups_description
            .and_then(|backups| backups.point_in_time_recovery_description);
        let days = recovery.as_ref().and_then(|recovery| recovery.recovery_period_in_days);
        match recovery.and_then(|recovery| recovery.point_in_time_recovery_status) {
            Some(PointInTimeRecoveryStatus::Enabled) => Ok(Recovery { enabled: true, days }),
            Some(PointInTimeRecoveryStatus::Disabled) => Ok(Recovery { enabled: false, days: None }),
            _ => Err(Error::new(ErrorKind::Invalid, "the answer does not say whether recovery is on")),
        }
    }

    fn plan(now: &Recovery, _: &Ask<'_, NoParams>) -> Plan<Recovery> {
        if now.enabled {
            return Plan::Compliant;
        }
        let notes = vec!["it is billed by the size of the table".to_owned()];
        Plan::Change(Proposal { to: Recovery { enabled: true, days: Some(DAYS) }, risk: Risk::Cost, notes })
    }

    async fn apply(aws: &Aws, at: &Table, change: &Change<Recovery>) -> Result<()> {
        let wanted = PointInTimeRecoverySpecification::builder()
            .point_in_time_recovery_enabled(change.to.enabled)
            .build()
            .map_err(|error| Error::new(ErrorKind::Invalid, error.to_string()))?;
        let request = aws.dynamodb().update_continuous_backups().table_name(&at.name);
        request.point_in_time_recovery_specification(wanted).send().await?;
        Ok(())
    }

    fn undo(change: &Change<Recovery>, now: &Recovery) -> Undo<Recovery> {
        if now.enabled && change.to.enabled && !change.from.enabled {
            if now.days.zip(change.to.days).is_some_and(|(now, made)| now != made) {
                return Undo::Refuse(
                    "the days for which it can be restored have been changed since".to_owned(),
                );
            }
            let lost = "the history is lost: the table can't be restored as it was until now";
            return Undo::To { to: change.from.clone(), notes: vec![lost.to_owned()] };
        }
        Undo::Nothing
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remediator::test::ask;

    const ON: Recovery = Recovery { enabled: true, days: Some(35) };
    const OFF: Recovery = Recovery { enabled: false, days: None };

    #[test]
    fn turns_on_what_is_off() {
        let plan = |now| EnablePointInTimeRecovery::plan(now, &ask("DynamoDB.2", &NoParams {}));
        assert_eq!(plan(&ON), Plan::Compliant);
        assert!(matches!(plan(&OFF), Plan::Change(change) if change.to == ON && change.risk == Risk::Cost));
    }

    #[test]
    fn only_what_it_turned_on_is_turned_off_and_the_loss_is_said() {
        let change = Change { from: OFF, to: ON };
        let undone = EnablePointInTimeRecovery::undo(&change, &ON);
        assert!(matches!(undone, Undo::To { to, notes } if to == OFF && notes[0].contains("lost")));
        let unsaid = EnablePointInTimeRecovery::undo(&change, &Recovery { days: None, ..ON });
        assert!(matches!(unsaid, Undo::To { .. }));
        let shorter = EnablePointInTimeRecovery::undo(&change, &Recovery { days: Some(14), ..ON });
        assert!(matches!(shorter, Undo::Refuse(_)));
        assert_eq!(EnablePointInTimeRecovery::undo(&change, &OFF), Undo::Nothing);
        assert_eq!(EnablePointInTimeRecovery::undo(&Change { from: ON, to: ON }, &ON), Undo::Nothing);
    }
}
