//! Has `ElastiCache` upgrade a cluster to new minor versions by itself.

use aws_sdk_elasticache::types::{PendingModifiedValues, ReplicationGroupPendingModifiedValues};

use super::cluster::Cluster;
use crate::{prelude::*, remediator::Proposal};

pub(crate) struct UpgradeMinorVersions;

const GROUPS: On = On::Arn("arn:{partition}:elasticache:{region}:{account}:replicationgroup:*");

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Upgrades {
    on: bool,
    /// The replication group that the cluster is a member of. Read, never altered.
    #[serde(default)]
    group: Option<String>,
    /// The member of the group that stands for it, where that is another one. Read, never altered.
    #[serde(default)]
    deputy: Option<String>,
    /// The Global Datastore that the group is a member of. Read, never altered.
    #[serde(default)]
    global: Option<String>,
    /// Such as `redis` or `memcached`. Read, never altered.
    #[serde(default)]
    engine: String,
    /// Read, never altered.
    #[serde(default)]
    version: String,
    /// Whether other modifications wait for the maintenance window. Read, never altered.
    #[serde(default)]
    pending: bool,
    /// The status that has to be ended before anything can be changed. Read, never altered.
    #[serde(default)]
    unfit: Option<String>,
}

impl Remediator for UpgradeMinorVersions {
    const SPEC: Spec = Spec {
        name: "elasticache.upgrade_minor_versions",
        version: 1,
        controls: &["ElastiCache.2"],
        risk: Risk::Downtime,
        what: "Turns on automatic minor version upgrades. The setting of a cluster in a replication group is the \
               group's, and holds for all of its members: only the finding of the first of them, by name, is acted \
               on, so that one resource has its exemption, its hold and its history. A group in a Global Datastore \
               is refused. Nothing is upgraded by the change itself: from now on \
               ElastiCache does it in the maintenance window, when there is a new minor version.",
        who_notices: "Clients, in a maintenance window to come: an upgrade fails over or restarts nodes, and a \
                      cluster of one node without a replica loses what it holds. Whoever keeps to one version on \
                      purpose finds another.",
        way_back: "Turns automatic upgrades off, for the whole group where there is one. An upgrade that has \
                   taken place stays.",
        reads: &[Action::new("elasticache:DescribeReplicationGroups", GROUPS)],
        writes: &[
            Action::new("elasticache:ModifyCacheCluster", On::Resource),
            // The group's name stands in no finding.
            Action::new("elasticache:ModifyReplicationGroup", GROUPS),
        ],
        undo: &[],
        implied: &[],
    };
    type Resource = Cluster;
    type Params = NoParams;
    type State = Upgrades;

    async fn observe(aws: &Aws, at: &Cluster) -> Result<Upgrades> {
        let found = at.describe(aws).await?;
        let mut status = unfit(found.cache_cluster_status().ok_or_else(|| Error::unsaid("its status"))?)?;
        let mut pending = found.pending_modified_values.is_some_and(waits);
        let group = found.replication_group_id.filter(|name| !name.is_empty());
        let (mut deputy, mut global) = (None, None);
        if let Some(name) = &group {
            let groups =
                aws.elasticache().describe_replication_groups().replication_group_id(name).send().await?;
            let named = groups
                .replication_groups
                .unwrap_or_default()
                .into_iter()
                .find(|one| one.replication_group_id() == Some(name))
                .ok_or_else(|| Error::unsaid("what the cluster's replication group is like"))?;
            let of_group = unfit(named.status().ok_or_else(|| Error::unsaid("the group's status"))?)?;
            status = status.or(of_group);
            pending |= named.pending_modified_values.is_some_and(waits_in_group);
            let members = named.member_clusters.unwrap_or_default();
            let first = members.into_iter().min().ok_or_else(|| Error::unsaid("the group's members"))?;
            deputy = Some(first).filter(|first| *first != at.name);
            let datastore = named.global_replication_group_info;
            global = datastore.and_then(|info| info.global_replication_group_id).filter(|id| !id.is_empty());
        }
        Ok(Upgrades {
            on: found.auto_minor_version_upgrade.ok_or_else(|| Error::unsaid("whether upgrades are on"))?,
            group,
            deputy,
            global,
            engine: found.engine.unwrap_or_default(),
            version: found.engine_version.unwrap_or_default(),
            pending,
            unfit: status,
        })
    }

