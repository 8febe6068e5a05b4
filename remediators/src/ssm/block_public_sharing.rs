//! Blocks the public sharing of an account's documents in a Region.

use crate::{account::RegionOfAccount, prelude::*, remediator::Proposal};

/// The setting: <https://docs.aws.amazon.com/systems-manager/latest/userguide/documents-ssm-sharing.html#block-public-access>.
const SETTING: &str = "/ssm/documents/console/public-sharing-permission";
const ARN: &str =
    "arn:{partition}:ssm:{region}:{account}:servicesetting/ssm/documents/console/public-sharing-permission";
const BLOCKED: &str = "Disable";
const ALLOWED: &str = "Enable";

pub(crate) struct BlockPublicSharing;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sharing {
    /// What the setting says.
    value: String,
    /// Whether somebody has set it; otherwise it is AWS's default.
    customized: bool,
}

impl Remediator for BlockPublicSharing {
    const SPEC: Spec = Spec {
        name: "ssm.block_public_sharing",
        version: 1,
        controls: &["SSM.7"],
        risk: Risk::Access,
        what: "Blocks the public sharing of Systems Manager documents, for the whole account in that Region.",
        who_notices: "Whoever wants to share a document with everybody: AWS refuses it from then on. Sharing with \
                      accounts that are named goes on. Whether documents are public already is for SSM.4.",
        way_back: "Puts the setting back to what it was: to AWS's default where nobody had set it.",
        reads: &[Action::new("ssm:GetServiceSetting", On::Arn(ARN))],
        writes: &[Action::new("ssm:UpdateServiceSetting", On::Arn(ARN))],
        undo: &[Action::new("ssm:ResetServiceSetting", On::Arn(ARN))],
        implied: &[],
    };
    type Resource = RegionOfAccount;
    type Params = NoParams;
    type State = Sharing;

    async fn observe(aws: &Aws, _: &RegionOfAccount) -> Result<Sharing> {
        let found = aws.ssm().get_service_setting().setting_id(SETTING).send().await?;
        let found = found.service_setting.and_then(|found| Some((found.setting_value?, found.status?)));
        let Some((value, status)) = found else {
            return Err(Error::new(ErrorKind::Rejected, format!("AWS does not say what `{SETTING}` is")));
        };
        Ok(Sharing { value, customized: status != "Default" })
    }

    fn plan(now: &Sharing, _: &Ask<'_, NoParams>) -> Plan<Sharing> {
        match now.value.as_str() {
            BLOCKED => Plan::Compliant,
            ALLOWED => Plan::Change(Proposal {
                to: Sharing { value: BLOCKED.to_owned(), customized: true },
                risk: Risk::Access,
                notes: vec!["it holds for all documents of the account in this Region".to_owned()],
            }),
            other => Plan::Refuse(format!("the setting is `{}`, which is not known", other.escape_debug())),
        }
    }

    async fn apply(aws: &Aws, _: &RegionOfAccount, change: &Change<Sharing>) -> Result<()> {
        if change.to.customized {
            let request = aws.ssm().update_service_setting().setting_id(SETTING);
            request.setting_value(&change.to.value).send().await?;
        } else {
            aws.ssm().reset_service_setting().setting_id(SETTING).send().await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::remediator::test::ask;

    fn state(value: &str, customized: bool) -> Sharing {
        Sharing { value: value.to_owned(), customized }
    }

    #[test]
    fn blocks_what_is_allowed() {
        let plan = |now: &Sharing| BlockPublicSharing::plan(now, &ask("SSM.7", &NoParams {}));
        for customized in [false, true] {
            assert_eq!(plan(&state("Disable", customized)), Plan::Compliant);
            let now = state("Enable", customized);
            let Plan::Change(change) = plan(&now) else { panic!() };
            assert_eq!(change.to, state("Disable", true));
            let change = Change { from: now.clone(), to: change.to };
            assert!(
                matches!(BlockPublicSharing::undo(&change, &change.to), Undo::To { to, .. } if to == now)
            );
            assert!(
                matches!(plan(&state("Other", customized)), Plan::Refuse(why) if why.contains("`Other`"))
            );
        }
    }

    #[test]
    fn records_of_its_state_stay_readable() {
        let stored = r#"{"value":"Enable","customized":false}"#;
        assert_eq!(serde_json::to_string(&state("Enable", false)).unwrap(), stored);
        assert_eq!(serde_json::from_str::<Sharing>(stored).unwrap(), state("Enable", false));
    }
}
