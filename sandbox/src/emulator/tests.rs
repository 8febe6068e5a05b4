//! What AWS answers, asked by the SDK. Each module's documentation says what winterbaume would have
//! answered instead.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::collections::HashMap;

use aws_sdk_cognitoidentityprovider::types::AttributeType;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, ConditionCheck, KeySchemaElement, KeyType,
    KeysAndAttributes, Put, ReturnValue, ReturnValuesOnConditionCheckFailure, ScalarAttributeType,
    TransactWriteItem, Update,
};
use aws_sdk_ec2::types::{
    Filter, IpPermission, IpRange, Ipv6Range, PrefixListId, ResourceType, Tag, TagSpecification,
    UserIdGroupPair,
};
use aws_sdk_eventbridge::types::PutEventsRequestEntry;
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::types::{
    AbortIncompleteMultipartUpload, BucketLifecycleConfiguration, BucketVersioningStatus,
    CreateBucketConfiguration, ExpirationStatus, IndexDocument, LifecycleExpiration, LifecycleRule,
    LifecycleRuleAndOperator, LifecycleRuleFilter, MfaDelete, NoncurrentVersionExpiration,
    NoncurrentVersionTransition, PublicAccessBlockConfiguration, Tagging, Transition,
    TransitionDefaultMinimumObjectSize, TransitionStorageClass, VersioningConfiguration,
    WebsiteConfiguration,
};
use jiff::Timestamp;
use serde_json::json;

use super::*;
use crate::account::furnish;

const ACCOUNT: &str = "111122223333";
const OTHER: &str = "444455556666";
const REGION: &str = "eu-west-1";

fn s3(emulator: &Emulator, account: &str, region: &str) -> aws_sdk_s3::Client {
    aws_sdk_s3::Client::new(&emulator.sdk_config(account, region))
}

async fn bucket(emulator: &Emulator) -> (aws_sdk_s3::Client, &'static str) {
    let s3 = s3(emulator, ACCOUNT, REGION);
    let place = CreateBucketConfiguration::builder().location_constraint(REGION.into()).build();
    s3.create_bucket().bucket("a-bucket").create_bucket_configuration(place).send().await.unwrap();
    (s3, "a-bucket")
}

/// The code and the status of an error that a service answered with.
fn code<T: std::fmt::Debug, E>(
    result: Result<T, aws_sdk_s3::error::SdkError<E, aws_smithy_runtime_api::http::Response>>,
) -> (String, u16)
where
    E: ProvideErrorMetadata + std::fmt::Debug,
{
    let error = result.unwrap_err();
    let status = error.raw_response().unwrap().status().as_u16();
    (error.code().unwrap_or_default().to_owned(), status)
}

fn is(code: &str, status: u16) -> (String, u16) {
    (code.to_owned(), status)
}

fn is_dispatch_failure<E, R>(error: &aws_sdk_s3::error::SdkError<E, R>) -> bool {
    matches!(error, aws_sdk_s3::error::SdkError::DispatchFailure(_))
}

#[tokio::test]
async fn buckets_have_one_owner_and_one_region() {
    let emulator = Emulator::new();
    let (mine, name) = bucket(&emulator).await;
    mine.head_bucket().bucket(name).send().await.unwrap();
    let location = mine.get_bucket_location().bucket(name).send().await.unwrap();
    assert_eq!(location.location_constraint().unwrap().as_str(), REGION);
    assert_eq!(mine.list_buckets().send().await.unwrap().buckets().len(), 1);

    let theirs = s3(&emulator, OTHER, REGION);
    let place = CreateBucketConfiguration::builder().location_constraint(REGION.into()).build();
    let again = |client: &aws_sdk_s3::Client| {
        client.create_bucket().bucket(name).create_bucket_configuration(place.clone()).send()
    };
    assert_eq!(code(again(&theirs).await), is("BucketAlreadyExists", 409));
    assert_eq!(code(again(&mine).await), is("BucketAlreadyOwnedByYou", 409));
    assert_eq!(code(theirs.get_bucket_versioning().bucket(name).send().await), is("AccessDenied", 403));
    let wrong = mine.get_bucket_versioning().bucket(name).expected_bucket_owner(OTHER).send().await;
    assert_eq!(code(wrong), is("AccessDenied", 403));
    mine.get_bucket_versioning().bucket(name).expected_bucket_owner(ACCOUNT).send().await.unwrap();

    let elsewhere = s3(&emulator, ACCOUNT, "us-east-1");
    assert_eq!(
        code(elsewhere.get_bucket_versioning().bucket(name).send().await),
        is("PermanentRedirect", 301)
    );
    let location = elsewhere.get_bucket_location().bucket(name).send().await.unwrap();
    assert_eq!(location.location_constraint().unwrap().as_str(), REGION);
    elsewhere.create_bucket().bucket("an-older-bucket").send().await.unwrap();
    let location = elsewhere.get_bucket_location().bucket("an-older-bucket").send().await.unwrap();
    assert_eq!(location.location_constraint().map_or("", |region| region.as_str()), "");
    let nowhere = mine.create_bucket().bucket("nowhere").send().await;
    assert_eq!(code(nowhere), is("IllegalLocationConstraintException", 400));

    assert_eq!(code(mine.get_bucket_policy().bucket("missing").send().await), is("NoSuchBucket", 404));
    assert_eq!(
        mine.head_bucket()
            .bucket("missing")
            .send()
            .await
            .unwrap_err()
            .raw_response()
            .unwrap()
            .status()
            .as_u16(),
        404
    );
    mine.delete_bucket().bucket(name).send().await.unwrap();
    assert_eq!(code(mine.get_bucket_versioning().bucket(name).send().await), is("NoSuchBucket", 404));
}

#[tokio::test]
async fn versioning_is_unset_then_enabled_then_suspended() {
    let emulator = Emulator::new();
    let (s3, name) = bucket(&emulator).await;
    let get = async || s3.get_bucket_versioning().bucket(name).send().await.unwrap();
    let put = async |configuration| {
        s3.put_bucket_versioning().bucket(name).versioning_configuration(configuration).send().await
    };
    let status = |status| VersioningConfiguration::builder().status(status);
    assert_eq!(get().await.status, None);
    for wanted in [BucketVersioningStatus::Enabled, BucketVersioningStatus::Suspended] {
        put(status(wanted.clone()).build()).await.unwrap();
        assert_eq!(get().await.status, Some(wanted));
    }
    let guarded = || status(BucketVersioningStatus::Enabled).mfa_delete(MfaDelete::Enabled).build();
    assert_eq!(code(put(guarded()).await), is("AccessDenied", 403));
    let request = s3.put_bucket_versioning().bucket(name).versioning_configuration(guarded());
    request.mfa("arn 123456").send().await.unwrap();
    assert_eq!(get().await.mfa_delete.unwrap().as_str(), "Enabled");
    assert_eq!(code(put(status(BucketVersioningStatus::Suspended).build()).await), is("AccessDenied", 403));

    let elsewhere = self::s3(&emulator, ACCOUNT, "us-east-1");
    let locked = elsewhere.create_bucket().bucket("locked").object_lock_enabled_for_bucket(true);
    locked.send().await.unwrap();
    let found = elsewhere.get_bucket_versioning().bucket("locked").send().await.unwrap();
    assert_eq!(found.status, Some(BucketVersioningStatus::Enabled));
    let suspended = status(BucketVersioningStatus::Suspended).build();
    let refused =
        elsewhere.put_bucket_versioning().bucket("locked").versioning_configuration(suspended).send().await;
    assert_eq!(code(refused), is("InvalidBucketState", 409));
    let lock = elsewhere.get_object_lock_configuration().bucket("locked").send().await.unwrap();
    assert!(lock.object_lock_configuration.unwrap().object_lock_enabled.is_some());
}

/// From before there were filters.
fn rule_of_old() -> LifecycleRule {
    let date = aws_smithy_types::DateTime::from_secs(1_893_456_000);
    let rule = LifecycleRule::builder().id("old").status(ExpirationStatus::Enabled);
    #[expect(deprecated, reason = "rules of this form are still in use")]
    let rule = rule.prefix("old/");
    rule.expiration(LifecycleExpiration::builder().date(date).build()).build().unwrap()
}

