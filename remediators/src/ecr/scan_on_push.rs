//! Scans the images of a repository when they are pushed.

use aws_sdk_ecr::types::{ImageScanningConfiguration, ScanFrequency, ScanType};

use super::repository::Repository;
use crate::{prelude::*, remediator::Proposal};

pub(crate) struct ScanOnPush;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Scanning {
    /// The repository's own setting.
    on_push: bool,
    /// Whether the registry uses enhanced scanning, which heeds its own rules alone. Read, never altered.
    #[serde(default)]
    enhanced: bool,
    /// How often the registry's rules have the repository scanned; `None` where none matches it. Read, never altered.
    #[serde(default)]
    by_registry: Option<String>,
    /// Whether the registry's rules for basic scanning leave the repository out, and have it scanned by hand alone.
    /// Read, never altered.
    #[serde(default)]
    left_out: bool,
}

impl Remediator for ScanOnPush {
    const SPEC: Spec = Spec {
        name: "ecr.scan_on_push",
        version: 1,
        controls: &["ECR.1"],
        risk: Risk::None,
        what: "Turns on the repository's own setting to scan each image for known vulnerabilities when it is pushed: \
               basic scanning, at no charge. Images that are there already are not scanned by that.",
        who_notices: "Nobody: pushes and pulls go on as before, and findings appear beside the images. Where the \
                      registry uses enhanced scanning, whose rules alone count, or has rules for basic scanning that leave \
                      the repository out, it is refused.",
        way_back: "Turns the setting off again. Findings that were made meanwhile stay.",
        reads: &[
            Action::new("ecr:BatchGetRepositoryScanningConfiguration", On::Resource),
            Action::new("ecr:GetRegistryScanningConfiguration", On::Region),
        ],
        writes: &[Action::new("ecr:PutImageScanningConfiguration", On::Resource)],
        undo: &[],
        implied: &[],
    };
    type Resource = Repository;
    type Params = NoParams;
    type State = Scanning;

    async fn observe(aws: &Aws, at: &Repository) -> Result<Scanning> {
        let request = aws.ecr().batch_get_repository_scanning_configuration().repository_names(&at.name);
        let registry = aws.ecr().get_registry_scanning_configuration().send();
        let (described, scanning, registry) = tokio::join!(at.describe(aws), request.send(), registry);
        let (described, scanning, registry) = (described?, scanning?, registry?);
        let scanning = scanning.scanning_configurations.unwrap_or_default();
        let Some(own) = scanning.iter().find(|one| one.repository_name() == Some(at.name.as_str())) else {
            return Err(Error::new(
                ErrorKind::Rejected,
                format!("ECR does not say how repository `{}` is scanned", at.name),
            ));
        };
        let by_rule = !own.applied_scan_filters().is_empty();
        let registry = registry.scanning_configuration;
        let has_rules = registry.as_ref().is_some_and(|config| !config.rules().is_empty());
        let enhanced = registry.is_some_and(|config| config.scan_type == Some(ScanType::Enhanced));
        let scans =
            matches!(own.scan_frequency(), Some(ScanFrequency::ScanOnPush | ScanFrequency::ContinuousScan));
        let frequency = own.scan_frequency().map(|often| often.as_str().to_owned());
        Ok(Scanning {
            on_push: described.image_scanning_configuration.is_some_and(|own| own.scan_on_push),
            enhanced,
            by_registry: frequency.filter(|_| by_rule),
            left_out: has_rules && !by_rule && !scans,
        })
    }