    fn plan(now: &Upgrades, _: &Ask<'_, NoParams>) -> Plan<Upgrades> {
        if now.on {
            return Plan::Compliant;
        }
        if let (Some(group), Some(deputy)) = (&now.group, &now.deputy) {
            return Plan::Refuse(format!(
                "the setting is replication group `{}`'s, for which the finding of its member `{}` stands",
                shown(group),
                shown(deputy)
            ));
        }
        if let Some(against) = against(now) {
            return Plan::Refuse(against);
        }
        // https://docs.aws.amazon.com/AmazonElastiCache/latest/APIReference/API_ModifyCacheCluster.html
        // (AutoMinorVersionUpgrade)
        if !has_campaigns(&now.engine, &now.version) {
            return Plan::Refuse(format!(
                "`{}` {} has no automatic upgrades: Valkey has them, and Redis OSS from version 6.0 on",
                now.engine.escape_debug(),
                now.version.escape_debug()
            ));
        }
        let mut notes = vec!["an upgrade fails over or restarts nodes, in a maintenance window".to_owned()];
        if let Some(group) = &now.group {
            let group = group.escape_debug();
            notes
                .push(format!("the setting is replication group `{group}`'s, and holds for all its members"));
        }
        Plan::Change(Proposal { to: Upgrades { on: true, ..now.clone() }, risk: Risk::Downtime, notes })
    }

    async fn apply(aws: &Aws, at: &Cluster, change: &Change<Upgrades>) -> Result<()> {
        // `ApplyImmediately` takes every other modification that waits with it; there is none, or it was refused.
        match &change.to.group {
            None => {
                let request = aws.elasticache().modify_cache_cluster().cache_cluster_id(&at.name);
                request.auto_minor_version_upgrade(change.to.on).apply_immediately(true).send().await?;
            }
            Some(group) => {
                let request = aws.elasticache().modify_replication_group().replication_group_id(group);
                request.auto_minor_version_upgrade(change.to.on).apply_immediately(true).send().await?;
            }
        }
        Ok(())
    }

    fn undo(change: &Change<Upgrades>, now: &Upgrades) -> Undo<Upgrades> {
        if now.on == change.from.on {
            return Undo::Nothing;
        }
        if now.group != change.to.group {
            return Undo::Refuse("it is no longer in the replication group that it was in".to_owned());
        }
        match against(now) {
            Some(against) => Undo::Refuse(against),
            None => Undo::To {
                to: Upgrades { on: change.from.on, ..now.clone() },
                notes: vec!["an upgrade that has taken place meanwhile stays".to_owned()],
            },
        }
    }
}

/// Why nothing is changed now.
fn against(now: &Upgrades) -> Option<String> {
    if let Some(status) = &now.unfit {
        return Some(format!("it is `{}`: ElastiCache changes only what is available", shown(status)));
    }
    if let Some(datastore) = &now.global {
        return Some(format!(
            "it is in Global Datastore `{}`: ElastiCache does not change the setting of its members",
            shown(datastore)
        ));
    }
    let waiting = "other modifications are pending: `ApplyImmediately` would make them all".to_owned();
    now.pending.then_some(waiting)
}

/// Whether something waits. A list without members is what AWS answers where nothing does.
fn waits(mut pending: PendingModifiedValues) -> bool {
    pending.cache_node_ids_to_remove = pending.cache_node_ids_to_remove.filter(|list| !list.is_empty());
    pending.log_delivery_configurations = pending.log_delivery_configurations.filter(|list| !list.is_empty());
    pending != PendingModifiedValues::builder().build()
}

fn waits_in_group(mut pending: ReplicationGroupPendingModifiedValues) -> bool {
    pending.log_delivery_configurations = pending.log_delivery_configurations.filter(|list| !list.is_empty());
    pending != ReplicationGroupPendingModifiedValues::builder().build()
}

