//! Databases' settings, where winterbaume's RDS, Redshift and `ElastiCache` are not AWS's.
//!
//! It keeps few of them: here every setting in [`KINDS`] is what it was last made or modified with, from its
//! documented default on. What AWS defers to the maintenance window stands in `PendingModifiedValues` until a
//! modification with `ApplyImmediately`, which makes
//! [all of them at once](https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_ModifyInstance.ApplyImmediately.html).
//! What is not available can't be modified. Which logs are published is a list, of which a modification
//! [enables and disables members](https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_CloudwatchLogsExportConfiguration.html):
//! here at once, where AWS takes its time. A replication group names its clusters. One of them has the settings of the group, and
//! [only the group's can be modified](https://docs.aws.amazon.com/AmazonElastiCache/latest/APIReference/API_ModifyReplicationGroup.html). Snapshots have the attribute `restore`, and the errors of clusters
//! the codes that
//! [AWS gives them](https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_DescribeDBClusters.html).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Mutex;

use bytes::Bytes;
use http::Response;

use super::locked;
use super::others::Others;
use super::wire::{Form, Refusal, Request, Xml, element, request_id, respond, rewrite};

/// Something with settings.
struct Kind {
    service: &'static str,
    /// Its element in answers.
    entity: &'static str,
    id: &'static str,
    create: &'static str,
    modify: &'static str,
    describe: &'static str,
    status: &'static str,
    /// The error code where it is not available.
    busy: &'static str,
    /// What takes effect at once, with its default; `None` where the answer leaves it out until it is set.
    settings: &'static [(&'static str, Option<&'static str>)],
    /// What waits for the maintenance window.
    deferred: &'static [&'static str],
}

const KINDS: &[Kind] = &[
    Kind {
        service: "rds",
        entity: "DBInstance",
        id: "DBInstanceIdentifier",
        create: "CreateDBInstance",
        modify: "ModifyDBInstance",
        describe: "DescribeDBInstances",
        status: "DBInstanceStatus",
        busy: "InvalidDBInstanceState",
        settings: &[
            ("AutoMinorVersionUpgrade", Some("true")),
            ("CopyTagsToSnapshot", Some("false")),
            ("DeletionProtection", Some("false")),
            ("MonitoringInterval", Some("0")),
            ("MonitoringRoleArn", None),
            ("PubliclyAccessible", Some("false")),
        ],
        deferred: &["DBInstanceClass", "EngineVersion", "BackupRetentionPeriod"],
    },
    Kind {
        service: "rds",
        entity: "DBCluster",
        id: "DBClusterIdentifier",
        create: "CreateDBCluster",
        modify: "ModifyDBCluster",
        describe: "DescribeDBClusters",
        status: "Status",
        busy: "InvalidDBClusterStateFault",
        settings: &[("CopyTagsToSnapshot", Some("false")), ("DeletionProtection", Some("false"))],
        deferred: &["EngineVersion"],
    },
    Kind {
        service: "redshift",
        entity: "Cluster",
        id: "ClusterIdentifier",
        create: "CreateCluster",
        modify: "ModifyCluster",
        describe: "DescribeClusters",
        status: "ClusterStatus",
        busy: "InvalidClusterState",
        settings: &[
            ("AllowVersionUpgrade", Some("true")),
            ("AutomatedSnapshotRetentionPeriod", Some("1")),
            ("ManualSnapshotRetentionPeriod", Some("-1")),
        ],
        deferred: &[],
    },
    Kind {
        service: "elasticache",
        entity: "CacheCluster",
        id: "CacheClusterId",
        create: "CreateCacheCluster",
        modify: "ModifyCacheCluster",
        describe: "DescribeCacheClusters",
        status: "CacheClusterStatus",
        busy: "InvalidCacheClusterState",
        settings: &[("AutoMinorVersionUpgrade", Some("true"))],
        deferred: &["CacheNodeType", "EngineVersion"],
    },
    Kind {
        service: "elasticache",
        entity: "ReplicationGroup",
        id: "ReplicationGroupId",
        create: "CreateReplicationGroup",
        modify: "ModifyReplicationGroup",
        describe: "DescribeReplicationGroups",
        status: "Status",
        busy: "InvalidReplicationGroupState",
        settings: &[("AutoMinorVersionUpgrade", Some("true"))],
        deferred: &[],
    },
];

/// What names a cluster's replication group.
const GROUP: &str = "ReplicationGroupId";

