use super::{absent_instance, instance, look_at_instance, member, stopped, waiting};
use crate::scenarios::{
    Case,
    Expect::{Compliant, Fixed, Refused},
    OnMinistack, Scenarios,
};

pub(in crate::scenarios) const SCENARIOS: Scenarios = Scenarios {
    remediator: "rds.copy_tags_to_snapshots",
    resource_type: "AwsRdsDbInstance",
    absent: Some(absent_instance),
    cases: &[
        Case::new(
            "whose snapshots have no tags",
            "RDS.17",
            |at| Box::pin(instance(at, |request| request)),
            Fixed,
        ),
        Case::new("with another change that waits", "RDS.17", |at| Box::pin(waiting(at)), Fixed),
        Case::new(
            "whose snapshots have its tags",
            "RDS.17",
            |at| Box::pin(instance(at, |request| request.copy_tags_to_snapshot(true))),
            Compliant,
        ),
        Case::new("that is stopped", "RDS.17", |at| Box::pin(stopped(at)), Refused("it is `stopped`")),
        Case::new(
            "of a cluster",
            "RDS.17",
            |at| Box::pin(member(at, "aurora-postgresql")),
            Refused("belongs to cluster"),
        ),
    ],
    look: |at, arn| Box::pin(look_at_instance(at, arn)),
    ministack: OnMinistack::Whole(&[]),
};
