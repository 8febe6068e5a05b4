//! What the event of a [user pool's trigger](https://docs.aws.amazon.com/cognito/latest/developerguide/cognito-user-pools-working-with-lambda-triggers.html)
//! says about a user.
//!
//! Each member is read on its own: one of an unexpected kind costs no more than itself. An answer that is
//! refused makes the user's sign-in fail, so that AWS advises against strict checks.

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// Of the triggers that a pool has, `PostAuthentication` alone says by its name that somebody signed in.
const AUTHENTICATION: &str = "PostAuthentication_Authentication";
const SIGN_UP: &str = "PostConfirmation_ConfirmSignUp";
const PASSWORD_RESET: &str = "PostConfirmation_ConfirmForgotPassword";
/// `PreTokenGeneration`: the one trigger that every way to a user's tokens passes.
const TOKENS: &str = "TokenGeneration_";
/// Tokens for a program, which is no user.
const CLIENT_CREDENTIALS: &str = "TokenGeneration_ClientCredentials";
/// The status of users who come from another identity provider.
const FEDERATED: &str = "EXTERNAL_PROVIDER";

/// [The longest](https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_UserPoolType.html)
/// pool id.
const LONGEST_POOL: usize = 55;
/// Cognito gives a UUID. Anything that is safe as a key will do: a user with an odd `sub` is better recorded
/// than lost.
const LONGEST_SUB: usize = 128;
/// [The longest](https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_UserType.html)
/// user name.
const LONGEST_USERNAME: usize = 128;
/// Longer than any of Cognito's trigger sources.
const LONGEST_SOURCE: usize = 64;

/// A user who was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sight {
    /// The pool's id.
    pub pool: String,
    /// The user's `sub`.
    pub sub: String,
    /// The user's name, which may be an e-mail address; `None` where the event has none that can be one.
    pub username: Option<String>,
    /// The trigger's source.
    pub trigger: String,
    /// Whether it was a sign-in, and not only a sign-up.
    pub signed_in: bool,
}

/// What an event comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// A user was seen.
    Seen(Sight),
    /// Nothing to record.
    Nothing,
    /// Somebody may have signed in, and it can't be said who.
    Unreadable {
        /// What the event lacks: a word of ours, nothing of the event.
        lacks: &'static str,
        /// The pool, where that much can be read.
        pool: Option<String>,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    #[serde(default, deserialize_with = "lenient")]
    trigger_source: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    user_pool_id: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    user_name: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    request: Option<Request>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    #[serde(default, deserialize_with = "lenient")]
    user_attributes: Option<Attributes>,
}

#[derive(Deserialize)]
struct Attributes {
    #[serde(default, deserialize_with = "lenient")]
    sub: Option<String>,
    #[serde(default, deserialize_with = "lenient", rename = "cognito:user_status")]
    status: Option<String>,
}

/// `None` for whatever is of another kind.
fn lenient<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let text = <&RawValue>::deserialize(deserializer)?;
    Ok(serde_json::from_str(text.get()).ok())
}

/// Reads an event. `password_reset` says whether a password that was reset counts as a sign-in.
pub fn read(event: &str, password_reset: bool) -> Reading {
    let unreadable = |lacks, pool| Reading::Unreadable { lacks, pool };
    let Ok(event) = serde_json::from_str::<Event>(event) else { return unreadable("form", None) };
    let pool = event.user_pool_id.filter(|id| is_pool(id));
    let Some(trigger) = event.trigger_source else { return unreadable("triggerSource", pool) };
    let attributes = event.request.and_then(|request| request.user_attributes);
    let (sub, status) = attributes.map_or((None, None), |found| (found.sub, found.status));
    let Some(signed_in) = signs_in(&trigger, status.as_deref(), password_reset) else {
        return Reading::Nothing;
    };
    let Some(pool) = pool else { return unreadable("userPoolId", None) };
    let Some(sub) = sub.filter(|sub| is_sub(sub)) else { return unreadable("sub", Some(pool)) };
    let username = event.user_name.filter(|name| is_username(name));
    Reading::Seen(Sight { pool, sub, username, trigger, signed_in })
}

/// Whether the trigger tells of a sign-in (`Some(false)`: of a sign-up only); `None` where it is none of ours.
fn signs_in(trigger: &str, status: Option<&str>, password_reset: bool) -> Option<bool> {
    match trigger {
        AUTHENTICATION => Some(true),
        // The first sign-in of a federated user confirms the user, and fires no PostAuthentication.
        SIGN_UP => Some(status == Some(FEDERATED)),
        PASSWORD_RESET => password_reset.then_some(true),
        CLIENT_CREDENTIALS => None,
        _ => (trigger.starts_with(TOKENS) && is_source(trigger)).then_some(true),
    }
}