fn full_rules() -> Vec<LifecycleRule> {
    let rule = || LifecycleRule::builder().status(ExpirationStatus::Enabled);
    let tag = |key: &str| aws_sdk_s3::types::Tag::builder().key(key).value("a & b").build().unwrap();
    let and = LifecycleRuleAndOperator::builder()
        .prefix("logs/")
        .tags(tag("one"))
        .tags(tag("two"))
        .object_size_greater_than(1)
        .object_size_less_than(1_000_000)
        .build();
    let transition = |class, days| Transition::builder().storage_class(class).days(days).build();
    vec![
        rule()
            .id("and")
            .filter(LifecycleRuleFilter::builder().and(and).build())
            .transitions(transition(TransitionStorageClass::StandardIa, 30))
            .transitions(transition(TransitionStorageClass::Glacier, 90))
            .expiration(LifecycleExpiration::builder().days(365).build())
            .build()
            .unwrap(),
        rule()
            .id("tag")
            .filter(LifecycleRuleFilter::builder().tag(tag("one")).build())
            .noncurrent_version_transitions(
                NoncurrentVersionTransition::builder()
                    .noncurrent_days(30)
                    .newer_noncurrent_versions(3)
                    .storage_class(TransitionStorageClass::DeepArchive)
                    .build(),
            )
            .noncurrent_version_expiration(
                NoncurrentVersionExpiration::builder()
                    .noncurrent_days(90)
                    .newer_noncurrent_versions(2)
                    .build(),
            )
            .build()
            .unwrap(),
        rule()
            .id("size")
            .status(ExpirationStatus::Disabled)
            .filter(LifecycleRuleFilter::builder().object_size_greater_than(500).build())
            .expiration(LifecycleExpiration::builder().expired_object_delete_marker(true).build())
            .build()
            .unwrap(),
        rule()
            .id("everything")
            .filter(LifecycleRuleFilter::builder().prefix("").build())
            .abort_incomplete_multipart_upload(
                AbortIncompleteMultipartUpload::builder().days_after_initiation(7).build(),
            )
            .build()
            .unwrap(),
    ]
}

#[tokio::test]
async fn lifecycle_keeps_every_field_and_the_header() {
    let emulator = Emulator::new();
    let (s3, name) = bucket(&emulator).await;
    let get = async || s3.get_bucket_lifecycle_configuration().bucket(name).send().await;
    let put = async |rules: Vec<LifecycleRule>, size| {
        let rules = BucketLifecycleConfiguration::builder().set_rules(Some(rules)).build().unwrap();
        let request = s3.put_bucket_lifecycle_configuration().bucket(name).lifecycle_configuration(rules);
        request.set_transition_default_minimum_object_size(size).send().await
    };
    assert_eq!(code(get().await), is("NoSuchLifecycleConfiguration", 404));

    let varies = TransitionDefaultMinimumObjectSize::VariesByStorageClass;
    let mixed = [full_rules(), vec![rule_of_old()]].concat();
    assert_eq!(code(put(mixed, None).await), is("InvalidRequest", 400));
    put(vec![rule_of_old()], None).await.unwrap();
    assert_eq!(get().await.unwrap().rules(), [rule_of_old()]);

    let answer = put(full_rules(), Some(varies.clone())).await.unwrap();
    assert_eq!(answer.transition_default_minimum_object_size, Some(varies.clone()));
    let found = get().await.unwrap();
    assert_eq!(found.rules(), full_rules());
    assert_eq!(found.transition_default_minimum_object_size, Some(varies));

    put(full_rules(), None).await.unwrap();
    let all = TransitionDefaultMinimumObjectSize::AllStorageClasses128K;
    assert_eq!(get().await.unwrap().transition_default_minimum_object_size, Some(all));

    let mut rule = full_rules().pop().unwrap();
    rule.id = None;
    put(vec![rule.clone(), rule.clone()], None).await.unwrap();
    let found = get().await.unwrap().rules.unwrap();
    assert!(found[0].id.is_some() && found[0].id != found[1].id, "S3 gives each rule an id");

    rule.abort_incomplete_multipart_upload = None;
    assert_eq!(code(put(vec![rule], None).await), is("InvalidRequest", 400));
    let twice = [full_rules(), full_rules()].concat();
    assert_eq!(code(put(twice, None).await), is("InvalidArgument", 400));
    assert_eq!(code(put(Vec::new(), None).await), is("MalformedXML", 400));
    assert_eq!(get().await.unwrap().rules().len(), 2, "a refused document changes nothing");

    s3.delete_bucket_lifecycle().bucket(name).send().await.unwrap();
    assert_eq!(code(get().await), is("NoSuchLifecycleConfiguration", 404));
}

#[tokio::test]
async fn public_access_is_blocked_by_default_and_for_the_account() {
    let emulator = Emulator::new();
    let (s3, name) = bucket(&emulator).await;
    let block = |on| {
        PublicAccessBlockConfiguration::builder()
            .block_public_acls(on)
            .ignore_public_acls(on)
            .block_public_policy(on)
            .restrict_public_buckets(on)
            .build()
    };
    let get = async || s3.get_public_access_block().bucket(name).send().await;
    assert_eq!(get().await.unwrap().public_access_block_configuration, Some(block(true)));
    let partly = PublicAccessBlockConfiguration::builder().block_public_policy(true).build();
    let put = async |block| {
        let request = s3.put_public_access_block().bucket(name).public_access_block_configuration(block);
        request.send().await.unwrap();
    };
    put(partly).await;
    let found = get().await.unwrap().public_access_block_configuration.unwrap();
    assert_eq!((found.block_public_policy, found.block_public_acls), (Some(true), Some(false)));

    let public = json!({ "Version": "2012-10-17", "Statement": { "Effect": "Allow", "Principal": "*",
        "Action": "s3:GetObject", "Resource": "arn:aws:s3:::a-bucket/*" } })
    .to_string();
    let publish = async || s3.put_bucket_policy().bucket(name).policy(&public).send().await;
    assert_eq!(code(publish().await), is("AccessDenied", 403));
    s3.delete_public_access_block().bucket(name).send().await.unwrap();
    assert_eq!(code(get().await), is("NoSuchPublicAccessBlockConfiguration", 404));
    publish().await.unwrap();

    let control = aws_sdk_s3control::Client::new(&emulator.sdk_config(ACCOUNT, REGION));
    let get = async |account: &str| control.get_public_access_block().account_id(account).send().await;
    assert_eq!(code(get(ACCOUNT).await), is("NoSuchPublicAccessBlockConfiguration", 404));
    assert_eq!(code(get(OTHER).await), is("AccessDenied", 403));
    let wanted = aws_sdk_s3control::types::PublicAccessBlockConfiguration::builder()
        .block_public_acls(true)
        .ignore_public_acls(false)
        .block_public_policy(true)
        .restrict_public_buckets(false)
        .build();
    let request = control.put_public_access_block().account_id(ACCOUNT);
    request.public_access_block_configuration(wanted.clone()).send().await.unwrap();
    assert_eq!(get(ACCOUNT).await.unwrap().public_access_block_configuration, Some(wanted.clone()));
    let elsewhere = aws_sdk_s3control::Client::new(&emulator.sdk_config(ACCOUNT, "us-west-2"));
    let found = elsewhere.get_public_access_block().account_id(ACCOUNT).send().await.unwrap();
    assert_eq!(found.public_access_block_configuration, Some(wanted), "one setting for all Regions");
    assert_eq!(code(publish().await), is("AccessDenied", 403));
    control.delete_public_access_block().account_id(ACCOUNT).send().await.unwrap();
    assert_eq!(code(get(ACCOUNT).await), is("NoSuchPublicAccessBlockConfiguration", 404));
}

