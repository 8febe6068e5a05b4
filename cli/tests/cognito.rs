//! `redress cognito`, in the process, against the embedded sandbox.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock, Mutex},
};

use aws_sdk_cognitoidentityprovider::{
    Client,
    types::{
        AdminCreateUserConfigType, AdvancedSecurityModeType, DeletionProtectionType, EmailConfigurationType,
        EmailSendingAccountType, LambdaConfigType, PasswordPolicyType, UserPoolAddOnsType,
        UserPoolPolicyType, UserPoolTierType, UserPoolType, VerificationMessageTemplateType,
    },
};
use jiff::{SignedDuration, Timestamp};
use redress::Exit;
use redress_activity::{
    loss::Loss,
    row::{Phase, Row},
};
use redress_sandbox::{
    emulator::{Emulator, Fault},
    tables,
};
use serde_json::{Value, json};

use self::common::{ACCOUNT, Dir, Ended, REGION};

const RECORDER: &str = "arn:aws:lambda:eu-west-1:123456789012:function:redress-sign-in-recorder";

struct World {
    emulator: Emulator,
    cognito: Client,
    pool: String,
    dir: Dir,
}

impl World {
    /// A pool in which much is set.
    async fn new() -> Self {
        let emulator = Emulator::new();
        let cognito = Client::new(&emulator.sdk_config(ACCOUNT, REGION));
        let password = PasswordPolicyType::builder().minimum_length(14).temporary_password_validity_days(3);
        let mail =
            EmailConfigurationType::builder().email_sending_account(EmailSendingAccountType::Developer);
        let template = VerificationMessageTemplateType::builder().email_subject("Your code");
        let made = cognito
            .create_user_pool()
            .pool_name("customers")
            .policies(UserPoolPolicyType::builder().password_policy(password.build()).build())
            .admin_create_user_config(
                AdminCreateUserConfigType::builder().allow_admin_create_user_only(true).build(),
            )
            .email_configuration(mail.from("No One <no-one@example.com>").build())
            .verification_message_template(template.build())
            .lambda_config(LambdaConfigType::builder().pre_sign_up(format!("{RECORDER}-other")).build())
            .deletion_protection(DeletionProtectionType::Active)
            .user_pool_tier(UserPoolTierType::Plus)
            .user_pool_add_ons(
                UserPoolAddOnsType::builder()
                    .advanced_security_mode(AdvancedSecurityModeType::Audit)
                    .build()
                    .unwrap(),
            )
            .user_pool_tags("team", "web")
            .send()
            .await
            .unwrap();
        let pool = made.user_pool.unwrap().id.unwrap();
        Self { emulator, cognito, pool, dir: Dir::new() }
    }

    async fn command(&self, args: &[&str]) -> Ended {
        common::command(&self.emulator, &self.dir, args, None).await
    }

    async fn attach(&self, more: &[&str], answer: Option<&str>) -> Ended {
        let args = ["cognito", "attach", &self.pool, "--recorder", RECORDER];
        let args: Vec<&str> = args.iter().chain(more).copied().collect();
        common::command(&self.emulator, &self.dir, &args, answer).await
    }

    async fn described(&self) -> UserPoolType {
        let found = self.cognito.describe_user_pool().user_pool_id(&self.pool).send().await.unwrap();
        found.user_pool.unwrap()
    }

    fn writes(&self) -> Vec<String> {
        self.emulator
            .calls()
            .into_iter()
            .filter(redress_sandbox::emulator::Call::is_write)
            .map(|call| call.operation)
            .collect()
    }
}

/// A pool without its triggers and what changes by itself.
fn rest(pool: &UserPoolType) -> UserPoolType {
    let mut pool = pool.clone();
    pool.lambda_config = None;
    pool.last_modified_date = None;
    pool
}

#[tokio::test]
async fn triggers_are_attached_and_nothing_else_changes() {
    let world = World::new().await;
    let before = world.described().await;
    world.emulator.forget_calls();

    let shown = world.attach(&["--dry-run"], None).await;
    assert_eq!(shown.exit, Exit::Done, "{}{}", shown.out, shown.err);
    assert!(shown.out.contains(&format!("+ PostAuthentication: {RECORDER}")), "{}", shown.out);
    assert!(shown.out.contains("--principal cognito-idp.amazonaws.com"), "{}", shown.out);
    assert!(shown.out.contains(&format!("--source-arn {}", before.arn().unwrap())), "{}", shown.out);
    assert_eq!(world.attach(&[], None).await.exit, Exit::Refused);
    assert_eq!(world.attach(&[], Some("no\n")).await.exit, Exit::Refused);
    assert_eq!(world.attach(&["--format", "json"], None).await.exit, Exit::Input);
    assert!(world.writes().is_empty(), "{:?}", world.writes());
    assert_eq!(world.described().await, before);

    let done = world.attach(&[], Some("yes\n")).await;
    assert_eq!(done.exit, Exit::Done, "{}{}", done.out, done.err);
    assert_eq!(world.writes(), ["UpdateUserPool"]);
    let after = world.described().await;
    assert_eq!(rest(&after), rest(&before));
    let triggers = after.lambda_config().unwrap();
    assert_eq!(triggers.pre_sign_up(), before.lambda_config().unwrap().pre_sign_up());
    assert_eq!(triggers.post_authentication(), Some(RECORDER));
    assert_eq!(triggers.post_confirmation(), Some(RECORDER));
    assert_eq!(triggers.pre_token_generation_config().unwrap().lambda_arn(), RECORDER);

    let again = world.attach(&["--yes"], None).await;
    assert_eq!(again.exit, Exit::Done, "{}{}", again.out, again.err);
    assert!(again.out.contains("Nothing to do"), "{}", again.out);
    assert_eq!(world.writes(), ["UpdateUserPool"]);
}

