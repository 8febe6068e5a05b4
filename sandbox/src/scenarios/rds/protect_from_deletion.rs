use super::{absent_instance, instance, look_at_instance, member, stopped, waiting};
use crate::scenarios::{
    Case,
    Expect::{Compliant, Fixed, Refused},
    OnMinistack, Scenarios,
};

pub(in crate::scenarios) const SCENARIOS: Scenarios = Scenarios {
    remediator: "rds.protect_from_deletion",
    resource_type: "AwsRdsDbInstance",
    absent: Some(absent_instance),
    cases: &[
        Case::new("that anybody may delete", "RDS.8", |at| Box::pin(instance(at, |request| request)), Fixed),
        Case::new("with another change that waits", "RDS.8", |at| Box::pin(waiting(at)), Fixed),
        Case::new(
            "that is protected",
            "RDS.8",
            |at| Box::pin(instance(at, |request| request.deletion_protection(true))),
            Compliant,
        ),
        Case::new("that is stopped", "RDS.8", |at| Box::pin(stopped(at)), Refused("it is `stopped`")),
        Case::new(
            "of a cluster",
            "RDS.8",
            |at| Box::pin(member(at, "aurora-postgresql")),
            Refused("belongs to cluster"),
        ),
    ],
    look: |at, arn| Box::pin(look_at_instance(at, arn)),
    ministack: OnMinistack::Whole(&[]),
};