    /// The control asks for scans on push, or continuous ones:
    /// <https://docs.aws.amazon.com/config/latest/developerguide/ecr-private-image-scanning-enabled.html>.
    fn plan(now: &Scanning, _: &Ask<'_, NoParams>) -> Plan<Scanning> {
        let by_registry = now.by_registry.as_deref().map(ScanFrequency::from);
        if matches!(by_registry, Some(ScanFrequency::ScanOnPush | ScanFrequency::ContinuousScan)) {
            return Plan::Compliant;
        }
        // https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-scanning-enhanced.html
        if now.enhanced {
            return Plan::Refuse(
                "the registry uses enhanced scanning, which heeds the registry's rules alone: add a scanning rule \
                 there that matches the repository"
                    .to_owned(),
            );
        }
        // https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-scanning-filters.html
        if now.left_out {
            return Plan::Refuse(
                "the registry has rules for scanning, and none matches the repository, which is then scanned by hand \
                 alone: add one there that does"
                    .to_owned(),
            );
        }
        if now.on_push {
            return Plan::Compliant;
        }
        Plan::Change(Proposal {
            to: Scanning { on_push: true, ..now.clone() },
            risk: Risk::None,
            notes: vec!["images that are there already are not scanned by it".to_owned()],
        })
    }

    async fn apply(aws: &Aws, at: &Repository, change: &Change<Scanning>) -> Result<()> {
        let config = ImageScanningConfiguration::builder().scan_on_push(change.to.on_push).build();
        let request = aws.ecr().put_image_scanning_configuration().registry_id(&at.registry);
        request.repository_name(&at.name).image_scanning_configuration(config).send().await?;
        Ok(())
    }

    fn undo(change: &Change<Scanning>, now: &Scanning) -> Undo<Scanning> {
        if now.on_push == change.from.on_push {
            Undo::Nothing
        } else if now.on_push == change.to.on_push {
            let to = Scanning { on_push: change.from.on_push, ..now.clone() };
            Undo::To { to, notes: Vec::new() }
        } else {
            Undo::Refuse("the setting has been changed since".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::remediator::test::ask;

    fn state(on_push: bool, enhanced: bool, by_registry: Option<&str>) -> Scanning {
        Scanning { on_push, enhanced, by_registry: by_registry.map(str::to_owned), left_out: false }
    }

    fn plan(now: &Scanning) -> Plan<Scanning> {
        ScanOnPush::plan(now, &ask("ECR.1", &NoParams {}))
    }

    #[test]
    fn the_repository_or_a_rule_of_the_registry_may_say_it() {
        for now in [
            state(true, false, None),
            state(false, false, Some("SCAN_ON_PUSH")),
            state(false, true, Some("CONTINUOUS_SCAN")),
        ] {
            assert_eq!(plan(&now), Plan::Compliant, "{now:?}");
        }
        for now in [state(false, false, None), state(false, false, Some("MANUAL"))] {
            let Plan::Change(change) = plan(&now) else { panic!("{now:?}") };
            assert_eq!(change.to, Scanning { on_push: true, ..now });
            assert_eq!(plan(&change.to), Plan::Compliant);
        }
    }

    #[test]
    fn rules_of_the_registry_that_match_others_keep_it_from_being_scanned() {
        for on_push in [false, true] {
            let now = Scanning { left_out: true, ..state(on_push, false, None) };
            assert!(matches!(plan(&now), Plan::Refuse(why) if why.contains("none matches")), "{now:?}");
        }
    }

    #[test]
    fn enhanced_scanning_heeds_the_registry_alone() {
        for now in [state(false, true, None), state(true, true, None), state(false, true, Some("MANUAL"))] {
            assert!(matches!(plan(&now), Plan::Refuse(why) if why.contains("enhanced")), "{now:?}");
        }
    }

    #[test]
    fn a_rule_of_the_registry_made_since_does_not_hinder_undo() {
        let change = Change { from: state(false, false, None), to: state(true, false, None) };
        let now = state(true, false, Some("SCAN_ON_PUSH"));
        let expected = state(false, false, Some("SCAN_ON_PUSH"));
        assert!(matches!(ScanOnPush::undo(&change, &now), Undo::To { to, .. } if to == expected));
        assert_eq!(ScanOnPush::undo(&change, &expected), Undo::Nothing);
    }
}