#[tokio::test]
async fn policies_websites_and_tags_are_kept_as_they_were_sent() {
    let emulator = Emulator::new();
    let (s3, name) = bucket(&emulator).await;
    assert_eq!(code(s3.get_bucket_policy().bucket(name).send().await), is("NoSuchBucketPolicy", 404));
    let policy = "{ \"Statement\":[ {\"Sid\":\"ü<&>\",\n\t\"Effect\":\"Deny\",\"Principal\":\"*\",\
                  \"Action\":\"s3:*\",\"Resource\":[\"arn:aws:s3:::a-bucket\"],\"Condition\":{\"StringEquals\":\
                  {\"aws:PrincipalAccount\":\"123456789012\"}}}],\"Version\":\"2012-10-17\" }";
    s3.put_bucket_policy().bucket(name).policy(policy).send().await.unwrap();
    let found = s3.get_bucket_policy().bucket(name).send().await.unwrap();
    assert_eq!(found.policy.as_deref(), Some(policy));
    for bad in ["{", "[]", r#"{"Statement":[{"Effect":"Deny"}]}"#] {
        let refused = s3.put_bucket_policy().bucket(name).policy(bad).send().await;
        assert_eq!(code(refused), is("MalformedPolicy", 400), "{bad}");
    }
    s3.delete_bucket_policy().bucket(name).send().await.unwrap();
    assert_eq!(code(s3.get_bucket_policy().bucket(name).send().await), is("NoSuchBucketPolicy", 404));

    assert_eq!(
        code(s3.get_bucket_website().bucket(name).send().await),
        is("NoSuchWebsiteConfiguration", 404)
    );
    let index = IndexDocument::builder().suffix("index.html").build().unwrap();
    let site = WebsiteConfiguration::builder().index_document(index.clone()).build();
    s3.put_bucket_website().bucket(name).website_configuration(site).send().await.unwrap();
    let found = s3.get_bucket_website().bucket(name).send().await.unwrap();
    assert_eq!(found.index_document, Some(index));

    assert_eq!(code(s3.get_bucket_tagging().bucket(name).send().await), is("NoSuchTagSet", 404));
    let tag = aws_sdk_s3::types::Tag::builder().key("redress:exempt").value("2027-01-31 ü & me").build();
    let tags = Tagging::builder().tag_set(tag.unwrap()).build().unwrap();
    s3.put_bucket_tagging().bucket(name).tagging(tags.clone()).send().await.unwrap();
    let found = s3.get_bucket_tagging().bucket(name).send().await.unwrap();
    assert_eq!(found.tag_set, tags.tag_set);
}

async fn group(emulator: &Emulator) -> (aws_sdk_ec2::Client, String) {
    let ec2 = aws_sdk_ec2::Client::new(&emulator.sdk_config(ACCOUNT, REGION));
    let vpc = ec2.create_vpc().cidr_block("10.0.0.0/16").send().await.unwrap().vpc.unwrap();
    assert_eq!(vpc.owner_id(), Some(ACCOUNT));
    let made = ec2
        .create_security_group()
        .group_name("web")
        .description("web servers")
        .vpc_id(vpc.vpc_id().unwrap())
        .send()
        .await
        .unwrap();
    (ec2, made.group_id.unwrap())
}

fn tcp(from: i32, to: i32) -> aws_sdk_ec2::types::builders::IpPermissionBuilder {
    IpPermission::builder().ip_protocol("tcp").from_port(from).to_port(to)
}

fn filter(name: &str, value: &str) -> Filter {
    Filter::builder().name(name).values(value).build()
}

#[tokio::test]
async fn groups_rules_keep_peer_description_and_tags() {
    let emulator = Emulator::new();
    let (ec2, group) = group(&emulator).await;
    let tags = TagSpecification::builder()
        .resource_type(ResourceType::SecurityGroupRule)
        .tags(Tag::builder().key("owner").value("ops & co").build())
        .build();
    let permission = tcp(22, 22)
        .ip_ranges(IpRange::builder().cidr_ip("0.0.0.0/0").description("temporary").build())
        .ip_ranges(IpRange::builder().cidr_ip("198.51.100.7/24").build())
        .ipv6_ranges(Ipv6Range::builder().cidr_ipv6("2001:DB8:0:0::/64").description("six").build())
        .prefix_list_ids(PrefixListId::builder().prefix_list_id("pl-1").description("list").build())
        .user_id_group_pairs(UserIdGroupPair::builder().group_id(&group).description("itself").build())
        .build();
    let authorize = async |permission: &IpPermission| {
        let request = ec2.authorize_security_group_ingress().group_id(&group);
        request.ip_permissions(permission.clone()).tag_specifications(tags.clone()).send().await
    };
    let added = authorize(&permission).await.unwrap().security_group_rules.unwrap();
    assert_eq!(added.len(), 5);

    let rules = async || {
        let pages = ec2.describe_security_group_rules().filters(filter("group-id", &group)).max_results(5);
        let all: Vec<_> = pages.into_paginator().items().send().collect::<Result<_, _>>().await.unwrap();
        all.into_iter().filter(|rule| rule.is_egress() == Some(false)).collect::<Vec<_>>()
    };
    let mut found = rules().await;
    let order = |rule: &aws_sdk_ec2::types::SecurityGroupRule| {
        added.iter().position(|added| added.security_group_rule_id == rule.security_group_rule_id)
    };
    found.sort_by_key(order);
    assert_eq!(found, added);
    let peers: Vec<_> = found
        .iter()
        .map(|rule| {
            let group = rule.referenced_group_info().and_then(|info| info.group_id());
            let peer = rule.cidr_ipv4().or(rule.cidr_ipv6()).or(rule.prefix_list_id()).or(group);
            (peer.unwrap(), rule.description())
        })
        .collect();
    let expected = [
        ("0.0.0.0/0", Some("temporary")),
        ("198.51.100.0/24", None),
        ("2001:db8::/64", Some("six")),
        ("pl-1", Some("list")),
        (group.as_str(), Some("itself")),
    ];
    assert_eq!(peers, expected);
    assert!(found.iter().all(|rule| rule.tags()[0].value() == Some("ops & co")));
    assert!(found.iter().all(|rule| (rule.from_port(), rule.to_port()) == (Some(22), Some(22))));

    let described = ec2.describe_security_groups().group_ids(&group).send().await.unwrap();
    let described = &described.security_groups()[0];
    assert_eq!(described.ip_permissions().len(), 1);
    assert_eq!(described.ip_permissions()[0].ip_ranges().len(), 2);
    assert_eq!(described.ip_permissions()[0].prefix_list_ids()[0].description(), Some("list"));
    assert_eq!(described.ip_permissions_egress()[0].ip_protocol(), Some("-1"));
    assert_eq!(described.owner_id(), Some(ACCOUNT));

    assert_eq!(code(authorize(&permission).await), is("InvalidPermission.Duplicate", 400));
    assert_eq!(rules().await.len(), 5);

    let id = found[0].security_group_rule_id().unwrap();
    let by_id = async || {
        ec2.revoke_security_group_ingress().group_id(&group).security_group_rule_ids(id).send().await
    };
    let revoked = by_id().await.unwrap();
    assert_eq!(revoked.revoked_security_group_rules()[0].cidr_ipv4(), Some("0.0.0.0/0"));
    assert_eq!(code(by_id().await), is("InvalidSecurityGroupRuleId.NotFound", 400));
    let office = tcp(22, 22).ip_ranges(IpRange::builder().cidr_ip("198.51.100.0/24").build()).build();
    let by_permission = async || {
        ec2.revoke_security_group_ingress().group_id(&group).ip_permissions(office.clone()).send().await
    };
    by_permission().await.unwrap();
    assert_eq!(code(by_permission().await), is("InvalidPermission.NotFound", 400));
    assert_eq!(rules().await.len(), 3);

    let tagged = ec2.describe_tags().filters(filter("resource-type", "security-group-rule")).send().await;
    assert_eq!(tagged.unwrap().tags().len(), 3);
    ec2.delete_security_group().group_id(&group).send().await.unwrap();
    let gone = ec2.describe_security_groups().group_ids(&group).send().await;
    assert_eq!(code(gone), is("InvalidGroup.NotFound", 400));
}