/// The settings of one resource.
#[derive(Default)]
struct Settings {
    live: BTreeMap<&'static str, String>,
    pending: BTreeMap<&'static str, String>,
    /// The types of logs that are published.
    logs: BTreeSet<String>,
    /// The clusters of a replication group.
    members: BTreeSet<String>,
}

/// Service, Region, entity and name.
type Name = (String, String, &'static str, String);

/// Region, the operation's resource and name.
type Snapshot = (String, &'static str, String);

/// What is kept of one account.
#[derive(Default)]
pub(super) struct Databases {
    settings: Mutex<HashMap<Name, Settings>>,
    /// Who may restore a snapshot.
    restore: Mutex<HashMap<Snapshot, BTreeSet<String>>>,
}

impl Databases {
    /// The answer to a request to one of these services.
    pub(super) async fn answer(
        &self,
        others: &Others,
        request: &Request,
        operation: &str,
    ) -> Response<Bytes> {
        let kind = KINDS.iter().find(|kind| {
            kind.service == request.service
                && [kind.create, kind.modify].contains(&operation)
                && request.form.get(kind.id).is_some()
        });
        let mut response = match kind {
            Some(kind) if kind.modify == operation => self.modify(others, request, kind).await,
            Some(kind) => {
                let response = others.pass(request).await;
                if response.status().is_success() {
                    let logs = request.form.list("EnableCloudwatchLogsExports.member");
                    let logs = logs.into_iter().map(str::to_owned).collect();
                    let made = Settings { live: given(kind, &request.form), logs, ..Settings::default() };
                    let mut all = locked(&self.settings);
                    if let Some(group) = request.form.get(GROUP).filter(|_| kind.entity == "CacheCluster") {
                        let (service, region, _, cluster) = name(request, kind);
                        let group = (service, region, "ReplicationGroup", group.to_owned());
                        all.entry(group).or_default().members.insert(cluster);
                    }
                    all.insert(name(request, kind), made);
                }
                response
            }
            None if operation.contains("SnapshotAttribute") => {
                let response = others.pass(request).await;
                if response.status().is_success() { self.shared(request, operation) } else { response }
            }
            None => others.pass(request).await,
        };
        rewrite(&mut response, |text| {
            let text = text
                .replace("<Code>DBClusterNotFound</Code>", "<Code>DBClusterNotFoundFault</Code>")
                .replace(
                    "<Code>DBClusterSnapshotNotFound</Code>",
                    "<Code>DBClusterSnapshotNotFoundFault</Code>",
                );
            KINDS
                .iter()
                .filter(|kind| kind.service == request.service)
                .fold(text, |text, kind| self.complete(request, kind, &text))
        });
        response
    }

    async fn modify(&self, others: &Others, request: &Request, kind: &Kind) -> Response<Bytes> {
        let id = request.form.get(kind.id).unwrap_or_default();
        let found = others.ask(request, kind.describe, &[(kind.id, id)]).await;
        if !found.status().is_success() {
            return found;
        }
        let text = String::from_utf8_lossy(found.body()).into_owned();
        let block = element(&text, kind.entity).unwrap_or_default();
        if element(block, kind.status) != Some("available") {
            let message = format!("{} {id} is not in available state.", kind.entity);
            return Refusal::new(400, kind.busy, message).response(&request.service);
        }
        if kind.entity == "CacheCluster" && element(block, GROUP).is_some() {
            let message = "The cluster is part of a replication group, which is what can be modified.";
            return Refusal::new(400, "InvalidParameterCombination", message).response(&request.service);
        }
        {
            let mut all = locked(&self.settings);
            let settings = all.entry(name(request, kind)).or_default();
            let now = request.form.get("ApplyImmediately") == Some("true");
            settings.live.extend(given(kind, &request.form));
            let logs = |change: &str| {
                request.form.list(&format!("CloudwatchLogsExportConfiguration.{change}.member"))
            };
            settings.logs.extend(logs("EnableLogTypes").into_iter().map(str::to_owned));
            for disabled in logs("DisableLogTypes") {
                settings.logs.remove(disabled);
            }
            let deferred = kind.deferred.iter();
            settings
                .pending
                .extend(deferred.filter_map(|field| Some((*field, request.form.get(field)?.to_owned()))));
            if now {
                let due = std::mem::take(&mut settings.pending);
                settings.live.extend(due);
            }
            // Monitoring that is off has no role.
            if settings.live.get("MonitoringInterval").is_some_and(|interval| interval == "0") {
                settings.live.remove("MonitoringRoleArn");
            }
        }
        let (entity, operation, id) = (kind.entity, kind.modify, request_id());
        respond(
            200,
            "text/xml",
            format!(
                "<{operation}Response><{operation}Result><{entity}>{block}</{entity}></{operation}Result>\
                 <ResponseMetadata><RequestId>{id}</RequestId></ResponseMetadata></{operation}Response>"
            ),
        )
    }

    /// An answer with the settings of everything of this kind in it.
    fn complete(&self, request: &Request, kind: &Kind, text: &str) -> String {
        let (open, close) = (format!("<{}>", kind.entity), format!("</{}>", kind.entity));
        let mut done = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once(&open) {
            let Some((block, after)) = after.split_once(&close) else { break };
            done += before;
            done += &open;
            done += &self.completed(request, kind, block);
            done += &close;
            rest = after;
        }
        done + rest
    }

    fn completed(&self, request: &Request, kind: &Kind, block: &str) -> String {
        let id = element(block, kind.id).unwrap_or_default().to_owned();
        let all = locked(&self.settings);
        let (entity, id) = match element(block, GROUP).filter(|_| kind.entity == "CacheCluster") {
            Some(group) => ("ReplicationGroup", group.to_owned()),
            None => (kind.entity, id),
        };
        let key = (request.service.clone(), request.region.clone(), entity, id);
        let none = Settings::default();
        let settings = all.get(&key).unwrap_or(&none);
        let mut block = block.to_owned();
        let mut put = |field: &str, value: Option<&str>| {
            if let Some(old) = element(&block, field) {
                block = block.replacen(&format!("<{field}>{old}</{field}>"), "", 1);
            }
            block += &Xml::default().optional(field, value).finish();
        };
        for (field, default) in kind.settings {
            put(field, settings.live.get(field).map(String::as_str).or(*default));
        }
        for field in kind.deferred {
            if let Some(value) = settings.live.get(field) {
                put(field, Some(value));
            }
        }
        if !settings.logs.is_empty() {
            let logs = settings.logs.iter().fold(Xml::default(), |xml, one| xml.text("member", one));
            block += &Xml::default().nested("EnabledCloudwatchLogsExports", &logs).finish();
        }
        if kind.entity == "ReplicationGroup" && !settings.members.is_empty() {
            let members = settings.members.iter().fold(Xml::default(), |xml, one| xml.text("ClusterId", one));
            block += &Xml::default().nested("MemberClusters", &members).finish();
        }
        let pending =
            settings.pending.iter().fold(Xml::default(), |xml, (field, value)| xml.text(field, value));
        block + &Xml::default().nested("PendingModifiedValues", &pending).finish()
    }

    /// Who may restore a snapshot that is there, after what the request changes.
    fn shared(&self, request: &Request, operation: &str) -> Response<Bytes> {
        let of = if operation.contains("Cluster") { "DBClusterSnapshot" } else { "DBSnapshot" };
        let id = request.form.get(&format!("{of}Identifier")).unwrap_or_default();
        let key = (request.region.clone(), of, id.to_owned());
        let mut all = locked(&self.restore);
        let accounts = all.entry(key).or_default();
        if request.form.get("AttributeName") == Some("restore") {
            let listed = |field: &str| request.form.list(&format!("{field}.AttributeValue"));
            accounts.extend(listed("ValuesToAdd").into_iter().map(str::to_owned));
            for gone in listed("ValuesToRemove") {
                accounts.remove(gone);
            }
        }
        let values = accounts.iter().fold(Xml::default(), |xml, account| xml.text("AttributeValue", account));
        let attribute = Xml::default().text("AttributeName", "restore").nested("AttributeValues", &values);
        let attributes = Xml::default().nested(&format!("{of}Attribute"), &attribute);
        let result = Xml::default()
            .text(&format!("{of}Identifier"), id)
            .nested(&format!("{of}Attributes"), &attributes);
        let inner = Xml::default().nested(&format!("{of}AttributesResult"), &result);
        let answer = Xml::default().nested(&format!("{operation}Result"), &inner);
        respond(200, "text/xml", Xml::default().nested(&format!("{operation}Response"), &answer).finish())
    }
}

fn name(request: &Request, kind: &Kind) -> Name {
    let id = request.form.get(kind.id).unwrap_or_default();
    (request.service.clone(), request.region.clone(), kind.entity, id.to_owned())
}

/// The settings that a request names.
fn given(kind: &Kind, form: &Form) -> BTreeMap<&'static str, String> {
    kind.settings.iter().filter_map(|(field, _)| Some((*field, form.get(field)?.to_owned()))).collect()
}
