use super::{absent_cluster, cluster, look_at_cluster, stopped_cluster, waiting_cluster};
use crate::scenarios::{
    Case,
    Expect::{Compliant, Fixed, Refused},
    OnMinistack, Scenarios,
};

pub(in crate::scenarios) const SCENARIOS: Scenarios = Scenarios {
    remediator: "rds.copy_cluster_tags_to_snapshots",
    resource_type: "AwsRdsDbCluster",
    absent: Some(absent_cluster),
    cases: &[
        Case::new(
            "whose snapshots have no tags",
            "RDS.16",
            |at| Box::pin(cluster(at, |request| request)),
            Fixed,
        ),
        Case::new("with another change that waits", "RDS.16", |at| Box::pin(waiting_cluster(at)), Fixed),
        Case::new(
            "whose snapshots have its tags",
            "RDS.16",
            |at| Box::pin(cluster(at, |request| request.copy_tags_to_snapshot(true))),
            Compliant,
        ),
        Case::new(
            "that is stopped",
            "RDS.16",
            |at| Box::pin(stopped_cluster(at)),
            Refused("it is `stopped`"),
        ),
    ],
    look: |at, arn| Box::pin(look_at_cluster(at, arn)),
    ministack: OnMinistack::Whole(&[]),
};
