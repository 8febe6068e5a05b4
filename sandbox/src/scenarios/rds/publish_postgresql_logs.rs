use super::{absent_instance, instance, look_at_instance, member, stopped, waiting};
use crate::scenarios::{
    Case, Error,
    Expect::{Compliant, Fixed, Refused},
    OnMinistack, Place, Scenarios,
};

pub(in crate::scenarios) const SCENARIOS: Scenarios = Scenarios {
    remediator: "rds.publish_postgresql_logs",
    resource_type: "AwsRdsDbInstance",
    absent: Some(absent_instance),
    cases: &[
        Case::new("that keeps its logs", "RDS.36", |at| Box::pin(instance(at, |request| request)), Fixed),
        Case::new("with another change that waits", "RDS.36", |at| Box::pin(waiting(at)), Fixed),
        Case::new(
            "that publishes other logs",
            "RDS.36",
            |at| Box::pin(publishing(at, &["iam-db-auth-error", "upgrade"])),
            Fixed,
        ),
        Case::new(
            "that publishes one of two logs",
            "RDS.36",
            |at| Box::pin(publishing(at, &["postgresql"])),
            Fixed,
        )
        .parameters(&[("logTypes", &["postgresql", "upgrade"])]),
        Case::new(
            "that publishes its logs",
            "RDS.36",
            |at| Box::pin(publishing(at, &["postgresql"])),
            Compliant,
        ),
        Case::new(
            "of which unknown logs are asked for",
            "RDS.36",
            |at| Box::pin(instance(at, |request| request)),
            Refused("type `audit`"),
        )
        .parameters(&[("logTypes", &["postgresql", "audit"])]),
        Case::new("that is stopped", "RDS.36", |at| Box::pin(stopped(at)), Refused("it is `stopped`")),
        Case::new(
            "of another engine",
            "RDS.36",
            |at| Box::pin(instance(at, |request| request.engine("mysql"))),
            Refused("engine is `mysql`"),
        ),
        Case::new(
            "of Aurora",
            "RDS.36",
            |at| Box::pin(member(at, "aurora-postgresql")),
            Refused("engine is `aurora-postgresql`"),
        ),
        Case::new(
            "of a cluster",
            "RDS.36",
            |at| Box::pin(member(at, "postgres")),
            Refused("belongs to cluster"),
        ),
    ],
    look: |at, arn| Box::pin(look_at_instance(at, arn)),
    ministack: OnMinistack::No("it does not keep which logs of an instance are published"),
};

/// An instance that publishes logs of these types.
async fn publishing(at: &Place, types: &[&str]) -> Result<String, Error> {
    let types = types.iter().map(|one| (*one).to_owned()).collect();
    instance(at, |request| request.set_enable_cloudwatch_logs_exports(Some(types))).await
}
