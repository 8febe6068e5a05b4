use aws_sdk_iam::types::PasswordPolicy;
use serde_json::{Value, json};

use super::iam;
use crate::scenarios::{
    Case, Error,
    Expect::{Compliant, Fixed, Refused},
    OnMinistack, Place, Scenarios,
};

pub(in crate::scenarios) const SCENARIOS: Scenarios = Scenarios {
    remediator: "iam.strengthen_password_policy",
    resource_type: "AwsAccount",
    absent: None,
    cases: &[
        Case::new("without a policy", "IAM.7", |at| Box::pin(none(at)), Fixed),
        Case::new("with a policy weaker than it has set", "IAM.7", |at| Box::pin(with(at, &STRICT)), Fixed)
            .parameters(&[("MinimumPasswordLength", &["24"]), ("MaxPasswordAge", &["60"])])
            .params("{lock_out: true}"),
        Case::new("with a weak policy", "IAM.10", |at| Box::pin(with(at, &WEAK)), Fixed),
        Case::new("without a policy", "IAM.10", |at| Box::pin(none(at)), Fixed),
        Case::new("with a weak policy", "IAM.11", |at| Box::pin(with(at, &WEAK)), Fixed),
        Case::new("with a weak policy", "IAM.12", |at| Box::pin(with(at, &WEAK)), Fixed),
        Case::new("with a weak policy", "IAM.13", |at| Box::pin(with(at, &WEAK)), Fixed),
        Case::new("with a weak policy", "IAM.14", |at| Box::pin(with(at, &WEAK)), Fixed),
        Case::new("with a weak policy", "IAM.15", |at| Box::pin(with(at, &WEAK)), Fixed),
        Case::new("with a policy that forgets", "IAM.16", |at| Box::pin(with(at, &WEAK)), Fixed),
        Case::new("with passwords that never expire", "IAM.17", |at| Box::pin(with(at, &WEAK)), Fixed),
        Case::new("without a policy", "IAM.17", |at| Box::pin(none(at)), Fixed),
        Case::new(
            "with passwords that lock out when they expire",
            "IAM.17",
            |at| Box::pin(with(at, &Wanted { age: Some(180), ..STRICT })),
            Refused("locked out"),
        ),
        Case::new("with a strict policy", "IAM.7", |at| Box::pin(with(at, &STRICT)), Compliant),
        Case::new("with a strict policy", "IAM.10", |at| Box::pin(with(at, &STRICT)), Compliant),
        Case::new("with a strict policy", "IAM.15", |at| Box::pin(with(at, &STRICT)), Compliant),
        Case::new("with a strict policy", "IAM.17", |at| Box::pin(with(at, &STRICT)), Compliant),
    ],
    look: |at, _| Box::pin(look(at)),
    ministack: OnMinistack::No(
        "what `UpdateAccountPasswordPolicy` leaves out stays as it was there, and AWS resets it",
    ),
};

struct Wanted {
    length: i32,
    kinds: bool,
    reuse: Option<i32>,
    age: Option<i32>,
    hard: bool,
    change: bool,
}

const WEAK: Wanted = Wanted { length: 6, kinds: false, reuse: Some(2), age: None, hard: false, change: true };
const STRICT: Wanted =
    Wanted { length: 20, kinds: true, reuse: Some(24), age: Some(90), hard: true, change: false };

fn id(at: &Place) -> String {
    format!("AWS::::Account:{}", at.account)
}

async fn none(at: &Place) -> Result<String, Error> {
    match iam(at).delete_account_password_policy().send().await {
        Err(error) if error.as_service_error().is_none_or(|error| !error.is_no_such_entity_exception()) => {
            Err(error.into())
        }
        _ => Ok(id(at)),
    }
}

async fn with(at: &Place, wanted: &Wanted) -> Result<String, Error> {
    iam(at)
        .update_account_password_policy()
        .minimum_password_length(wanted.length)
        .require_uppercase_characters(wanted.kinds)
        .require_lowercase_characters(wanted.kinds)
        .require_numbers(wanted.kinds)
        .require_symbols(wanted.kinds)
        .set_password_reuse_prevention(wanted.reuse)
        .set_max_password_age(wanted.age)
        .hard_expiry(wanted.hard)
        .allow_users_to_change_password(wanted.change)
        .send()
        .await?;
    Ok(id(at))
}

async fn look(at: &Place) -> Result<Value, Error> {
    match iam(at).get_account_password_policy().send().await {
        Ok(found) => Ok(found.password_policy().map(shown).unwrap_or_default()),
        Err(error) if error.as_service_error().is_some_and(aws_sdk_iam::operation::get_account_password_policy::GetAccountPasswordPolicyError::is_no_such_entity_exception) => {
            Ok(Value::Null)
        }
        Err(error) => Err(error.into()),
    }
}

fn shown(policy: &PasswordPolicy) -> Value {
    json!({
        "length": policy.minimum_password_length(),
        "kinds": [
            policy.require_uppercase_characters(),
            policy.require_lowercase_characters(),
            policy.require_numbers(),
            policy.require_symbols(),
        ],
        "reuse": policy.password_reuse_prevention(),
        "expires": policy.expire_passwords(),
        "age": policy.max_password_age(),
        "hard": policy.hard_expiry(),
        "change": policy.allow_users_to_change_password(),
    })
}
