use super::{absent_pool, look_at_pool, pool, pool_with_custom_sender};
use crate::scenarios::{
    Case,
    Expect::{Compliant, Fixed, Refused},
    OnMinistack, Scenarios,
};

pub(in crate::scenarios) const SCENARIOS: Scenarios = Scenarios {
    remediator: "cognito.strengthen_passwords",
    resource_type: "AwsCognitoUserPool",
    absent: Some(absent_pool),
    cases: &[
        Case::new("of weak passwords", "Cognito.3", |at| Box::pin(pool(at, 6, false, false)), Fixed),
        Case::new("of long passwords", "Cognito.3", |at| Box::pin(pool(at, 20, false, true)), Fixed),
        Case::new("of a stricter rule", "Cognito.3", |at| Box::pin(pool(at, 8, true, false)), Fixed)
            .params("{minimum_length: 14, temporary_password_days: 2}"),
        Case::new("of a stricter control", "Cognito.3", |at| Box::pin(pool(at, 8, true, false)), Fixed)
            .parameters(&[("minLength", &["16"])]),
        Case::new("of strong passwords", "Cognito.3", |at| Box::pin(pool(at, 8, true, false)), Compliant),
        Case::new(
            "of a control that asks for less",
            "Cognito.3",
            |at| Box::pin(pool(at, 8, false, true)),
            Compliant,
        )
        .parameters(&[
            ("requireUppercase", &["false"]),
            ("requireNumbers", &["false"]),
            ("requireSymbols", &["false"]),
        ]),
        Case::new(
            "with a custom sender",
            "Cognito.3",
            |at| Box::pin(pool_with_custom_sender(at)),
            Refused("`kms:CreateGrant`"),
        ),
        Case::new(
            "of more than there is",
            "Cognito.3",
            |at| Box::pin(pool(at, 8, true, false)),
            Refused("takes 99"),
        )
        .parameters(&[("minLength", &["128"])]),
    ],
    look: |at, arn| Box::pin(look_at_pool(at, arn)),
    ministack: OnMinistack::Whole(&["iam:PassRole"]),
};
