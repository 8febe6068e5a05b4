//! Blocks the public sharing of EBS snapshots.

use aws_sdk_ec2::types::{ManagedBy, SnapshotBlockPublicAccessState as Block};

use self::Sharing::{AllBlocked, NewBlocked, Unblocked};
use super::snapshot_sharing::SnapshotSharing;
use crate::{prelude::*, remediator::Proposal};

pub(crate) struct BlockPublicSnapshots;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct PublicSharing {
    state: Sharing,
    /// Whether an organization's policy keeps it, which the account can't overrule. Read, never altered.
    #[serde(default)]
    by_policy: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Sharing {
    Unblocked,
    /// What is public stays so.
    #[serde(rename = "block_new_sharing")]
    NewBlocked,
    #[serde(rename = "block_all_sharing")]
    AllBlocked,
}

impl Remediator for BlockPublicSnapshots {
    const SPEC: Spec = Spec {
        name: "ec2.block_public_snapshots",
        version: 1,
        controls: &["EC2.182"],
        risk: Risk::Access,
        what: "Blocks all public sharing of EBS snapshots in this Region of the account. Snapshots that are public \
               keep that mark in their permissions, and are treated as private; none can be made public any more.",
        who_notices: "Whoever makes volumes from a public snapshot of this account without being named in its \
                      permissions, and whoever wants to make one public. Accounts that a snapshot names keep it. \
                      Which snapshots are public is not looked at. Images are another setting.",
        way_back: "Puts back the setting as it was: what was public is public again.",
        reads: &[Action::new("ec2:GetSnapshotBlockPublicAccessState", On::Region)],
        writes: &[Action::new("ec2:EnableSnapshotBlockPublicAccess", On::Region)],
        undo: &[Action::new("ec2:DisableSnapshotBlockPublicAccess", On::Region)],
        implied: &[],
    };
    type Resource = SnapshotSharing;
    type Params = NoParams;
    type State = PublicSharing;

    async fn observe(aws: &Aws, _: &SnapshotSharing) -> Result<PublicSharing> {
        let found = aws.ec2().get_snapshot_block_public_access_state().send().await?;
        let state = match found.state {
            Some(Block::BlockAllSharing) => AllBlocked,
            Some(Block::BlockNewSharing) => NewBlocked,
            Some(Block::Unblocked) => Unblocked,
            other => {
                let state = other.as_ref().map_or("none", Block::as_str).escape_debug();
                let why = format!("the state of public sharing is `{state}`, which is none that is known");
                return Err(Error::new(ErrorKind::Invalid, why));
            }
        };
        // An answer that does not say who keeps it comes from before policies could.
        let by_policy = found.managed_by.is_some_and(|by| by != ManagedBy::Account);
        Ok(PublicSharing { state, by_policy })
    }

    fn plan(now: &PublicSharing, _: &Ask<'_, NoParams>) -> Plan<PublicSharing> {
        // `block-new-sharing` does not pass: "for all public sharing",
        // https://docs.aws.amazon.com/config/latest/developerguide/ebs-snapshot-block-public-access.html
        if now.state == AllBlocked {
            return Plan::Compliant;
        }
        // https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_GetSnapshotBlockPublicAccessState.html
        if now.by_policy {
            return Plan::Refuse(
                "a declarative policy of the organization keeps the setting: it can be changed there only"
                    .into(),
            );
        }
        let was = match now.state {
            NewBlocked => "only new sharing is blocked so far: ",
            _ => "",
        };
        let notes = vec![format!(
            "{was}snapshots that are public now are treated as private from now on, and would be public again \
             without the block"
        )];
        let to = PublicSharing { state: AllBlocked, ..now.clone() };
        Plan::Change(Proposal { to, risk: Risk::Access, notes })
    }

    async fn apply(aws: &Aws, _: &SnapshotSharing, change: &Change<PublicSharing>) -> Result<()> {
        let block = match change.to.state {
            Unblocked => {
                aws.ec2().disable_snapshot_block_public_access().send().await?;
                return Ok(());
            }
            NewBlocked => Block::BlockNewSharing,
            AllBlocked => Block::BlockAllSharing,
        };
        aws.ec2().enable_snapshot_block_public_access().state(block).send().await?;
        Ok(())
    }

    fn undo(change: &Change<PublicSharing>, now: &PublicSharing) -> Undo<PublicSharing> {
        if now.state == change.from.state {
            return Undo::Nothing;
        }
        if now.state != change.to.state {
            return Undo::Refuse("public sharing has been set otherwise since".to_owned());
        }
        if now.by_policy {
            return Undo::Refuse("a declarative policy of the organization keeps the block now".to_owned());
        }
        Undo::To {
            to: PublicSharing { state: change.from.state, ..now.clone() },
            notes: vec!["snapshots whose permissions say so are public again".to_owned()],
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::remediator::test::ask;

    fn state(state: Sharing, by_policy: bool) -> PublicSharing {
        PublicSharing { state, by_policy }
    }

    #[test]
    fn only_a_block_of_all_sharing_passes() {
        let plan = |now: &PublicSharing| BlockPublicSnapshots::plan(now, &ask("EC2.182", &NoParams {}));
        for by_policy in [false, true] {
            assert_eq!(plan(&state(AllBlocked, by_policy)), Plan::Compliant);
        }
        for from in [Unblocked, NewBlocked] {
            let Plan::Change(change) = plan(&state(from, false)) else { panic!("{from:?}") };
            assert_eq!(change.to, state(AllBlocked, false));
            assert_eq!(change.notes[0].contains("only new"), from == NewBlocked);
            assert!(matches!(plan(&state(from, true)), Plan::Refuse(why) if why.contains("policy")));
        }
    }

    #[test]
    fn goes_back_to_what_was() {
        for from in [Unblocked, NewBlocked] {
            let change = Change { from: state(from, false), to: state(AllBlocked, false) };
            let undo = |now: &PublicSharing| BlockPublicSnapshots::undo(&change, now);
            assert!(matches!(undo(&change.to), Undo::To { to, .. } if to == change.from));
            assert_eq!(undo(&change.from), Undo::Nothing);
            let other = if from == Unblocked { NewBlocked } else { Unblocked };
            assert!(matches!(undo(&state(other, false)), Undo::Refuse(_)));
            assert!(matches!(undo(&state(AllBlocked, true)), Undo::Refuse(why) if why.contains("policy")));
        }
    }

    #[test]
    fn records_of_its_state_stay_readable() {
        let stored = r#"{"state":"block_new_sharing","by_policy":false}"#;
        assert_eq!(serde_json::to_string(&state(NewBlocked, false)).unwrap(), stored);
        let first: PublicSharing = serde_json::from_str(r#"{"state":"unblocked"}"#).unwrap();
        assert_eq!(first, state(Unblocked, false));
    }
}
