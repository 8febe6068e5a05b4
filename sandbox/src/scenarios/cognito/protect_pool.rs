use super::{absent_pool, look_at_pool, pool, pool_with_custom_sender};
use crate::scenarios::{
    Case,
    Expect::{Compliant, Fixed, Refused},
    OnMinistack, Scenarios,
};

pub(in crate::scenarios) const SCENARIOS: Scenarios = Scenarios {
    remediator: "cognito.protect_pool",
    resource_type: "AwsCognitoUserPool",
    absent: Some(absent_pool),
    cases: &[
        Case::new("without protection", "Cognito.6", |at| Box::pin(pool(at, 12, true, false)), Fixed),
        Case::new(
            "of weak passwords, without protection",
            "Cognito.6",
            |at| Box::pin(pool(at, 6, false, false)),
            Fixed,
        ),
        Case::new("that is protected", "Cognito.6", |at| Box::pin(pool(at, 12, true, true)), Compliant),
        Case::new(
            "with a custom sender",
            "Cognito.6",
            |at| Box::pin(pool_with_custom_sender(at)),
            Refused("`kms:CreateGrant`"),
        ),
    ],
    look: |at, arn| Box::pin(look_at_pool(at, arn)),
    ministack: OnMinistack::Whole(&["iam:PassRole"]),
};
