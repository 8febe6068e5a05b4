use super::{absent_instance, instance, look_at_instance, member, stopped, waiting};
use crate::scenarios::{
    Case,
    Expect::{Compliant, Fixed, Refused},
    OnMinistack, Scenarios,
};

pub(in crate::scenarios) const SCENARIOS: Scenarios = Scenarios {
    remediator: "rds.upgrade_minor_versions",
    resource_type: "AwsRdsDbInstance",
    absent: Some(absent_instance),
    cases: &[
        Case::new(
            "that stays at its version",
            "RDS.13",
            |at| Box::pin(instance(at, |request| request)),
            Fixed,
        ),
        Case::new("with another change that waits", "RDS.13", |at| Box::pin(waiting(at)), Fixed),
        Case::new(
            "that is upgraded",
            "RDS.13",
            |at| Box::pin(instance(at, |request| request.auto_minor_version_upgrade(true))),
            Compliant,
        ),
        Case::new("that is stopped", "RDS.13", |at| Box::pin(stopped(at)), Refused("it is `stopped`")),
        Case::new("of Aurora", "RDS.13", |at| Box::pin(member(at, "aurora-postgresql")), Fixed),
        Case::new(
            "of a cluster",
            "RDS.13",
            |at| Box::pin(member(at, "postgres")),
            Refused("belongs to cluster"),
        ),
        Case::new(
            "of RDS Custom",
            "RDS.13",
            |at| Box::pin(instance(at, |request| request.engine("custom-oracle-ee"))),
            Refused("RDS Custom"),
        ),
    ],
    look: |at, arn| Box::pin(look_at_instance(at, arn)),
    ministack: OnMinistack::No("it can't change this setting of an instance"),
};
