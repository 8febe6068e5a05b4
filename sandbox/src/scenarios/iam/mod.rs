//! IAM users and policies, and the settings of an account.

pub(super) mod deactivate_old_keys;
pub(super) mod deactivate_unused_credentials;
pub(super) mod strengthen_password_policy;

use aws_sdk_iam::{
    Client,
    primitives::DateTime,
    types::{StatusType, Tag},
};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Error, Place};
use crate::{
    emulator::iam::{MADE, USED},
    securityhub::partition,
};

fn iam(at: &Place) -> Client {
    Client::new(&at.config)
}

fn absent(at: &Place) -> String {
    format!("arn:{}:iam::{}:user/no-such-{}", partition(&at.region), at.account, at.name)
}

/// An access key: how many days ago it was made and, if ever, last used.
#[derive(Clone, Copy)]
struct Made {
    ago: u16,
    used: Option<u16>,
    active: bool,
}

const fn key(ago: u16, used: Option<u16>) -> Made {
    Made { ago, used, active: true }
}

/// A user with these keys and, where it is given, a password of such an age; with a policy and a tag of its own.
async fn user<const N: usize>(at: &Place, keys: [Made; N], password: Option<Made>) -> Result<String, Error> {
    let tag = Tag::builder().key("team").value("billing & reports").build()?;
    let made = iam(at).create_user().user_name(&at.name).path("/staff/billing/").tags(tag).send().await?;
    let reads = json!({
        "Version": "2012-10-17",
        "Statement": [{ "Effect": "Allow", "Action": "s3:ListAllMyBuckets", "Resource": "*" }],
    });
    let put = iam(at).put_user_policy().user_name(&at.name).policy_name("reads");
    put.policy_document(reads.to_string()).send().await?;
    for key in keys {
        let create = iam(at).create_access_key().user_name(&at.name).customize();
        let new = create.mutate_request(dated(key)).send().await?;
        if !key.active {
            let id = new.access_key.map(|key| key.access_key_id).unwrap_or_default();
            let update = iam(at).update_access_key().user_name(&at.name).access_key_id(id);
            update.status(StatusType::Inactive).send().await?;
        }
    }
    if let Some(password) = password {
        let create = iam(at).create_login_profile().user_name(&at.name).password("correct horse battery");
        create.customize().mutate_request(dated(password)).send().await?;
    }
    Ok(made.user.map(|user| user.arn).unwrap_or_default())
}

/// Says when what is made was made, and last used.
fn dated(
    made: Made,
) -> impl Fn(&mut aws_smithy_runtime_api::client::orchestrator::HttpRequest) + Send + Sync {
    move |request| {
        request.headers_mut().insert(MADE, made.ago.to_string());
        if let Some(used) = made.used {
            request.headers_mut().insert(USED, used.to_string());
        }
    }
}

/// Keys by their age, which tells those of a case apart.
async fn look(at: &Place) -> Result<Value, Error> {
    let days = |at: &DateTime| (Timestamp::now().as_second() - at.secs()) / 86_400;
    let listed = iam(at).list_access_keys().user_name(&at.name).send().await?;
    let mut keys: Vec<String> = listed
        .access_key_metadata()
        .iter()
        .map(|key| {
            let status = key.status().map(StatusType::as_str).unwrap_or_default();
            format!("{} days: {status}", key.create_date().map(days).unwrap_or_default())
        })
        .collect();
    keys.sort_unstable();
    let password = match iam(at).get_login_profile().user_name(&at.name).send().await {
        Ok(found) => found.login_profile().map(|login| days(login.create_date())),
        Err(error)
            if error.as_service_error().is_some_and(
                aws_sdk_iam::operation::get_login_profile::GetLoginProfileError::is_no_such_entity_exception,
            ) =>
        {
            None
        }
        Err(error) => return Err(error.into()),
    };
    let found = iam(at).get_user().user_name(&at.name).send().await?;
    let tags = found.user().map(aws_sdk_iam::types::User::tags).unwrap_or_default();
    let tags: Vec<String> = tags.iter().map(|tag| format!("{}={}", tag.key(), tag.value())).collect();
    let policies = iam(at).list_user_policies().user_name(&at.name).send().await?.policy_names;
    Ok(json!({ "keys": keys, "password": password, "tags": tags, "policies": policies }))
}
