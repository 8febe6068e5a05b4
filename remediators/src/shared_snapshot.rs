//! Snapshots that everybody may restore: those of EBS volumes and of databases are shared alike.

use crate::{prelude::*, remediator::Proposal};

/// Whether everybody may copy a snapshot and restore it. The accounts that it is shared with by their numbers are no
/// part of it, and stay.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sharing {
    pub(crate) public: bool,
}

pub(crate) fn plan(now: &Sharing) -> Plan<Sharing> {
    if !now.public {
        return Plan::Compliant;
    }
    Plan::Change(Proposal {
        to: Sharing { public: false },
        risk: Risk::Access,
        notes: vec![
            "whoever has copied or restored the snapshot keeps what they have".to_owned(),
            "accounts that it is shared with by their numbers keep their access".to_owned(),
        ],
    })
}

pub(crate) fn undo(change: &Change<Sharing>, now: &Sharing) -> Undo<Sharing> {
    if now.public == change.from.public {
        return Undo::Nothing;
    }
    Undo::To {
        to: change.from.clone(),
        notes: vec!["everybody can copy and restore the snapshot again".to_owned()],
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
    use super::*;

    const PUBLIC: Sharing = Sharing { public: true };
    const PRIVATE: Sharing = Sharing { public: false };

    #[test]
    fn only_what_everybody_may_restore_is_changed() {
        assert_eq!(plan(&PRIVATE), Plan::Compliant);
        let Plan::Change(change) = plan(&PUBLIC) else { panic!("no change") };
        assert_eq!((change.to, change.risk), (PRIVATE, Risk::Access));
    }

    #[test]
    fn undo_shares_again_what_was_shared() {
        let change = Change { from: PUBLIC, to: PRIVATE };
        assert_eq!(undo(&change, &PUBLIC), Undo::Nothing);
        assert!(matches!(undo(&change, &PRIVATE), Undo::To { to: PUBLIC, .. }));
    }

    /// Records are read for years.
    #[test]
    fn the_state_is_a_format() {
        assert_eq!(serde_json::to_string(&PUBLIC).unwrap(), r#"{"public":true}"#);
    }
}
