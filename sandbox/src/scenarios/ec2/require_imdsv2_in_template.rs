use aws_sdk_ec2::types::{
    LaunchTemplateBlockDeviceMappingRequest, LaunchTemplateEbsBlockDeviceRequest,
    LaunchTemplateHttpTokensState::{self as Tokens, Optional, Required},
    LaunchTemplateInstanceMetadataOptionsRequest, LaunchTemplateInstanceMetadataTagsState,
    RequestLaunchTemplateData, ResourceType, Tag, TagSpecification,
    builders::RequestLaunchTemplateDataBuilder,
};
use serde_json::{Value, json};

use super::{id, named};
use crate::scenarios::{
    Case, Error,
    Expect::{Compliant, Fixed, FixedOneWay, Refused},
    OnMinistack, Place, Scenarios,
};

pub(in crate::scenarios) const SCENARIOS: Scenarios = Scenarios {
    remediator: "ec2.require_imdsv2_in_template",
    resource_type: "AwsEc2LaunchTemplate",
    absent: Some(|at| at.arn("ec2", "launch-template/lt-0123456789abcdef0")),
    cases: &[
        // The version stays behind, and is not the default any more.
        Case::new(
            "that says nothing of metadata",
            "EC2.170",
            |at| Box::pin(template(at, None)),
            FixedOneWay(
                r#"{"default": 1, "versions": [
                    [2, "ami-0123456789abcdef0 dXNlcg== sg-0123456789abcdef0 20", "required", null, null],
                    [1, "ami-0123456789abcdef0 dXNlcg== sg-0123456789abcdef0 20", null, null, null]]}"#,
            ),
        )
        .params("{set_default: true}"),
        Case::new(
            "that makes tokens optional, and has other options",
            "EC2.170",
            |at| Box::pin(template(at, Some(Optional))),
            FixedOneWay(
                r#"{"default": 1, "versions": [
                    [2, "ami-0123456789abcdef0 dXNlcg== sg-0123456789abcdef0 20", "required", 3, "enabled"],
                    [1, "ami-0123456789abcdef0 dXNlcg== sg-0123456789abcdef0 20", "optional", 3, "enabled"]]}"#,
            ),
        )
        .params("{set_default: true}"),
        Case::new("that has such a version", "EC2.170", |at| Box::pin(twin(at)), Fixed)
            .params("{set_default: true}"),
        Case::new(
            "whose latest version is another",
            "EC2.170",
            |at| Box::pin(ahead(at)),
            FixedOneWay(
                r#"{"default": 1, "versions": [
                    [3, "ami-0123456789abcdef0 dXNlcg== sg-0123456789abcdef0 20", "required", 3, "enabled"],
                    [2, "ami-0fedcba9876543210   ", null, null, null],
                    [1, "ami-0123456789abcdef0 dXNlcg== sg-0123456789abcdef0 20", "optional", 3, "enabled"]]}"#,
            ),
        )
        .params("{set_default: true, replace_latest: true}"),
        Case::new(
            "whose latest version is wanted",
            "EC2.170",
            |at| Box::pin(ahead(at)),
            Refused("`replace_latest`"),
        )
        .params("{set_default: true}"),
        Case::new(
            "whose default version is wanted",
            "EC2.170",
            |at| Box::pin(template(at, None)),
            Refused("`set_default`"),
        ),
        Case::new("with a disk from a snapshot", "EC2.170", |at| Box::pin(restored(at)), Refused("snapshots"))
            .params("{set_default: true}"),
        Case::new("of a node group", "EC2.170", |at| Box::pin(nodes(at)), Refused("EKS made it"))
            .params("{set_default: true}"),
        Case::new("that requires tokens", "EC2.170", |at| Box::pin(template(at, Some(Required))), Compliant),
    ],
    look: |at, id| Box::pin(look(at, id)),
    ministack: OnMinistack::No(
        "it asks for `CreateLaunchTemplateVersion` on no template at all, and AWS on the one",
    ),
};

fn data(tokens: Option<Tokens>) -> RequestLaunchTemplateDataBuilder {
    let options = tokens.map(|tokens| {
        LaunchTemplateInstanceMetadataOptionsRequest::builder()
            .http_tokens(tokens)
            .http_put_response_hop_limit(3)
            .instance_metadata_tags(LaunchTemplateInstanceMetadataTagsState::Enabled)
            .build()
    });
    RequestLaunchTemplateData::builder()
        .image_id("ami-0123456789abcdef0")
        .user_data("dXNlcg==")
        .security_group_ids("sg-0123456789abcdef0")
        .set_metadata_options(options)
}

