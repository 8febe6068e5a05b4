//! Where winterbaume's IAM is not Amazon's.
//!
//! [`GetUser`](https://docs.aws.amazon.com/IAM/latest/APIReference/API_GetUser.html) gives no tags and no
//! `PasswordLastUsed`.
//! [`GetAccessKeyLastUsed`](https://docs.aws.amazon.com/IAM/latest/APIReference/API_GetAccessKeyLastUsed.html) of a key
//! that was never used gives no `AccessKeyLastUsed`, where AWS says `N/A`.
//! [`UpdateAccountPasswordPolicy`](https://docs.aws.amazon.com/IAM/latest/APIReference/API_UpdateAccountPasswordPolicy.html)
//! and [`UpdateAccessKey`](https://docs.aws.amazon.com/IAM/latest/APIReference/API_UpdateAccessKey.html) take values that
//! AWS has not.
//!
//! ## Days gone by
//! Nothing here is older than the process. `CreateAccessKey` and `CreateLoginProfile` therefore look at two headers,
//! which AWS overlooks: [`MADE`] says how many days ago the key or the password was made, [`USED`] how many days ago
//! it was last used.

use std::collections::HashMap;
use std::sync::Mutex;

use bytes::Bytes;
use http::Response;
use jiff::{SignedDuration, Timestamp};

use super::locked;
use super::others::Others;
use super::wire::{Refusal, Request, Xml, element, respond, rewrite};

/// How many days ago a key or a password was made.
pub(crate) const MADE: &str = "x-sandbox-made-days-ago";

/// How many days ago a key or a password was last used; without it, never.
pub(crate) const USED: &str = "x-sandbox-used-days-ago";

/// Keys by their id, passwords by `password of` their user's name.
#[derive(Default)]
pub(super) struct Dates(Mutex<HashMap<String, Date>>);

#[derive(Clone, Copy)]
struct Date {
    made: Timestamp,
    used: Option<Timestamp>,
}

pub(super) async fn answer(
    others: &Others,
    dates: &Dates,
    request: &Request,
    operation: &str,
) -> Response<Bytes> {
    if let Err(refusal) = check(request, operation) {
        return refusal.response("iam");
    }
    let mut response = others.pass(request).await;
    if !response.status().is_success() {
        return response;
    }
    let password = password_of(request);
    match operation {
        "CreateAccessKey" => {
            let text = String::from_utf8_lossy(response.body()).into_owned();
            dates.note(request, element(&text, "AccessKeyId").unwrap_or_default());
            rewrite(&mut response, |text| dates.dated(text));
        }
        "ListAccessKeys" => rewrite(&mut response, |text| {
            text.split_inclusive("</member>").map(|member| dates.dated(member)).collect()
        }),
        "GetAccessKeyLastUsed" => {
            let used = dates.of(request.form.get("AccessKeyId").unwrap_or_default());
            let text = String::from_utf8_lossy(response.body()).into_owned();
            return last_used(
                element(&text, "UserName").unwrap_or_default(),
                used.and_then(|date| date.used),
            );
        }
        "CreateLoginProfile" => {
            dates.note(request, &password);
            rewrite(&mut response, |text| made(text, dates.of(&password)));
        }
        "GetLoginProfile" => rewrite(&mut response, |text| made(text, dates.of(&password))),
        "DeleteLoginProfile" => drop(locked(&dates.0).remove(&password)),
        "GetUser" => {
            let used = dates.of(&password).and_then(|date| date.used).map(shown);
            let tags = tags(others, request).await;
            rewrite(&mut response, |text| {
                let more = Xml::default().optional("PasswordLastUsed", used).finish();
                text.replacen("</User>", &format!("{more}{tags}</User>"), 1)
            });
        }
        _ => {}
    }
    response
}

