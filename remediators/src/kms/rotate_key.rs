//! Turns on the yearly rotation of a KMS key.

use aws_sdk_kms::types::{KeyManagerType, KeyMetadata, KeySpec, KeyState, MultiRegionKeyType, OriginType};

use super::key::Key;
use crate::{prelude::*, remediator::Proposal};

pub(crate) struct RotateKey;

/// What KMS takes where nothing is said, in days.
const YEAR: i32 = 365;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Rotation {
    enabled: bool,
    /// Days from one rotation to the next, where KMS says so.
    #[serde(default)]
    period: Option<i32>,
    /// Why the rotation of this key can't be set. Read, never altered.
    #[serde(default)]
    fixed: Option<Fixed>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Fixed {
    ManagedByAws,
    NotSymmetric,
    ImportedMaterial,
    CustomKeyStore,
    Replica,
    Disabled,
    PendingDeletion,
    NotUsable,
}

impl Fixed {
    /// <https://docs.aws.amazon.com/kms/latest/developerguide/rotate-keys.html>.
    fn of(key: &KeyMetadata) -> Option<Self> {
        let replica = key
            .multi_region_configuration
            .as_ref()
            .is_some_and(|regions| regions.multi_region_key_type == Some(MultiRegionKeyType::Replica));
        if key.key_manager != Some(KeyManagerType::Customer) {
            return Some(Self::ManagedByAws);
        }
        if key.key_spec != Some(KeySpec::SymmetricDefault) {
            return Some(Self::NotSymmetric);
        }
        match key.origin {
            Some(OriginType::AwsKms) => {}
            Some(OriginType::External) => return Some(Self::ImportedMaterial),
            _ => return Some(Self::CustomKeyStore),
        }
        if replica {
            return Some(Self::Replica);
        }
        match key.key_state {
            Some(KeyState::Enabled) => None,
            Some(KeyState::Disabled) => Some(Self::Disabled),
            Some(KeyState::PendingDeletion | KeyState::PendingReplicaDeletion) => Some(Self::PendingDeletion),
            _ => Some(Self::NotUsable),
        }
    }

    /// Whether rotation is on or off all the same: a key keeps it while it is disabled, and replicas share their
    /// primary's.
    fn has_rotation(self) -> bool {
        matches!(self, Self::Replica | Self::Disabled)
    }

    fn why(self) -> &'static str {
        match self {
            Self::ManagedByAws => "AWS manages the key, and rotates it by itself",
            Self::NotSymmetric => {
                "the key is asymmetric or an HMAC key, which KMS does not rotate: replace it by a new one"
            }
            Self::ImportedMaterial => {
                "the key's material was imported, and KMS does not rotate that by itself: import new material"
            }
            Self::CustomKeyStore => "the key is in a custom key store, where KMS does not rotate keys",
            Self::Replica => {
                "the key is a replica: its rotation is that of the primary key, in another Region"
            }
            Self::Disabled => "the key is disabled: its rotation can be set when it is enabled",
            Self::PendingDeletion => "the key is scheduled for deletion",
            Self::NotUsable => "the key is in a state in which its rotation can't be set",
        }
    }
}

impl Remediator for RotateKey {
    const SPEC: Spec = Spec {
        name: "kms.rotate_key",
        version: 1,
        controls: &["KMS.4"],
        risk: Risk::Cost,
        what: "Turns on automatic rotation: KMS gives the key new material every 365 days, or after as many days as \
               were set before. Id, ARN, aliases and policies stay, and what was encrypted before can still be \
               decrypted.",
        who_notices: "The bill: the first and the second rotation each add to the monthly price of the key. Nothing \
                      that uses the key changes.",
        way_back: "Turns rotation off again. Material that a rotation has made meanwhile stays.",
        reads: &[
            Action::new("kms:DescribeKey", On::Resource),
            Action::new("kms:GetKeyRotationStatus", On::Resource),
        ],
        writes: &[Action::new("kms:EnableKeyRotation", On::Resource)],
        undo: &[Action::new("kms:DisableKeyRotation", On::Resource)],
        implied: &[],
    };
    type Resource = Key;
    type Params = NoParams;
    type State = Rotation;

    async fn observe(aws: &Aws, at: &Key) -> Result<Rotation> {
        let found = aws.kms().describe_key().key_id(&at.arn).send().await?;
        let metadata = found
            .key_metadata
            .ok_or_else(|| Error::new(ErrorKind::Invalid, "the answer describes no key"))?;
        if matches!(metadata.key_state, Some(KeyState::Creating | KeyState::Updating)) {
            return Err(Error::new(ErrorKind::Unsettled, "the key is being created or changed"));
        }
        let fixed = Fixed::of(&metadata);
        if fixed.is_some_and(|fixed| !fixed.has_rotation()) {
            return Ok(Rotation { enabled: false, period: None, fixed });
        }
        let status = aws.kms().get_key_rotation_status().key_id(&at.arn).send().await?;
        Ok(Rotation { enabled: status.key_rotation_enabled, period: status.rotation_period_in_days, fixed })
    }

    fn plan(now: &Rotation, _: &Ask<'_, NoParams>) -> Plan<Rotation> {
        if now.enabled {
            return Plan::Compliant;
        }
        if let Some(fixed) = now.fixed {
            return Plan::Refuse(fixed.why().to_owned());
        }
        let period = now.period.unwrap_or(YEAR);
        let notes = vec![format!("the first rotation is {period} days from now")];
        let to = Rotation { enabled: true, period: Some(period), fixed: None };
        Plan::Change(Proposal { to, risk: Risk::Cost, notes })
    }

