//! Publishes the logs of an instance of RDS for `PostgreSQL` to CloudWatch Logs.

use std::collections::BTreeSet;

use aws_sdk_rds::types::{CloudwatchLogsExportConfiguration, DbInstance, PendingModifiedValues};

use super::{instance::Instance, refusal, unfit};
use crate::{prelude::*, remediator::Proposal};

const ENGINE: &str = "postgres";
const PARAMETER: &str = "logTypes";

pub(crate) struct PublishPostgresqlLogs;

/// What the control may ask for: <https://docs.aws.amazon.com/securityhub/latest/userguide/rds-controls.html#rds-36>.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LogType {
    Postgresql,
    Upgrade,
}

impl LogType {
    const ALL: [Self; 2] = [Self::Postgresql, Self::Upgrade];

    /// As RDS and the control have it.
    fn name(self) -> &'static str {
        match self {
            Self::Postgresql => "postgresql",
            Self::Upgrade => "upgrade",
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }

    /// Those that the control asks for: its own default where its parameters are not known, or name none.
    fn asked(ask: &Ask<'_, NoParams>) -> Result<BTreeSet<Self>, String> {
        let read = |name: &str| {
            let unknown =
                || format!("the control asks for logs of type `{}`, which is not known here", shown(name));
            Self::named(name).ok_or_else(unknown)
        };
        let asked = ask.list(PARAMETER).unwrap_or_default();
        let asked: BTreeSet<Self> = asked.into_iter().map(read).collect::<Result<_, _>>()?;
        Ok(if asked.is_empty() { BTreeSet::from([Self::Postgresql]) } else { asked })
    }
}

/// What is published, and what decides whether that can be changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Exports {
    /// Those that are published. Of what else RDS can publish, such as `iam-db-auth-error`, nothing is kept:
    /// it is never altered.
    published: BTreeSet<LogType>,
    /// Such as `postgres` or `aurora-postgresql`. Read, never altered.
    #[serde(default)]
    engine: String,
    /// The cluster that the instance belongs to. Read, never altered.
    #[serde(default)]
    cluster: Option<String>,
    /// The status that has to be ended before anything can be changed, such as `stopped`. Read, never altered.
    #[serde(default)]
    unfit: Option<String>,
}

impl Remediator for PublishPostgresqlLogs {
    const SPEC: Spec = Spec {
        name: "rds.publish_postgresql_logs",
        version: 1,
        controls: &["RDS.36"],
        risk: Risk::Cost,
        what: "Publishes those logs of an instance of RDS for PostgreSQL that the control asks for (`postgresql`, \
               unless its parameter says otherwise) to CloudWatch Logs; what is published already stays. RDS writes \
               them by its service-linked role `AWSServiceRoleForRDS`, to the log group \
               `/aws/rds/instance/NAME/TYPE`, which it makes where there is none, with events that never expire. It \
               takes effect at once, without a restart.",
        who_notices: "The bill: CloudWatch Logs charges for what is ingested and stored. Whoever may read the log \
                      group sees what the database logs, which may be statements with the values in them.",
        way_back: "Ends the publishing of those types of logs that it began. The log group stays, with the events \
                   that were published meanwhile.",
        // Its state is part of what proves that it exists.
        reads: &[],
        writes: &[Action::new("rds:ModifyDBInstance", On::Resource)],
        undo: &[],
        implied: &[],
    };
    type Resource = Instance;
    type Params = NoParams;
    type State = Exports;

    async fn observe(aws: &Aws, at: &Instance) -> Result<Exports> {
        Exports::read(at.describe(aws).await?)
    }

    fn plan(now: &Exports, ask: &Ask<'_, NoParams>) -> Plan<Exports> {
        let asked = match LogType::asked(ask) {
            Ok(asked) => asked,
            Err(why) => return Plan::Refuse(why),
        };
        let missing = &asked - &now.published;
        if missing.is_empty() {
            return Plan::Compliant;
        }
        if let Some(against) = now.against() {
            return Plan::Refuse(against);
        }
        // https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_LogAccess.Procedural.UploadtoCloudWatch.html
        let mut notes: Vec<String> = missing
            .iter()
            .map(|one| {
                format!(
                    "RDS makes the log group `/aws/rds/instance/NAME/{}` where there is none, and its events never \
                     expire until it is given a retention",
                    one.name()
                )
            })
            .collect();
        notes.push("CloudWatch Logs charges for the logs that are published".to_owned());
        let to = Exports { published: &now.published | &missing, ..now.clone() };
        Plan::Change(Proposal { to, risk: Risk::Cost, notes })
    }

    async fn apply(aws: &Aws, at: &Instance, change: &Change<Exports>) -> Result<()> {
        let request = aws.rds().modify_db_instance().db_instance_identifier(&at.name);
        request.cloudwatch_logs_export_configuration(configuration(change)).send().await?;
        Ok(())
    }