#[tokio::test]
async fn triggers_are_detached_and_nothing_else_changes() {
    let world = World::new().await;
    let before = world.described().await;
    let attached = world.attach(&["--yes"], None).await;
    assert_eq!(attached.exit, Exit::Done, "{}{}", attached.out, attached.err);
    world.emulator.forget_calls();
    let detach = async |more: &[&str], answer: Option<&str>| {
        let args = ["cognito", "detach", &world.pool, "--recorder", RECORDER];
        let args: Vec<&str> = args.iter().chain(more).copied().collect();
        common::command(&world.emulator, &world.dir, &args, answer).await
    };

    let shown = detach(&["--dry-run"], None).await;
    assert_eq!(shown.exit, Exit::Done, "{}{}", shown.out, shown.err);
    assert!(shown.out.contains(&format!("- PostAuthentication: {RECORDER}")), "{}", shown.out);
    assert!(!shown.out.contains("permission"), "{}", shown.out);
    assert_eq!(detach(&[], Some("no\n")).await.exit, Exit::Refused);
    assert!(world.writes().is_empty(), "{:?}", world.writes());

    let done = detach(&[], Some("yes\n")).await;
    assert_eq!(done.exit, Exit::Done, "{}{}", done.out, done.err);
    assert!(done.out.contains("Done: the pool does not call the recorder"), "{}", done.out);
    assert_eq!(world.writes(), ["UpdateUserPool"]);
    let after = world.described().await;
    assert_eq!(rest(&after), rest(&before));
    assert_eq!(after.lambda_config(), before.lambda_config());

    let again = detach(&["--yes", "--format", "json"], None).await;
    assert_eq!(again.exit, Exit::Done, "{}{}", again.out, again.err);
    assert!(
        again.out.contains("redress.cognito-detach/1") && again.out.contains("compliant"),
        "{}",
        again.out
    );
    assert_eq!(world.writes(), ["UpdateUserPool"]);
}

/// What calls another function is not ours to take away.
#[tokio::test]
async fn triggers_of_others_stay_attached() {
    let world = World::new().await;
    let other = "arn:aws:lambda:eu-west-1:123456789012:function:enrich";
    let triggers =
        LambdaConfigType::builder().pre_token_generation(other).post_authentication(RECORDER).build();
    world.cognito.update_user_pool().user_pool_id(&world.pool).lambda_config(triggers).send().await.unwrap();
    let args = ["cognito", "detach", &world.pool, "--recorder", RECORDER, "--yes"];
    let done = common::command(&world.emulator, &world.dir, &args, None).await;
    assert_eq!(done.exit, Exit::Done, "{}{}", done.out, done.err);
    let after = world.described().await;
    let triggers = after.lambda_config().unwrap();
    assert_eq!((triggers.pre_token_generation(), triggers.post_authentication()), (Some(other), None));
}

#[tokio::test]
async fn triggers_of_others_are_never_overwritten() {
    let world = World::new().await;
    let other = "arn:aws:lambda:eu-west-1:123456789012:function:enrich";
    let triggers =
        LambdaConfigType::builder().pre_token_generation(other).post_authentication(RECORDER).build();
    world.cognito.update_user_pool().user_pool_id(&world.pool).lambda_config(triggers).send().await.unwrap();
    let before = world.described().await;
    world.emulator.forget_calls();
    let refused = world.attach(&["--yes"], None).await;
    assert_eq!(refused.exit, Exit::Refused, "{}", refused.out);
    assert!(
        refused.err.contains(other) && refused.err.contains("PreTokenGenerationConfig"),
        "{}",
        refused.err
    );
    assert!(world.writes().is_empty());

    let some = world.attach(&["--yes", "--triggers", "post-authentication,post-confirmation"], None).await;
    assert_eq!(some.exit, Exit::Done, "{}{}", some.out, some.err);
    assert!(some.out.contains("PostAuthentication calls it already"), "{}", some.out);
    let after = world.described().await;
    assert_eq!(rest(&after), rest(&before));
    assert_eq!(after.lambda_config().unwrap().pre_token_generation(), Some(other));
}

#[tokio::test]
async fn only_what_is_known_is_written_back() {
    let world = World::new().await;
    for (arn, why) in [
        ("redress-sign-in-recorder", "no ARN"),
        ("arn:aws:lambda:eu-west-1:999999999999:function:a", "account"),
        ("arn:aws:lambda:us-east-1:123456789012:function:a", "Region"),
        ("arn:aws:lambda:eu-west-1:123456789012:function:a:7", "alias"),
        ("arn:aws:lambda:eu-west-1:123456789012:function:a:b:c", "alias"),
    ] {
        let args = ["cognito", "attach", &world.pool, "--recorder", arn, "--yes"];
        let ended = world.command(&args).await;
        assert_eq!(ended.exit, Exit::Input, "{arn}");
        assert!(ended.err.contains(why), "{}", ended.err);
    }
    for pool in ["", "a/b", "us-east-1_AbC123"] {
        let ended = world.command(&["cognito", "attach", pool, "--recorder", RECORDER, "--yes"]).await;
        assert_eq!(ended.exit, Exit::Input, "{pool}");
    }
    assert!(world.writes().iter().all(|write| write == "CreateUserPool"));
}

#[tokio::test]
async fn a_lost_answer_is_looked_after_and_a_refusal_changes_nothing() {
    let world = World::new().await;
    let before = world.described().await;
    let spoil = |fault: Fault| {
        world
            .emulator
            .on_call(Arc::new(move |call| (call.operation == "UpdateUserPool").then(|| fault.clone())));
    };
    spoil(Fault::Denied);
    let denied = world.attach(&["--yes"], None).await;
    assert_eq!(denied.exit, Exit::Denied, "{}", denied.err);
    assert_eq!(world.described().await, before);
    spoil(Fault::AnswerLost);
    let lost = world.attach(&["--yes", "--format", "json"], None).await;
    let document: Value = serde_json::from_str(&lost.out).unwrap();
    assert_eq!((lost.exit, document["outcome"].as_str()), (Exit::Done, Some("verified")), "{}", lost.err);
    assert_eq!(rest(&world.described().await), rest(&before));
}

/// A Cognito that describes a pool as it is told to, and keeps what it is sent but for `forgets`.
struct Told {
    emulator: Emulator,
    pool: Arc<Mutex<Value>>,
    sent: Arc<Mutex<Vec<Value>>>,
    dir: Dir,
}

