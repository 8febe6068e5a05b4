//! Turns on Block Public Access for a bucket.

use aws_sdk_s3::types::PublicAccessBlockConfiguration;

use super::{
    bucket::Bucket,
    public_access::{self, Flags},
};
use crate::{prelude::*, remediator::Proposal};

pub(crate) struct BlockPublicAccess;

/// A rule's parameters.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Params {
    /// Also fix buckets that serve a static website: it goes dark for everybody who isn't signed in to AWS.
    allow_website: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct PublicAccess {
    /// `None` where the bucket has no configuration at all.
    block: Option<Flags>,
    /// Whether the bucket serves a static website. Read, never altered.
    #[serde(default)]
    website: bool,
}

impl Remediator for BlockPublicAccess {
    const SPEC: Spec = Spec {
        name: "s3.block_public_access",
        version: 1,
        controls: &["S3.2", "S3.3", "S3.8"],
        risk: Risk::Access,
        what: "Turns on all four flags of the bucket's Block Public Access. Policies and ACLs stay as they are, \
               and no longer make anything public.",
        who_notices: "Whoever reads or writes without credentials: by a public policy, by a public ACL, or \
                      through a website endpoint. Other accounts that a public policy names lose access as \
                      well, and uploads that set a public ACL fail. A bucket that serves a static website is \
                      refused unless the rule allows it.",
        way_back: "Turns off the flags that it turned on and that are still on, and deletes the configuration \
                   where there was none. What was public is public again.",
        reads: &[
            Action::new("s3:GetBucketPublicAccessBlock", On::Resource).called(&["GetPublicAccessBlock"]),
            Action::new("s3:GetBucketWebsite", On::Resource),
        ],
        writes: &[
            Action::new("s3:PutBucketPublicAccessBlock", On::Resource).called(&["PutPublicAccessBlock"])
        ],
        // Deleting has no action of its own:
        // https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeletePublicAccessBlock.html
        undo: &[
            Action::new("s3:PutBucketPublicAccessBlock", On::Resource).called(&["DeletePublicAccessBlock"])
        ],
        implied: &[],
    };
    type Resource = Bucket;
    type Params = Params;
    type State = PublicAccess;

    async fn observe(aws: &Aws, at: &Bucket) -> Result<PublicAccess> {
        let block =
            aws.s3().get_public_access_block().bucket(&at.name).expected_bucket_owner(&at.owner).send();
        let website = aws.s3().get_bucket_website().bucket(&at.name).expected_bucket_owner(&at.owner).send();
        let (block, website) = tokio::join!(block, website);
        let block = block.absent_if("NoSuchPublicAccessBlockConfiguration")?;
        Ok(PublicAccess {
            block: block.and_then(|found| found.public_access_block_configuration).map(|found| Flags {
                block_public_acls: found.block_public_acls.unwrap_or(false),
                ignore_public_acls: found.ignore_public_acls.unwrap_or(false),
                block_public_policy: found.block_public_policy.unwrap_or(false),
                restrict_public_buckets: found.restrict_public_buckets.unwrap_or(false),
            }),
            website: website.absent_if("NoSuchWebsiteConfiguration")?.is_some(),
        })
    }

    fn plan(now: &PublicAccess, ask: &Ask<'_, Params>) -> Plan<PublicAccess> {
        let block = now.block.unwrap_or_default();
        // S3.2 and S3.3 pass once public ACLs and policies have no effect:
        // https://docs.aws.amazon.com/config/latest/developerguide/s3-bucket-public-read-prohibited.html
        let compliant = match ask.control {
            "S3.2" | "S3.3" => block.is_effective(),
            _ => block == Flags::ALL,
        };
        if compliant {
            return Plan::Compliant;
        }
        if now.website && !ask.params.allow_website {
            return Plan::Refuse(
                "the bucket serves a static website, which would go dark; the rule can say `allow_website`"
                    .into(),
            );
        }
        let mut notes = Flags::notes(now.block, "the bucket");
        if now.website {
            notes.push(
                "the bucket serves a static website: its endpoint denies everybody from now on".to_owned(),
            );
        }
        let to = PublicAccess { block: Some(Flags::ALL), ..now.clone() };
        Plan::Change(Proposal { to, risk: Risk::Access, notes })
    }

