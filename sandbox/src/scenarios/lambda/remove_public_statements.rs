use aws_sdk_lambda::{
    Client,
    primitives::Blob,
    types::{FunctionCode, FunctionUrlAuthType, Runtime},
};
use serde_json::{Value, json};

use crate::{
    scenarios::{
        Case, Error,
        Expect::{Compliant, Fixed, Refused},
        OnMinistack, Place, Scenarios,
    },
    securityhub::partition,
};

pub(in crate::scenarios) const SCENARIOS: Scenarios = Scenarios {
    remediator: "lambda.remove_public_statements",
    resource_type: "AwsLambdaFunction",
    absent: Some(|at| at.arn("lambda", &format!("function:no-such-{}", at.name))),
    cases: &[
        Case::new("open to everybody", "Lambda.1", |at| Box::pin(function(at, &[EVERYBODY])), Fixed),
        Case::new(
            "open to everybody and all buckets among others",
            "Lambda.1",
            |at| Box::pin(function(at, &[PARTNER, EVERYBODY, EVENTS, BUCKETS, OWN_BUCKETS])),
            Fixed,
        ),
        Case::new(
            "of a URL that is to close",
            "Lambda.1",
            |at| Box::pin(function(at, &[URL, BY_URL])),
            Fixed,
        )
        .params("{function_urls: true}"),
        Case::new("of an alias open to everybody", "Lambda.1", |at| Box::pin(alias(at)), Fixed),
        Case::new("without a policy", "Lambda.1", |at| Box::pin(function(at, &[])), Compliant),
        Case::new(
            "open to whom it names",
            "Lambda.1",
            |at| Box::pin(function(at, &[PARTNER, EVENTS, OWN_BUCKETS])),
            Compliant,
        ),
        Case::new(
            "of a URL that is open",
            "Lambda.1",
            |at| Box::pin(function(at, &[EVERYBODY, URL])),
            Refused("`function_urls`"),
        ),
        Case::new(
            "open to a bucket of whomever",
            "Lambda.1",
            |at| Box::pin(function(at, &[A_BUCKET])),
            Refused("`aws:SourceAccount`"),
        ),
    ],
    look: |at, arn| Box::pin(look(at, arn)),
    ministack: OnMinistack::Whole(&[]),
};

/// A statement, as `AddPermission` is asked for it.
#[derive(Clone, Copy)]
struct Permission {
    sid: &'static str,
    principal: &'static str,
    source_arn: Option<&'static str>,
    source_account: Option<&'static str>,
    url: bool,
    by_url: bool,
}

const EVERYBODY: Permission = Permission {
    sid: "everybody",
    principal: "*",
    source_arn: None,
    source_account: None,
    url: false,
    by_url: false,
};
const PARTNER: Permission = Permission { sid: "partner", principal: "210987654321", ..EVERYBODY };
const EVENTS: Permission = Permission { sid: "events", principal: "events.amazonaws.com", ..EVERYBODY };
const BUCKETS: Permission = Permission { sid: "buckets", principal: "s3.amazonaws.com", ..EVERYBODY };
const A_BUCKET: Permission =
    Permission { sid: "bucket", source_arn: Some("arn:aws:s3:::uploads"), ..BUCKETS };
const OWN_BUCKETS: Permission = Permission { sid: "own", source_account: Some("123456789012"), ..A_BUCKET };
const URL: Permission = Permission { sid: "FunctionURLAllowPublicAccess", url: true, ..EVERYBODY };
const BY_URL: Permission = Permission { sid: "FunctionURLAllowInvoke", by_url: true, ..EVERYBODY };

fn lambda(at: &Place) -> Client {
    Client::new(&at.config)
}

async fn function(at: &Place, permissions: &[Permission]) -> Result<String, Error> {
    let trust = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;
    let iam = aws_sdk_iam::Client::new(&at.config);
    iam.create_role().role_name(&at.name).assume_role_policy_document(trust).send().await?;
    let role = format!("arn:{}:iam::{}:role/{}", partition(&at.region), at.account, at.name);
    lambda(at)
        .create_function()
        .function_name(&at.name)
        .runtime(Runtime::Providedal2023)
        .handler("bootstrap")
        .role(role)
        .code(FunctionCode::builder().zip_file(Blob::new(EMPTY)).build())
        .send()
        .await?;
    permit(at, None, permissions).await?;
    Ok(at.arn("lambda", &format!("function:{}", at.name)))
}

/// A zip archive of nothing.
const EMPTY: &[u8] = b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

/// An alias whose policy is not that of its function.
async fn alias(at: &Place) -> Result<String, Error> {
    let arn = function(at, &[EVERYBODY]).await?;
    let version = lambda(at).publish_version().function_name(&at.name).send().await?;
    let request = lambda(at).create_alias().function_name(&at.name).name("live");
    request.function_version(version.version.unwrap_or_default()).send().await?;
    let everybody = Permission { sid: "everybody-live", ..EVERYBODY };
    permit(at, Some("live"), &[PARTNER, everybody]).await?;
    Ok(format!("{arn}:live"))
}

async fn permit(at: &Place, qualifier: Option<&str>, permissions: &[Permission]) -> Result<(), Error> {
    for one in permissions {
        let action = if one.url { "lambda:InvokeFunctionUrl" } else { "lambda:InvokeFunction" };
        lambda(at)
            .add_permission()
            .function_name(&at.name)
            .set_qualifier(qualifier.map(str::to_owned))
            .statement_id(one.sid)
            .action(action)
            .principal(one.principal)
            .set_source_arn(one.source_arn.map(str::to_owned))
            .set_source_account(one.source_account.map(str::to_owned))
            .set_function_url_auth_type(one.url.then_some(FunctionUrlAuthType::None))
            .set_invoked_via_function_url(one.by_url.then_some(true))
            .send()
            .await?;
    }
    Ok(())
}

/// The statements of the function's policy and of its alias's, by name.
async fn look(at: &Place, arn: &str) -> Result<Value, Error> {
    let mut policies = Vec::new();
    for qualifier in [None, arn.ends_with(":live").then(|| "live".to_owned())] {
        let found = lambda(at).get_policy().function_name(&at.name).set_qualifier(qualifier).send().await;
        let policy = match found {
            Ok(found) => found.policy.unwrap_or_default(),
            Err(error) => match error.as_service_error().and_then(|error| error.meta().code()) {
                Some("ResourceNotFoundException") => String::new(),
                _ => return Err(error.into()),
            },
        };
        let policy: Value = serde_json::from_str(&policy).unwrap_or_default();
        let mut statements = policy["Statement"].as_array().cloned().unwrap_or_default();
        statements.sort_by_cached_key(|statement| statement["Sid"].to_string());
        policies.push(statements);
    }
    Ok(json!(policies))
}