impl Told {
    fn new(more: &Value, forgets: &'static str) -> Self {
        let mut pool = json!({
            "Id": "eu-west-1_AbC123",
            "Arn": "arn:aws:cognito-idp:eu-west-1:123456789012:userpool/eu-west-1_AbC123",
            "Name": "customers",
            "LastModifiedDate": 1.7e9,
            "LambdaConfig": { "KMSKeyID": "key", "NewSender": { "LambdaVersion": "V9_0", "LambdaArn": "x" } },
        });
        pool.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let pool = Arc::new(Mutex::new(pool));
        let sent = Arc::new(Mutex::new(Vec::new()));
        let (known, kept) = (Arc::clone(&pool), Arc::clone(&sent));
        let handler = move |request: http::Request<bytes::Bytes>| {
            let operation = request.headers()["x-amz-target"].to_str().unwrap().rsplit('.').next().unwrap();
            let mut pool = known.lock().unwrap();
            let answer = match operation {
                "DescribeUserPool" => json!({ "UserPool": *pool }),
                "UpdateUserPool" => {
                    let body: Value = serde_json::from_slice(request.body()).unwrap();
                    let mut new = body.clone();
                    kept.lock().unwrap().push(body);
                    new.as_object_mut().unwrap().retain(|name, _| name != "UserPoolId" && name != "PoolName");
                    new.as_object_mut().unwrap().remove(forgets);
                    for fixed in ["Id", "Arn", "Name"] {
                        new[fixed] = pool[fixed].clone();
                    }
                    new["LastModifiedDate"] = json!(1.8e9);
                    *pool = new;
                    json!({})
                }
                _ => json!({ "MfaConfiguration": "OFF" }),
            };
            http::Response::new(answer.to_string().into())
        };
        let emulator = Emulator::new().with_service("cognito-idp", Arc::new(handler));
        Self { emulator, pool, sent, dir: Dir::new() }
    }

    async fn attach(&self, more: &[&str]) -> Ended {
        let args = ["cognito", "attach", "eu-west-1_AbC123", "--recorder", RECORDER, "--yes"];
        let args: Vec<&str> = args.iter().chain(more).copied().collect();
        common::command(&self.emulator, &self.dir, &args, None).await
    }
}

