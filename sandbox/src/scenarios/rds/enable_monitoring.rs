use super::{absent_instance, instance, look_at_instance, member, stopped, waiting};
use crate::scenarios::{
    Case, Error,
    Expect::{Compliant, Fixed, Refused},
    OnMinistack, Place, Scenarios,
};

const ROLE: &str = "{role: rds-monitoring-role}";

pub(in crate::scenarios) const SCENARIOS: Scenarios = Scenarios {
    remediator: "rds.enable_monitoring",
    resource_type: "AwsRdsDbInstance",
    absent: Some(absent_instance),
    cases: &[
        Case::new("without monitoring", "RDS.6", |at| Box::pin(instance(at, |request| request)), Fixed)
            .params(ROLE),
        Case::new("with another change that waits", "RDS.6", |at| Box::pin(waiting(at)), Fixed)
            .params("{role: rds-monitoring-role, interval: 15}"),
        Case::new("of another interval", "RDS.6", |at| Box::pin(monitored(at)), Fixed)
            .parameters(&[("monitoringInterval", &["5"])]),
        Case::new("of Aurora", "RDS.6", |at| Box::pin(member(at, "aurora-postgresql")), Fixed).params(ROLE),
        Case::new("that is monitored", "RDS.6", |at| Box::pin(monitored(at)), Compliant),
        Case::new(
            "for which no role is known",
            "RDS.6",
            |at| Box::pin(instance(at, |request| request)),
            Refused("needs a role"),
        ),
        Case::new("that is stopped", "RDS.6", |at| Box::pin(stopped(at)), Refused("it is `stopped`"))
            .params(ROLE),
        Case::new(
            "of a cluster",
            "RDS.6",
            |at| Box::pin(member(at, "postgres")),
            Refused("belongs to cluster"),
        )
        .params(ROLE),
    ],
    look: |at, arn| Box::pin(look_at_instance(at, arn)),
    ministack: OnMinistack::Whole(&["iam:PassRole"]),
};

async fn monitored(at: &Place) -> Result<String, Error> {
    let role = format!("arn:aws:iam::{}:role/metrics", at.account);
    instance(at, |request| request.monitoring_interval(60).monitoring_role_arn(role)).await
}
