use super::{absent, look, topic};
use crate::scenarios::{
    Case, Error,
    Expect::{Compliant, Fixed, Refused},
    OnMinistack, Place, Scenarios,
};

pub(in crate::scenarios) const SCENARIOS: Scenarios = Scenarios {
    remediator: "sns.encrypt_with_kms",
    resource_type: "AwsSnsTopic",
    absent: Some(absent),
    cases: &[
        Case::new("that is to have a key", "SNS.1", |at| Box::pin(open(at)), Fixed)
            .params("{key: alias/topics}"),
        Case::new("that is to have AWS's key", "SNS.1", |at| Box::pin(topic(at, &[])), Fixed)
            .params("{key: alias/aws/sns}"),
        Case::new(
            "of a key",
            "SNS.1",
            |at| Box::pin(topic(at, &[("KmsMasterKeyId", "alias/own")])),
            Compliant,
        )
        .params("{key: alias/topics}"),
        Case::new(
            "for which no key is named",
            "SNS.1",
            |at| Box::pin(topic(at, &[])),
            Refused("`key: alias/aws/sns`"),
        ),
    ],
    look: |at, arn| Box::pin(look(at, arn)),
    ministack: OnMinistack::Whole(&["sns:ListTagsForResource"]),
};

/// Also open to everybody, which is another control's business.
async fn open(at: &Place) -> Result<String, Error> {
    let policy =
        r#"{"Statement": [{"Effect": "Allow", "Principal": "*", "Action": "sns:Publish", "Resource": "*"}]}"#;
    topic(at, &[("DisplayName", "News"), ("Policy", policy)]).await
}