#[tokio::test]
async fn what_the_sdk_does_not_know_is_carried_over_or_a_reason_to_refuse() {
    let carried = json!({
        "SmsConfiguration": { "SnsCallerArn": "arn", "SnsNovelty": [1, { "a": null }] },
        "MfaConfiguration": "ON",
        "AdminCreateUserConfig": { "UnusedAccountValidityDays": 7, "AllowAdminCreateUserOnly": true },
        "Policies": { "PasswordPolicy": { "TemporaryPasswordValidityDays": 7 } },
        "EmailVerificationMessage": "code {####}",
        "VerificationMessageTemplate": { "EmailMessage": "code {####}" },
        "SmsVerificationMessage": "only here",
    });
    let told = Told::new(&carried, "");
    let ended = told.attach(&["--format", "json"]).await;
    let sent = told.sent.lock().unwrap().clone();
    assert_eq!(sent.len(), 1, "{}", ended.err);
    for name in ["SmsConfiguration", "MfaConfiguration", "Policies", "VerificationMessageTemplate"] {
        assert_eq!(sent[0][name], carried[name], "{name}");
    }
    assert_eq!(sent[0]["AdminCreateUserConfig"], json!({ "AllowAdminCreateUserOnly": true }));
    assert_eq!(sent[0]["PoolName"], "customers");
    assert_eq!(sent[0]["SmsVerificationMessage"], "only here");
    assert!(sent[0].get("EmailVerificationMessage").is_none());
    assert_eq!(sent[0]["LambdaConfig"]["NewSender"]["LambdaVersion"], "V9_0");
    assert_eq!(sent[0]["LambdaConfig"]["KMSKeyID"], "key");

    for (strange, why) in [
        (json!({ "QuantumConfiguration": {} }), "QuantumConfiguration"),
        (
            json!({ "EmailVerificationMessage": "a", "VerificationMessageTemplate": { "EmailMessage": "b" } }),
            "EmailVerificationMessage",
        ),
        (
            json!({ "Arn": "arn:aws:cognito-idp:eu-west-1:999999999999:userpool/eu-west-1_AbC123" }),
            "999999999999",
        ),
    ] {
        let told = Told::new(&strange, "");
        let ended = told.attach(&[]).await;
        assert_eq!(ended.exit, Exit::Refused, "{why}: {}", ended.err);
        assert!(ended.err.contains(why), "{}", ended.err);
        assert!(told.sent.lock().unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_setting_that_is_lost_is_told_with_the_way_back() {
    let told = Told::new(&json!({ "SmsAuthenticationMessage": "code {####}" }), "SmsAuthenticationMessage");
    let ended = told.attach(&[]).await;
    assert_eq!(ended.exit, Exit::Failed, "{}", ended.err);
    assert!(ended.out.contains("- SmsAuthenticationMessage: code {####}"), "{}", ended.out);
    let file = ended.out.split("file://").nth(1).unwrap().trim();
    let back: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    assert_eq!(back["SmsAuthenticationMessage"], "code {####}");
    assert_eq!(back["UserPoolId"], "eu-west-1_AbC123");
    assert!(back["LambdaConfig"].get("PostAuthentication").is_none());
}

#[tokio::test]
async fn a_pool_that_changes_while_somebody_thinks_is_left_alone() {
    let told = Told::new(&json!({}), "");
    let reads = Arc::new(Mutex::new(0));
    let (pool, seen) = (Arc::clone(&told.pool), Arc::clone(&reads));
    told.emulator.on_call(Arc::new(move |call| {
        if call.operation == "DescribeUserPool" {
            let mut reads = seen.lock().unwrap();
            *reads += 1;
            if *reads == 2 {
                pool.lock().unwrap()["DeletionProtection"] = "ACTIVE".into();
            }
        }
        None
    }));
    let ended = told.attach(&[]).await;
    assert_eq!(ended.exit, Exit::Refused, "{}", ended.err);
    assert!(told.sent.lock().unwrap().is_empty());
}

const POOL: &str = "eu-west-1_AbC123";

fn sub(number: usize) -> String {
    format!("0b7d5c1e-6a2f-4c55-9c3e-{number:012x}")
}

/// One user of a [`Listing`].
#[derive(Clone)]
struct Person {
    days_old: i64,
    enabled: bool,
    signed_in_days_ago: Option<i64>,
}

/// A Cognito with users of every age, two to a page, and the activity table.
struct Listing {
    emulator: Emulator,
    dynamodb: aws_sdk_dynamodb::Client,
    people: Arc<Mutex<Vec<Person>>>,
    /// Answers of this many calls are errors for too many requests.
    throttle: Arc<Mutex<usize>>,
    asked: Arc<Mutex<Vec<Value>>>,
    dir: Dir,
}

/// Counted from one moment, so that the same number of days is the same time.
fn days_ago(days: i64) -> Timestamp {
    static NOW: LazyLock<Timestamp> =
        LazyLock::new(|| Timestamp::from_second(Timestamp::now().as_second()).unwrap());
    *NOW - SignedDuration::from_hours(24 * days)
}

impl Listing {
    async fn new(ages: &[i64]) -> Self {
        let person = |days: &i64| Person { days_old: *days, enabled: true, signed_in_days_ago: None };
        let people = Arc::new(Mutex::new(ages.iter().map(person).collect::<Vec<_>>()));
        let (throttle, asked) = (Arc::new(Mutex::new(0)), Arc::new(Mutex::new(Vec::new())));
        let (known, fail, log) = (Arc::clone(&people), Arc::clone(&throttle), Arc::clone(&asked));
        let handler = move |request: http::Request<bytes::Bytes>| {
            let operation = request.headers()["x-amz-target"].to_str().unwrap().rsplit('.').next().unwrap();
            let body: Value = serde_json::from_slice(request.body()).unwrap();
            log.lock().unwrap().push(json!({ "operation": operation, "body": body }));
            let refuse = |code: &str| {
                let body = json!({ "__type": code, "message": "mary@example.com" }).to_string();
                http::Response::builder().status(400).body(body.into()).unwrap()
            };
            let mut fail = fail.lock().unwrap();
            if *fail > 0 {
                *fail -= 1;
                return refuse("TooManyRequestsException");
            }
            let people = known.lock().unwrap();
            let answer = match operation {
                "ListUsers" => listed(&people, &body),
                "AdminListUserAuthEvents" => {
                    let number: usize = body["Username"].as_str().unwrap()[5..6].parse().unwrap();
                    let Some(days) = people[number].signed_in_days_ago else {
                        return refuse("UserPoolAddOnNotEnabledException");
                    };
                    let event = |kind: &str, response: &str, days: i64| {
                        let at = days_ago(days).as_second();
                        json!({ "EventType": kind, "EventResponse": response, "CreationDate": at })
                    };
                    json!({ "AuthEvents": [
                        event("SignIn", "Fail", 0), event("ForgotPassword", "Pass", 1), event("SignIn", "Pass", days),
                    ] })
                }
                other => panic!("{other}"),
            };
            http::Response::new(answer.to_string().into())
        };
        let emulator = Emulator::new().with_service("cognito-idp", Arc::new(handler));
        let dynamodb = aws_sdk_dynamodb::Client::new(&emulator.sdk_config(ACCOUNT, REGION));
        tables::make(&dynamodb, "activity", tables::ACTIVITY).await.unwrap();
        let listing = Self { emulator, dynamodb, people, throttle, asked, dir: Dir::new() };
        listing.rules("inactive_days: 90", ACCOUNT);
        listing
    }

    fn rules(&self, params: &str, account: &str) {
        let when = json!({ "AwsAccountId": [account] });
        let rules = format!(
            "rules:\n  - name: inactive\n    control: redress.cognito-inactive-user\n    remediator: \
             cognito.disable_user\n    params: {{{params}}}\n    when: {when}\n"
        );
        std::fs::write(self.dir.join("rules.yaml"), rules).unwrap();
    }

    async fn command(&self, args: &[&str]) -> Ended {
        let rules = self.dir.join("rules.yaml").display().to_string();
        let more = ["--activity-table", "activity", "--rules", &rules];
        let args: Vec<&str> = ["cognito"].iter().chain(args).chain(&more).copied().collect();
        let ended = common::command(&self.emulator, &self.dir, &args, None).await;
        for text in [&ended.out, &ended.err] {
            assert!(!text.contains("example.com"), "{text}");
        }
        ended
    }

    async fn rows(&self) -> BTreeMap<String, Row> {
        let found = self.dynamodb.scan().table_name("activity").send().await.unwrap();
        found.items().iter().map(|item| Row::read(item).unwrap()).map(|row| (row.sub.clone(), row)).collect()
    }

    async fn put(&self, row: &Row) {
        self.dynamodb.put_item().table_name("activity").set_item(Some(row.item())).send().await.unwrap();
    }
}

/// Two users a page; a filter by `sub` or name gives one.
fn listed(people: &[Person], body: &Value) -> Value {
    let user = |(number, person): (usize, &Person)| {
        json!({
            "Username": format!("mary-{number}@example.com"),
            "Enabled": person.enabled,
            "UserStatus": "CONFIRMED",
            "UserCreateDate": days_ago(person.days_old).as_second(),
            "Attributes": [
                { "Name": "sub", "Value": sub(number) },
                { "Name": "email", "Value": format!("mary-{number}@example.com") },
            ],
        })
    };
    let all: Vec<Value> = people.iter().enumerate().map(user).collect();
    if let Some(filter) = body["Filter"].as_str() {
        let value = filter.split('"').nth(1).unwrap();
        let has = |user: &&Value| user["Username"] == value || user["Attributes"][0]["Value"] == value;
        return json!({ "Users": all.iter().filter(has).collect::<Vec<_>>() });
    }
    let from: usize = body["PaginationToken"].as_str().map_or(0, |token| token.parse().unwrap());
    let page: Vec<&Value> = all.iter().skip(from).take(2).collect();
    let mut answer = json!({ "Users": page });
    if all.len() > from + 2 {
        answer["PaginationToken"] = (from + 2).to_string().into();
    }
    answer
}

#[tokio::test]
async fn a_backfill_counts_then_writes_and_leaves_what_is_there() {
    let listing = Listing::new(&[1, 89, 100, 400, 5]).await;
    listing.people.lock().unwrap()[4].enabled = false;
    let seen = Row::seen(POOL, &sub(0), "mary", "PostAuthentication_Authentication", days_ago(3));
    listing.put(&seen).await;

    let dry = listing.command(&["backfill", POOL, "--format", "json"]).await;
    assert_eq!(dry.exit, Exit::Done, "{}", dry.err);
    let document: Value = serde_json::from_str(&dry.out).unwrap();
    let counts = document["pools"][0]["counts"].clone();
    assert_eq!(
        (counts["users"].as_u64(), counts["tracked"].as_u64(), counts["from_creation"].as_u64()),
        (Some(5), Some(1), Some(3))
    );
    assert_eq!((counts["disabled"].as_u64(), counts["spread"].as_u64()), (Some(1), Some(2)));
    assert_eq!(listing.rows().await.len(), 1);

    *listing.throttle.lock().unwrap() = 2;
    let done = listing.command(&["backfill", POOL, "--apply", "--spread", "10", "--format", "json"]).await;
    assert_eq!(done.exit, Exit::Done, "{}", done.err);
    let document: Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!(document["pools"][0]["counts"], counts);
    let rows = listing.rows().await;
    assert_eq!(rows.len(), 5);
    assert_eq!(rows[&sub(0)], seen);
    let young = &rows[&sub(1)];
    assert_eq!((young.trigger.as_deref(), young.signed_in), (Some("Backfill_Created"), false));
    let rings = |number: usize| Timestamp::from_second(rows[&sub(number)].ttl.unwrap()).unwrap();
    assert_eq!(
        rings(1),
        Timestamp::from_second((young.seen + SignedDuration::from_hours(24 * 90)).as_second()).unwrap()
    );
    for late in [2, 3] {
        assert!(rings(late) >= days_ago(0) - SignedDuration::from_mins(1) && rings(late) < days_ago(-10));
    }
    assert_ne!(rings(2), rings(3));
    assert_eq!((rows[&sub(4)].phase, rows[&sub(4)].ttl), (Some(Phase::DisabledElsewhere), None));

    let again = listing.command(&["backfill", POOL, "--apply"]).await;
    assert_eq!(again.exit, Exit::Done, "{}", again.err);
    assert!(again.out.contains("5  have a row already"), "{}", again.out);
    assert_eq!(listing.rows().await, rows);
}

#[tokio::test]
async fn a_backfill_takes_the_last_sign_in_where_cognito_keeps_it() {
    let listing = Listing::new(&[200, 200]).await;
    listing.people.lock().unwrap()[0].signed_in_days_ago = Some(30);
    listing.people.lock().unwrap()[1].signed_in_days_ago = Some(20);
    let done = listing.command(&["backfill", POOL, "--apply", "--auth-events"]).await;
    assert_eq!(done.exit, Exit::Done, "{}", done.err);
    let rows = listing.rows().await;
    assert_eq!(
        (rows[&sub(0)].trigger.as_deref(), rows[&sub(0)].signed_in),
        (Some("Backfill_AuthEvent"), true)
    );
    assert_eq!(days_ago(30).duration_since(rows[&sub(0)].seen).as_hours(), 0);
    assert_eq!(days_ago(20).duration_since(rows[&sub(1)].seen).as_hours(), 0);

    let without = Listing::new(&[20, 20]).await;
    let done = without.command(&["backfill", POOL, "--apply", "--auth-events"]).await;
    assert_eq!(done.exit, Exit::Done, "{}", done.err);
    assert!(done.out.contains("no threat protection"), "{}", done.out);
    let asked = without.asked.lock().unwrap().clone();
    assert_eq!(asked.iter().filter(|call| call["operation"] == "AdminListUserAuthEvents").count(), 1);
    assert!(without.rows().await.values().all(|row| !row.signed_in));
}

#[tokio::test]
async fn a_backfill_that_was_broken_off_goes_on_where_it_was() {
    let listing = Listing::new(&[1, 2, 3, 4, 5]).await;
    let pages = Arc::new(Mutex::new(0));
    let seen = Arc::clone(&pages);
    listing.emulator.on_call(Arc::new(move |call| {
        (call.operation == "ListUsers").then(|| *seen.lock().unwrap() += 1)?;
        (*seen.lock().unwrap() == 2).then_some(Fault::Denied)
    }));
    let broken = listing.command(&["backfill", POOL, "--apply"]).await;
    assert_eq!(broken.exit, Exit::Denied, "{}", broken.err);
    assert_eq!(listing.rows().await.len(), 2);
    let other = listing.command(&["backfill", POOL, "--apply", "--resume", "--spread", "3"]).await;
    assert_eq!(other.exit, Exit::Input, "{}", other.err);
    listing.asked.lock().unwrap().clear();
    let done = listing.command(&["backfill", POOL, "--apply", "--resume"]).await;
    assert_eq!(done.exit, Exit::Done, "{}", done.err);
    assert_eq!(listing.asked.lock().unwrap()[0]["body"]["PaginationToken"], "2");
    assert!(done.out.contains("5  users listed"), "{}", done.out);
    assert_eq!(listing.rows().await.len(), 5);
}

#[tokio::test]
async fn a_sign_in_during_a_backfill_wins() {
    let listing = Listing::new(&[100]).await;
    let seen = Row::seen(POOL, &sub(0), "mary", "PostAuthentication_Authentication", days_ago(0));
    let (client, row) = (listing.dynamodb.clone(), seen.clone());
    let done = Arc::new(Mutex::new(false));
    let (sent, received) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        while let Ok(answer) = received.recv() {
            let put = client.put_item().table_name("activity").set_item(Some(row.item()));
            runtime.block_on(put.send()).unwrap();
            let answer: std::sync::mpsc::Sender<()> = answer;
            answer.send(()).unwrap();
        }
    });
    // The row comes between the look and the write.
    listing.emulator.on_call(Arc::new(move |call| {
        let mut done = done.lock().unwrap();
        if call.operation == "PutItem" && !*done {
            *done = true;
            drop(done);
            let (answer, written) = std::sync::mpsc::channel();
            sent.send(answer).unwrap();
            written.recv().unwrap();
        }
        None
    }));
    let ended = listing.command(&["backfill", POOL, "--apply"]).await;
    assert_eq!(ended.exit, Exit::Done, "{}", ended.err);
    assert!(ended.out.contains("1  have a row already"), "{}", ended.out);
    assert_eq!(listing.rows().await[&sub(0)], seen);
}

/// Of a deployment the table need not be named; another may be.
#[tokio::test]
async fn a_deployment_implies_its_activity_table() {
    let listing = Listing::new(&[]).await;
    tables::make(&listing.dynamodb, "team-activity", tables::ACTIVITY).await.unwrap();
    for (more, table) in [(&[][..], "team-activity"), (&["--activity-table", "activity"][..], "activity")] {
        let args = [&["cognito", "status", "--deployment", "team", "--format", "json"], more].concat();
        let ended = common::command(&listing.emulator, &listing.dir, &args, None).await;
        assert_eq!(ended.exit, Exit::Done, "{}{}", ended.out, ended.err);
        let document: Value = serde_json::from_str(&ended.out).unwrap();
        assert_eq!(document["table"], table, "{document:#}");
    }
}

#[tokio::test]
async fn a_backfill_needs_table_pool_and_rule() {
    let listing = Listing::new(&[100]).await;
    for args in [&["backfill"][..], &["backfill", "a b"], &["backfill", "us-east-1_AbC123"]] {
        assert_eq!(listing.command(args).await.exit, Exit::Input, "{args:?}");
    }
    let args = ["cognito", "backfill", POOL];
    let without = common::command(&listing.emulator, &listing.dir, &args, None).await;
    assert_eq!(without.exit, Exit::Input);
    for way in ["--activity-table", "REDRESS_ACTIVITY_TABLE", "--deployment NAME"] {
        assert!(without.err.contains(way), "{}", without.err);
    }
    listing.rules("inactive_days: 90", "999999999999");
    let unruled = listing.command(&["backfill", POOL]).await;
    assert_eq!(unruled.exit, Exit::Input, "{}", unruled.out);
    assert!(unruled.err.contains("no rule"), "{}", unruled.err);
}

#[tokio::test]
async fn the_status_counts_where_users_are() {
    let listing = Listing::new(&[1, 2, 3]).await;
    let row =
        |number: usize, days: i64| Row::seen(POOL, &sub(number), "mary@example.com", "x", days_ago(days));
    for row in [
        row(0, 1),
        Row { signed_in: false, ..row(1, 85) },
        row(10, 70),
        row(11, 100),
        Row { phase: Some(Phase::Due), warned: Some(days_ago(9)), ..row(12, 100) },
        Row { phase: Some(Phase::Warned), warned: Some(days_ago(1)), ..row(13, 88) },
        Row { phase: Some(Phase::Disabled), ..row(14, 200) },
        Row { phase: Some(Phase::DisabledElsewhere), ..row(15, 200) },
        Row { phase: Some(Phase::Exempt), ..row(16, 200) },
    ] {
        listing.put(&row).await;
    }
    let mut broken = row(17, 1).item();
    broken.remove("timestamp");
    listing.dynamodb.put_item().table_name("activity").set_item(Some(broken)).send().await.unwrap();
    listing.emulator.count(ACCOUNT, REGION, POOL, days_ago(5), 3);

    let ended = listing.command(&["status", "--users", "--format", "json"]).await;
    assert_eq!(ended.exit, Exit::Done, "{}", ended.err);
    let document: Value = serde_json::from_str(&ended.out).unwrap();
    let pool = &document["pools"][0];
    assert_eq!(pool["pool"], POOL);
    assert_eq!(pool["rules"], json!(["inactive"]));
    let expected = json!({
        "tracked": 9, "never_signed_in": 1, "due_now": 2, "due_in_7_days": 2, "due_in_30_days": 3, "warned": 2,
        "disabled": 1, "disabled_elsewhere": 1, "exempt": 1, "without_rule": 0, "unreadable": 1,
        "users": 3, "untracked": 1, "gone": 7,
    });
    assert_eq!(pool["counts"], expected);
    assert_eq!(pool["lost_sign_ins"][0]["lost"], 3);

    let ended = listing.command(&["status", POOL]).await;
    assert_eq!(ended.exit, Exit::Done, "{}", ended.err);
    assert!(ended.out.contains("9  users are tracked") && ended.out.contains("(3)"), "{}", ended.out);
    let other = listing.command(&["status", "eu-west-1_Other"]).await;
    assert!(other.out.contains("0  users are tracked"), "{}", other.out);
}

#[tokio::test]
async fn a_status_without_word_of_losses_says_so() {
    let listing = Listing::new(&[1]).await;
    listing.emulator.on_call(Arc::new(|call| (call.service == "monitoring").then_some(Fault::Denied)));
    let ended = listing.command(&["status", POOL]).await;
    assert_eq!(ended.exit, Exit::Denied, "{}", ended.out);
    assert!(ended.out.contains("?  days") && ended.err.contains("can't be read"), "{}", ended.err);
}

/// A user of the real pool, inactive for 200 days, whom the command line has disabled.
struct Disabled {
    world: World,
    dynamodb: aws_sdk_dynamodb::Client,
    sub: String,
}

const NAME: &str = "mary@example.com";

impl Disabled {
    async fn new() -> Self {
        let world = World::new().await;
        let config = world.emulator.sdk_config(ACCOUNT, REGION);
        let dynamodb = aws_sdk_dynamodb::Client::new(&config);
        tables::make(&dynamodb, "activity", tables::ACTIVITY).await.unwrap();
        let made = world.cognito.admin_create_user().user_pool_id(&world.pool).username(NAME);
        let made = made.send().await.unwrap().user.unwrap();
        let sub = made.attributes().iter().find(|is| is.name == "sub").unwrap().value.clone().unwrap();
        let row = Row::seen(&world.pool, &sub, NAME, "PostAuthentication_Authentication", days_ago(200));
        dynamodb.put_item().table_name("activity").set_item(Some(row.item())).send().await.unwrap();
        let user = Self { world, dynamodb, sub };
        user.disable().await;
        user
    }

    async fn disable(&self) {
        let pool = &self.world.pool;
        let finding = json!({
            "SchemaVersion": "2018-10-08",
            "Id": format!("redress/inactive-user/{pool}/{}", self.sub),
            "ProductArn": format!("arn:aws:securityhub:{REGION}:{ACCOUNT}:product/{ACCOUNT}/default"),
            "GeneratorId": "redress.cognito-inactive-user",
            "AwsAccountId": ACCOUNT,
            "Region": REGION,
            "Types": ["Software and Configuration Checks/AWS Security Best Practices"],
            "CreatedAt": "2026-01-01T00:00:00Z",
            "UpdatedAt": "2026-01-01T00:00:00Z",
            "Severity": { "Label": "MEDIUM" },
            "Title": "Inactive",
            "Description": "Inactive",
            "Compliance": { "Status": "FAILED" },
            "Workflow": { "Status": "NEW" },
            "RecordState": "ACTIVE",
            "Resources": [{
                "Type": "Other",
                "Id": format!("arn:aws:cognito-idp:{REGION}:{ACCOUNT}:userpool/{pool}/user/{}", self.sub),
                "Partition": "aws",
                "Region": REGION,
            }],
        });
        let file = self.world.dir.join("finding.json");
        std::fs::write(&file, finding.to_string()).unwrap();
        let ended = self.command(&["apply", file.to_str().unwrap(), "--yes"]).await;
        assert_eq!(ended.exit, Exit::Done, "{}{}", ended.out, ended.err);
        assert!(!self.enabled().await, "{}", ended.out);
        assert_eq!(self.row().await.phase, Some(Phase::Disabled));
    }

    async fn command(&self, args: &[&str]) -> Ended {
        let args: Vec<&str> = args.iter().chain(&["--activity-table", "activity"]).copied().collect();
        let ended = self.world.command(&args).await;
        assert!(!ended.out.contains("example.com") && !ended.err.contains("example.com"), "{}", ended.out);
        ended
    }

    async fn restore(&self, user: &str, more: &[&str]) -> Ended {
        let args = ["cognito", "restore", user, "--pool", &self.world.pool];
        self.command(&args.iter().chain(more).copied().collect::<Vec<_>>()).await
    }

    async fn enabled(&self) -> bool {
        let found = self.world.cognito.list_users().user_pool_id(&self.world.pool).send().await.unwrap();
        found.users()[0].enabled
    }

    async fn row(&self) -> Row {
        let found = self.dynamodb.scan().table_name("activity").send().await.unwrap();
        Row::read(&found.items()[0]).unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn a_user_is_restored_once_and_its_days_begin_anew() {
    let user = Disabled::new().await;
    user.world.emulator.forget_calls();
    let dry = user.restore(&user.sub, &["--dry-run"]).await;
    assert_eq!(dry.exit, Exit::Done, "{}{}", dry.out, dry.err);
    assert!(dry.out.contains("would be undone"), "{}", dry.out);
    assert_eq!(user.restore(&user.sub, &[]).await.exit, Exit::Refused);
    assert_eq!(user.restore(&user.sub, &["--format", "json"]).await.exit, Exit::Input);
    assert!(user.world.writes().is_empty(), "{:?}", user.world.writes());

    let done = user.restore(NAME, &["--yes", "--format", "json"]).await;
    assert_eq!(done.exit, Exit::Done, "{}{}", done.out, done.err);
    let document: Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!(document["schema"], "redress.cognito-restore/1");
    assert_eq!(document["items"][0]["outcome"], "undone");
    assert!(user.enabled().await);
    let row = user.row().await;
    assert!(row.phase.is_none() && row.restored.is_some_and(|at| at > days_ago(1)), "{row:?}");

    let again = user.restore(NAME, &["--yes"]).await;
    assert_eq!(again.exit, Exit::Done, "{}", again.err);
    assert!(again.out.contains("it is enabled"), "{}", again.out);
    assert_eq!(user.row().await, row);
}

#[tokio::test(start_paused = true)]
async fn whom_somebody_else_has_disabled_stays_so() {
    let user = Disabled::new().await;
    assert_eq!(user.restore(&user.sub, &["--yes"]).await.exit, Exit::Done);
    let disable = user.world.cognito.admin_disable_user().user_pool_id(&user.world.pool).username(NAME);
    disable.send().await.unwrap();
    let before = user.row().await;
    let refused = user.restore(&user.sub, &["--yes"]).await;
    assert_eq!(refused.exit, Exit::Refused, "{}", refused.out);
    assert!(refused.err.contains("--reset-clock"), "{}", refused.err);
    assert_eq!(user.row().await, before);

    let reset = user.restore(&user.sub, &["--yes", "--reset-clock"]).await;
    assert_eq!(reset.exit, Exit::Done, "{}", reset.err);
    assert!(!user.enabled().await);
    let after = user.row().await;
    assert!(after.restored >= before.restored && after.phase.is_none());
    let due = Timestamp::from_second(after.ttl.unwrap()).unwrap();
    assert_eq!((due.duration_since(days_ago(0)).as_hours() + 1) / 24, 90);

    // Enabled by hand, seen since, and disabled by hand: redress's run is no longer why.
    let user = Disabled::new().await;
    user.world
        .cognito
        .admin_enable_user()
        .user_pool_id(&user.world.pool)
        .username(NAME)
        .send()
        .await
        .unwrap();
    let row = Row::seen(&user.world.pool, &user.sub, NAME, "PostAuthentication_Authentication", days_ago(0));
    user.dynamodb.put_item().table_name("activity").set_item(Some(row.item())).send().await.unwrap();
    user.world
        .cognito
        .admin_disable_user()
        .user_pool_id(&user.world.pool)
        .username(NAME)
        .send()
        .await
        .unwrap();
    assert_eq!(user.restore(&user.sub, &["--yes"]).await.exit, Exit::Refused);
    assert!(!user.enabled().await);

    for nobody in ["nobody@example.com", "0b7d5c1e-6a2f-4c55-9c3e-000000000000", "x\\", "a\" or \"b"] {
        let ended = user.restore(nobody, &["--yes"]).await;
        assert_eq!(ended.exit, Exit::Input, "{nobody}: {}", ended.err);
    }
}

/// The recorder's log, two lines to a page.
fn logs(lines: Vec<String>) -> redress_sandbox::emulator::Handler {
    Arc::new(move |request| {
        let body: Value = serde_json::from_slice(request.body()).unwrap();
        assert!(body["filterPattern"].as_str().unwrap().contains("$.LostSignIns = 1"), "{body}");
        assert_eq!(body["logGroupName"], "/aws/lambda/recorder");
        let from: usize = body["nextToken"].as_str().map_or(0, |token| token.parse().unwrap());
        let page: Vec<Value> =
            lines.iter().skip(from).take(2).map(|line| json!({ "message": line })).collect();
        let mut answer = json!({ "events": page });
        if lines.len() > from + 2 {
            answer["nextToken"] = (from + 2).to_string().into();
        }
        http::Response::new(answer.to_string().into())
    })
}

fn lost(pool: &str, sub: &str, days: i64) -> String {
    let loss = Loss {
        pool: pool.to_owned(),
        sub: sub.to_owned(),
        at: days_ago(days),
        trigger: "TokenGeneration_RefreshTokens".to_owned(),
        signed_in: true,
    };
    loss.line("throttled")
}

#[tokio::test(start_paused = true)]
async fn lost_sign_ins_are_written_forward_and_their_users_enabled_again() {
    let user = Disabled::new().await;
    let (world, pool) = (&user.world, user.world.pool.clone());
    let row = |number: usize, days: i64| Row::seen(&pool, &sub(number), "mary", "x", days_ago(days));
    let warned = Row { phase: Some(Phase::Warned), warned: Some(days_ago(2)), ..row(1, 88) };
    for row in [&warned, &row(2, 1)] {
        user.dynamodb.put_item().table_name("activity").set_item(Some(row.item())).send().await.unwrap();
    }
    let lines = vec![
        "START RequestId: 1".to_owned(),
        lost(&pool, &user.sub, 30),
        lost(&pool, &sub(1), 30),
        lost(&pool, &sub(2), 30),
        lost(&pool, &sub(3), 30),
        lost(&pool, &sub(3), 30),
        lost(&pool, &sub(4), -5),
        lost("eu-west-1_Other", &sub(5), 30),
        lost(&pool, "not a sub", 30),
    ];
    let emulator = world.emulator.clone().with_service("logs", logs(lines));
    emulator.count(ACCOUNT, REGION, &pool, days_ago(30), 4);
    emulator.count(ACCOUNT, REGION, &pool, days_ago(10), 1);
    let args = ["cognito", "reconcile", &pool, "--log-group", "/aws/lambda/recorder"];
    emulator.forget_calls();
    let dry = user.command(&[&args[..], &["--dry-run"]].concat()).await;
    assert_eq!(dry.exit, Exit::Done, "{}{}", dry.out, dry.err);
    assert!(dry.out.contains("4 lost sign-ins of 4 users"), "{}", dry.out);
    assert!(world.writes().iter().all(|write| write == "FilterLogEvents"), "{:?}", world.writes());

    let done = user.command(&[&args[..], &["--yes", "--format", "json"]].concat()).await;
    // One of the two days is not complete.
    assert_eq!(done.exit, Exit::Failed, "{}{}", done.out, done.err);
    let document: Value = serde_json::from_str(&done.out).unwrap();
    let day = |number: usize| {
        let day = &document["days"][number];
        (day["lost"].as_u64().unwrap(), day["read"].as_u64().unwrap(), day["outcome"].as_str().unwrap())
    };
    assert_eq!((day(0), day(1)), ((4, 4, "reconciled"), (1, 0, "incomplete")));
    assert_eq!((document["forwarded"].as_u64(), document["left_out"].as_u64()), (Some(3), Some(2)));
    assert_eq!(document["restored"][0]["outcome"], "undone");
    assert!(user.enabled().await);
    let found = user.dynamodb.scan().table_name("activity").send().await.unwrap();
    let rows: BTreeMap<String, Row> =
        found.items().iter().map(|item| Row::read(item).unwrap()).map(|row| (row.sub.clone(), row)).collect();
    let restored = &rows[&user.sub];
    assert!(restored.phase.is_none() && restored.restored.is_some() && restored.seen == days_ago(30));
    let moved = &rows[&sub(1)];
    assert!(moved.phase.is_none() && moved.warned.is_none() && moved.seen == days_ago(30), "{moved:?}");
    assert_eq!(moved.ttl, Some(days_ago(-60).as_second()));
    assert_eq!(rows[&sub(2)].seen, row(2, 1).seen);
    assert_eq!((rows[&sub(3)].seen, &rows[&sub(3)].username), (days_ago(30), &None));
    assert!(!rows.contains_key(&sub(4)) && !rows.contains_key(&sub(5)));

    let waive = ["cognito", "reconcile", &pool, "--waive", "--reason", "the log is gone", "--yes"];
    let waived = user.command(&waive).await;
    assert_eq!(waived.exit, Exit::Done, "{}{}", waived.out, waived.err);
    assert!(waived.out.contains("1 lost sign-ins") && waived.out.contains("Waived"), "{}", waived.out);
    let again = user.command(&waive).await;
    assert!(again.out.contains("Nothing to do"), "{}", again.out);
    emulator.count(ACCOUNT, REGION, &pool, days_ago(10), 1);
    let status = user.command(&["cognito", "status", &pool]).await;
    assert!(status.out.contains("1  days with lost sign-ins"), "{}", status.out);
}

#[tokio::test]
async fn an_exported_log_does_as_well() {
    let listing = Listing::new(&[1]).await;
    listing.emulator.count(ACCOUNT, REGION, POOL, days_ago(30), 2);
    listing.emulator.count(ACCOUNT, REGION, POOL, days_ago(3), 1);
    let day = days_ago(30).strftime("%Y-%m-%d").to_string();
    let lines = [lost(POOL, &sub(0), 30), lost(POOL, &sub(1), 30), lost(POOL, &sub(2), 3)];
    let file = listing.dir.join("log");
    let args = ["reconcile", POOL, "--log", file.to_str().unwrap(), "--day", &day, "--yes"];
    std::fs::write(&file, format!("2026-10-24T10:00:00Z {}\nnoise\n", lines[0])).unwrap();
    let short = listing.command(&args).await;
    assert_eq!(short.exit, Exit::Failed, "{}", short.out);
    assert!(short.out.contains("1 of 2 lost sign-ins read"), "{}", short.out);
    let events: Vec<Value> = lines.iter().map(|line| json!({ "eventId": "1", "message": line })).collect();
    std::fs::write(&file, json!({ "events": events }).to_string()).unwrap();
    let whole = listing.command(&args).await;
    assert_eq!(whole.exit, Exit::Done, "{}{}", whole.out, whole.err);
    assert!(whole.out.contains("accounted for"), "{}", whole.out);
    assert_eq!(listing.rows().await.keys().cloned().collect::<Vec<_>>(), [sub(0), sub(1)]);
    let again = listing.command(&args).await;
    assert!(again.out.contains("No day is open"), "{}", again.out);

    // A row that can't be read keeps its day open, and nobody else's.
    let mut broken = Row::seen(POOL, &sub(2), "mary", "x", days_ago(9)).item();
    broken.remove("timestamp");
    listing.dynamodb.put_item().table_name("activity").set_item(Some(broken)).send().await.unwrap();
    let poisoned = listing.command(&["reconcile", POOL, "--log", file.to_str().unwrap(), "--yes"]).await;
    assert_eq!(poisoned.exit, Exit::Failed, "{}", poisoned.out);
    assert!(
        poisoned.err.contains(&sub(2)) && poisoned.out.contains("not all of its users"),
        "{}",
        poisoned.err
    );
    for args in [&["reconcile", POOL, "--yes"][..], &["reconcile", POOL, "--waive", "--yes"]] {
        assert_eq!(listing.command(args).await.exit, Exit::Input, "{args:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_day_stays_open_until_all_of_its_users_are_looked_after() {
    let user = Disabled::new().await;
    let pool = user.world.pool.clone();
    let emulator = user.world.emulator.clone().with_service("logs", logs(vec![lost(&pool, &user.sub, 30)]));
    emulator.count(ACCOUNT, REGION, &pool, days_ago(30), 1);
    let args = ["cognito", "reconcile", &pool, "--log-group", "/aws/lambda/recorder", "--yes"];
    emulator.on_call(Arc::new(|call| (call.operation == "AdminEnableUser").then_some(Fault::Denied)));
    let failed = user.command(&args).await;
    assert_eq!(failed.exit, Exit::Failed, "{}{}", failed.out, failed.err);
    assert!(failed.out.contains("not all of its users"), "{}", failed.out);
    assert!(!user.enabled().await);
    // The row knows of the sign-in, and still that redress has disabled the user.
    let row = user.row().await;
    assert_eq!((row.seen, row.phase), (days_ago(30), Some(Phase::Disabled)));

    emulator.clear_hook();
    let done = user.command(&args).await;
    assert_eq!(done.exit, Exit::Done, "{}{}", done.out, done.err);
    assert!(user.enabled().await);
    assert_eq!(user.row().await.phase, None);
    let again = user.command(&args).await;
    assert!(again.out.contains("No day is open"), "{}", again.out);
}
