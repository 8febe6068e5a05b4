//! Turns on deletion protection for a table.

use aws_sdk_dynamodb::types::TableStatus;

use super::table::Table;
use crate::prelude::*;

pub(crate) struct ProtectFromDeletion;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Protection {
    enabled: bool,
}

impl Remediator for ProtectFromDeletion {
    const SPEC: Spec = Spec {
        name: "dynamodb.protect_from_deletion",
        version: 1,
        controls: &["DynamoDB.6"],
        risk: Risk::None,
        what: "Turns on deletion protection of the table, or of this Region's replica of a global one.",
        who_notices: "Whoever wants to delete the table, Terraform and CloudFormation included: it fails until the \
                      protection is turned off. Data and indexes can be changed as before.",
        way_back: "Turns the protection off again.",
        reads: &[Action::new("dynamodb:DescribeTable", On::Resource)],
        writes: &[Action::new("dynamodb:UpdateTable", On::Resource)],
        undo: &[],
        implied: &[],
    };
    type Resource = Table;
    type Params = NoParams;
    type State = Protection;

    async fn observe(aws: &Aws, at: &Table) -> Result<Protection> {
        let found = aws.dynamodb().describe_table().table_name(&at.name).send().await?;
        let table = found.table.ok_or_else(|| Error::new(ErrorKind::Invalid, "the answer has no table"))?;
        let enabled = table.deletion_protection_enabled == Some(true);
        match table.table_status {
            // A table that is being changed takes no second change, and is itself again within minutes:
            // https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_UpdateTable.html
            Some(TableStatus::Creating | TableStatus::Updating) if !enabled => {
                Err(Error::new(ErrorKind::Unsettled, "the table is being created or changed"))
            }
            Some(TableStatus::Deleting) => Err(Error::new(ErrorKind::NotFound, "the table is being deleted")),
            _ => Ok(Protection { enabled }),
        }
    }

    fn plan(now: &Protection, _: &Ask<'_, NoParams>) -> Plan<Protection> {
        if now.enabled {
            return Plan::Compliant;
        }
        Plan::change(Protection { enabled: true }, Risk::None)
    }

    async fn apply(aws: &Aws, at: &Table, change: &Change<Protection>) -> Result<()> {
        let request = aws.dynamodb().update_table().table_name(&at.name);
        request.deletion_protection_enabled(change.to.enabled).send().await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::remediator::test::ask;

    const ON: Protection = Protection { enabled: true };
    const OFF: Protection = Protection { enabled: false };

    #[test]
    fn protects_what_is_not_and_goes_back() {
        let plan = |now| ProtectFromDeletion::plan(now, &ask("DynamoDB.6", &NoParams {}));
        assert_eq!(plan(&ON), Plan::Compliant);
        assert_eq!(plan(&OFF), Plan::change(ON, Risk::None));
        let change = Change { from: OFF, to: ON };
        assert!(matches!(ProtectFromDeletion::undo(&change, &ON), Undo::To { to, .. } if to == OFF));
        assert_eq!(ProtectFromDeletion::undo(&change, &OFF), Undo::Nothing);
    }

    #[cfg(feature = "s3")]
    #[tokio::test]
    async fn a_table_in_the_midst_of_a_change_is_waited_for() {
        use crate::{Access, Resource as _, find, raw::test::Wire};
        let table = Table::from_key(&"aws/123456789012/eu-west-1/AwsDynamoDbTable/orders".parse().unwrap());
        let table = table.unwrap();
        for (status, enabled, expected) in [
            ("ACTIVE", false, Ok(OFF)),
            ("ACTIVE", true, Ok(ON)),
            ("UPDATING", true, Ok(ON)),
            ("UPDATING", false, Err(ErrorKind::Unsettled)),
            ("CREATING", false, Err(ErrorKind::Unsettled)),
            ("DELETING", false, Err(ErrorKind::NotFound)),
        ] {
            let wire = Wire::default();
            let body = format!(
                r#"{{"Table":{{"TableName":"orders","TableStatus":"{status}","DeletionProtectionEnabled":{enabled}}}}}"#
            );
            wire.answer("POST /", (200, Vec::new(), body));
            let aws = wire.aws(find("dynamodb.protect_from_deletion").unwrap(), Access::Plan);
            let found = ProtectFromDeletion::observe(&aws, &table).await.map_err(|error| error.kind);
            assert_eq!(found, expected, "{status}");
        }
    }
}
