//! Turns on versioning for a bucket.

use aws_sdk_s3::types::{BucketVersioningStatus, ExpirationStatus, MfaDeleteStatus, VersioningConfiguration};

use self::Status::{Enabled, Never, Suspended};
use super::bucket::Bucket;
use crate::{prelude::*, remediator::Proposal};

pub(crate) struct EnableVersioning;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Versioning {
    status: Status,
    /// Only the root user with the device can change the versioning of such a bucket.
    #[serde(default)]
    mfa_delete: bool,
    /// Enabled lifecycle rules that expire current objects and no older version. Read, never altered.
    #[serde(default)]
    expiring: Vec<String>,
    /// Whether it has an enabled lifecycle rule of any kind. Read, never altered.
    #[serde(default)]
    lifecycle: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    /// Not the same as suspended: such a bucket has no version ids at all, and can't be made so again.
    Never,
    Enabled,
    Suspended,
}

impl Remediator for EnableVersioning {
    const SPEC: Spec = Spec {
        name: "s3.enable_versioning",
        version: 1,
        controls: &["S3.14"],
        risk: Risk::Cost,
        what: "Turns on versioning: S3 keeps every object that is overwritten or deleted from now on as an \
               older version.",
        who_notices: "The bill. Older versions cost what any object costs, and a lifecycle rule that \
                      expires objects no longer frees space. For up to 15 minutes after the first enabling, \
                      reads may still miss new objects.",
        way_back: "Suspends versioning: S3 has no way back to \"never\". Versions written meanwhile stay.",
        reads: &[
            Action::new("s3:GetBucketVersioning", On::Resource),
            Action::new("s3:GetLifecycleConfiguration", On::Resource)
                .called(&["GetBucketLifecycleConfiguration"]),
        ],
        writes: &[Action::new("s3:PutBucketVersioning", On::Resource)],
        undo: &[],
        implied: &[],
    };
    // A versioned bucket should have a lifecycle.
    const RAISES: &'static [&'static str] = &["S3.10"];
    type Resource = Bucket;
    type Params = NoParams;
    type State = Versioning;

    async fn observe(aws: &Aws, at: &Bucket) -> Result<Versioning> {
        let versioning =
            aws.s3().get_bucket_versioning().bucket(&at.name).expected_bucket_owner(&at.owner).send();
        let lifecycle = aws
            .s3()
            .get_bucket_lifecycle_configuration()
            .bucket(&at.name)
            .expected_bucket_owner(&at.owner)
            .send();
        let (versioning, lifecycle) = tokio::join!(versioning, lifecycle);
        let found = versioning?;
        let rules = lifecycle.absent_if("NoSuchLifecycleConfiguration")?.and_then(|found| found.rules);
        let rules: Vec<_> =
            rules.into_iter().flatten().filter(|rule| rule.status == ExpirationStatus::Enabled).collect();
        Ok(Versioning {
            status: match found.status {
                None => Never,
                Some(BucketVersioningStatus::Enabled) => Enabled,
                Some(_) => Suspended,
            },
            mfa_delete: found.mfa_delete == Some(MfaDeleteStatus::Enabled),
            lifecycle: !rules.is_empty(),
            expiring: rules
                .into_iter()
                .filter(|rule| rule.noncurrent_version_expiration.is_none())
                .filter(|rule| rule.expiration.as_ref().is_some_and(|e| e.days.is_some() || e.date.is_some()))
                .map(|rule| rule.id.unwrap_or_else(|| "(unnamed)".to_owned()))
                .collect(),
        })
    }

    fn plan(now: &Versioning, _: &Ask<'_, NoParams>) -> Plan<Versioning> {
        if now.status == Enabled {
            return Plan::Compliant;
        }
        if now.mfa_delete {
            return Plan::Refuse("MFA delete guards its versioning: only the root user can change it".into());
        }
        let mut notes: Vec<String> = now
            .expiring
            .iter()
            .map(|id| {
                format!(
                    "lifecycle rule `{}` expires objects: from now on they are kept as older versions, \
                     until a rule expires these too",
                    id.escape_debug()
                )
            })
            .collect();
        if now.status == Never {
            notes.push("undo can suspend versioning; S3 has no way back to \"never\"".to_owned());
        }
        Plan::Change(Proposal { to: Versioning { status: Enabled, ..now.clone() }, risk: Risk::Cost, notes })
    }

    async fn apply(aws: &Aws, at: &Bucket, change: &Change<Versioning>) -> Result<()> {
        let status = match change.to.status {
            Enabled => BucketVersioningStatus::Enabled,
            Never | Suspended => BucketVersioningStatus::Suspended,
        };
        let config = VersioningConfiguration::builder().status(status).build();
        let request = aws.s3().put_bucket_versioning().bucket(&at.name).expected_bucket_owner(&at.owner);
        request.versioning_configuration(config).send().await?;
        Ok(())
    }

    fn raises(to: &Versioning) -> &'static [&'static str] {
        if to.lifecycle { &[] } else { Self::RAISES }
    }

    fn undo(change: &Change<Versioning>, now: &Versioning) -> Undo<Versioning> {
        match now.status {
            Never | Suspended => Undo::Nothing,
            Enabled if change.to.status != Enabled => {
                Undo::Refuse("versioning has been turned on since".to_owned())
            }
            Enabled => Undo::To {
                to: Versioning { status: Suspended, ..now.clone() },
                notes: vec!["versions written meanwhile stay, and cost what they cost".to_owned()],
            },
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic, reason = "a test fails by panicking")]
    use super::*;
    use crate::remediator::test::ask;

    fn state(status: Status) -> Versioning {
        Versioning { status, mfa_delete: false, expiring: Vec::new(), lifecycle: false }
    }

    #[test]
    fn enables_whatever_is_not() {
        let plan = |now: &Versioning| EnableVersioning::plan(now, &ask("S3.14", &NoParams {}));
        assert_eq!(plan(&state(Enabled)), Plan::Compliant);
        for status in [Never, Suspended] {
            let Plan::Change(change) = plan(&state(status)) else { panic!("{status:?}") };
            assert_eq!(change.to, state(Enabled));
        }
        let guarded = Versioning { mfa_delete: true, ..state(Suspended) };
        assert!(matches!(plan(&guarded), Plan::Refuse(why) if why.contains("MFA")));
        assert_eq!(plan(&Versioning { mfa_delete: true, ..state(Enabled) }), Plan::Compliant);
    }

    #[test]
    fn says_what_an_expiration_rule_will_mean() {
        let now = Versioning { expiring: vec!["tmp".to_owned()], ..state(Suspended) };
        let Plan::Change(change) = EnableVersioning::plan(&now, &ask("S3.14", &NoParams {})) else {
            panic!("no change")
        };
        assert!(change.notes[0].contains("`tmp`"), "{:?}", change.notes);
    }

    #[test]
    fn goes_back_to_suspended_and_never_to_never() {
        let change = Change { from: state(Never), to: state(Enabled) };
        let undo = |status| EnableVersioning::undo(&change, &state(status));
        assert!(matches!(undo(Enabled), Undo::To { to, .. } if to == state(Suspended)));
        assert_eq!(undo(Suspended), Undo::Nothing);
        assert_eq!(undo(Never), Undo::Nothing);
    }
}