fn is_source(text: &str) -> bool {
    text.len() <= LONGEST_SOURCE && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Whether this can be a pool's id.
pub fn is_pool(text: &str) -> bool {
    (1..=LONGEST_POOL).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

fn is_sub(text: &str) -> bool {
    (1..=LONGEST_SUB).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn is_username(text: &str) -> bool {
    (1..=LONGEST_USERNAME).contains(&text.chars().count())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic, reason = "a test fails by panicking")]
    use serde_json::{Value, json};

    use super::*;

    const POOL: &str = "eu-west-1_AbC123";
    const SUB: &str = "0b7d5c1e-6a2f-4c55-9c3e-2f1f6a7d8e90";

    fn event(source: &str) -> Value {
        json!({
            "version": "1",
            "triggerSource": source,
            "userPoolId": POOL,
            "userName": "mary",
            "request": { "userAttributes": { "sub": SUB, "email_verified": "true" } },
            "response": {},
        })
    }

    fn seen(event: &Value) -> Sight {
        match read(&event.to_string(), false) {
            Reading::Seen(sight) => sight,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn sign_ins_are_told_from_sign_ups() {
        for (source, signed_in) in [
            ("PostAuthentication_Authentication", Some(true)),
            ("PostConfirmation_ConfirmSignUp", Some(false)),
            ("PostConfirmation_ConfirmForgotPassword", None),
            ("TokenGeneration_RefreshTokens", Some(true)),
            ("TokenGeneration_SomethingNew", Some(true)),
            ("TokenGeneration_ClientCredentials", None),
            ("PreSignUp_SignUp", None),
            ("", None),
        ] {
            let known = Sight {
                pool: POOL.to_owned(),
                sub: SUB.to_owned(),
                username: Some("mary".to_owned()),
                trigger: source.to_owned(),
                signed_in: signed_in.unwrap_or_default(),
            };
            let expected = signed_in.map_or(Reading::Nothing, |_| Reading::Seen(known));
            assert_eq!(read(&event(source).to_string(), false), expected, "{source}");
        }
        let reset = event(PASSWORD_RESET).to_string();
        assert!(matches!(read(&reset, true), Reading::Seen(sight) if sight.signed_in));
        let mut federated = event(SIGN_UP);
        federated["request"]["userAttributes"]["cognito:user_status"] = FEDERATED.into();
        assert!(seen(&federated).signed_in);
    }

    #[test]
    fn what_is_not_needed_may_be_anything() {
        let mut odd = event(AUTHENTICATION);
        odd["version"] = json!([1]);
        odd["callerContext"] = json!(7);
        odd["response"] = Value::Null;
        odd["request"]["newDeviceUsed"] = json!({});
        odd["request"]["userAttributes"]["email_verified"] = json!(true);
        odd["request"]["userAttributes"]["cognito:user_status"] = json!([]);
        assert_eq!(seen(&odd).sub, SUB);
        for name in [json!(""), json!(1), Value::Null, json!("x".repeat(129))] {
            odd["userName"] = name;
            assert_eq!(seen(&odd).username, None);
        }
        // A surrogate on its own is no text, but no reason to lose the user.
        let lone = event(AUTHENTICATION).to_string().replace("\"mary\"", r#""\ud800""#);
        assert!(matches!(read(&lone, false), Reading::Seen(sight) if sight.username.is_none()));
    }

    #[test]
    fn what_is_needed_is_named_where_it_lacks() {
        let lacking = |event: &str, lacks: &'static str, pool: Option<&str>| {
            let expected = Reading::Unreadable { lacks, pool: pool.map(str::to_owned) };
            assert_eq!(read(event, false), expected, "{event}");
        };
        for event in ["null", "1", "\"PostAuthentication_Authentication\"", "{", ""] {
            lacking(event, "form", None);
        }
        for event in ["{}", "[]"] {
            lacking(event, "triggerSource", None);
        }
        let changed = |change: fn(&mut Value)| {
            let mut event = event(AUTHENTICATION);
            change(&mut event);
            event.to_string()
        };
        lacking(&changed(|event| event["triggerSource"] = json!(1)), "triggerSource", Some(POOL));
        lacking(&changed(|event| event["userPoolId"] = json!("a/b")), "userPoolId", None);
        lacking(&changed(|event| event["userPoolId"] = json!("")), "userPoolId", None);
        lacking(&changed(|event| event["userPoolId"] = json!("a".repeat(56))), "userPoolId", None);
        for sub in [json!(""), json!("a b"), json!("é"), json!("\u{0}"), json!("a".repeat(129)), json!(7)] {
            let mut event = event(AUTHENTICATION);
            event["request"]["userAttributes"]["sub"] = sub;
            lacking(&event.to_string(), "sub", Some(POOL));
        }
        lacking(&changed(|event| event["request"] = json!([])), "sub", Some(POOL));
        lacking(&changed(|event| event["request"] = json!("x")), "sub", Some(POOL));
    }
}