    fn undo(change: &Change<Exports>, now: &Exports) -> Undo<Exports> {
        let begun = &change.to.published - &change.from.published;
        let published = &now.published - &begun;
        match now.against() {
            _ if published == now.published => Undo::Nothing,
            Some(against) => Undo::Refuse(against),
            None => Undo::To {
                to: Exports { published, ..now.clone() },
                notes: vec!["the log group stays, with the events that were published meanwhile".to_owned()],
            },
        }
    }

    fn wants_control_params(_: &str, _: &NoParams) -> bool {
        true
    }
}

impl Exports {
    fn read(found: DbInstance) -> Result<Self> {
        let unfit = unfit(found.db_instance_status())?;
        let pending = found.pending_modified_values();
        let pending = pending.and_then(PendingModifiedValues::pending_cloudwatch_logs_exports);
        // https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_PendingCloudwatchLogsExports.html says of each
        // of the two lists what the other's name says; that a change is under way is all that is certain.
        if pending.is_some_and(|both| {
            !both.log_types_to_enable().is_empty() || !both.log_types_to_disable().is_empty()
        }) {
            let why =
                "which of its logs are published is being changed, and can't be changed before that is over";
            return Err(Error::new(ErrorKind::Transient, why));
        }
        Ok(Self {
            // The list is left out where it is empty.
            published: found
                .enabled_cloudwatch_logs_exports()
                .iter()
                .filter_map(|name| LogType::named(name))
                .collect(),
            engine: found.engine.unwrap_or_default(),
            cluster: found.db_cluster_identifier.filter(|name| !name.is_empty()),
            unfit,
        })
    }

    /// Why it is not changed.
    fn against(&self) -> Option<String> {
        if self.engine != ENGINE {
            let engine = shown(&self.engine);
            return Some(format!("the control is about RDS for PostgreSQL, and the engine is `{engine}`"));
        }
        // https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_ModifyDBCluster.html
        // (CloudwatchLogsExportConfiguration): those of a Multi-AZ DB cluster have its engine, and its setting.
        if let Some(cluster) = &self.cluster {
            let cluster = shown(cluster);
            return Some(format!(
                "the instance belongs to cluster `{cluster}`, which has the setting for all of its instances"
            ));
        }
        self.unfit.as_deref().map(refusal)
    }
}

