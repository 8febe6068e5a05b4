use super::{absent, look, protected, recoverable, table};
use crate::scenarios::{
    Case,
    Expect::{Compliant, Fixed},
    OnMinistack, Scenarios,
};

pub(in crate::scenarios) const SCENARIOS: Scenarios = Scenarios {
    remediator: "dynamodb.protect_from_deletion",
    resource_type: "AwsDynamoDbTable",
    absent: Some(absent),
    cases: &[
        Case::new("without protection", "DynamoDB.6", |at| Box::pin(table(at)), Fixed),
        Case::new(
            "that can be recovered, without protection",
            "DynamoDB.6",
            |at| Box::pin(recoverable(at)),
            Fixed,
        ),
        Case::new("that is protected", "DynamoDB.6", |at| Box::pin(protected(at)), Compliant),
    ],
    look: |at, arn| Box::pin(look(at, arn)),
    ministack: OnMinistack::Whole(&["dynamodb:ListTagsOfResource"]),
};
