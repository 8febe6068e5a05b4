//! Repositories.

pub(super) mod make_tags_immutable;
pub(super) mod scan_on_push;

use aws_sdk_ecr::{
    Client,
    types::{
        ImageScanningConfiguration, ImageTagMutability, ImageTagMutabilityExclusionFilter,
        ImageTagMutabilityExclusionFilterType,
    },
};
use serde_json::{Value, json};

use super::{Error, Place};

fn ecr(at: &Place) -> Client {
    Client::new(&at.config)
}

fn absent(at: &Place) -> String {
    at.arn("ecr", &format!("repository/no-such/{}", at.name))
}

fn name(arn: &str) -> &str {
    arn.split_once('/').map_or(arn, |(_, name)| name)
}

/// Makes the repository of a place: how its images are scanned, and which of its tags may move, all but those of the
/// filter or those alone.
async fn repository(
    at: &Place,
    on_push: bool,
    mutability: ImageTagMutability,
    filter: Option<&str>,
) -> Result<String, Error> {
    let name = format!("team/{}", at.name);
    let mut request = ecr(at)
        .create_repository()
        .repository_name(&name)
        .image_tag_mutability(mutability)
        .image_scanning_configuration(ImageScanningConfiguration::builder().scan_on_push(on_push).build());
    if let Some(filter) = filter {
        let filter = ImageTagMutabilityExclusionFilter::builder()
            .filter_type(ImageTagMutabilityExclusionFilterType::Wildcard)
            .filter(filter)
            .build()?;
        request = request.image_tag_mutability_exclusion_filters(filter);
    }
    request.send().await?;
    Ok(at.arn("ecr", &format!("repository/{name}")))
}

async fn look(at: &Place, arn: &str) -> Result<Value, Error> {
    let found = ecr(at).describe_repositories().repository_names(name(arn)).send().await?;
    let found = found.repositories.unwrap_or_default().into_iter().next();
    let Some(found) = found else { return Ok(Value::Null) };
    let filters: Vec<&str> = found
        .image_tag_mutability_exclusion_filters()
        .iter()
        .map(aws_sdk_ecr::types::ImageTagMutabilityExclusionFilter::filter)
        .collect();
    Ok(json!({
        "tags": found.image_tag_mutability().map(ImageTagMutability::as_str),
        "filters": filters,
        "on_push": found.image_scanning_configuration().map(|config| config.scan_on_push),
    }))
}
