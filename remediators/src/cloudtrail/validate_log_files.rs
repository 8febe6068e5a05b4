//! Turns on a trail's log file validation.

use super::trail::{Trail, of_organization};
use crate::prelude::*;

pub(crate) struct ValidateLogFiles;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Validation {
    validated: bool,
    /// Whether it is an organization's trail. Read, never altered.
    #[serde(default)]
    organization: bool,
}

impl Remediator for ValidateLogFiles {
    const SPEC: Spec = Spec {
        name: "cloudtrail.validate_log_files",
        version: 1,
        controls: &["CloudTrail.4"],
        risk: Risk::Cost,
        what: "Turns on log file validation: every hour CloudTrail writes a signed digest of the log files, by which \
               anybody can prove that none was changed or deleted. Nothing else of the trail changes.",
        who_notices: "The bill, by the storage of one small file an hour. The trail's bucket must let CloudTrail \
                      write below `CloudTrail-Digest`, as the policy that AWS documents does. The trail of an \
                      organization is refused.",
        way_back: "Turns it off; the digests stay. Log files of that time can't be validated later.",
        reads: &[Action::new("cloudtrail:GetTrail", On::Resource)],
        writes: &[Action::new("cloudtrail:UpdateTrail", On::Resource)],
        undo: &[],
        implied: &[],
    };
    type Resource = Trail;
    type Params = NoParams;
    type State = Validation;

    async fn observe(aws: &Aws, at: &Trail) -> Result<Validation> {
        let trail = at.find(aws).await?;
        Ok(Validation {
            validated: trail.log_file_validation_enabled().unwrap_or(false),
            organization: trail.is_organization_trail().unwrap_or(false),
        })
    }

    fn plan(now: &Validation, _: &Ask<'_, NoParams>) -> Plan<Validation> {
        if now.validated {
            return Plan::Compliant;
        }
        match of_organization(now.organization) {
            Some(why) => Plan::Refuse(why),
            None => Plan::change(Validation { validated: true, ..now.clone() }, Risk::Cost),
        }
    }

    async fn apply(aws: &Aws, at: &Trail, change: &Change<Validation>) -> Result<()> {
        // What is left out stays as it is:
        // https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-log-file-validation-enabling.html
        let request = aws.cloudtrail().update_trail().name(&at.arn);
        request.enable_log_file_validation(change.to.validated).send().await?;
        Ok(())
    }

    fn undo(change: &Change<Validation>, now: &Validation) -> Undo<Validation> {
        if now.validated == change.from.validated {
            return Undo::Nothing;
        }
        Undo::To {
            to: Validation { validated: change.from.validated, ..now.clone() },
            notes: vec!["log files from now on can't be validated".to_owned()],
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic, reason = "a test fails by panicking")]
    use super::*;
    use crate::remediator::test::ask;

    #[test]
    fn validation_comes_on_and_goes_back() {
        let state = |validated, organization| Validation { validated, organization };
        let plan = |now: &Validation| ValidateLogFiles::plan(now, &ask("CloudTrail.4", &NoParams {}));
        assert_eq!(plan(&state(true, false)), Plan::Compliant);
        assert_eq!(plan(&state(true, true)), Plan::Compliant);
        assert!(matches!(plan(&state(false, true)), Plan::Refuse(why) if why.contains("organization")));
        let Plan::Change(change) = plan(&state(false, false)) else { panic!("no change") };
        let change: Change<Validation> = Change { from: state(false, false), to: change.to };
        assert_eq!(change.to, state(true, false));
        let undo = |now| ValidateLogFiles::undo(&change, &now);
        assert!(matches!(undo(state(true, false)), Undo::To { to, .. } if to == change.from));
        assert_eq!(undo(state(false, false)), Undo::Nothing);
    }
}
