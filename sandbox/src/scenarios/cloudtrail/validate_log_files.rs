use super::{absent, look, trail};
use crate::scenarios::{
    Case,
    Expect::{Compliant, Fixed, Refused},
    OnMinistack, Scenarios,
};

pub(in crate::scenarios) const SCENARIOS: Scenarios = Scenarios {
    remediator: "cloudtrail.validate_log_files",
    resource_type: "AwsCloudTrailTrail",
    absent: Some(absent),
    cases: &[
        Case::new("of unproven files", "CloudTrail.4", |at| Box::pin(trail(at, |asked| asked)), Fixed),
        Case::new(
            "of all Regions",
            "CloudTrail.4",
            |at| {
                Box::pin(trail(at, |asked| {
                    asked.is_multi_region_trail(true).include_global_service_events(true)
                }))
            },
            Fixed,
        ),
        Case::new(
            "of validated files",
            "CloudTrail.4",
            |at| Box::pin(trail(at, |asked| asked.enable_log_file_validation(true))),
            Compliant,
        ),
        Case::new(
            "of an organization",
            "CloudTrail.4",
            |at| Box::pin(trail(at, |asked| asked.is_organization_trail(true))),
            Refused("the trail of an organization"),
        ),
    ],
    look: |at, arn| Box::pin(look(at, arn)),
    ministack: OnMinistack::Whole(&["cloudtrail:ListTags"]),
};