fn disk(snapshot: Option<&str>) -> LaunchTemplateBlockDeviceMappingRequest {
    let ebs = LaunchTemplateEbsBlockDeviceRequest::builder().volume_size(20);
    let ebs = ebs.set_snapshot_id(snapshot.map(str::to_owned)).build();
    LaunchTemplateBlockDeviceMappingRequest::builder().device_name("/dev/xvda").ebs(ebs).build()
}

async fn create(
    at: &Place,
    data: RequestLaunchTemplateDataBuilder,
    tags: TagSpecification,
) -> Result<String, Error> {
    let create = at.ec2().create_launch_template().launch_template_name(&at.name).tag_specifications(tags);
    let made = create.launch_template_data(data.build()).send().await?;
    let made = made.launch_template().and_then(|made| made.launch_template_id()).unwrap_or_default();
    Ok(at.arn("ec2", &format!("launch-template/{made}")))
}

async fn template(at: &Place, tokens: Option<Tokens>) -> Result<String, Error> {
    let data = data(tokens).block_device_mappings(disk(None));
    create(at, data, named(ResourceType::LaunchTemplate, &at.name)).await
}

async fn add(at: &Place, arn: &str, data: RequestLaunchTemplateDataBuilder) -> Result<(), Error> {
    let create = at.ec2().create_launch_template_version().launch_template_id(id(arn));
    create.launch_template_data(data.build()).send().await?;
    Ok(())
}

async fn twin(at: &Place) -> Result<String, Error> {
    let arn = template(at, Some(Optional)).await?;
    add(at, &arn, data(Some(Required)).block_device_mappings(disk(None))).await?;
    add(at, &arn, RequestLaunchTemplateData::builder().image_id("ami-0fedcba9876543210")).await?;
    Ok(arn)
}

async fn ahead(at: &Place) -> Result<String, Error> {
    let arn = template(at, Some(Optional)).await?;
    add(at, &arn, RequestLaunchTemplateData::builder().image_id("ami-0fedcba9876543210")).await?;
    Ok(arn)
}

async fn restored(at: &Place) -> Result<String, Error> {
    let data = data(None).block_device_mappings(disk(Some("snap-0123456789abcdef0")));
    create(at, data, named(ResourceType::LaunchTemplate, &at.name)).await
}

async fn nodes(at: &Place) -> Result<String, Error> {
    let tag = Tag::builder().key("eks:nodegroup-name").value("workers").build();
    let tags = TagSpecification::builder().resource_type(ResourceType::LaunchTemplate).tags(tag).build();
    create(at, data(None), tags).await
}

async fn look(at: &Place, arn: &str) -> Result<Value, Error> {
    let found = at.ec2().describe_launch_template_versions().launch_template_id(id(arn)).send().await?;
    let default =
        found.launch_template_versions().iter().find(|version| version.default_version() == Some(true));
    let versions: Vec<Value> = found
        .launch_template_versions()
        .iter()
        .map(|version| {
            let data = version.launch_template_data();
            let options = data.and_then(|data| data.metadata_options());
            let rest = data.map(|data| {
                let sizes: Vec<String> = data
                    .block_device_mappings()
                    .iter()
                    .filter_map(|device| Some(device.ebs()?.volume_size()?.to_string()))
                    .collect();
                format!(
                    "{} {} {} {}",
                    data.image_id().unwrap_or_default(),
                    data.user_data().unwrap_or_default(),
                    data.security_group_ids().join(" "),
                    sizes.join(" ")
                )
            });
            json!([
                version.version_number(),
                rest,
                options.and_then(|options| options.http_tokens()).map(Tokens::as_str),
                options.and_then(
                    aws_sdk_ec2::types::LaunchTemplateInstanceMetadataOptions::http_put_response_hop_limit
                ),
                options
                    .and_then(|options| options.instance_metadata_tags())
                    .map(aws_sdk_ec2::types::LaunchTemplateInstanceMetadataTagsState::as_str),
            ])
        })
        .collect();
    Ok(
        json!({ "default": default.and_then(aws_sdk_ec2::types::LaunchTemplateVersion::version_number), "versions": versions }),
    )
}
