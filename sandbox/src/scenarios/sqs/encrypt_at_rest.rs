use aws_sdk_sqs::types::QueueAttributeName::{
    KmsMasterKeyId, Policy, SqsManagedSseEnabled, VisibilityTimeout,
};

use super::{absent, look, queue};
use crate::scenarios::{
    Case, Error,
    Expect::{Compliant, Fixed},
    OnMinistack, Place, Scenarios,
};

pub(in crate::scenarios) const SCENARIOS: Scenarios = Scenarios {
    remediator: "sqs.encrypt_at_rest",
    resource_type: "AwsSqsQueue",
    absent: Some(absent),
    cases: &[
        Case::new("that is not encrypted", "SQS.1", |at| Box::pin(plain(at)), Fixed),
        Case::new("that is to have a key", "SQS.1", |at| Box::pin(plain(at)), Fixed)
            .params("{key: alias/queues}"),
        Case::new("of keys that SQS manages", "SQS.1", |at| Box::pin(queue(at, &[])), Compliant),
        Case::new("of a key", "SQS.1", |at| Box::pin(queue(at, &[(KmsMasterKeyId, "alias/own")])), Compliant),
    ],
    look: |at, arn| Box::pin(look(at, arn)),
    ministack: OnMinistack::Whole(&[]),
};

/// Also open to everybody, which is another control's business.
async fn plain(at: &Place) -> Result<String, Error> {
    let policy = r#"{"Statement": [{"Effect": "Allow", "Principal": "*", "Action": "sqs:SendMessage", "Resource": "*"}]}"#;
    queue(at, &[(SqsManagedSseEnabled, "false"), (VisibilityTimeout, "77"), (Policy, policy)]).await
}
