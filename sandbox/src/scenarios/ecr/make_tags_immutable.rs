use aws_sdk_ecr::types::ImageTagMutability::{
    Immutable, ImmutableWithExclusion, Mutable, MutableWithExclusion,
};

use super::{absent, look, repository};
use crate::scenarios::{
    Case,
    Expect::{Compliant, Fixed, Refused},
    OnMinistack, Scenarios,
};

pub(in crate::scenarios) const SCENARIOS: Scenarios = Scenarios {
    remediator: "ecr.make_tags_immutable",
    resource_type: "AwsEcrRepository",
    absent: Some(absent),
    cases: &[
        Case::new("whose tags move", "ECR.2", |at| Box::pin(repository(at, false, Mutable, None)), Fixed),
        Case::new(
            "whose tags move but for some",
            "ECR.2",
            |at| Box::pin(repository(at, true, MutableWithExclusion, Some("v*"))),
            Fixed,
        ),
        Case::new(
            "of which some tags may move no more",
            "ECR.2",
            |at| Box::pin(repository(at, true, ImmutableWithExclusion, Some("latest"))),
            Fixed,
        )
        .params("{drop_exclusions: true}"),
        Case::new(
            "whose tags stay",
            "ECR.2",
            |at| Box::pin(repository(at, false, Immutable, None)),
            Compliant,
        ),
        Case::new(
            "of which some tags move",
            "ECR.2",
            |at| Box::pin(repository(at, true, ImmutableWithExclusion, Some("latest"))),
            Refused("`drop_exclusions`"),
        ),
    ],
    look: |at, arn| Box::pin(look(at, arn)),
    ministack: OnMinistack::No("it asks for leave on no repository"),
};
