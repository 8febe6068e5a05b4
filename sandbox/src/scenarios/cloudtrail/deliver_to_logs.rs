use super::{absent, look, trail};
use crate::scenarios::{
    Case, Error,
    Expect::{Compliant, Fixed, Refused},
    OnMinistack, Place, Scenarios,
};

pub(in crate::scenarios) const SCENARIOS: Scenarios = Scenarios {
    remediator: "cloudtrail.deliver_to_logs",
    resource_type: "AwsCloudTrailTrail",
    absent: Some(absent),
    cases: &[
        Case::new("of files alone", "CloudTrail.5", |at| Box::pin(trail(at, |asked| asked)), Fixed)
            .params("{log_group: trails, role: 'arn:aws:iam::123456789012:role/TrailsToLogs'}"),
        Case::new(
            "of validated files alone",
            "CloudTrail.5",
            |at| Box::pin(trail(at, |asked| asked.enable_log_file_validation(true))),
            Fixed,
        )
        .params("{log_group: /aws/trails, role: 'arn:aws:iam::123456789012:role/TrailsToLogs'}"),
        Case::new("that delivers", "CloudTrail.5", |at| Box::pin(delivering(at)), Compliant),
        Case::new(
            "without a place for events",
            "CloudTrail.5",
            |at| Box::pin(trail(at, |asked| asked)),
            Refused("`log_group` and `role`"),
        ),
        Case::new(
            "for a group elsewhere",
            "CloudTrail.5",
            |at| Box::pin(trail(at, |asked| asked)),
            Refused("groups of its own account and Region alone"),
        )
        .params(
            "{log_group: 'arn:aws:logs:sa-east-1:123456789012:log-group:trails', \
             role: 'arn:aws:iam::123456789012:role/TrailsToLogs'}",
        ),
        Case::new(
            "for another account's role",
            "CloudTrail.5",
            |at| Box::pin(trail(at, |asked| asked)),
            Refused("no ARN of a role of the trail's account"),
        )
        .params("{log_group: trails, role: 'arn:aws:iam::210987654321:role/TrailsToLogs'}"),
        Case::new(
            "of an organization",
            "CloudTrail.5",
            |at| Box::pin(trail(at, |asked| asked.is_organization_trail(true))),
            Refused("the trail of an organization"),
        ),
    ],
    look: |at, arn| Box::pin(look(at, arn)),
    ministack: OnMinistack::Whole(&["cloudtrail:ListTags", "iam:PassRole"]),
};

async fn delivering(at: &Place) -> Result<String, Error> {
    let group = at.arn("logs", "log-group:theirs:*");
    let role = format!("arn:aws:iam::{}:role/TrailsToLogs", at.account);
    trail(at, |asked| asked.cloud_watch_logs_log_group_arn(group).cloud_watch_logs_role_arn(role)).await
}
