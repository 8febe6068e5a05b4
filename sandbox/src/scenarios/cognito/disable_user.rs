use aws_sdk_cognitoidentityprovider::{
    Client,
    types::{AttributeType, UserStatusType},
};
use serde_json::{Value, json};

use crate::scenarios::{
    Case, Error,
    Expect::{Compliant, Exempt, Fixed, Refused},
    OnMinistack, Place, Scenarios,
};

const INACTIVE: &str = "redress.cognito-inactive-user";

pub(in crate::scenarios) const SCENARIOS: Scenarios = Scenarios {
    remediator: "cognito.disable_user",
    resource_type: "Other",
    absent: Some(|at| {
        let user = "userpool/eu-west-1_NoSuchOne/user/00000000-0000-4000-8000-000000000000";
        at.arn("cognito-idp", user)
    }),
    cases: &[
        Case::new("who is away", INACTIVE, |at| Box::pin(user(at)), Fixed),
        Case::new("who is away, and still signed in", INACTIVE, |at| Box::pin(user(at)), Fixed)
            .params("{sign_out: true}"),
        Case::new("who is disabled", INACTIVE, |at| Box::pin(disabled(at)), Compliant),
        Case::new("of whom nothing is known", INACTIVE, |at| Box::pin(user(at)), Refused("no activity"))
            .last_seen(None),
        Case::new("who is active", INACTIVE, |at| Box::pin(user(at)), Refused("is active"))
            .last_seen(Some(3)),
        Case::new("of a protected group", INACTIVE, |at| Box::pin(member(at)), Exempt("protected group"))
            .params("{protected_groups: [break-glass]}"),
    ],
    look: |at, arn| Box::pin(look(at, arn)),
    ministack: OnMinistack::Whole(&["cognito-idp:ListTagsForResource"]),
};

const NAME: &str = "ada";

fn client(at: &Place) -> Client {
    Client::new(&at.config)
}

async fn made(at: &Place) -> Result<(String, String), Error> {
    let cognito = client(at);
    let made = cognito.create_user_pool().pool_name(&at.name).send().await?;
    let pool = made.user_pool.and_then(|pool| pool.id).unwrap_or_default();
    let email = AttributeType::builder().name("email").value("ada@example.com").build()?;
    let made =
        cognito.admin_create_user().user_pool_id(&pool).username(NAME).user_attributes(email).send().await?;
    let attributes = made.user.and_then(|user| user.attributes).unwrap_or_default();
    let sub = attributes.into_iter().find(|attribute| attribute.name == "sub").and_then(|sub| sub.value);
    let arn = at.arn("cognito-idp", &format!("userpool/{pool}/user/{}", sub.unwrap_or_default()));
    Ok((pool, arn))
}

async fn user(at: &Place) -> Result<String, Error> {
    Ok(made(at).await?.1)
}

async fn disabled(at: &Place) -> Result<String, Error> {
    let (pool, arn) = made(at).await?;
    client(at).admin_disable_user().user_pool_id(pool).username(NAME).send().await?;
    Ok(arn)
}

async fn member(at: &Place) -> Result<String, Error> {
    let (pool, arn) = made(at).await?;
    let cognito = client(at);
    cognito.create_group().user_pool_id(&pool).group_name("break-glass").send().await?;
    cognito
        .admin_add_user_to_group()
        .user_pool_id(pool)
        .username(NAME)
        .group_name("break-glass")
        .send()
        .await?;
    Ok(arn)
}

async fn look(at: &Place, arn: &str) -> Result<Value, Error> {
    let pool = arn.split('/').nth(1).unwrap_or_default();
    let found = client(at).list_users().user_pool_id(pool).send().await?;
    let users: Vec<Value> = found
        .users()
        .iter()
        .map(|user| json!([user.username(), user.enabled(), user.user_status().map(UserStatusType::as_str)]))
        .collect();
    Ok(json!(users))
}