#[tokio::test]
async fn groups_refuse_what_aws_refuses() {
    let emulator = Emulator::new();
    let (ec2, group) = group(&emulator).await;
    let authorize = async |permission: IpPermission| {
        ec2.authorize_security_group_ingress().group_id(&group).ip_permissions(permission).send().await
    };
    let from = |cidr: &str| IpRange::builder().cidr_ip(cidr);
    let bad = [
        tcp(22, 22).ip_ranges(from("0.0.0.0").build()).build(),
        tcp(22, 22).ip_ranges(from("0.0.0.0/33").build()).build(),
        tcp(23, 22).ip_ranges(from("0.0.0.0/0").build()).build(),
        tcp(22, 22).ip_ranges(from("0.0.0.0/0").description("naïve").build()).build(),
        IpPermission::builder().ip_protocol("tcp").ip_ranges(from("0.0.0.0/0").build()).build(),
    ];
    for permission in bad {
        assert_eq!(
            code(authorize(permission.clone()).await),
            is("InvalidParameterValue", 400),
            "{permission:?}"
        );
    }
    let many = (0..61).map(|n| from(&format!("10.0.{n}.0/24")).build()).collect();
    let many = tcp(22, 22).set_ip_ranges(Some(many)).build();
    assert_eq!(code(authorize(many).await), is("RulesPerSecurityGroupLimitExceeded", 400));
    let stranger = UserIdGroupPair::builder().group_id("sg-0").build();
    let stranger = tcp(22, 22).user_id_group_pairs(stranger).build();
    assert_eq!(code(authorize(stranger).await), is("InvalidGroup.NotFound", 400));
    let group = ec2.describe_security_groups().group_ids(&group).send().await.unwrap();
    assert!(group.security_groups()[0].ip_permissions().is_empty());

    let default =
        ec2.describe_security_groups().filters(filter("group-name", "default")).send().await.unwrap();
    let default = &default.security_groups()[0];
    let own = default.ip_permissions()[0].user_id_group_pairs()[0].group_id();
    assert_eq!(own, default.group_id(), "a new VPC's default group admits itself");

    let elsewhere = aws_sdk_ec2::Client::new(&emulator.sdk_config(OTHER, REGION));
    assert!(elsewhere.describe_security_groups().send().await.unwrap().security_groups().is_empty());
}

#[tokio::test]
async fn snapshots_are_seen_by_whom_they_are_shared_with_and_changed_by_their_owner() {
    use aws_sdk_ec2::types::{
        CreateVolumePermission, CreateVolumePermissionModifications, OperationType, PermissionGroup,
        SnapshotAttributeName, SnapshotBlockPublicAccessState,
    };
    let emulator = Emulator::new();
    let ec2 = aws_sdk_ec2::Client::new(&emulator.sdk_config(ACCOUNT, REGION));
    let other = aws_sdk_ec2::Client::new(&emulator.sdk_config(OTHER, REGION));
    let mut ids = Vec::new();
    for _ in 0..7 {
        let made = ec2.create_snapshot().volume_id("vol-0123456789abcdef0").send().await.unwrap();
        ids.push(made.snapshot_id.unwrap());
    }
    let share = async |ec2: &aws_sdk_ec2::Client, id: &str, account: Option<&str>, add: bool| {
        let who = CreateVolumePermission::builder().set_user_id(account.map(ToOwned::to_owned));
        let who = if account.is_none() { who.group(PermissionGroup::All) } else { who }.build();
        let change = CreateVolumePermissionModifications::builder();
        let change = if add { change.add(who) } else { change.remove(who) }.build();
        let request = ec2.modify_snapshot_attribute().snapshot_id(id);
        request
            .attribute(SnapshotAttributeName::CreateVolumePermission)
            .create_volume_permission(change)
            .send()
            .await
    };
    let who = async |id: &str| -> Vec<String> {
        let request = ec2.describe_snapshot_attribute().snapshot_id(id);
        let found = request.attribute(SnapshotAttributeName::CreateVolumePermission).send().await.unwrap();
        let name = |one: &CreateVolumePermission| {
            one.group().map_or(one.user_id().unwrap_or_default(), PermissionGroup::as_str).to_owned()
        };
        found.create_volume_permissions.unwrap().iter().map(name).collect()
    };
    let listed = async |ec2: &aws_sdk_ec2::Client, owner: Option<&str>, by: Option<&str>| -> Vec<String> {
        let request = ec2.describe_snapshots().set_owner_ids(owner.map(|owner| vec![owner.to_owned()]));
        let request = request.set_restorable_by_user_ids(by.map(|by| vec![by.to_owned()])).max_results(5);
        let found: Vec<_> = request.into_paginator().items().send().collect::<Result<_, _>>().await.unwrap();
        found.into_iter().map(|one| one.snapshot_id.unwrap()).collect()
    };
    let sorted = |ids: &[String]| {
        let mut ids = ids.to_vec();
        ids.sort();
        ids
    };
    // Six are everybody's, in two pages; the last is one account's.
    for id in &ids[..6] {
        share(&ec2, id, None, true).await.unwrap();
    }
    share(&ec2, &ids[0], Some(OTHER), true).await.unwrap();
    share(&ec2, &ids[6], Some(OTHER), true).await.unwrap();
    assert_eq!(listed(&ec2, Some("self"), Some("all")).await, sorted(&ids[..6]));
    assert_eq!(listed(&ec2, Some("self"), None).await.len(), 7);
    assert_eq!(listed(&other, None, None).await, sorted(&ids));
    assert!(listed(&other, Some("self"), Some("all")).await.is_empty());
    assert_eq!(listed(&other, Some(ACCOUNT), Some("self")).await, sorted(&[ids[0].clone(), ids[6].clone()]));
    let seen = other.describe_snapshots().snapshot_ids(&ids[0]).send().await.unwrap();
    assert_eq!(seen.snapshots()[0].owner_id(), Some(ACCOUNT));
    assert_eq!(code(share(&other, &ids[0], None, false).await), is("AuthFailure", 403));
    assert_eq!(code(share(&other, "snap-0123abcd", None, false).await), is("InvalidSnapshot.NotFound", 400));

    // One is taken back: the other permissions stay. Once more is no error.
    for _ in 0..2 {
        share(&ec2, &ids[0], None, false).await.unwrap();
        assert_eq!(who(&ids[0]).await, [OTHER]);
    }
    // The older form of the same.
    let older = ec2.modify_snapshot_attribute().snapshot_id(&ids[1]).operation_type(OperationType::Remove);
    older.group_names("all").send().await.unwrap();
    assert!(who(&ids[1]).await.is_empty());
    assert_eq!(listed(&ec2, Some("self"), Some("all")).await, sorted(&ids[2..6]));
    let reset = ec2.reset_snapshot_attribute().snapshot_id(&ids[6]);
    reset.attribute(SnapshotAttributeName::CreateVolumePermission).send().await.unwrap();
    assert!(who(&ids[6]).await.is_empty());

    // What is blocked stays as it is marked, and nothing is marked anew.
    let block = SnapshotBlockPublicAccessState::BlockAllSharing;
    ec2.enable_snapshot_block_public_access().state(block).send().await.unwrap();
    assert_eq!(who(&ids[2]).await, ["all"]);
    assert_eq!(code(share(&ec2, &ids[0], None, true).await), is("OperationNotPermitted", 400));
    share(&ec2, &ids[0], Some("123123123123"), true).await.unwrap();
    share(&ec2, &ids[2], None, false).await.unwrap();

    ec2.delete_snapshot().snapshot_id(&ids[0]).send().await.unwrap();
    let gone = ec2.describe_snapshots().snapshot_ids(&ids[0]).send().await;
    assert_eq!(code(gone), is("InvalidSnapshot.NotFound", 400));
}

