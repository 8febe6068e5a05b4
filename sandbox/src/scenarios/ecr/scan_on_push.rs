use aws_sdk_ecr::types::{
    ImageTagMutability::{Immutable, Mutable},
    RegistryScanningRule, ScanFrequency, ScanType, ScanningRepositoryFilter, ScanningRepositoryFilterType,
};

use super::{absent, ecr, look, repository};
use crate::scenarios::{
    Case, Error,
    Expect::{Compliant, Fixed, Refused},
    OnMinistack, Place, Scenarios,
};

pub(in crate::scenarios) const SCENARIOS: Scenarios = Scenarios {
    remediator: "ecr.scan_on_push",
    resource_type: "AwsEcrRepository",
    absent: Some(absent),
    cases: &[
        Case::new("that is not scanned", "ECR.1", |at| Box::pin(repository(at, false, Mutable, None)), Fixed),
        Case::new(
            "that is scanned",
            "ECR.1",
            |at| Box::pin(repository(at, true, Immutable, None)),
            Compliant,
        ),
        Case::new(
            "that the registry has scanned",
            "ECR.1",
            |at| Box::pin(registry(at, ScanType::Basic, "*")),
            Compliant,
        ),
        Case::new(
            "that the registry leaves out",
            "ECR.1",
            |at| Box::pin(registry(at, ScanType::Basic, "other")),
            Refused("none matches the repository"),
        ),
        Case::new(
            "that enhanced scanning leaves out",
            "ECR.1",
            |at| Box::pin(registry(at, ScanType::Enhanced, "other")),
            Refused("enhanced scanning"),
        ),
    ],
    look: |at, arn| Box::pin(look(at, arn)),
    ministack: OnMinistack::No("it does not say how a registry is scanned"),
};

/// A repository that is not scanned by its own setting, in a registry of one scanning rule.
async fn registry(at: &Place, kind: ScanType, filter: &str) -> Result<String, Error> {
    let arn = repository(at, false, Mutable, None).await?;
    let filter = ScanningRepositoryFilter::builder()
        .filter(filter)
        .filter_type(ScanningRepositoryFilterType::Wildcard)
        .build()?;
    let rule = RegistryScanningRule::builder()
        .scan_frequency(ScanFrequency::ScanOnPush)
        .repository_filters(filter)
        .build()?;
    ecr(at).put_registry_scanning_configuration().scan_type(kind).rules(rule).send().await?;
    Ok(arn)
}
