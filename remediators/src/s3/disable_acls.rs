//! Disables a bucket's access control lists.

use aws_sdk_s3::types::{Grant, ObjectOwnership, OwnershipControls, OwnershipControlsRule};

use super::bucket::Bucket;
use crate::{prelude::*, remediator::Proposal};

/// The setting that makes ACLs count for nothing:
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/about-object-ownership.html>.
const ENFORCED: &str = "BucketOwnerEnforced";

pub(crate) struct DisableAcls;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ownership {
    /// Who owns new objects; `None` where the bucket says nothing, and writers do.
    setting: Option<String>,
    /// What the bucket's ACL grants to others than its owner. Read, never altered.
    #[serde(default)]
    grants: Vec<String>,
}

/// A grant to somebody else, in words.
fn foreign(grant: &Grant, owner: Option<&str>) -> Option<String> {
    let grantee = grant.grantee();
    let id = grantee.and_then(|grantee| grantee.id());
    if id.is_some() && id == owner {
        return None;
    }
    let who = grantee.and_then(|grantee| grantee.uri()).or(id).unwrap_or("somebody unnamed");
    let what = grant.permission().map_or("an unknown permission", |permission| permission.as_str());
    Some(format!("{what} to {who}"))
}

impl Remediator for DisableAcls {
    const SPEC: Spec = Spec {
        name: "s3.disable_acls",
        version: 1,
        controls: &["S3.12"],
        risk: Risk::Access,
        what: "Sets the bucket's object ownership to `BucketOwnerEnforced`: the ACLs of bucket and objects no \
               longer count, and the bucket's account owns every object in it. A bucket whose own ACL grants \
               anything to others is refused, naming the grants: they belong into its policy first.",
        who_notices: "Whoever reads an object by that object's ACL, and accounts that own objects here: they lose \
                      access unless a policy grants it. Uploads that set another ACL than \
                      `bucket-owner-full-control` fail with 400, and so do changes of ACLs.",
        way_back: "Puts back the former setting, or removes it where there was none. The ACLs and owners that \
                   objects had count again; objects written meanwhile stay the bucket owner's.",
        reads: &[
            Action::new("s3:GetBucketOwnershipControls", On::Resource),
            Action::new("s3:GetBucketAcl", On::Resource),
        ],
        writes: &[Action::new("s3:PutBucketOwnershipControls", On::Resource)],
        // Deleting has no action of its own:
        // https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteBucketOwnershipControls.html
        undo: &[Action::new("s3:PutBucketOwnershipControls", On::Resource)
            .called(&["DeleteBucketOwnershipControls"])],
        implied: &[],
    };
    type Resource = Bucket;
    type Params = NoParams;
    type State = Ownership;

    async fn observe(aws: &Aws, at: &Bucket) -> Result<Ownership> {
        let controls =
            aws.s3().get_bucket_ownership_controls().bucket(&at.name).expected_bucket_owner(&at.owner).send();
        let acl = aws.s3().get_bucket_acl().bucket(&at.name).expected_bucket_owner(&at.owner).send();
        let (controls, acl) = tokio::join!(controls, acl);
        let controls = controls.absent_if("OwnershipControlsNotFoundError")?;
        let acl = acl?;
        let owner = acl.owner().and_then(|owner| owner.id());
        let mut grants: Vec<String> = acl.grants().iter().filter_map(|grant| foreign(grant, owner)).collect();
        grants.sort_unstable();
        Ok(Ownership {
            setting: controls
                .and_then(|found| found.ownership_controls)
                .and_then(|controls| controls.rules.into_iter().next())
                .map(|rule| rule.object_ownership.as_str().to_owned()),
            grants,
        })
    }

    fn plan(now: &Ownership, _: &Ask<'_, NoParams>) -> Plan<Ownership> {
        if now.setting.as_deref() == Some(ENFORCED) {
            return Plan::Compliant;
        }
        // S3 would refuse it too, without naming them:
        // https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-ownership-error-responses.html
        if !now.grants.is_empty() {
            return Plan::Refuse(format!(
                "the bucket's ACL grants {}: move that to the bucket policy, and set the ACL to private",
                excerpt(&now.grants.join(", "))
            ));
        }
        Plan::Change(Proposal {
            to: Ownership { setting: Some(ENFORCED.to_owned()), ..now.clone() },
            risk: Risk::Access,
            notes: vec![
                "objects' own ACLs no longer let anybody in".to_owned(),
                "uploads that set another ACL than `bucket-owner-full-control` fail".to_owned(),
            ],
        })
    }

