use super::{Made, absent, key, look, user};
use crate::scenarios::{
    Case,
    Expect::{Compliant, Fixed, Refused},
    OnMinistack, Scenarios,
};

pub(in crate::scenarios) const SCENARIOS: Scenarios = Scenarios {
    remediator: "iam.deactivate_old_keys",
    resource_type: "AwsIamUser",
    absent: Some(absent),
    cases: &[
        Case::new(
            "with an old key that nobody uses, and a new one",
            "IAM.3",
            |at| Box::pin(user(at, [key(200, Some(100)), key(20, Some(0))], Some(key(300, Some(200))))),
            Fixed,
        ),
        Case::new(
            "with two old keys that nobody uses",
            "IAM.3",
            |at| Box::pin(user(at, [key(91, Some(46)), key(900, None)], None)),
            Fixed,
        ),
        Case::new(
            "with an old key that is used",
            "IAM.3",
            |at| Box::pin(user(at, [key(200, Some(3)), key(900, None)], None)),
            Refused("is in use"),
        ),
        Case::new(
            "with an old key that is used too seldom for the rule",
            "IAM.3",
            |at| Box::pin(user(at, [key(200, Some(3))], None)),
            Fixed,
        )
        .params("{unused_days: 2}"),
        Case::new(
            "with keys that are new",
            "IAM.3",
            |at| Box::pin(user(at, [key(20, None), key(89, Some(0))], None)),
            Compliant,
        ),
        Case::new(
            "whose old key is inactive",
            "IAM.3",
            |at| Box::pin(user(at, [Made { active: false, ..key(200, Some(0)) }], None)),
            Compliant,
        ),
        Case::new("without keys", "IAM.3", |at| Box::pin(user(at, [], Some(key(300, None)))), Compliant),
    ],
    look: |at, _| Box::pin(look(at)),
    ministack: OnMinistack::No("each of its keys was made today"),
};