    async fn apply(aws: &Aws, at: &Bucket, change: &Change<PublicAccess>) -> Result<()> {
        let Some(block) = change.to.block else {
            let request = aws.s3().delete_public_access_block().bucket(&at.name);
            let deleted = request.expected_bucket_owner(&at.owner).send().await;
            return deleted.absent_if("NoSuchPublicAccessBlockConfiguration").map(drop);
        };
        let config = PublicAccessBlockConfiguration::builder()
            .block_public_acls(block.block_public_acls)
            .ignore_public_acls(block.ignore_public_acls)
            .block_public_policy(block.block_public_policy)
            .restrict_public_buckets(block.restrict_public_buckets)
            .build();
        let request = aws.s3().put_public_access_block().bucket(&at.name).expected_bucket_owner(&at.owner);
        request.public_access_block_configuration(config).send().await?;
        Ok(())
    }

    fn undo(change: &Change<PublicAccess>, now: &PublicAccess) -> Undo<PublicAccess> {
        public_access::undo(change.from.block, change.to.block, now.block, |block| PublicAccess {
            block,
            ..now.clone()
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::{super::public_access::tests::every, *};
    use crate::remediator::test::ask;

    fn plan(control: &str, allow_website: bool, now: &PublicAccess) -> Plan<PublicAccess> {
        BlockPublicAccess::plan(now, &ask(control, &Params { allow_website }))
    }

    #[test]
    fn all_flags_come_on_wherever_the_control_fails() {
        for control in BlockPublicAccess::SPEC.controls {
            for block in every() {
                let now = PublicAccess { block, website: false };
                let fails = match *control {
                    "S3.8" => block != Some(Flags::ALL),
                    _ => {
                        !block.is_some_and(|block| block.ignore_public_acls && block.restrict_public_buckets)
                    }
                };
                match plan(control, false, &now) {
                    Plan::Compliant => assert!(!fails, "{control} {now:?}"),
                    Plan::Change(change) => {
                        assert!(fails, "{control} {now:?}");
                        assert_eq!(change.to.block, Some(Flags::ALL));
                        assert!(!change.notes.is_empty());
                        assert_eq!(plan(control, false, &change.to), Plan::Compliant);
                    }
                    other => panic!("{control} {now:?}: {other:?}"),
                }
            }
        }
    }

    #[test]
    fn a_website_is_left_alone_unless_the_rule_says_otherwise() {
        let now = PublicAccess { block: None, website: true };
        assert!(matches!(plan("S3.8", false, &now), Plan::Refuse(why) if why.contains("`allow_website`")));
        let Plan::Change(change) = plan("S3.8", true, &now) else { panic!("no change") };
        assert_eq!(change.to, PublicAccess { block: Some(Flags::ALL), website: true });
        assert!(change.notes.iter().any(|note| note.contains("website")), "{:?}", change.notes);
        assert_eq!(plan("S3.8", false, &change.to), Plan::Compliant);
    }

    #[test]
    fn undo_of_an_absent_configuration_deletes_it_and_of_flags_that_were_off_does_not() {
        let state = |block| PublicAccess { block, website: false };
        let undo = |from| {
            let change = Change { from: state(from), to: state(Some(Flags::ALL)) };
            BlockPublicAccess::undo(&change, &PublicAccess { website: true, ..state(Some(Flags::ALL)) })
        };
        for from in [None, Some(Flags::default())] {
            let Undo::To { to, notes } = undo(from) else { panic!("{from:?}") };
            assert_eq!(to, PublicAccess { block: from, website: true }, "the website beside it is not ours");
            assert_eq!(notes.len(), 1);
        }
    }

    #[test]
    fn records_of_its_state_stay_readable() {
        let stored = r#"{"block":{"block_public_acls":true,"ignore_public_acls":true,"block_public_policy":true,"restrict_public_buckets":true},"website":true}"#;
        let state = PublicAccess { block: Some(Flags::ALL), website: true };
        assert_eq!(serde_json::to_string(&state).unwrap(), stored);
        let absent: PublicAccess = serde_json::from_str(r#"{"block":null}"#).unwrap();
        assert_eq!(absent, PublicAccess { block: None, website: false });
    }
}
