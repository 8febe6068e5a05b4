//! Makes the tags of a repository immutable.

use aws_sdk_ecr::types::{
    ImageTagMutability, ImageTagMutabilityExclusionFilter, ImageTagMutabilityExclusionFilterType,
};

use super::repository::Repository;
use crate::{prelude::*, remediator::Proposal};

pub(crate) struct MakeTagsImmutable;

/// What a rule may set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Params {
    /// Also make those tags immutable that an immutable repository leaves out by exclusion filters.
    drop_exclusions: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Mutability {
    /// ECR's word for it.
    mode: String,
    /// The tags to which the contrary applies, in order.
    #[serde(default)]
    exclusions: Vec<Exclusion>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Exclusion {
    kind: String,
    filter: String,
}

impl Remediator for MakeTagsImmutable {
    const SPEC: Spec = Spec {
        name: "ecr.make_tags_immutable",
        version: 1,
        controls: &["ECR.2"],
        risk: Risk::Access,
        what: "Makes every tag of the repository immutable: once an image has it, no other image can get it.",
        who_notices: "Pipelines that push a tag again, such as `latest` or the name of a branch: their push is \
                      refused. What is there already stays as it is, and can be pulled as before. A repository that \
                      is immutable but for tags which somebody has named is refused unless the rule says \
                      `drop_exclusions`.",
        way_back: "Makes tags mutable again as they were, with the exclusion filters that were there. Refused where \
                   somebody has changed the setting since.",
        reads: &[],
        writes: &[Action::new("ecr:PutImageTagMutability", On::Resource)],
        undo: &[],
        implied: &[],
    };
    type Resource = Repository;
    type Params = Params;
    type State = Mutability;

    async fn observe(aws: &Aws, at: &Repository) -> Result<Mutability> {
        let found = at.describe(aws).await?;
        // Repositories older than the setting have none, which is its default:
        // https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_Repository.html
        let mode = found.image_tag_mutability.unwrap_or(ImageTagMutability::Mutable);
        let filters = found.image_tag_mutability_exclusion_filters.unwrap_or_default();
        let mut exclusions: Vec<Exclusion> = filters
            .into_iter()
            .map(|one| Exclusion { kind: one.filter_type.as_str().to_owned(), filter: one.filter })
            .collect();
        exclusions.sort();
        Ok(Mutability { mode: mode.as_str().to_owned(), exclusions })
    }

    fn plan(now: &Mutability, ask: &Ask<'_, Params>) -> Plan<Mutability> {
        let filters = || {
            now.exclusions.iter().map(|one| format!("`{}`", one.filter.escape_debug())).collect::<Vec<_>>()
        };
        // https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-tag-mutability.html
        match ImageTagMutability::from(now.mode.as_str()) {
            ImageTagMutability::Immutable => return Plan::Compliant,
            ImageTagMutability::Mutable | ImageTagMutability::MutableWithExclusion => {}
            ImageTagMutability::ImmutableWithExclusion if ask.params.drop_exclusions => {}
            ImageTagMutability::ImmutableWithExclusion => {
                return Plan::Refuse(format!(
                    "tags are immutable but for {}, which somebody wants to move; the rule can say `drop_exclusions`",
                    filters().join(", ")
                ));
            }
            _ => {
                return Plan::Refuse(format!(
                    "its tags are `{}`, which is not known",
                    now.mode.escape_debug()
                ));
            }
        }
        let mut notes = vec!["a push of a tag that an image has already is refused from now on".to_owned()];
        if !now.exclusions.is_empty() {
            notes.push(format!("the exclusion filters {} go: no tag is left out", filters().join(", ")));
        }
        let mode = ImageTagMutability::Immutable.as_str().to_owned();
        Plan::Change(Proposal { to: Mutability { mode, exclusions: Vec::new() }, risk: Risk::Access, notes })
    }

    async fn apply(aws: &Aws, at: &Repository, change: &Change<Mutability>) -> Result<()> {
        let request =
            aws.ecr().put_image_tag_mutability().registry_id(&at.registry).repository_name(&at.name);
        let mut request = request.image_tag_mutability(change.to.mode.as_str().into());
        for one in &change.to.exclusions {
            let filter = ImageTagMutabilityExclusionFilter::builder()
                .filter_type(ImageTagMutabilityExclusionFilterType::from(one.kind.as_str()))
                .filter(&one.filter)
                .build()
                .map_err(|error| Error::new(ErrorKind::Invalid, error.to_string()))?;
            request = request.image_tag_mutability_exclusion_filters(filter);
        }
        request.send().await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::remediator::test::ask;

    fn state(mode: &str, filters: &[&str]) -> Mutability {
        let exclusion =
            |filter: &&str| Exclusion { kind: "WILDCARD".to_owned(), filter: (*filter).to_owned() };
        Mutability { mode: mode.to_owned(), exclusions: filters.iter().map(exclusion).collect() }
    }

    fn plan(now: &Mutability, drop_exclusions: bool) -> Plan<Mutability> {
        MakeTagsImmutable::plan(now, &ask("ECR.2", &Params { drop_exclusions }))
    }

    #[test]
    fn whatever_is_mutable_is_made_immutable() {
        assert_eq!(plan(&state("IMMUTABLE", &[]), false), Plan::Compliant);
        for now in [state("MUTABLE", &[]), state("MUTABLE_WITH_EXCLUSION", &["v*"])] {
            let Plan::Change(change) = plan(&now, false) else { panic!("{now:?}") };
            assert_eq!(change.to, state("IMMUTABLE", &[]));
            assert_eq!(change.notes.len(), 1 + now.exclusions.len(), "{:?}", change.notes);
        }
    }

    #[test]
    fn tags_that_somebody_left_out_are_left_alone_unless_the_rule_says_otherwise() {
        let now = state("IMMUTABLE_WITH_EXCLUSION", &["latest"]);
        assert!(
            matches!(plan(&now, false), Plan::Refuse(why) if why.contains("`latest`") && why.contains("`drop_"))
        );
        assert!(matches!(plan(&now, true), Plan::Change(change) if change.to == state("IMMUTABLE", &[])));
        assert!(matches!(plan(&state("NEW", &[]), true), Plan::Refuse(why) if why.contains("`NEW`")));
    }

    #[test]
    fn records_of_its_state_stay_readable() {
        let stored = r#"{"mode":"MUTABLE_WITH_EXCLUSION","exclusions":[{"kind":"WILDCARD","filter":"v*"}]}"#;
        let state = state("MUTABLE_WITH_EXCLUSION", &["v*"]);
        assert_eq!(serde_json::to_string(&state).unwrap(), stored);
        assert_eq!(serde_json::from_str::<Mutability>(stored).unwrap(), state);
    }
}
