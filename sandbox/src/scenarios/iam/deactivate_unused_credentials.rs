use super::{absent, key, look, user};
use crate::scenarios::{
    Case,
    Expect::{Compliant, Fixed, FixedOneWay, Refused},
    OnMinistack, Scenarios,
};

pub(in crate::scenarios) const SCENARIOS: Scenarios = Scenarios {
    remediator: "iam.deactivate_unused_credentials",
    resource_type: "AwsIamUser",
    absent: Some(absent),
    cases: &[
        Case::new(
            "with a key that nobody uses, and one in use",
            "IAM.8",
            |at| Box::pin(user(at, [key(300, Some(100)), key(400, Some(1))], Some(key(300, Some(2))))),
            Fixed,
        ),
        Case::new(
            "with two keys that nobody uses",
            "IAM.22",
            |at| Box::pin(user(at, [key(300, Some(50)), key(46, None)], None)),
            Fixed,
        ),
        Case::new(
            "with a key that was used within 90 days",
            "IAM.8",
            |at| Box::pin(user(at, [key(300, Some(50)), key(46, None)], None)),
            Compliant,
        ),
        Case::new(
            "with a new key and a new password that nobody has used",
            "IAM.22",
            |at| Box::pin(user(at, [key(10, None)], Some(key(10, None)))),
            Compliant,
        ),
        Case::new(
            "with a password that nobody uses",
            "IAM.22",
            |at| Box::pin(user(at, [key(300, Some(1))], Some(key(300, Some(50))))),
            Refused("passwords: delete"),
        ),
        Case::new(
            "with key and password that nobody uses",
            "IAM.8",
            |at| Box::pin(user(at, [key(300, None)], Some(key(300, None)))),
            Refused("passwords: leave"),
        ),
        Case::new(
            "with key and password that nobody uses, and a rule that leaves passwords",
            "IAM.8",
            |at| Box::pin(user(at, [key(300, None)], Some(key(300, None)))),
            Fixed,
        )
        .params("{passwords: leave}"),
        Case::new(
            "with key and password that nobody uses, and a rule that deletes passwords",
            "IAM.22",
            |at| Box::pin(user(at, [key(300, Some(50)), key(20, None)], Some(key(300, Some(50))))),
            FixedOneWay(
                r#"{ "keys": ["20 days: Active", "300 days: Active"], "password": null,
                     "tags": ["team=billing & reports"], "policies": ["reads"] }"#,
            ),
        )
        .params("{passwords: delete}"),
    ],
    look: |at, _| Box::pin(look(at)),
    ministack: OnMinistack::No("each of its keys was made today"),
};