fn check(request: &Request, operation: &str) -> Result<(), Refusal> {
    let invalid = |what: &str| {
        Refusal::new(400, "ValidationError", format!("1 validation error detected: Value at '{what}'"))
    };
    match operation {
        "UpdateAccountPasswordPolicy" => {
            let ranges = [
                ("MinimumPasswordLength", 6..=128),
                ("MaxPasswordAge", 1..=1095),
                ("PasswordReusePrevention", 1..=24),
            ];
            for (name, range) in ranges {
                let given = request.form.get(name).map(str::parse::<u32>);
                if given.is_some_and(|given| !given.is_ok_and(|given| range.contains(&given))) {
                    return Err(invalid(name));
                }
            }
        }
        "UpdateAccessKey" if !matches!(request.form.get("Status"), Some("Active" | "Inactive")) => {
            return Err(invalid("status"));
        }
        _ => {}
    }
    Ok(())
}

impl Dates {
    fn of(&self, name: &str) -> Option<Date> {
        locked(&self.0).get(name).copied()
    }

    /// Keeps what the request's headers say of what it has made.
    fn note(&self, request: &Request, name: &str) {
        let ago = |header| {
            let days: i64 = request.header(header)?.parse().ok()?;
            Timestamp::now().checked_sub(SignedDuration::from_hours(days.checked_mul(24)?)).ok()
        };
        let date = Date { made: ago(MADE).unwrap_or_else(Timestamp::now), used: ago(USED) };
        locked(&self.0).insert(name.to_owned(), date);
    }

    /// What is said of one key, with its own date.
    fn dated(&self, text: &str) -> String {
        made(text, element(text, "AccessKeyId").and_then(|id| self.of(id)))
    }
}

fn password_of(request: &Request) -> String {
    format!("password of {}", request.form.get("UserName").unwrap_or_default())
}