#[tokio::test]
async fn addresses_are_released_only_while_unused() {
    let emulator = Emulator::new();
    let ec2 = aws_sdk_ec2::Client::new(&emulator.sdk_config(ACCOUNT, REGION));
    let made = ec2.allocate_address().send().await.unwrap();
    let (id, ip) = (made.allocation_id().unwrap(), made.public_ip().unwrap());
    let describe = async || ec2.describe_addresses().allocation_ids(id).send().await;
    let release = async || ec2.release_address().allocation_id(id).send().await;
    assert_eq!(describe().await.unwrap().addresses()[0].association_id(), None);

    ec2.associate_address().allocation_id(id).network_interface_id("eni-1").send().await.unwrap();
    let found = describe().await.unwrap().addresses.unwrap().remove(0);
    assert_eq!(found.network_interface_id(), Some("eni-1"));
    assert_eq!(code(release().await), is("InvalidIPAddress.InUse", 400));
    ec2.disassociate_address().association_id(found.association_id().unwrap()).send().await.unwrap();

    let tag = Tag::builder().key("redress:exempt").value("2027-01-31 me why").build();
    ec2.create_tags().resources(id).tags(tag.clone()).send().await.unwrap();
    assert_eq!(describe().await.unwrap().addresses()[0].tags(), std::slice::from_ref(&tag));
    let tags = ec2.describe_tags().filters(filter("resource-id", id)).send().await.unwrap();
    assert_eq!(tags.tags()[0].key(), Some("redress:exempt"));
    ec2.delete_tags().resources(id).tags(Tag::builder().key("redress:exempt").build()).send().await.unwrap();
    assert!(describe().await.unwrap().addresses()[0].tags().is_empty());
    assert_eq!(code(ec2.create_tags().resources("eipalloc-0").tags(tag).send().await), is("InvalidID", 400));

    ec2.modify_address_attribute().allocation_id(id).domain_name("a.example.com").send().await.unwrap();
    let request = ec2.describe_addresses_attribute().allocation_ids(id);
    let found = request.attribute("domain-name".into()).send().await.unwrap();
    assert_eq!(found.addresses()[0].ptr_record(), Some("a.example.com"));
    assert_eq!(code(release().await), is("InvalidAddress.Locked", 400));
    ec2.reset_address_attribute().allocation_id(id).attribute("domain-name".into()).send().await.unwrap();
    ec2.enable_address_transfer().allocation_id(id).transfer_account_id(OTHER).send().await.unwrap();
    let transfers = ec2.describe_address_transfers().send().await.unwrap();
    assert_eq!(transfers.address_transfers()[0].transfer_account_id(), Some(OTHER));
    ec2.disable_address_transfer().allocation_id(id).send().await.unwrap();
    assert!(ec2.describe_address_transfers().send().await.unwrap().address_transfers().is_empty());

    release().await.unwrap();
    assert_eq!(code(describe().await), is("InvalidAllocationID.NotFound", 400));
    assert_eq!(code(release().await), is("InvalidAllocationID.NotFound", 400));
    assert!(ec2.describe_addresses().send().await.unwrap().addresses().is_empty());
    let again = ec2.allocate_address().address(ip).send().await.unwrap();
    assert_eq!(again.public_ip(), Some(ip));
    assert_ne!(again.allocation_id(), Some(id));
    let taken = ec2.allocate_address().address(ip).send().await;
    assert_eq!(code(taken), is("InvalidAddress.NotFound", 400));
}

#[tokio::test]
async fn users_are_found_by_filter_and_page() {
    let emulator = Emulator::new();
    let cognito = aws_sdk_cognitoidentityprovider::Client::new(&emulator.sdk_config(ACCOUNT, REGION));
    let made = cognito.create_user_pool().pool_name("a").user_pool_tags("team", "web").send().await.unwrap();
    let (pool, arn) = made.user_pool.map(|pool| (pool.id.unwrap(), pool.arn.unwrap())).unwrap();
    assert_eq!(arn, format!("arn:aws:cognito-idp:{REGION}:{ACCOUNT}:userpool/{pool}"));
    let tags = cognito.list_tags_for_resource().resource_arn(&arn).send().await.unwrap();
    assert_eq!(tags.tags.unwrap()["team"], "web");
    let theirs = arn.replace(ACCOUNT, OTHER);
    let refused = cognito.list_tags_for_resource().resource_arn(theirs).send().await;
    assert_eq!(code(refused), is("ResourceNotFoundException", 400));

    for n in 0..65 {
        let mark = AttributeType::builder().name("custom:mark").value(format!("ü {n}")).build().unwrap();
        let request = cognito.admin_create_user().user_pool_id(&pool).username(format!("user-{n:02}"));
        request.user_attributes(mark).send().await.unwrap();
    }
    let list = || cognito.list_users().user_pool_id(&pool);
    let first = list().send().await.unwrap();
    assert_eq!(first.users().len(), 60);
    let rest = list().pagination_token(first.pagination_token().unwrap()).send().await.unwrap();
    assert_eq!((rest.users().len(), rest.pagination_token()), (5, None));
    assert_eq!(code(list().limit(61).send().await), is("InvalidParameterException", 400));

    let by_name = list().filter("username = \"user-07\"").send().await.unwrap().users.unwrap();
    assert_eq!(by_name.len(), 1);
    let user = &by_name[0];
    assert!(user.enabled);
    assert!(user.user_create_date().is_some());
    let value = |name: &str| {
        user.attributes().iter().find(|attribute| attribute.name == name).and_then(|found| found.value())
    };
    assert_eq!(value("custom:mark"), Some("ü 7"));
    let sub = value("sub").unwrap();
    let get = async || {
        let found = list().filter(format!("sub = \"{sub}\"")).send().await.unwrap().users.unwrap();
        assert_eq!(found.len(), 1);
        found.into_iter().next().unwrap()
    };
    assert_eq!(get().await.username(), Some("user-07"));
    assert_eq!(list().filter("username ^= \"user-1\"").send().await.unwrap().users().len(), 10);
    assert!(list().filter("sub = \"nobody\"").send().await.unwrap().users().is_empty());
    for bad in ["sub", "sub = x", "shoe_size = \"44\""] {
        assert_eq!(code(list().filter(bad).send().await), is("InvalidParameterException", 400), "{bad}");
    }

    let name = "user-07";
    cognito.admin_disable_user().user_pool_id(&pool).username(name).send().await.unwrap();
    assert!(!get().await.enabled);
    let disabled = list().filter("status = \"Disabled\"").send().await.unwrap();
    assert_eq!(disabled.users().len(), 1);
    cognito.admin_user_global_sign_out().user_pool_id(&pool).username(name).send().await.unwrap();
    cognito.admin_enable_user().user_pool_id(&pool).username(name).send().await.unwrap();
    assert!(get().await.enabled);
    let missing = cognito.admin_disable_user().user_pool_id(&pool).username("nobody").send().await;
    assert_eq!(code(missing), is("UserNotFoundException", 400));
    let missing = cognito.list_users().user_pool_id("eu-west-1_none").send().await;
    assert_eq!(code(missing), is("ResourceNotFoundException", 400));

    let join = async || {
        let request = cognito.admin_add_user_to_group().user_pool_id(&pool).username(name);
        request.group_name("admins").send().await
    };
    assert_eq!(code(join().await), is("ResourceNotFoundException", 400));
    cognito.create_group().user_pool_id(&pool).group_name("admins").send().await.unwrap();
    join().await.unwrap();
    let groups =
        cognito.admin_list_groups_for_user().user_pool_id(&pool).username(name).send().await.unwrap();
    assert_eq!(groups.groups()[0].group_name(), Some("admins"));
}

/// The subject of a pool's mail, the number of its tags, and whether it has a trigger.
fn pool_settings(
    shown: &aws_sdk_cognitoidentityprovider::types::UserPoolType,
) -> (Option<&str>, usize, bool) {
    let subject = shown.email_verification_subject();
    let tags = shown.user_pool_tags().map_or(0, HashMap::len);
    let triggers = shown.lambda_config().is_some_and(|triggers| triggers.post_authentication().is_some());
    (subject, tags, triggers)
}

#[tokio::test]
async fn an_update_of_a_pool_resets_what_it_leaves_out() {
    use aws_sdk_cognitoidentityprovider::types::{LambdaConfigType, UserPoolTierType, UserPoolType};
    let emulator = Emulator::new();
    let cognito = aws_sdk_cognitoidentityprovider::Client::new(&emulator.sdk_config(ACCOUNT, REGION));
    let function = format!("arn:aws:lambda:{REGION}:{ACCOUNT}:function:a");
    let triggers = LambdaConfigType::builder().post_authentication(&function).build();
    let request = cognito.create_user_pool().pool_name("a").user_pool_tags("team", "web");
    let request = request.email_verification_subject("Hello").lambda_config(triggers.clone());
    let made: UserPoolType =
        request.user_pool_tier(UserPoolTierType::Lite).send().await.unwrap().user_pool.unwrap();
    assert_eq!(pool_settings(&made), (Some("Hello"), 1, true));
    assert_eq!(made.verification_message_template().unwrap().email_subject(), Some("Hello"));
    let pool = made.id().unwrap();
    let describe = async || {
        let found = cognito.describe_user_pool().user_pool_id(pool).send().await.unwrap();
        found.user_pool.unwrap()
    };
    assert_eq!(describe().await, made);

    let update = || cognito.update_user_pool().user_pool_id(pool);
    let twice = update().policies(made.policies().unwrap().clone());
    let twice = twice.admin_create_user_config(made.admin_create_user_config().unwrap().clone());
    assert_eq!(code(twice.send().await), is("InvalidParameterException", 400));
    assert_eq!(describe().await, made);

    update().user_pool_tags("owner", "me").send().await.unwrap();
    let after = describe().await;
    assert_eq!(pool_settings(&after), (None, 1, false));
    assert_eq!(after.user_pool_tier(), Some(&UserPoolTierType::Essentials));
    assert_eq!(after.user_pool_tags().unwrap()["owner"], "me");
    update().lambda_config(triggers).send().await.unwrap();
    assert_eq!(pool_settings(&describe().await), (None, 0, true));
    let none = cognito.update_user_pool().user_pool_id("eu-west-1_none").send().await;
    assert_eq!(code(none), is("ResourceNotFoundException", 400));
}

