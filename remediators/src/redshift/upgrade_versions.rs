//! Has Redshift upgrade a cluster to new versions by itself.

use super::cluster::{Cluster, refusal, unfit};
use crate::{prelude::*, remediator::Proposal};

pub(crate) struct UpgradeVersions;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Upgrades {
    allowed: bool,
    /// The status that has to be ended before anything can be changed, such as `paused`. Read, never altered.
    #[serde(default)]
    unfit: Option<String>,
}

impl Remediator for UpgradeVersions {
    const SPEC: Spec = Spec {
        name: "redshift.upgrade_versions",
        version: 1,
        controls: &["Redshift.6"],
        risk: Risk::Downtime,
        what: "Allows version upgrades, major ones included. Nothing is upgraded by the change itself: from now \
               on Redshift does it in the cluster's maintenance window, when there is a new version on its track.",
        who_notices: "Users of the cluster, in a maintenance window to come: an upgrade restarts it, and queries \
                      that run are ended. Whoever keeps to one version on purpose finds another.",
        way_back: "Forbids upgrades again. An upgrade that has taken place stays.",
        reads: &[],
        writes: &[Action::new("redshift:ModifyCluster", On::Resource)],
        undo: &[],
        implied: &[],
    };
    type Resource = Cluster;
    type Params = NoParams;
    type State = Upgrades;

    async fn observe(aws: &Aws, at: &Cluster) -> Result<Upgrades> {
        let found = at.describe(aws).await?;
        Ok(Upgrades {
            allowed: found
                .allow_version_upgrade
                .ok_or_else(|| Error::unsaid("whether upgrades are allowed"))?,
            unfit: unfit(found.cluster_status())?,
        })
    }

    fn plan(now: &Upgrades, _: &Ask<'_, NoParams>) -> Plan<Upgrades> {
        if now.allowed {
            return Plan::Compliant;
        }
        if let Some(status) = &now.unfit {
            return Plan::Refuse(refusal(status));
        }
        let to = Upgrades { allowed: true, ..now.clone() };
        let notes = vec![
            "a version that is out already is installed in the next maintenance window, with a restart"
                .to_owned(),
        ];
        Plan::Change(Proposal { to, risk: Risk::Downtime, notes })
    }

    async fn apply(aws: &Aws, at: &Cluster, change: &Change<Upgrades>) -> Result<()> {
        // No other setting is named, and Redshift defers none: there is nothing that this could take with it.
        let request = aws.redshift().modify_cluster().cluster_identifier(&at.name);
        request.allow_version_upgrade(change.to.allowed).send().await?;
        Ok(())
    }

    fn undo(change: &Change<Upgrades>, now: &Upgrades) -> Undo<Upgrades> {
        if now.allowed == change.from.allowed {
            return Undo::Nothing;
        }
        match &now.unfit {
            Some(status) => Undo::Refuse(refusal(status)),
            None => Undo::To {
                to: Upgrades { allowed: change.from.allowed, ..now.clone() },
                notes: vec!["an upgrade that has taken place meanwhile stays".to_owned()],
            },
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
    use super::*;
    use crate::remediator::test::ask;

    fn upgrades(allowed: bool, unfit: Option<&str>) -> Upgrades {
        Upgrades { allowed, unfit: unfit.map(str::to_owned) }
    }

    #[test]
    fn what_is_forbidden_is_allowed_where_it_can_be() {
        let plan = |now: &Upgrades| UpgradeVersions::plan(now, &ask("Redshift.6", &NoParams {}));
        let Plan::Change(change) = plan(&upgrades(false, None)) else { panic!("no change") };
        assert_eq!((change.to, change.risk), (upgrades(true, None), Risk::Downtime));
        assert_eq!(plan(&upgrades(true, Some("paused"))), Plan::Compliant);
        assert!(
            matches!(plan(&upgrades(false, Some("paused"))), Plan::Refuse(why) if why.contains("`paused`"))
        );
    }

    #[test]
    fn a_status_passes_or_has_to_be_ended() {
        assert_eq!(unfit(Some("available")).unwrap(), None);
        assert_eq!(unfit(Some("resizing")).unwrap_err().kind, ErrorKind::Transient);
        assert_eq!(unfit(Some("deleting")).unwrap_err().kind, ErrorKind::NotFound);
        assert_eq!(unfit(Some("paused")).unwrap().as_deref(), Some("paused"));
    }

    #[test]
    fn undo_looks_at_the_setting_alone() {
        let change = Change { from: upgrades(false, None), to: upgrades(true, None) };
        assert_eq!(UpgradeVersions::undo(&change, &upgrades(false, Some("paused"))), Undo::Nothing);
        assert!(matches!(UpgradeVersions::undo(&change, &upgrades(true, None)), Undo::To { .. }));
        assert!(matches!(UpgradeVersions::undo(&change, &upgrades(true, Some("paused"))), Undo::Refuse(_)));
    }
}