    async fn apply(aws: &Aws, at: &Key, change: &Change<Rotation>) -> Result<()> {
        if !change.to.enabled {
            aws.kms().disable_key_rotation().key_id(&at.arn).send().await?;
            return Ok(());
        }
        // Without it KMS would take 365 days, whatever was set before.
        let request = aws.kms().enable_key_rotation().key_id(&at.arn);
        request.set_rotation_period_in_days(change.to.period).send().await?;
        Ok(())
    }

    fn undo(change: &Change<Rotation>, now: &Rotation) -> Undo<Rotation> {
        if let (Some(fixed), true) = (now.fixed, change.to.enabled)
            && (now.enabled || !fixed.has_rotation())
        {
            return Undo::Refuse(fixed.why().to_owned());
        }
        if !now.enabled || change.from.enabled {
            return Undo::Nothing;
        }
        if now.period.is_some() && now.period != change.to.period {
            return Undo::Refuse("the time between rotations has been changed since".to_owned());
        }
        Undo::To { to: Rotation { enabled: false, ..now.clone() }, notes: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use aws_sdk_kms::types::{MultiRegionConfiguration, builders::KeyMetadataBuilder};

    use super::*;
    use crate::remediator::test::ask;

    fn state(enabled: bool, period: Option<i32>) -> Rotation {
        Rotation { enabled, period, fixed: None }
    }

    fn plan(now: &Rotation) -> Plan<Rotation> {
        RotateKey::plan(now, &ask("KMS.4", &NoParams {}))
    }

    fn key() -> KeyMetadataBuilder {
        KeyMetadata::builder()
            .key_id("1234abcd-12ab-34cd-56ef-1234567890ab")
            .key_manager(KeyManagerType::Customer)
            .key_spec(KeySpec::SymmetricDefault)
            .origin(OriginType::AwsKms)
            .key_state(KeyState::Enabled)
    }

    #[test]
    fn turns_on_what_is_off_with_the_time_that_was_set() {
        assert_eq!(plan(&state(true, Some(90))), Plan::Compliant);
        for fixed in [Fixed::Disabled, Fixed::Replica] {
            assert_eq!(plan(&Rotation { fixed: Some(fixed), ..state(true, None) }), Plan::Compliant);
        }
        for (period, expected) in [(None, 365), (Some(90), 90)] {
            let planned = plan(&state(false, period));
            assert!(matches!(planned, Plan::Change(change) if change.to == state(true, Some(expected))));
        }
    }

    #[test]
    fn every_key_that_does_not_rotate_is_refused() {
        let replica =
            MultiRegionConfiguration::builder().multi_region_key_type(MultiRegionKeyType::Replica).build();
        let primary =
            MultiRegionConfiguration::builder().multi_region_key_type(MultiRegionKeyType::Primary).build();
        for (built, expected) in [
            (key(), None),
            (key().multi_region_configuration(primary), None),
            (key().multi_region_configuration(replica), Some(Fixed::Replica)),
            (key().key_manager(KeyManagerType::Aws), Some(Fixed::ManagedByAws)),
            (key().key_spec(KeySpec::Rsa2048), Some(Fixed::NotSymmetric)),
            (key().key_spec(KeySpec::Hmac256), Some(Fixed::NotSymmetric)),
            (key().origin(OriginType::External), Some(Fixed::ImportedMaterial)),
            (key().origin(OriginType::AwsCloudhsm), Some(Fixed::CustomKeyStore)),
            (key().origin(OriginType::ExternalKeyStore), Some(Fixed::CustomKeyStore)),
            (key().key_state(KeyState::Disabled), Some(Fixed::Disabled)),
            (key().key_state(KeyState::PendingDeletion), Some(Fixed::PendingDeletion)),
            (key().key_state(KeyState::Unavailable), Some(Fixed::NotUsable)),
            (key().set_key_manager(None), Some(Fixed::ManagedByAws)),
        ] {
            let fixed = Fixed::of(&built.build().unwrap());
            assert_eq!(fixed, expected);
            let refused = matches!(plan(&Rotation { fixed, ..state(false, None) }), Plan::Refuse(_));
            assert_eq!(refused, expected.is_some());
        }
    }

    #[test]
    fn goes_back_unless_somebody_has_changed_it() {
        let change = Change { from: state(false, None), to: state(true, Some(365)) };
        let undo = |now| RotateKey::undo(&change, &now);
        assert!(matches!(undo(state(true, Some(365))), Undo::To { to, .. } if !to.enabled));
        assert_eq!(undo(state(false, Some(365))), Undo::Nothing);
        assert!(matches!(undo(state(true, Some(90))), Undo::Refuse(_)));
        for (fixed, off) in [(Fixed::Disabled, true), (Fixed::Replica, true), (Fixed::PendingDeletion, false)]
        {
            let fixed = Some(fixed);
            assert!(matches!(undo(Rotation { fixed, ..state(true, Some(365)) }), Undo::Refuse(_)));
            let undone = undo(Rotation { fixed, ..state(false, None) });
            assert_eq!(undone == Undo::Nothing, off, "{undone:?}");
        }
    }
}
