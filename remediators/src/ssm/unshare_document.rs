//! Takes back a document that is shared with everybody.

use aws_sdk_ssm::types::DocumentPermissionType;

use super::document::Document;
use crate::{prelude::*, remediator::Proposal};

/// Everybody, as Systems Manager has it in whatever case:
/// <https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_ModifyDocumentPermission.html>.
const EVERYBODY: &str = "All";

pub(crate) struct UnshareDocument;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sharing {
    /// Whether it is shared with everybody.
    public: bool,
    /// The version that everybody sees, as Systems Manager names it.
    #[serde(default)]
    version: Option<String>,
}

impl Remediator for UnshareDocument {
    const SPEC: Spec = Spec {
        name: "ssm.unshare_document",
        version: 1,
        controls: &["SSM.4"],
        risk: Risk::Access,
        what: "Takes `All` out of those with whom the document is shared. Accounts that are named stay.",
        who_notices: "Whoever runs the document from an account that is not named: by its ARN, in an automation, a \
                      command or an association, which fail from then on.",
        way_back: "Shares the same version with everybody again. AWS refuses that where the account blocks public \
                   sharing by then (SSM.7).",
        reads: &[Action::new("ssm:DescribeDocumentPermission", On::Resource)],
        writes: &[Action::new("ssm:ModifyDocumentPermission", On::Resource)],
        undo: &[],
        implied: &[],
    };
    type Resource = Document;
    type Params = NoParams;
    type State = Sharing;

    async fn observe(aws: &Aws, at: &Document) -> Result<Sharing> {
        let everybody = |account: &str| account.eq_ignore_ascii_case(EVERYBODY);
        let mut state = Sharing { public: false, version: None };
        let mut page = None;
        loop {
            let request = aws.ssm().describe_document_permission().name(&at.name);
            let request = request.permission_type(DocumentPermissionType::Share).set_next_token(page);
            let found = request.send().await?;
            state.public |= found.account_ids().iter().any(|account| everybody(account));
            let shared = found.account_sharing_info_list();
            if let Some(shared) = shared.iter().find(|one| one.account_id().is_some_and(everybody)) {
                state.version = shared.shared_document_version().map(str::to_owned);
            }
            page = found.next_token.filter(|token| !token.is_empty());
            if page.is_none() {
                return Ok(state);
            }
        }
    }

    fn plan(now: &Sharing, _: &Ask<'_, NoParams>) -> Plan<Sharing> {
        if !now.public {
            return Plan::Compliant;
        }
        Plan::Change(Proposal {
            to: Sharing { public: false, version: None },
            risk: Risk::Access,
            notes: vec![
                "accounts that are not named can't run it any more; which do is not known".to_owned(),
            ],
        })
    }

    async fn apply(aws: &Aws, at: &Document, change: &Change<Sharing>) -> Result<()> {
        let request = aws.ssm().modify_document_permission().name(&at.name);
        let request = request.permission_type(DocumentPermissionType::Share);
        let request = if change.to.public {
            request.account_ids_to_add(EVERYBODY).set_shared_document_version(change.to.version.clone())
        } else {
            request.account_ids_to_remove(EVERYBODY)
        };
        request.send().await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::remediator::test::ask;

    fn state(public: bool, version: Option<&str>) -> Sharing {
        Sharing { public, version: version.map(str::to_owned) }
    }

    #[test]
    fn what_is_shared_with_everybody_is_taken_back() {
        let plan = |now: &Sharing| UnshareDocument::plan(now, &ask("SSM.4", &NoParams {}));
        assert_eq!(plan(&state(false, None)), Plan::Compliant);
        let now = state(true, Some("$DEFAULT"));
        let Plan::Change(change) = plan(&now) else { panic!() };
        assert_eq!(change.to, state(false, None));
        let change = Change { from: now.clone(), to: change.to };
        assert!(matches!(UnshareDocument::undo(&change, &change.to), Undo::To { to, .. } if to == now));
        assert_eq!(UnshareDocument::undo(&change, &now), Undo::Nothing);
        // Shared again by somebody, another version of it.
        assert!(matches!(UnshareDocument::undo(&change, &state(true, Some("$LATEST"))), Undo::Refuse(_)));
    }

    #[test]
    fn records_of_its_state_stay_readable() {
        let stored = r#"{"public":true,"version":"$DEFAULT"}"#;
        assert_eq!(serde_json::to_string(&state(true, Some("$DEFAULT"))).unwrap(), stored);
        assert_eq!(serde_json::from_str::<Sharing>(r#"{"public":true}"#).unwrap(), state(true, None));
    }
}