#[tokio::test]
async fn sign_ins_are_kept_for_pools_with_threat_protection() {
    use aws_sdk_cognitoidentityprovider::types::{
        AdvancedSecurityModeType, AuthFlowType, EventResponseType, EventType, UserPoolAddOnsType,
    };
    let emulator = Emulator::new();
    let cognito = aws_sdk_cognitoidentityprovider::Client::new(&emulator.sdk_config(ACCOUNT, REGION));
    let made = cognito.create_user_pool().pool_name("a").send().await.unwrap();
    let pool = made.user_pool.unwrap().id.unwrap();
    let client = cognito.create_user_pool_client().user_pool_id(&pool).client_name("app");
    let client = client.send().await.unwrap().user_pool_client.unwrap().client_id.unwrap();
    cognito.admin_create_user().user_pool_id(&pool).username("mary").send().await.unwrap();
    let password = cognito.admin_set_user_password().user_pool_id(&pool).username("mary");
    password.password("Hush-hush-1").permanent(true).send().await.unwrap();
    let events = || cognito.admin_list_user_auth_events().user_pool_id(&pool).username("mary").send();
    assert_eq!(code(events().await), is("UserPoolAddOnNotEnabledException", 400));

    let on = UserPoolAddOnsType::builder().advanced_security_mode(AdvancedSecurityModeType::Audit);
    let update = cognito.update_user_pool().user_pool_id(&pool).user_pool_add_ons(on.build().unwrap());
    update.send().await.unwrap();
    assert!(events().await.unwrap().auth_events().is_empty());
    let sign_in = async |password: &str| {
        let request = cognito.admin_initiate_auth().user_pool_id(&pool).client_id(&client);
        let request = request.auth_flow(AuthFlowType::AdminUserPasswordAuth);
        request.auth_parameters("USERNAME", "mary").auth_parameters("PASSWORD", password).send().await
    };
    assert!(sign_in("wrong").await.is_err());
    sign_in("Hush-hush-1").await.unwrap();
    let found = events().await.unwrap();
    assert_eq!(found.auth_events().len(), 1);
    let event = &found.auth_events()[0];
    assert_eq!(event.event_type(), Some(&EventType::SignIn));
    assert_eq!(event.event_response(), Some(&EventResponseType::Pass));
    let nobody = cognito.admin_list_user_auth_events().user_pool_id(&pool).username("nobody").send().await;
    assert_eq!(code(nobody), is("UserNotFoundException", 400));
}

fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

fn number(value: u32) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

async fn table(emulator: &Emulator) -> aws_sdk_dynamodb::Client {
    let client = aws_sdk_dynamodb::Client::new(&emulator.sdk_config(ACCOUNT, REGION));
    let mut request = client.create_table().table_name("t").billing_mode(BillingMode::PayPerRequest);
    for (name, kind) in [("pk", KeyType::Hash), ("sk", KeyType::Range)] {
        let key = KeySchemaElement::builder().attribute_name(name).key_type(kind).build().unwrap();
        let kind = ScalarAttributeType::S;
        let known = AttributeDefinition::builder().attribute_name(name).attribute_type(kind).build().unwrap();
        request = request.key_schema(key).attribute_definitions(known);
    }
    let made = request.send().await.unwrap().table_description.unwrap();
    assert_eq!(made.table_arn(), Some(format!("arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/t").as_str()));
    client
}

fn key(pk: &str, sk: &str) -> HashMap<String, AttributeValue> {
    HashMap::from([("pk".to_owned(), text(pk)), ("sk".to_owned(), text(sk))])
}

fn put(pk: &str, sk: &str, n: u32) -> TransactWriteItem {
    let mut item = key(pk, sk);
    item.insert("n".to_owned(), number(n));
    let put = Put::builder()
        .table_name("t")
        .set_item(Some(item))
        .condition_expression("attribute_not_exists(pk)")
        .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
        .build()
        .unwrap();
    TransactWriteItem::builder().put(put).build()
}

#[tokio::test]
async fn transactions_are_whole_and_say_why_not() {
    let emulator = Emulator::new();
    let client = table(&emulator).await;
    let get = async |pk: &str, sk: &str| {
        let request = client.get_item().table_name("t").set_key(Some(key(pk, sk))).consistent_read(true);
        request.send().await.unwrap().item
    };
    client.transact_write_items().transact_items(put("a", "1", 1)).send().await.unwrap();
    let cancelled =
        client.transact_write_items().transact_items(put("b", "1", 2)).transact_items(put("a", "1", 3));
    let error = cancelled.send().await.unwrap_err().into_service_error();
    assert!(error.message().unwrap().ends_with("[None, ConditionalCheckFailed]"), "{error:?}");
    let aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError::TransactionCanceledException(
        error,
    ) = error
    else {
        panic!("{error:?}")
    };
    let reasons = error.cancellation_reasons();
    assert_eq!(reasons[0].code(), Some("None"));
    assert_eq!(reasons[1].code(), Some("ConditionalCheckFailed"));
    assert_eq!(reasons[1].item().unwrap()["n"], number(1));
    assert!(reasons[0].item().is_none());
    assert_eq!(get("b", "1").await, None, "all or nothing");

    let update = |expect: u32| {
        let update = Update::builder()
            .table_name("t")
            .set_key(Some(key("a", "1")))
            .update_expression("ADD #n :one SET s = :s REMOVE gone")
            .condition_expression("#n = :expect AND attribute_not_exists(s)")
            .expression_attribute_names("#n", "n")
            .expression_attribute_values(":one", number(1))
            .expression_attribute_values(":expect", number(expect))
            .expression_attribute_values(":s", text("held"))
            .build()
            .unwrap();
        TransactWriteItem::builder().update(update).build()
    };
    let check = |pk: &str| {
        let check = ConditionCheck::builder()
            .table_name("t")
            .set_key(Some(key(pk, "1")))
            .condition_expression("attribute_exists(pk)")
            .build()
            .unwrap();
        TransactWriteItem::builder().condition_check(check).build()
    };
    let none =
        client.transact_write_items().transact_items(update(1)).transact_items(check("b")).send().await;
    assert_eq!(code(none), is("TransactionCanceledException", 400));
    assert_eq!(get("a", "1").await.unwrap()["n"], number(1));
    client
        .transact_write_items()
        .transact_items(update(1))
        .transact_items(put("b", "1", 9))
        .send()
        .await
        .unwrap();
    assert_eq!(get("a", "1").await.unwrap()["n"], number(2));
    assert_eq!(get("a", "1").await.unwrap()["s"], text("held"));
    let twice =
        client.transact_write_items().transact_items(check("a")).transact_items(update(1)).send().await;
    assert_eq!(code(twice), is("ValidationException", 400));

    let token = |item| client.transact_write_items().client_request_token("one").transact_items(item).send();
    token(put("c", "1", 1)).await.unwrap();
    token(put("c", "1", 1)).await.unwrap();
    assert_eq!(code(token(put("c", "1", 2)).await), is("IdempotentParameterMismatchException", 400));
}

#[tokio::test]
async fn a_lost_answer_to_a_transaction_is_made_up_by_its_token() {
    let emulator = Emulator::new();
    let client = table(&emulator).await;
    let lost = Arc::new(Mutex::new(1));
    emulator.on_call(Arc::new(move |call| {
        let mut left = locked(&lost);
        (call.operation == "TransactWriteItems" && *left > 0).then(|| {
            *left -= 1;
            Fault::AnswerLost
        })
    }));
    emulator.forget_calls();
    client.transact_write_items().transact_items(put("a", "1", 1)).send().await.unwrap();
    assert_eq!(emulator.calls().len(), 2);
}