fn shown(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn made(text: &str, date: Option<Date>) -> String {
    let (Some(date), Some(is)) = (date, element(text, "CreateDate")) else { return text.to_owned() };
    text.replacen(
        &format!("<CreateDate>{is}</CreateDate>"),
        &format!("<CreateDate>{}</CreateDate>", shown(date.made)),
        1,
    )
}

fn last_used(user: &str, used: Option<Timestamp>) -> Response<Bytes> {
    let (service, region) = if used.is_some() { ("s3", "us-east-1") } else { ("N/A", "N/A") };
    let last = Xml::default()
        .optional("LastUsedDate", used.map(shown))
        .text("ServiceName", service)
        .text("Region", region);
    let result = Xml::default().text("UserName", user).nested("AccessKeyLastUsed", &last);
    let whole = Xml::default().nested("GetAccessKeyLastUsedResult", &result);
    respond(200, "text/xml", Xml::default().nested("GetAccessKeyLastUsedResponse", &whole).finish())
}

/// The `Tags` of a user, as another operation lists them; empty where it has none.
async fn tags(others: &Others, request: &Request) -> String {
    let body = String::from_utf8_lossy(&request.body).replacen("Action=GetUser", "Action=ListUserTags", 1);
    let listed = others.pass(&Request { body: body.into(), ..request.clone() }).await;
    let text = String::from_utf8_lossy(listed.body()).into_owned();
    let tags = element(&text, "Tags").map(str::trim).filter(|tags| !tags.is_empty());
    tags.map(|tags| format!("<Tags>{tags}</Tags>")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use aws_sdk_iam::{
        Client,
        error::ProvideErrorMetadata,
        types::{StatusType, Tag},
    };

    use super::*;
    use crate::emulator::Emulator;

    fn iam() -> Client {
        Client::new(&Emulator::new().sdk_config("111122223333", "eu-west-1"))
    }

    #[tokio::test]
    async fn users_come_with_tags_and_keys_with_dates() {
        let iam = iam();
        let tag = Tag::builder().key("a&b").value("<c>").build().unwrap();
        let made = iam.create_user().user_name("jo+1").path("/x/").tags(tag.clone()).send().await.unwrap();
        assert_eq!(made.user.unwrap().arn, "arn:aws:iam::111122223333:user/x/jo+1");
        let user = || async { iam.get_user().user_name("jo+1").send().await.unwrap().user.unwrap() };
        assert_eq!((user().await.tags(), user().await.password_last_used), (&[tag][..], None));

        let ago = |days: i64| Timestamp::now().as_second() - days * 86_400;
        let near = |is: Option<i64>, days| is.is_some_and(|is| (is - ago(days)).abs() < 60);
        let old = iam.create_access_key().user_name("jo+1").customize().mutate_request(|request| {
            request.headers_mut().insert(MADE, "200");
            request.headers_mut().insert(USED, "100");
        });
        let old = old.send().await.unwrap().access_key.unwrap();
        assert!(near(old.create_date.map(|date| date.secs()), 200));
        let new = iam.create_access_key().user_name("jo+1").send().await.unwrap().access_key.unwrap();
        let listed = iam.list_access_keys().user_name("jo+1").send().await.unwrap().access_key_metadata;
        assert_eq!(listed.len(), 2);
        for key in listed {
            let days = if key.access_key_id() == Some(&old.access_key_id) { 200 } else { 0 };
            assert!(near(key.create_date.map(|date| date.secs()), days), "{days}");
        }
        for (key, days) in [(&old, Some(100)), (&new, None)] {
            let found =
                iam.get_access_key_last_used().access_key_id(&key.access_key_id).send().await.unwrap();
            assert_eq!(found.user_name(), Some("jo+1"));
            let used = found.access_key_last_used.unwrap();
            match days {
                Some(days) => assert!(near(used.last_used_date.map(|date| date.secs()), days)),
                None => assert_eq!((used.last_used_date, used.region.as_str()), (None, "N/A")),
            }
        }
        let update = iam.update_access_key().user_name("jo+1").access_key_id(&old.access_key_id);
        let refused = update.clone().status(StatusType::Expired).send().await.unwrap_err();
        assert_eq!(refused.code(), Some("ValidationError"));
        update.status(StatusType::Inactive).send().await.unwrap();
    }

    #[tokio::test]
    async fn passwords_have_dates_and_are_gone_when_they_are_deleted() {
        let iam = iam();
        iam.create_user().user_name("jo").send().await.unwrap();
        let create = iam.create_login_profile().user_name("jo").password("x").customize();
        let create = create.mutate_request(|request| {
            request.headers_mut().insert(MADE, "20");
            request.headers_mut().insert(USED, "10");
        });
        create.send().await.unwrap();
        let login = iam.get_login_profile().user_name("jo").send().await.unwrap().login_profile.unwrap();
        let used = iam.get_user().user_name("jo").send().await.unwrap().user.unwrap().password_last_used;
        assert_eq!(used.unwrap().secs() - login.create_date.secs(), 10 * 86_400);
        iam.delete_login_profile().user_name("jo").send().await.unwrap();
        let gone = iam.get_login_profile().user_name("jo").send().await.unwrap_err();
        assert_eq!(gone.code(), Some("NoSuchEntity"));
        let user = iam.get_user().user_name("jo").send().await.unwrap().user.unwrap();
        assert_eq!(user.password_last_used, None);
    }

    #[tokio::test]
    async fn a_password_policy_is_refused_that_iam_does_not_take() {
        let iam = iam();
        let update = || iam.update_account_password_policy();
        for refused in [
            update().max_password_age(0),
            update().minimum_password_length(5),
            update().password_reuse_prevention(25),
        ] {
            assert_eq!(refused.send().await.unwrap_err().code(), Some("ValidationError"));
        }
        let none = iam.get_account_password_policy().send().await.unwrap_err();
        assert_eq!(none.code(), Some("NoSuchEntity"));
        update().max_password_age(90).hard_expiry(true).require_symbols(true).send().await.unwrap();
        // Whatever is left out is reset.
        update().require_numbers(true).send().await.unwrap();
        let found = iam.get_account_password_policy().send().await.unwrap().password_policy.unwrap();
        assert_eq!(
            (found.require_symbols, found.require_numbers, found.expire_passwords),
            (false, true, false)
        );
        assert_eq!((found.max_password_age, found.minimum_password_length), (None, Some(6)));
        assert!(!found.hard_expiry.unwrap_or_default());
    }
}