/// The difference, and no more.
fn configuration(change: &Change<Exports>) -> CloudwatchLogsExportConfiguration {
    let difference = |these: &Exports, those: &Exports| {
        let types: Vec<_> =
            (&these.published - &those.published).into_iter().map(|one| one.name().to_owned()).collect();
        // The SDK sends an empty list too, as a parameter without a value.
        Some(types).filter(|types| !types.is_empty())
    };
    CloudwatchLogsExportConfiguration::builder()
        .set_enable_log_types(difference(&change.to, &change.from))
        .set_disable_log_types(difference(&change.from, &change.to))
        .build()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
    use std::collections::BTreeMap;

    use aws_sdk_rds::types::{PendingCloudwatchLogsExports, builders::DbInstanceBuilder};
    use serde_json::json;

    use super::{
        LogType::{Postgresql, Upgrade},
        *,
    };
    use crate::remediator::test::ask;

    /// Of an instance of its own.
    fn exports(published: &[LogType]) -> Exports {
        Exports {
            published: published.iter().copied().collect(),
            engine: "postgres".to_owned(),
            cluster: None,
            unfit: None,
        }
    }

    fn plan(now: &Exports, asked: Option<(&str, &[&str])>) -> Plan<Exports> {
        let asked = asked.map(|(name, values)| {
            BTreeMap::from([(name.to_owned(), values.iter().map(|value| (*value).to_owned()).collect())])
        });
        PublishPostgresqlLogs::plan(
            now,
            &Ask { control_params: asked.as_ref(), ..ask("RDS.36", &NoParams {}) },
        )
    }

    #[test]
    fn what_the_control_asks_for_is_added_to_what_is_published() {
        let default = None;
        let one: Option<(&str, &[&str])> = Some(("logTypes", &["upgrade"]));
        let both: Option<(&str, &[&str])> = Some(("logTypes", &["postgresql", "upgrade"]));
        for (published, asked, to) in [
            (&[][..], default, &[Postgresql][..]),
            (&[], Some(("logTypes", &[][..])), &[Postgresql]),
            (&[], Some(("logTypes", &[" , "])), &[Postgresql]),
            (&[], one, &[Upgrade]),
            (&[], both, &[Postgresql, Upgrade]),
            (&[], Some(("LogTypes", &["upgrade, postgresql"])), &[Postgresql, Upgrade]),
            (&[Upgrade], default, &[Postgresql, Upgrade]),
            (&[Postgresql], one, &[Postgresql, Upgrade]),
            (&[Postgresql], both, &[Postgresql, Upgrade]),
        ] {
            let now = exports(published);
            let Plan::Change(change) = plan(&now, asked) else { panic!("{published:?} {asked:?}") };
            assert_eq!((&change.to, change.risk), (&exports(to), Risk::Cost), "{published:?} {asked:?}");
            for added in to {
                let group = format!("`/aws/rds/instance/NAME/{}`", added.name());
                let said = change.notes.iter().any(|note| note.contains(&group));
                assert_eq!(said, !published.contains(added), "{:?}", change.notes);
            }
            assert_eq!(plan(&change.to, asked), Plan::Compliant);
        }
        assert_eq!(plan(&exports(&[Postgresql, Upgrade]), default), Plan::Compliant);
    }

    #[test]
    fn what_is_not_known_or_can_not_be_changed_is_refused() {
        for odd in [&["audit"][..], &["postgresql", "audit"], &["postgresql;upgrade"], &["Postgresql"]] {
            let plan = plan(&exports(&[Postgresql, Upgrade]), Some(("logTypes", odd)));
            assert!(matches!(&plan, Plan::Refuse(why) if why.contains("not known")), "{odd:?}: {plan:?}");
        }
        let of = |engine: &str| Exports { engine: engine.to_owned(), ..exports(&[]) };
        let member = Exports { cluster: Some("orders".to_owned()), ..exports(&[]) };
        let stopped = Exports { unfit: Some("stopped".to_owned()), ..exports(&[]) };
        for (now, why) in [
            (of("mysql"), "engine is `mysql`"),
            (of("aurora-postgresql"), "engine is `aurora-postgresql`"),
            (of(""), "engine is ``"),
            (member, "cluster `orders`"),
            (stopped, "it is `stopped`"),
        ] {
            assert!(matches!(plan(&now, None), Plan::Refuse(said) if said.contains(why)), "{why}");
            let published = Exports { published: BTreeSet::from([Postgresql]), ..now };
            assert_eq!(plan(&published, None), Plan::Compliant, "{why}");
        }
    }

    #[test]
    fn undo_takes_back_what_the_run_began_and_no_more() {
        let change = Change { from: exports(&[]), to: exports(&[Postgresql]) };
        let undo = |now: &Exports| PublishPostgresqlLogs::undo(&change, now);
        for (now, to) in [(&[Postgresql][..], &[][..]), (&[Postgresql, Upgrade], &[Upgrade])] {
            assert!(
                matches!(undo(&exports(now)), Undo::To { to: back, .. } if back == exports(to)),
                "{now:?}"
            );
        }
        for gone in [&[][..], &[Upgrade]] {
            assert_eq!(undo(&exports(gone)), Undo::Nothing, "{gone:?}");
        }
        let stopped = |published| Exports { unfit: Some("stopped".to_owned()), ..exports(published) };
        assert!(matches!(undo(&stopped(&[Postgresql])), Undo::Refuse(why) if why.contains("`stopped`")));
        assert_eq!(undo(&stopped(&[])), Undo::Nothing);
    }

    #[test]
    fn what_is_sent_is_the_difference() {
        let (from, to) = (exports(&[Upgrade]), exports(&[Postgresql, Upgrade]));
        let types = || Some(vec!["postgresql".to_owned()]);
        let there = configuration(&Change { from: from.clone(), to: to.clone() });
        assert_eq!((there.enable_log_types, there.disable_log_types), (types(), None));
        let back = configuration(&Change { from: to, to: from });
        assert_eq!((back.enable_log_types, back.disable_log_types), (None, types()));
    }

    fn instance() -> DbInstanceBuilder {
        DbInstance::builder().engine("postgres").db_instance_status("available")
    }

    #[test]
    fn what_is_under_way_is_waited_for() {
        let pending = |both: PendingCloudwatchLogsExports| {
            let pending = PendingModifiedValues::builder().pending_cloudwatch_logs_exports(both).build();
            Exports::read(instance().pending_modified_values(pending).build())
        };
        let both = PendingCloudwatchLogsExports::builder;
        for both in [both().log_types_to_enable("postgresql"), both().log_types_to_disable("postgresql")] {
            assert_eq!(pending(both.build()).unwrap_err().kind, ErrorKind::Transient);
        }
        assert_eq!(pending(both().build()).unwrap(), exports(&[]));
        let gone = instance().db_instance_status("deleting").build();
        assert_eq!(Exports::read(gone).unwrap_err().kind, ErrorKind::NotFound);
    }

    #[test]
    fn records_of_its_state_stay_readable() {
        let found = instance()
            .enabled_cloudwatch_logs_exports("upgrade")
            .enabled_cloudwatch_logs_exports("iam-db-auth-error")
            .enabled_cloudwatch_logs_exports("postgresql")
            .db_cluster_identifier("");
        let found = Exports::read(found.build()).unwrap();
        assert_eq!(found, exports(&[Postgresql, Upgrade]));
        let stored = json!({
            "published": ["postgresql", "upgrade"], "engine": "postgres", "cluster": null, "unfit": null,
        });
        assert_eq!(serde_json::to_value(&found).unwrap(), stored);
        assert_eq!(Exports::deserialize(stored).unwrap(), found);
    }
}
