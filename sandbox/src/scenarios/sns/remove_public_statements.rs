use super::{absent, look, topic};
use crate::scenarios::{
    Case, Error,
    Expect::{Compliant, Fixed, Refused},
    OnMinistack, Place, Scenarios, public,
};

pub(in crate::scenarios) const SCENARIOS: Scenarios = Scenarios {
    remediator: "sns.remove_public_statements",
    resource_type: "AwsSnsTopic",
    absent: Some(absent),
    cases: &[
        Case::new(
            "open to everybody among others",
            "SNS.4",
            |at| Box::pin(open(at, public::AMONG_OTHERS)),
            Fixed,
        ),
        Case::new("open to everybody", "SNS.4", |at| Box::pin(open(at, public::ALONE)), Fixed),
        Case::new("whose condition goes", "SNS.4", |at| Box::pin(open(at, public::CONDITIONAL)), Fixed)
            .params("{remove_conditional: true}"),
        Case::new("of the policy of a new one", "SNS.4", |at| Box::pin(topic(at, &[])), Compliant),
        Case::new("open to its account", "SNS.4", |at| Box::pin(open(at, public::FIXED)), Compliant),
        Case::new(
            "open under a condition",
            "SNS.4",
            |at| Box::pin(open(at, public::CONDITIONAL)),
            Refused("`remove_conditional`"),
        ),
        Case::new(
            "open to everybody and somebody",
            "SNS.4",
            |at| Box::pin(open(at, public::BESIDES)),
            Refused("besides everybody"),
        ),
    ],
    look: |at, arn| Box::pin(look(at, arn)),
    ministack: OnMinistack::Whole(&["sns:ListTagsForResource"]),
};

/// Also not encrypted, which is another control's business.
async fn open(at: &Place, policy: &str) -> Result<String, Error> {
    let policy = public::policy(at, "sns", "Publish", policy);
    topic(at, &[("DisplayName", "News"), ("Policy", &policy)]).await
}
