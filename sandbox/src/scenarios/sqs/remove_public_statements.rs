use aws_sdk_sqs::types::QueueAttributeName::{Policy, SqsManagedSseEnabled};

use super::{absent, look, queue};
use crate::scenarios::{
    Case, Error,
    Expect::{Compliant, Fixed, Refused},
    OnMinistack, Place, Scenarios, public,
};

pub(in crate::scenarios) const SCENARIOS: Scenarios = Scenarios {
    remediator: "sqs.remove_public_statements",
    resource_type: "AwsSqsQueue",
    absent: Some(absent),
    cases: &[
        Case::new(
            "open to everybody among others",
            "SQS.3",
            |at| Box::pin(open(at, public::AMONG_OTHERS)),
            Fixed,
        ),
        Case::new("open to everybody", "SQS.3", |at| Box::pin(open(at, public::ALONE)), Fixed),
        Case::new("whose condition goes", "SQS.3", |at| Box::pin(open(at, public::CONDITIONAL)), Fixed)
            .params("{remove_conditional: true}"),
        Case::new("without a policy", "SQS.3", |at| Box::pin(queue(at, &[])), Compliant),
        Case::new("open to its account", "SQS.3", |at| Box::pin(open(at, public::FIXED)), Compliant),
        Case::new(
            "open under a condition",
            "SQS.3",
            |at| Box::pin(open(at, public::CONDITIONAL)),
            Refused("`remove_conditional`"),
        ),
        Case::new(
            "open to everybody and somebody",
            "SQS.3",
            |at| Box::pin(open(at, public::BESIDES)),
            Refused("besides everybody"),
        ),
    ],
    look: |at, arn| Box::pin(look(at, arn)),
    ministack: OnMinistack::Whole(&[]),
};

/// Also not encrypted, which is another control's business.
async fn open(at: &Place, policy: &str) -> Result<String, Error> {
    let policy = public::policy(at, "sqs", "SendMessage", policy);
    queue(at, &[(SqsManagedSseEnabled, "false"), (Policy, &policy)]).await
}
