//! Turns on Block Public Access for an account.

use aws_sdk_s3control::types::PublicAccessBlockConfiguration;

use super::public_access::{self, Flags};
use crate::{account::AwsAccount, prelude::*, remediator::Proposal};

pub(crate) struct BlockAccountPublicAccess;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct PublicAccess {
    /// `None` where the account has no configuration at all.
    block: Option<Flags>,
}

impl Remediator for BlockAccountPublicAccess {
    const SPEC: Spec = Spec {
        name: "s3.block_account_public_access",
        version: 1,
        controls: &["S3.1"],
        risk: Risk::Access,
        what: "Turns on all four flags of the account's Block Public Access. It holds for every bucket and access \
               point of the account, in all Regions, those to come included, and whatever their own flags say.",
        who_notices: "Whoever reads or writes in any bucket of the account without credentials: by a public \
                      policy, by a public ACL, or through a website endpoint. Other accounts that a public policy \
                      names lose access as well, and uploads that set a public ACL fail. Which buckets are public \
                      is not looked at.",
        way_back: "Turns off the flags that it turned on and that are still on, and deletes the configuration \
                   where there was none. What was public is public again.",
        reads: &[Action::new("s3:GetAccountPublicAccessBlock", On::Anything)
            .called(&["s3control:GetPublicAccessBlock"])],
        writes: &[Action::new("s3:PutAccountPublicAccessBlock", On::Anything)
            .called(&["s3control:PutPublicAccessBlock"])],
        // Deleting has no action of its own: see the permissions on
        // https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-control-block-public-access.html
        undo: &[Action::new("s3:PutAccountPublicAccessBlock", On::Anything)
            .called(&["s3control:DeletePublicAccessBlock"])],
        implied: &[],
    };
    type Resource = AwsAccount;
    type Params = NoParams;
    type State = PublicAccess;

    async fn observe(aws: &Aws, at: &AwsAccount) -> Result<PublicAccess> {
        let found = aws.s3control().get_public_access_block().account_id(&at.id).send().await;
        let found = found.absent_if("NoSuchPublicAccessBlockConfiguration")?;
        Ok(PublicAccess {
            block: found.and_then(|found| found.public_access_block_configuration).map(|found| Flags {
                block_public_acls: found.block_public_acls.unwrap_or(false),
                ignore_public_acls: found.ignore_public_acls.unwrap_or(false),
                block_public_policy: found.block_public_policy.unwrap_or(false),
                restrict_public_buckets: found.restrict_public_buckets.unwrap_or(false),
            }),
        })
    }

    fn plan(now: &PublicAccess, _: &Ask<'_, NoParams>) -> Plan<PublicAccess> {
        if now.block == Some(Flags::ALL) {
            return Plan::Compliant;
        }
        let mut notes = vec!["it reaches every bucket of the account, in all Regions".to_owned()];
        notes.extend(Flags::notes(now.block, "any bucket of the account"));
        let to = PublicAccess { block: Some(Flags::ALL) };
        Plan::Change(Proposal { to, risk: Risk::Access, notes })
    }

    async fn apply(aws: &Aws, at: &AwsAccount, change: &Change<PublicAccess>) -> Result<()> {
        let Some(block) = change.to.block else {
            let deleted = aws.s3control().delete_public_access_block().account_id(&at.id).send().await;
            return deleted.absent_if("NoSuchPublicAccessBlockConfiguration").map(drop);
        };
        let config = PublicAccessBlockConfiguration::builder()
            .block_public_acls(block.block_public_acls)
            .ignore_public_acls(block.ignore_public_acls)
            .block_public_policy(block.block_public_policy)
            .restrict_public_buckets(block.restrict_public_buckets)
            .build();
        let request = aws.s3control().put_public_access_block().account_id(&at.id);
        request.public_access_block_configuration(config).send().await?;
        Ok(())
    }

    fn undo(change: &Change<PublicAccess>, now: &PublicAccess) -> Undo<PublicAccess> {
        public_access::undo(change.from.block, change.to.block, now.block, |block| PublicAccess { block })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::{super::public_access::tests::every, *};
    use crate::remediator::test::ask;

    #[test]
    fn compliant_only_with_all_four() {
        for block in every() {
            match BlockAccountPublicAccess::plan(&PublicAccess { block }, &ask("S3.1", &NoParams {})) {
                Plan::Compliant => assert_eq!(block, Some(Flags::ALL)),
                Plan::Change(change) => {
                    assert_ne!(block, Some(Flags::ALL));
                    assert_eq!(change.to.block, Some(Flags::ALL));
                    assert!(change.notes[0].contains("every bucket"), "{:?}", change.notes);
                }
                other => panic!("{block:?}: {other:?}"),
            }
        }
    }

    #[test]
    fn undo_of_an_absent_configuration_deletes_it() {
        let all = PublicAccess { block: Some(Flags::ALL) };
        let change = Change { from: PublicAccess { block: None }, to: all.clone() };
        let undone = BlockAccountPublicAccess::undo(&change, &all);
        assert!(matches!(undone, Undo::To { to, .. } if to == change.from));
        assert_eq!(BlockAccountPublicAccess::undo(&change, &change.from), Undo::Nothing);
    }

    #[test]
    fn records_of_its_state_stay_readable() {
        let stored = r#"{"block":{"block_public_acls":false,"ignore_public_acls":false,"block_public_policy":false,"restrict_public_buckets":false}}"#;
        let state = PublicAccess { block: Some(Flags::default()) };
        assert_eq!(serde_json::to_string(&state).unwrap(), stored);
        assert_eq!(serde_json::from_str::<PublicAccess>(stored).unwrap(), state);
        assert_eq!(serde_json::to_string(&PublicAccess { block: None }).unwrap(), r#"{"block":null}"#);
    }
}
