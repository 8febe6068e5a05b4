//! Turns on Macie in one Region of an account.

use aws_sdk_macie2::types::MacieStatus;

use self::Status::{Absent, Enabled, Paused};
use crate::{Implied, account::RegionOfAccount, prelude::*, remediator::Proposal};

pub(crate) struct TurnOnSession;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Session {
    status: Status,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    /// Macie is not enabled.
    Absent,
    Paused,
    Enabled,
}

impl Remediator for TurnOnSession {
    const SPEC: Spec = Spec {
        name: "macie2.turn_on_session",
        version: 1,
        controls: &["Macie.1"],
        risk: Risk::Cost,
        what: "Enables Macie for the account in this Region, or resumes it where it is paused: it watches the S3 \
               buckets there. No job that looks into objects is made or started.",
        who_notices: "The bill: Macie is charged by the buckets it watches, after 30 days of trial in a Region that \
                      never had it. Jobs that were paused with Macie go on. No workload notices.",
        way_back: "Pauses Macie: it watches nothing, and keeps its findings, jobs and settings. It is not disabled \
                   where it was not enabled before, since all of these would be deleted: that is left to a person.",
        reads: &[Action::new("macie2:GetMacieSession", On::Region)],
        writes: &[
            Action::new("macie2:EnableMacie", On::Region),
            Action::new("macie2:UpdateMacieSession", On::Region),
        ],
        undo: &[],
        implied: &[Implied {
            action: Action::new(
                "iam:CreateServiceLinkedRole",
                On::Arn(
                    "arn:{partition}:iam::{account}:role/aws-service-role/macie.amazonaws.com/AWSServiceRoleForAmazonMacie",
                ),
            ),
            why: "Macie makes its service-linked role when it is first enabled: \
                  https://docs.aws.amazon.com/macie/latest/user/service-linked-roles.html",
        }],
    };
    type Resource = RegionOfAccount;
    type Params = NoParams;
    type State = Session;

    async fn observe(aws: &Aws, _: &RegionOfAccount) -> Result<Session> {
        let status = match aws.macie2().get_macie_session().send().await.map_err(Error::from) {
            Ok(found) => found.status,
            Err(error) if is_not_enabled(&error) => return Ok(Session { status: Absent }),
            Err(error) => return Err(error),
        };
        match status {
            Some(MacieStatus::Enabled) => Ok(Session { status: Enabled }),
            Some(MacieStatus::Paused) => Ok(Session { status: Paused }),
            _ => Err(Error::new(ErrorKind::Invalid, "the answer does not say whether Macie is enabled")),
        }
    }

    fn plan(now: &Session, _: &Ask<'_, NoParams>) -> Plan<Session> {
        let note = match now.status {
            Enabled => return Plan::Compliant,
            Absent => "undo pauses Macie, and does not disable it: its findings and settings would be lost",
            Paused => "jobs that were paused with it go on",
        };
        let to = Session { status: Enabled };
        Plan::Change(Proposal { to, risk: Risk::Cost, notes: vec![note.to_owned()] })
    }

    async fn apply(aws: &Aws, _: &RegionOfAccount, change: &Change<Session>) -> Result<()> {
        if change.from.status == Absent {
            // Where a run before this one has come so far, Macie answers with a conflict, and what is there is seen
            // when it is read again.
            aws.macie2().enable_macie().status(MacieStatus::Enabled).send().await?;
            return Ok(());
        }
        let status = if change.to.status == Enabled { MacieStatus::Enabled } else { MacieStatus::Paused };
        aws.macie2().update_macie_session().status(status).send().await?;
        Ok(())
    }

    fn undo(change: &Change<Session>, now: &Session) -> Undo<Session> {
        if now.status != Enabled || change.from.status == Enabled {
            return Undo::Nothing;
        }
        let notes = match change.from.status {
            Absent => vec!["Macie is paused, not disabled".to_owned()],
            _ => Vec::new(),
        };
        Undo::To { to: Session { status: Paused }, notes }
    }
}

/// Macie gives one code to whoever may not ask and to whoever asks before it is enabled; only the text tells them
/// apart, and that of a missing permission names the action:
/// <https://docs.aws.amazon.com/macie/latest/APIReference/macie.html>.
fn is_not_enabled(error: &Error) -> bool {
    error.code.as_deref() == Some("AccessDeniedException")
        && error.message.starts_with("AccessDeniedException: Macie is not enabled")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remediator::test::ask;

    #[test]
    fn turns_on_what_is_not_and_never_disables() {
        let state = |status| Session { status };
        let plan = |status| TurnOnSession::plan(&state(status), &ask("Macie.1", &NoParams {}));
        assert_eq!(plan(Enabled), Plan::Compliant);
        for status in [Absent, Paused] {
            assert!(matches!(plan(status), Plan::Change(change) if change.to == state(Enabled)));
            let change = Change { from: state(status), to: state(Enabled) };
            let undo = |now| TurnOnSession::undo(&change, &state(now));
            assert!(matches!(undo(Enabled), Undo::To { to, .. } if to == state(Paused)));
            assert_eq!(undo(Paused), Undo::Nothing);
            assert_eq!(undo(Absent), Undo::Nothing);
        }
    }

    #[test]
    fn a_missing_permission_is_not_taken_for_a_missing_macie() {
        let error = |code: &str, message: &str| Error {
            code: Some(code.to_owned()),
            ..Error::new(ErrorKind::Denied, format!("{code}: {message}"))
        };
        assert!(is_not_enabled(&error("AccessDeniedException", "Macie is not enabled")));
        for (code, message) in [
            (
                "AccessDeniedException",
                "User: arn:aws:sts::1:assumed-role/r/Macie is not enabled is not authorized to perform: \
                 macie2:GetMacieSession",
            ),
            ("AccessDeniedException", ""),
            ("ValidationException", "Macie is not enabled"),
        ] {
            assert!(!is_not_enabled(&error(code, message)), "{message}");
        }
    }
}