#[tokio::test]
async fn items_are_counted_read_together_and_queried() {
    let emulator = Emulator::new();
    let client = table(&emulator).await;
    let add = |limit: u32, wanted: ReturnValue| {
        client
            .update_item()
            .table_name("t")
            .set_key(Some(key("cap", "hour")))
            .update_expression("ADD used :one SET seen = :seen")
            .condition_expression("attribute_not_exists(used) OR used < :limit")
            .expression_attribute_values(":one", number(1))
            .expression_attribute_values(":seen", text("now"))
            .expression_attribute_values(":limit", number(limit))
            .return_values(wanted)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
    };
    let changed = add(3, ReturnValue::UpdatedNew).send().await.unwrap().attributes.unwrap();
    assert_eq!(changed, HashMap::from([("used".to_owned(), number(1)), ("seen".to_owned(), text("now"))]));
    let before = add(3, ReturnValue::AllOld).send().await.unwrap().attributes.unwrap();
    assert_eq!((before["used"].clone(), before.len()), (number(1), 4));
    assert_eq!(add(3, ReturnValue::None).send().await.unwrap().attributes, None);
    let error = add(3, ReturnValue::AllNew).send().await.unwrap_err().into_service_error();
    let aws_sdk_dynamodb::operation::update_item::UpdateItemError::ConditionalCheckFailedException(error) =
        error
    else {
        panic!("{error:?}")
    };
    assert_eq!(error.item().unwrap()["used"], number(3));

    let tries = (0..40).map(|_| tokio::spawn(add(20, ReturnValue::None).send()));
    let mut done = 0;
    for one in tries.collect::<Vec<_>>() {
        done += u32::from(one.await.unwrap().is_ok());
    }
    assert_eq!(done, 17, "never more than the limit");

    for n in ["01", "02", "03", "10"] {
        let mut item = key("run", n);
        item.insert("even".to_owned(), AttributeValue::Bool(n != "01" && n != "03"));
        client.put_item().table_name("t").set_item(Some(item)).send().await.unwrap();
    }
    let mut again = key("run", "01");
    again.insert("even".to_owned(), AttributeValue::Null(true));
    let refused = client
        .put_item()
        .table_name("t")
        .set_item(Some(again))
        .condition_expression("attribute_not_exists(pk)")
        .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
        .send()
        .await
        .unwrap_err()
        .into_service_error();
    let aws_sdk_dynamodb::operation::put_item::PutItemError::ConditionalCheckFailedException(refused) =
        refused
    else {
        panic!("{refused:?}")
    };
    assert_eq!(refused.item().unwrap()["even"], AttributeValue::Bool(false));

    let keys = KeysAndAttributes::builder()
        .keys(key("run", "01"))
        .keys(key("run", "99"))
        .keys(key("cap", "hour"))
        .consistent_read(true)
        .build()
        .unwrap();
    let found = client.batch_get_item().request_items("t", keys).send().await.unwrap();
    assert_eq!(found.responses.unwrap()["t"].len(), 2);
    assert!(found.unprocessed_keys.unwrap_or_default().is_empty());

    let query = client
        .query()
        .table_name("t")
        .key_condition_expression("#pk = :pk AND begins_with(sk, :sk)")
        .expression_attribute_names("#pk", "pk")
        .expression_attribute_values(":pk", text("run"))
        .expression_attribute_values(":sk", text("0"))
        .consistent_read(true);
    let all = query.clone().scan_index_forward(false).send().await.unwrap();
    let order: Vec<_> = all.items().iter().map(|item| item["sk"].as_s().unwrap().as_str()).collect();
    assert_eq!(order, ["03", "02", "01"]);
    let pages: Vec<_> =
        query.limit(2).into_paginator().items().send().collect::<Result<_, _>>().await.unwrap();
    assert_eq!(pages.len(), 3);
    let missing = client.get_item().table_name("none").set_key(Some(key("a", "b"))).send().await;
    assert_eq!(code(missing), is("ResourceNotFoundException", 400));
}

#[tokio::test]
async fn a_role_has_credentials_of_its_own_account() {
    let emulator = Emulator::new();
    let sts = aws_sdk_sts::Client::new(&emulator.sdk_config(ACCOUNT, REGION));
    let who = sts.get_caller_identity().send().await.unwrap();
    assert_eq!(who.account(), Some(ACCOUNT));
    assert_eq!(who.arn(), Some(format!("arn:aws:iam::{ACCOUNT}:root").as_str()));

    let gov = aws_sdk_sts::Client::new(&emulator.sdk_config(ACCOUNT, "us-gov-west-1"));
    let who = gov.get_caller_identity().send().await.unwrap();
    assert_eq!(who.arn(), Some(format!("arn:aws-us-gov:iam::{ACCOUNT}:root").as_str()));

    let role = format!("arn:aws:iam::{OTHER}:role/ops/redress");
    let assume = |session: &str| sts.assume_role().role_arn(&role).role_session_name(session);
    let policy = r#"{"Version":"2012-10-17"}"#;
    let given = assume("run-1").policy(policy).send().await.unwrap();
    let arn = format!("arn:aws:sts::{OTHER}:assumed-role/redress/run-1");
    assert_eq!(given.assumed_role_user().unwrap().arn(), arn);
    let given = given.credentials.unwrap();
    assert!(given.expiration.secs() > Timestamp::now().as_second() + 3500);
    assert_eq!(emulator.principal(&given.access_key_id).unwrap().session_policy.as_deref(), Some(policy));

    let (key, secret) = (given.access_key_id, given.secret_access_key);
    let config = as_caller(&emulator, Credentials::new(key, secret, Some(given.session_token), None, "test"));
    let who = aws_sdk_sts::Client::new(&config).get_caller_identity().send().await.unwrap();
    assert_eq!((who.account(), who.arn()), (Some(OTHER), Some(arn.as_str())));
    let place = CreateBucketConfiguration::builder().location_constraint(REGION.into()).build();
    let request = aws_sdk_s3::Client::new(&config).create_bucket().bucket("theirs");
    request.create_bucket_configuration(place).send().await.unwrap();
    s3(&emulator, OTHER, REGION).head_bucket().bucket("theirs").send().await.unwrap();
    let mine = s3(&emulator, ACCOUNT, REGION).get_bucket_policy().bucket("theirs").send().await;
    assert_eq!(code(mine), is("AccessDenied", 403));

    let stranger = as_caller(&emulator, Credentials::new("ASIAUNKNOWN", "secret", None, None, "test"));
    let refused = aws_sdk_sts::Client::new(&stranger).get_caller_identity().send().await;
    assert_eq!(code(refused), is("InvalidClientTokenId", 403));
    let refused = aws_sdk_ec2::Client::new(&stranger).describe_addresses().send().await;
    assert_eq!(code(refused), is("AuthFailure", 403));
    assert_eq!(code(assume("run/1").send().await), is("ValidationError", 400));
    assert_eq!(code(assume("run-1").policy(" ".repeat(2049)).send().await), is("ValidationError", 400));
    let bad = sts.assume_role().role_arn("arn:aws:iam::1:user/a").role_session_name("run-1").send().await;
    assert_eq!(code(bad), is("ValidationError", 400));
}

/// The SDK's own provider gives `DynamoDB` an endpoint that names the account, not the service.
#[tokio::test]
async fn credentials_that_name_their_account_reach_its_tables() {
    let emulator = Emulator::new();
    let client = table(&emulator).await;
    client.put_item().table_name("t").set_item(Some(key("a", "1"))).send().await.unwrap();
    let named = Credentials::builder().access_key_id(ACCOUNT).secret_access_key("secret");
    let named = named.account_id(ACCOUNT).provider_name("test").build();
    let client = aws_sdk_dynamodb::Client::new(&as_caller(&emulator, named));
    let found = client.get_item().table_name("t").set_key(Some(key("a", "1"))).send().await.unwrap();
    assert!(found.item.is_some());
}

fn as_caller(emulator: &Emulator, credentials: Credentials) -> SdkConfig {
    let config = emulator.sdk_config(ACCOUNT, REGION).into_builder();
    config.credentials_provider(SharedCredentialsProvider::new(credentials)).build()
}

#[tokio::test]
async fn a_service_of_ones_own_learns_the_account_and_the_caller() {
    let hub = crate::securityhub::SecurityHub::new();
    let served = hub.clone();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let callers = seen.clone();
    let handler: Handler = Arc::new(move |request| {
        locked(&callers).push(request.extensions().get::<Principal>().cloned());
        served.handle_request(&request).map(Bytes::from)
    });
    let emulator = Emulator::new().with_service("securityhub", handler);
    emulator.add_session(
        "ASIATEST",
        Principal { account: OTHER.to_owned(), arn: "arn".to_owned(), ..Principal::default() },
    );
    let config = as_caller(&emulator, Credentials::new("ASIATEST", "secret", None, None, "test"));
    let client = aws_sdk_securityhub::Client::new(&config);
    assert!(client.get_findings().send().await.unwrap().findings().is_empty());
    assert_eq!(hub.calls()[0].account, OTHER);
    assert_eq!(locked(&seen)[0].as_ref().unwrap().arn, "arn");
    let call = &emulator.calls()[0];
    assert_eq!(
        (call.operation.as_str(), call.account.as_str(), call.status),
        ("GetFindings", OTHER, Some(200))
    );
    assert!(!call.is_write());
}

