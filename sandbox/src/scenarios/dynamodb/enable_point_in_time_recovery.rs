use super::{absent, look, protected, recoverable, table};
use crate::scenarios::{
    Case,
    Expect::{Compliant, Fixed},
    OnMinistack, Scenarios,
};

pub(in crate::scenarios) const SCENARIOS: Scenarios = Scenarios {
    remediator: "dynamodb.enable_point_in_time_recovery",
    resource_type: "AwsDynamoDbTable",
    absent: Some(absent),
    cases: &[
        Case::new("without recovery", "DynamoDB.2", |at| Box::pin(table(at)), Fixed),
        Case::new("that is protected, without recovery", "DynamoDB.2", |at| Box::pin(protected(at)), Fixed),
        Case::new("that can be recovered", "DynamoDB.2", |at| Box::pin(recoverable(at)), Compliant),
    ],
    look: |at, arn| Box::pin(look(at, arn)),
    ministack: OnMinistack::Whole(&["dynamodb:ListTagsOfResource"]),
};
