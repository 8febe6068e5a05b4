use super::{absent_cluster, cluster, look_at_cluster, stopped_cluster, waiting_cluster};
use crate::scenarios::{
    Case,
    Expect::{Compliant, Fixed, Refused},
    OnMinistack, Scenarios,
};

pub(in crate::scenarios) const SCENARIOS: Scenarios = Scenarios {
    remediator: "rds.protect_cluster_from_deletion",
    resource_type: "AwsRdsDbCluster",
    absent: Some(absent_cluster),
    cases: &[
        Case::new("that anybody may delete", "RDS.7", |at| Box::pin(cluster(at, |request| request)), Fixed),
        Case::new("with another change that waits", "RDS.7", |at| Box::pin(waiting_cluster(at)), Fixed),
        Case::new(
            "that is protected",
            "RDS.7",
            |at| Box::pin(cluster(at, |request| request.deletion_protection(true))),
            Compliant,
        ),
        Case::new("that is stopped", "RDS.7", |at| Box::pin(stopped_cluster(at)), Refused("it is `stopped`")),
    ],
    look: |at, arn| Box::pin(look_at_cluster(at, arn)),
    ministack: OnMinistack::Whole(&[]),
};