#[tokio::test]
async fn events_are_kept_and_aws_sources_refused() {
    let emulator = Emulator::new();
    let client = aws_sdk_eventbridge::Client::new(&emulator.sdk_config(ACCOUNT, REGION));
    let entry = |source: &str, detail: &str| {
        PutEventsRequestEntry::builder().source(source).detail_type("Remediation").detail(detail).build()
    };
    let entries = vec![entry("redress", r#"{"a":1}"#), entry("aws.s3", "{}"), entry("redress", "x")];
    let answer = client.put_events().set_entries(Some(entries)).send().await.unwrap();
    assert_eq!(answer.failed_entry_count(), 2);
    assert_eq!(answer.entries()[1].error_code(), Some("NotAuthorizedForSource"));
    assert_eq!(answer.entries()[2].error_code(), Some("MalformedDetail"));
    let events = emulator.events();
    assert_eq!(events.len(), 1);
    assert_eq!((events[0].source.as_str(), &events[0].detail), ("redress", &json!({ "a": 1 })));
    assert_eq!((events[0].bus.as_str(), events[0].account.as_str()), ("default", ACCOUNT));
    assert_eq!(answer.entries()[0].event_id(), Some(events[0].id.as_str()));
    assert_eq!(emulator.calls()[0].operation, "PutEvents");
    let many = vec![entry("redress", "{}"); 11];
    let refused = client.put_events().set_entries(Some(many)).send().await;
    assert_eq!(code(refused), is("ValidationException", 400));
}

#[tokio::test]
async fn faults_come_in_the_form_of_each_service() {
    let emulator = Emulator::new();
    let (s3, name) = bucket(&emulator).await;
    let config = emulator.sdk_config(ACCOUNT, REGION);
    let config = config.into_builder().retry_config(aws_config::retry::RetryConfig::disabled()).build();
    let ec2 = aws_sdk_ec2::Client::new(&config);
    let dynamodb = aws_sdk_dynamodb::Client::new(&config);
    let cognito = aws_sdk_cognitoidentityprovider::Client::new(&config);
    let control = aws_sdk_s3control::Client::new(&config);
    let spoil = |fault: Fault| emulator.on_call(Arc::new(move |_| Some(fault.clone())));
    let cases = [
        (
            Fault::Denied,
            [("AccessDenied", 403), ("UnauthorizedOperation", 403), ("AccessDeniedException", 400)],
        ),
        (Fault::Failed, [("InternalError", 500), ("InternalError", 500), ("InternalErrorException", 500)]),
        (
            Fault::Throttled,
            [("SlowDown", 503), ("RequestLimitExceeded", 503), ("TooManyRequestsException", 400)],
        ),
    ];
    let s3_once = aws_sdk_s3::Client::new(&config);
    for (fault, [of_s3, of_ec2, of_cognito]) in cases {
        spoil(fault.clone());
        assert_eq!(code(s3_once.get_bucket_policy().bucket(name).send().await), is(of_s3.0, of_s3.1));
        assert_eq!(
            code(control.get_public_access_block().account_id(ACCOUNT).send().await),
            is(of_s3.0, of_s3.1)
        );
        assert_eq!(code(ec2.describe_addresses().send().await), is(of_ec2.0, of_ec2.1));
        assert_eq!(code(cognito.list_users().user_pool_id("a").send().await), is(of_cognito.0, of_cognito.1));
    }
    spoil(Fault::Throttled);
    let throttled = dynamodb.list_tables().send().await;
    assert_eq!(code(throttled), is("ProvisionedThroughputExceededException", 400));

    let versioned = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
    let put = async || {
        let request = s3_once.put_bucket_versioning().bucket(name);
        request.versioning_configuration(versioned.clone()).send().await
    };
    let get = async || s3.get_bucket_versioning().bucket(name).send().await.unwrap().status;
    spoil(Fault::NoConnection);
    assert!(is_dispatch_failure(&put().await.unwrap_err()));
    emulator.clear_hook();
    assert_eq!(get().await, None);
    spoil(Fault::AnswerLost);
    assert!(is_dispatch_failure(&put().await.unwrap_err()));
    emulator.clear_hook();
    assert_eq!(get().await, Some(BucketVersioningStatus::Enabled), "the write was done");

    let path_style = aws_sdk_s3::config::Builder::from(&config).force_path_style(true).build();
    let path_style = aws_sdk_s3::Client::from_conf(path_style);
    assert!(path_style.get_bucket_versioning().bucket(name).send().await.unwrap().status.is_some());

    let calls = emulator.calls();
    let puts: Vec<_> = calls.iter().filter(|call| call.operation == "PutBucketVersioning").collect();
    assert_eq!(puts.iter().map(|call| call.status).collect::<Vec<_>>(), [None, Some(200)]);
    assert!(puts[0].is_write() && puts[0].account == ACCOUNT && puts[0].region == REGION);
}

#[tokio::test]
async fn a_furnished_account_has_each_fault_once() {
    let emulator = Emulator::new();
    let made = furnish(&emulator, ACCOUNT, REGION).await.unwrap();
    let s3 = s3(&emulator, ACCOUNT, REGION);
    let versioning = async |name: &str| s3.get_bucket_versioning().bucket(name).send().await.unwrap().status;
    assert_eq!(versioning(&made.unversioned.name).await, None);
    assert_eq!(versioning(&made.without_lifecycle.name).await, Some(BucketVersioningStatus::Enabled));
    let rules = s3.get_bucket_lifecycle_configuration().bucket(&made.unversioned.name).send().await.unwrap();
    assert_eq!(rules.rules()[0].id(), Some("expire-logs"));
    let rules = s3.get_bucket_lifecycle_configuration().bucket(&made.without_lifecycle.name).send().await;
    assert_eq!(code(rules), is("NoSuchLifecycleConfiguration", 404));
    let block = s3.get_public_access_block().bucket(&made.unblocked.name).send().await;
    assert_eq!(code(block), is("NoSuchPublicAccessBlockConfiguration", 404));
    let policy = s3.get_bucket_policy().bucket(&made.plaintext.name).send().await.unwrap();
    assert_eq!(policy.policy, Some(made.policy.clone()));

    let ec2 = aws_sdk_ec2::Client::new(&emulator.sdk_config(ACCOUNT, REGION));
    let found =
        ec2.describe_security_group_rules().filters(filter("group-id", &made.group)).send().await.unwrap();
    let rule = |id: &str| {
        let rules = found.security_group_rules();
        rules.iter().find(|rule| rule.security_group_rule_id() == Some(id)).unwrap()
    };
    assert_eq!(rule(&made.rules.open_ssh).cidr_ipv4(), Some("0.0.0.0/0"));
    assert!(rule(&made.rules.open_ssh).description().is_some());
    assert_eq!(rule(&made.rules.restricted_ssh).cidr_ipv4(), Some("198.51.100.0/24"));
    assert_eq!(rule(&made.rules.all_from_one).ip_protocol(), Some("-1"));
    assert_eq!(rule(&made.rules.open_rdp_v6).cidr_ipv6(), Some("::/0"));
    let address = ec2.describe_addresses().allocation_ids(&made.allocation).send().await.unwrap();
    assert_eq!(address.addresses()[0].association_id(), None);
    assert_eq!(address.addresses()[0].public_ip(), Some(made.address.as_str()));

    let cognito = aws_sdk_cognitoidentityprovider::Client::new(&emulator.sdk_config(ACCOUNT, REGION));
    let filter = format!("sub = \"{}\"", made.sub);
    let users = cognito.list_users().user_pool_id(&made.pool).filter(filter).send().await.unwrap();
    assert_eq!(users.users()[0].username(), Some(made.user.as_str()));
    furnish(&emulator, ACCOUNT, "us-east-1").await.unwrap();
    furnish(&emulator, OTHER, REGION).await.unwrap();
}
