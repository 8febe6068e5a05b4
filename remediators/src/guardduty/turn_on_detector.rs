//! Turns on `GuardDuty` in one Region of an account.

use aws_sdk_guardduty::types::DetectorStatus;

use self::Status::{Absent, Enabled, Suspended};
use super::detector::{self, DETECTOR};
use crate::{Implied, account::RegionOfAccount, prelude::*, remediator::Proposal};

pub(crate) struct TurnOnDetector;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Detector {
    status: Status,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    /// There is none.
    Absent,
    Suspended,
    Enabled,
}

const MALWARE_PROTECTION: On = On::Arn(
    "arn:{partition}:iam::{account}:role/aws-service-role/malware-protection.guardduty.amazonaws.com/AWSServiceRoleForAmazonGuardDutyMalwareProtection",
);

impl Remediator for TurnOnDetector {
    const SPEC: Spec = Spec {
        name: "guardduty.turn_on_detector",
        version: 1,
        controls: &["GuardDuty.1"],
        risk: Risk::Cost,
        what: "Creates the account's GuardDuty detector in this Region, with the protection plans that AWS turns on by \
               itself; or enables it again where it is suspended, with all of its settings as they are.",
        who_notices: "The bill: GuardDuty is charged by the events and logs it analyses, after 30 days of trial in a \
                      Region that never had it. Whoever receives its findings gets more of them. No workload \
                      notices.",
        way_back: "Suspends the detector: it watches nothing and costs nothing, and keeps its findings and settings. A \
                   detector that was created is not deleted, since all of its findings would be lost with it: that \
                   is left to a person.",
        reads: &[
            Action::new("guardduty:ListDetectors", On::Region),
            Action::new("guardduty:GetDetector", DETECTOR),
        ],
        writes: &[
            Action::new("guardduty:CreateDetector", On::Region),
            Action::new("guardduty:UpdateDetector", DETECTOR),
        ],
        undo: &[],
        implied: &[
            Implied {
                action: Action::new(
                    "iam:CreateServiceLinkedRole",
                    On::Arn(
                        "arn:{partition}:iam::{account}:role/aws-service-role/guardduty.amazonaws.com/AWSServiceRoleForAmazonGuardDuty",
                    ),
                ),
                why: "GuardDuty makes its service-linked role with the first detector of an account: \
                      https://docs.aws.amazon.com/guardduty/latest/ug/slr-permissions.html",
            },
            Implied {
                action: Action::new("iam:CreateServiceLinkedRole", MALWARE_PROTECTION),
                why: "a new detector has Malware Protection on, which makes a service-linked role of its own: \
                      https://docs.aws.amazon.com/guardduty/latest/ug/slr-permissions-malware-protection.html",
            },
            Implied {
                action: Action::new("iam:GetRole", MALWARE_PROTECTION),
                why: "GuardDuty looks with the caller's permissions whether that role is there: \
                      https://docs.aws.amazon.com/guardduty/latest/ug/security-iam-awsmanpol.html",
            },
        ],
    };
    type Resource = RegionOfAccount;
    type Params = NoParams;
    type State = Detector;

    async fn observe(aws: &Aws, _: &RegionOfAccount) -> Result<Detector> {
        let Some(id) = detector::find(aws).await? else { return Ok(Detector { status: Absent }) };
        let found = aws.guardduty().get_detector().detector_id(id).send().await?;
        match found.status {
            Some(DetectorStatus::Enabled) => Ok(Detector { status: Enabled }),
            Some(DetectorStatus::Disabled) => Ok(Detector { status: Suspended }),
            _ => {
                Err(Error::new(ErrorKind::Invalid, "the answer does not say whether the detector is enabled"))
            }
        }
    }

    fn plan(now: &Detector, _: &Ask<'_, NoParams>) -> Plan<Detector> {
        let note = match now.status {
            Enabled => return Plan::Compliant,
            Absent => "undo suspends the detector, and does not delete it: its findings would be lost",
            Suspended => "it watches with the settings that it had when it was suspended",
        };
        let to = Detector { status: Enabled };
        Plan::Change(Proposal { to, risk: Risk::Cost, notes: vec![note.to_owned()] })
    }

    async fn apply(aws: &Aws, _: &RegionOfAccount, change: &Change<Detector>) -> Result<()> {
        let enable = change.to.status == Enabled;
        if let Some(id) = detector::find(aws).await? {
            aws.guardduty().update_detector().detector_id(id).enable(enable).send().await?;
        } else if enable {
            // The SDK sends a client token of its own, the same with each attempt: an answer that was lost does
            // not lead to a second detector.
            aws.guardduty().create_detector().enable(true).send().await?;
        }
        Ok(())
    }

    fn undo(change: &Change<Detector>, now: &Detector) -> Undo<Detector> {
        if now.status != Enabled || change.from.status == Enabled {
            return Undo::Nothing;
        }
        let notes = match change.from.status {
            Absent => vec!["the detector is suspended, not deleted".to_owned()],
            _ => Vec::new(),
        };
        Undo::To { to: Detector { status: Suspended }, notes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remediator::test::ask;

    #[test]
    fn turns_on_what_is_not_and_never_deletes() {
        let state = |status| Detector { status };
        let plan = |status| TurnOnDetector::plan(&state(status), &ask("GuardDuty.1", &NoParams {}));
        assert_eq!(plan(Enabled), Plan::Compliant);
        for status in [Absent, Suspended] {
            assert!(matches!(plan(status), Plan::Change(change) if change.to == state(Enabled)));
            let change = Change { from: state(status), to: state(Enabled) };
            let undo = |now| TurnOnDetector::undo(&change, &state(now));
            assert!(matches!(undo(Enabled), Undo::To { to, .. } if to == state(Suspended)));
            assert_eq!(undo(Suspended), Undo::Nothing);
            assert_eq!(undo(Absent), Undo::Nothing);
        }
    }
}