fn has_campaigns(engine: &str, version: &str) -> bool {
    let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    match engine {
        "valkey" => true,
        "redis" => major.is_some_and(|major| major >= 6),
        _ => false,
    }
}

/// Whether a cluster in this status can be changed: `None` if so, else the status that has to be ended first.
/// <https://docs.aws.amazon.com/AmazonElastiCache/latest/APIReference/API_CacheCluster.html>
/// (`CacheClusterStatus`)
fn unfit(status: &str) -> Result<Option<String>> {
    match status {
        "available" => Ok(None),
        "creating"
        | "modifying"
        | "rebooting cache cluster nodes"
        | "rebooting cluster nodes"
        | "snapshotting" => {
            let why = format!("it is `{status}`, and can't be changed before that is over");
            Err(Error::new(ErrorKind::Transient, why))
        }
        "deleting" | "deleted" => Err(Error::new(ErrorKind::NotFound, format!("it is `{status}`"))),
        other => Ok(Some(other.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
    use super::*;
    use crate::remediator::test::ask;

    fn upgrades(on: bool) -> Upgrades {
        Upgrades {
            on,
            group: None,
            deputy: None,
            global: None,
            engine: "redis".to_owned(),
            version: "7.1.0".to_owned(),
            pending: false,
            unfit: None,
        }
    }

    fn plan(now: &Upgrades) -> Plan<Upgrades> {
        UpgradeMinorVersions::plan(now, &ask("ElastiCache.2", &NoParams {}))
    }

    #[test]
    fn what_is_off_is_turned_on_where_it_can_be() {
        let Plan::Change(change) = plan(&upgrades(false)) else { panic!("no change") };
        assert_eq!((change.to, change.risk), (upgrades(true), Risk::Downtime));
        let refused = [
            Upgrades { pending: true, ..upgrades(false) },
            Upgrades { unfit: Some("incompatible-network".to_owned()), ..upgrades(false) },
            Upgrades { engine: "memcached".to_owned(), ..upgrades(false) },
            Upgrades { version: "5.0.6".to_owned(), ..upgrades(false) },
            Upgrades { group: Some("g".to_owned()), deputy: Some("a".to_owned()), ..upgrades(false) },
            Upgrades { group: Some("g".to_owned()), global: Some("ldgnf-g".to_owned()), ..upgrades(false) },
        ];
        for now in refused {
            assert!(matches!(plan(&now), Plan::Refuse(_)), "{now:?}");
            assert_eq!(plan(&Upgrades { on: true, ..now }), Plan::Compliant);
        }
    }

    #[test]
    fn what_waits_is_more_than_an_empty_list() {
        let none = PendingModifiedValues::builder();
        assert!(!waits(none.clone().build()));
        assert!(!waits(none.clone().set_cache_node_ids_to_remove(Some(Vec::new())).build()));
        assert!(waits(none.cache_node_type("cache.r7g.large").build()));
    }

    #[test]
    fn a_status_passes_or_has_to_be_ended() {
        assert_eq!(unfit("available").unwrap(), None);
        assert_eq!(unfit("snapshotting").unwrap_err().kind, ErrorKind::Transient);
        assert_eq!(unfit("deleting").unwrap_err().kind, ErrorKind::NotFound);
        assert_eq!(unfit("restore-failed").unwrap().as_deref(), Some("restore-failed"));
    }

    #[test]
    fn undo_looks_at_the_setting_and_at_whose_it_is() {
        let change = Change { from: upgrades(false), to: upgrades(true) };
        let undo = |now: &Upgrades| UpgradeMinorVersions::undo(&change, now);
        assert_eq!(undo(&upgrades(false)), Undo::Nothing);
        let upgraded = Upgrades { version: "7.2.0".to_owned(), ..upgrades(true) };
        assert!(matches!(undo(&upgraded), Undo::To { to, .. } if !to.on && to.version == "7.2.0"));
        assert!(matches!(undo(&Upgrades { pending: true, ..upgrades(true) }), Undo::Refuse(_)));
        assert!(matches!(undo(&Upgrades { group: Some("x".to_owned()), ..upgrades(true) }), Undo::Refuse(_)));
    }
}