    async fn apply(aws: &Aws, at: &Bucket, change: &Change<Ownership>) -> Result<()> {
        let Some(setting) = &change.to.setting else {
            let request = aws.s3().delete_bucket_ownership_controls().bucket(&at.name);
            let deleted = request.expected_bucket_owner(&at.owner).send().await;
            return deleted.absent_if("OwnershipControlsNotFoundError").map(drop);
        };
        let invalid =
            |error: aws_sdk_s3::error::BuildError| Error::new(ErrorKind::Invalid, error.to_string());
        let rule = OwnershipControlsRule::builder().object_ownership(ObjectOwnership::from(setting.as_str()));
        let controls = OwnershipControls::builder().rules(rule.build().map_err(invalid)?);
        let request =
            aws.s3().put_bucket_ownership_controls().bucket(&at.name).expected_bucket_owner(&at.owner);
        request.ownership_controls(controls.build().map_err(invalid)?).send().await?;
        Ok(())
    }

    fn undo(change: &Change<Ownership>, now: &Ownership) -> Undo<Ownership> {
        if now.setting == change.from.setting {
            return Undo::Nothing;
        }
        if now.setting != change.to.setting {
            return Undo::Refuse("somebody has changed the object ownership since".to_owned());
        }
        Undo::To {
            to: Ownership { setting: change.from.setting.clone(), ..now.clone() },
            notes: vec![
                "objects' ACLs count again; objects written meanwhile stay the bucket owner's".to_owned(),
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic, reason = "a test fails by panicking")]
    use aws_sdk_s3::types::{Grantee, Permission, Type};

    use super::*;
    use crate::remediator::test::ask;

    fn state(setting: Option<&str>, grants: &[&str]) -> Ownership {
        Ownership {
            setting: setting.map(str::to_owned),
            grants: grants.iter().map(|grant| (*grant).to_owned()).collect(),
        }
    }

    fn plan(now: &Ownership) -> Plan<Ownership> {
        DisableAcls::plan(now, &ask("S3.12", &NoParams {}))
    }

    #[test]
    fn whatever_is_not_enforced_becomes_so() {
        assert_eq!(plan(&state(Some(ENFORCED), &[])), Plan::Compliant);
        for setting in [None, Some("ObjectWriter"), Some("BucketOwnerPreferred")] {
            let from = state(setting, &[]);
            let Plan::Change(change) = plan(&from) else { panic!("{setting:?}") };
            assert_eq!(change.to, state(Some(ENFORCED), &[]));
            let change = Change { from: from.clone(), to: change.to };
            let Undo::To { to, .. } = DisableAcls::undo(&change, &change.to) else { panic!("{setting:?}") };
            assert_eq!(to, from);
            assert_eq!(DisableAcls::undo(&change, &from), Undo::Nothing);
            let other = if setting.is_none() { Some("ObjectWriter") } else { None };
            assert!(matches!(DisableAcls::undo(&change, &state(other, &[])), Undo::Refuse(_)));
        }
    }

    #[test]
    fn grants_to_others_are_named() {
        let now = state(None, &["READ to http://acs.amazonaws.com/groups/global/AllUsers"]);
        assert!(matches!(plan(&now), Plan::Refuse(why) if why.contains("READ to http://acs")));

        let grant = |kind, id: Option<&str>, uri: Option<&str>| {
            let grantee =
                Grantee::builder().r#type(kind).set_id(id.map(Into::into)).set_uri(uri.map(Into::into));
            Grant::builder().permission(Permission::Read).set_grantee(grantee.build().ok()).build()
        };
        let user = Type::CanonicalUser;
        assert_eq!(foreign(&grant(user.clone(), Some("me"), None), Some("me")), None);
        assert_eq!(
            foreign(&grant(user.clone(), Some("you"), None), Some("me")).as_deref(),
            Some("READ to you")
        );
        assert_eq!(foreign(&grant(Type::Group, None, Some("all")), None).as_deref(), Some("READ to all"));
        assert!(foreign(&grant(user, None, None), None).is_some(), "an owner without an id is nobody");
    }
}
