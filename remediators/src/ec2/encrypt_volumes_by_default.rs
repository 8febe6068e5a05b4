//! Turns on the encryption of new EBS volumes.

use crate::{account::RegionOfAccount, prelude::*, remediator::Proposal};

pub(crate) struct EncryptVolumesByDefault;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct DefaultEncryption {
    enabled: bool,
}

impl Remediator for EncryptVolumesByDefault {
    const SPEC: Spec = Spec {
        name: "ec2.encrypt_volumes_by_default",
        version: 1,
        controls: &["EC2.7"],
        risk: Risk::Access,
        what: "Turns on encryption by default for EBS in this Region of the account: every volume and copy of a \
               snapshot that is made from now on is encrypted, with the key that the account has set for that, \
               else with `aws/ebs`. Volumes and snapshots that exist stay as they are.",
        who_notices: "Whoever launches instances of the oldest types (C1, M1, M2, T1), which take no encrypted \
                      volume: their launch fails. Whoever shares snapshots or images of new volumes: with the key \
                      `aws/ebs` they can't be shared with another account, and no encrypted snapshot can be \
                      public. Where the account has set a key of its own, launches need leave to use it.",
        way_back: "Turns encryption by default off again. What was encrypted meanwhile stays encrypted.",
        reads: &[Action::new("ec2:GetEbsEncryptionByDefault", On::Region)],
        writes: &[Action::new("ec2:EnableEbsEncryptionByDefault", On::Region)],
        undo: &[Action::new("ec2:DisableEbsEncryptionByDefault", On::Region)],
        implied: &[],
    };
    type Resource = RegionOfAccount;
    type Params = NoParams;
    type State = DefaultEncryption;

    async fn observe(aws: &Aws, _: &RegionOfAccount) -> Result<DefaultEncryption> {
        let found = aws.ec2().get_ebs_encryption_by_default().send().await?;
        let enabled = found.ebs_encryption_by_default.ok_or_else(|| {
            Error::new(
                ErrorKind::Transient,
                "the answer does not say whether volumes are encrypted by default",
            )
        })?;
        Ok(DefaultEncryption { enabled })
    }

    fn plan(now: &DefaultEncryption, _: &Ask<'_, NoParams>) -> Plan<DefaultEncryption> {
        if now.enabled {
            return Plan::Compliant;
        }
        // What can't be launched or shared any more:
        // https://docs.aws.amazon.com/ebs/latest/userguide/encryption-by-default.html
        let notes = vec![
            "it holds for volumes to come; those that exist are not encrypted by it".to_owned(),
            "instances of the types C1, M1, M2 and T1 can't be launched any more, and snapshots of new volumes \
             can't be public"
                .to_owned(),
        ];
        Plan::Change(Proposal { to: DefaultEncryption { enabled: true }, risk: Risk::Access, notes })
    }

    async fn apply(aws: &Aws, _: &RegionOfAccount, change: &Change<DefaultEncryption>) -> Result<()> {
        if change.to.enabled {
            aws.ec2().enable_ebs_encryption_by_default().send().await?;
        } else {
            aws.ec2().disable_ebs_encryption_by_default().send().await?;
        }
        Ok(())
    }

    fn undo(change: &Change<DefaultEncryption>, now: &DefaultEncryption) -> Undo<DefaultEncryption> {
        if *now == change.from {
            return Undo::Nothing;
        }
        let notes = vec!["volumes that were encrypted meanwhile stay encrypted".to_owned()];
        Undo::To { to: change.from.clone(), notes }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::remediator::test::ask;

    const ON: DefaultEncryption = DefaultEncryption { enabled: true };
    const OFF: DefaultEncryption = DefaultEncryption { enabled: false };

    #[test]
    fn turns_it_on_and_says_what_that_means() {
        let plan = |now| EncryptVolumesByDefault::plan(now, &ask("EC2.7", &NoParams {}));
        assert_eq!(plan(&ON), Plan::Compliant);
        let Plan::Change(change) = plan(&OFF) else { panic!("no change") };
        assert_eq!((change.to, change.risk), (ON, Risk::Access));
        assert!(change.notes[1].contains("T1"), "{:?}", change.notes);
    }

    #[test]
    fn goes_back() {
        let change = Change { from: OFF, to: ON };
        let Undo::To { to, notes } = EncryptVolumesByDefault::undo(&change, &ON) else {
            panic!("no way back")
        };
        assert_eq!(to, OFF);
        assert!(notes[0].contains("stay encrypted"));
        assert_eq!(EncryptVolumesByDefault::undo(&change, &OFF), Undo::Nothing);
    }

    #[test]
    fn records_of_its_state_stay_readable() {
        assert_eq!(serde_json::to_string(&ON).unwrap(), r#"{"enabled":true}"#);
        assert_eq!(serde_json::from_str::<DefaultEncryption>(r#"{"enabled":false}"#).unwrap(), OFF);
    }
}
