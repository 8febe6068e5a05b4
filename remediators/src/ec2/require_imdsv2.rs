//! Requires session tokens of whoever asks an instance's metadata service.

use aws_sdk_ec2::types::{
    HttpTokensState, InstanceMetadataEndpointState, InstanceMetadataOptionsState, InstanceStateName,
};

use super::instance::{Instance, state_of};
use crate::{prelude::*, remediator::Proposal};

pub(crate) struct RequireImdsv2;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Metadata {
    /// Whether a session token is required: then it is version 2 alone that answers.
    tokens_required: bool,
    /// Whether the running instance does not do yet what its options say.
    #[serde(default)]
    pending: bool,
    /// Whether the metadata service is turned off altogether. Read, never altered.
    #[serde(default)]
    disabled: bool,
    /// How many hops an answer with a token may go. Read, never altered.
    #[serde(default)]
    hop_limit: Option<i32>,
}

impl Remediator for RequireImdsv2 {
    const SPEC: Spec = Spec {
        name: "ec2.require_imdsv2",
        version: 1,
        controls: &["EC2.8"],
        risk: Risk::Access,
        what: "Requires version 2 of the instance metadata service (`HttpTokens: required`). Endpoint, hop limit \
               and all other options stay as they are. The instance goes on running.",
        who_notices: "Software on the instance that asks for metadata without a session token, such as SDKs and \
                      agents from before 2020 and plain `curl`: it gets no credentials of the instance's role any \
                      more. So do containers behind a bridge where the hop limit is 1. The CloudWatch metric \
                      `MetadataNoToken` of the instance says whether anybody does that.",
        way_back: "Makes the token optional again. AWS refuses that where the account enforces tokens for all.",
        reads: &[Action::new("ec2:DescribeInstances", On::Region)],
        writes: &[Action::new("ec2:ModifyInstanceMetadataOptions", On::Resource)],
        undo: &[],
        implied: &[],
    };
    type Resource = Instance;
    type Params = NoParams;
    type State = Metadata;

    async fn observe(aws: &Aws, at: &Instance) -> Result<Metadata> {
        let found = at.describe(aws).await?;
        // An instance that is about to start may have none yet.
        let Some(options) = found.metadata_options() else {
            return Err(Error::new(ErrorKind::Transient, "the instance names no metadata options"));
        };
        let tokens_required = match options.http_tokens() {
            Some(HttpTokensState::Required) => true,
            Some(HttpTokensState::Optional) => false,
            _ => return Err(Error::new(ErrorKind::Transient, "the instance does not name its `HttpTokens`")),
        };
        // A stopped instance takes them on when it is started, however long that is:
        // https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ModifyInstanceMetadataOptions.html
        let pending = options.state() == Some(&InstanceMetadataOptionsState::Pending)
            && state_of(&found) == Some(&InstanceStateName::Running);
        Ok(Metadata {
            tokens_required,
            pending,
            disabled: options.http_endpoint() == Some(&InstanceMetadataEndpointState::Disabled),
            hop_limit: options.http_put_response_hop_limit(),
        })
    }

    fn plan(now: &Metadata, _: &Ask<'_, NoParams>) -> Plan<Metadata> {
        if now.tokens_required && !now.pending {
            return Plan::Compliant;
        }
        let to = Metadata { tokens_required: true, pending: false, ..now.clone() };
        // It fails all the same: "NON_COMPLIANT if the HttpTokens is set to optional",
        // https://docs.aws.amazon.com/config/latest/developerguide/ec2-imdsv2-check.html
        if now.disabled {
            let notes = vec!["its metadata service is turned off: nobody can be using it".to_owned()];
            return Plan::Change(Proposal { to, risk: Risk::None, notes });
        }
        let mut notes = vec![
            "software that asks for metadata without a token gets no credentials any more: see the metric \
             `MetadataNoToken`"
                .to_owned(),
        ];
        if now.hop_limit == Some(1) {
            notes.push(
                "the hop limit is 1 and stays so: containers behind a bridge get no token, and no metadata"
                    .to_owned(),
            );
        }
        Plan::Change(Proposal { to, risk: Risk::Access, notes })
    }

    async fn apply(aws: &Aws, at: &Instance, change: &Change<Metadata>) -> Result<()> {
        let tokens =
            if change.to.tokens_required { HttpTokensState::Required } else { HttpTokensState::Optional };
        // What a request does not name stays as it is.
        aws.ec2().modify_instance_metadata_options().instance_id(&at.id).http_tokens(tokens).send().await?;
        Ok(())
    }

    fn undo(change: &Change<Metadata>, now: &Metadata) -> Undo<Metadata> {
        let before = change.from.tokens_required;
        if now.tokens_required == before && !now.pending {
            return Undo::Nothing;
        }
        let to = Metadata { tokens_required: before, pending: false, ..now.clone() };
        Undo::To { to, notes: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::remediator::test::ask;

    fn state(tokens_required: bool, pending: bool) -> Metadata {
        Metadata { tokens_required, pending, disabled: false, hop_limit: Some(2) }
    }

    fn plan(now: &Metadata) -> Plan<Metadata> {
        RequireImdsv2::plan(now, &ask("EC2.8", &NoParams {}))
    }

    #[test]
    fn done_only_when_it_is_applied() {
        assert_eq!(plan(&state(true, false)), Plan::Compliant);
        for (required, pending) in [(false, false), (false, true), (true, true)] {
            let Plan::Change(change) = plan(&state(required, pending)) else { panic!("no change") };
            assert_eq!((change.to, change.risk), (state(true, false), Risk::Access));
        }
    }

    #[test]
    fn a_service_that_is_off_is_changed_at_no_risk_and_stays_off() {
        let now = Metadata { disabled: true, ..state(false, false) };
        let Plan::Change(change) = plan(&now) else { panic!("no change") };
        assert_eq!((change.to.disabled, change.risk), (true, Risk::None));
    }

    #[test]
    fn a_hop_limit_of_one_is_pointed_out_and_kept() {
        let now = Metadata { hop_limit: Some(1), ..state(false, false) };
        let Plan::Change(change) = plan(&now) else { panic!("no change") };
        assert_eq!(change.to.hop_limit, Some(1));
        assert!(change.notes.iter().any(|note| note.contains("hop limit is 1")), "{:?}", change.notes);
    }

    #[test]
    fn undo_leaves_what_stands_beside() {
        let change = Change { from: state(false, false), to: state(true, false) };
        let moved = Metadata { hop_limit: Some(3), ..state(true, false) };
        let Undo::To { to, .. } = RequireImdsv2::undo(&change, &moved) else { panic!("no way back") };
        assert_eq!(to, Metadata { hop_limit: Some(3), ..state(false, false) });
        assert_eq!(RequireImdsv2::undo(&change, &state(false, false)), Undo::Nothing);
        assert!(
            matches!(RequireImdsv2::undo(&change, &state(false, true)), Undo::To { .. }),
            "not applied yet"
        );
    }

    #[test]
    fn records_of_its_state_stay_readable() {
        let stored = r#"{"tokens_required":false,"pending":false,"disabled":false,"hop_limit":2}"#;
        assert_eq!(serde_json::to_string(&state(false, false)).unwrap(), stored);
        let first: Metadata = serde_json::from_str(r#"{"tokens_required":true}"#).unwrap();
        assert_eq!(first, Metadata { hop_limit: None, ..state(true, false) });
    }
}
