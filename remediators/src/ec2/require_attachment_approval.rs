//! Ends that a transit gateway takes whatever another account attaches to it.

use aws_sdk_ec2::types::{
    AutoAcceptSharedAttachmentsValue, ModifyTransitGatewayOptions, TransitGatewayState,
};

use super::network::TransitGateway;
use crate::{prelude::*, remediator::Proposal};

pub(crate) struct RequireAttachmentApproval;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sharing {
    /// Whether attachments of other accounts are accepted without anybody's word.
    auto_accept_shared_attachments: bool,
}

impl Remediator for RequireAttachmentApproval {
    const SPEC: Spec = Spec {
        name: "ec2.require_attachment_approval",
        version: 1,
        controls: &["EC2.23"],
        risk: Risk::Access,
        what: "Turns off that the transit gateway accepts by itself what other accounts attach to it. \
               Attachments that exist stay, and no other option is changed.",
        who_notices: "Accounts that the gateway is shared with: what they attach from now on carries no \
                      traffic until somebody in the gateway's account accepts it.",
        way_back: "Turns it on again. Attachments that wait for an answer by then still need one.",
        reads: &[],
        writes: &[Action::new("ec2:ModifyTransitGateway", On::Resource)],
        undo: &[],
        implied: &[],
    };
    type Resource = TransitGateway;
    type Params = NoParams;
    type State = Sharing;

    async fn observe(aws: &Aws, at: &TransitGateway) -> Result<Sharing> {
        let found = at.read(aws).await?;
        match found.state() {
            Some(TransitGatewayState::Available) => {}
            // It can't be modified now, and its options may be those of before or after.
            state => {
                let state = shown(state.map_or("unknown", TransitGatewayState::as_str));
                let why = format!("the transit gateway is `{state}`, not `available`");
                return Err(Error::new(ErrorKind::Transient, why));
            }
        }
        let option = found.options().and_then(|options| options.auto_accept_shared_attachments());
        let auto_accept_shared_attachments = match option {
            Some(AutoAcceptSharedAttachmentsValue::Enable) => true,
            Some(AutoAcceptSharedAttachmentsValue::Disable) => false,
            other => {
                let other = shown(other.map_or("nothing", AutoAcceptSharedAttachmentsValue::as_str));
                let why = format!("`AutoAcceptSharedAttachments` is `{other}`, which is not known here");
                return Err(Error::new(ErrorKind::Rejected, why));
            }
        };
        Ok(Sharing { auto_accept_shared_attachments })
    }

    fn plan(now: &Sharing, _: &Ask<'_, NoParams>) -> Plan<Sharing> {
        if !now.auto_accept_shared_attachments {
            return Plan::Compliant;
        }
        let to = Sharing { auto_accept_shared_attachments: false };
        let notes = vec!["what other accounts attach from now on waits until somebody accepts it".to_owned()];
        Plan::Change(Proposal { to, risk: Risk::Access, notes })
    }

    async fn apply(aws: &Aws, at: &TransitGateway, change: &Change<Sharing>) -> Result<()> {
        let value = if change.to.auto_accept_shared_attachments {
            AutoAcceptSharedAttachmentsValue::Enable
        } else {
            AutoAcceptSharedAttachmentsValue::Disable
        };
        // What the request leaves out stays:
        // https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ModifyTransitGateway.html
        let options = ModifyTransitGatewayOptions::builder().auto_accept_shared_attachments(value).build();
        let request = aws.ec2().modify_transit_gateway().transit_gateway_id(&at.id);
        match request.options(options).send().await.map_err(Error::from) {
            Ok(_) => Ok(()),
            // Another modification began since: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html
            Err(error) if error.code.as_deref() == Some("IncorrectState") => {
                Err(Error { kind: ErrorKind::Transient, ..error })
            }
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic, reason = "a test fails by panicking")]
    use super::*;
    use crate::remediator::test::ask;

    const fn state(auto_accept_shared_attachments: bool) -> Sharing {
        Sharing { auto_accept_shared_attachments }
    }

    #[test]
    fn turns_it_off_and_on_again() {
        let plan = |now: &Sharing| RequireAttachmentApproval::plan(now, &ask("EC2.23", &NoParams {}));
        assert_eq!(plan(&state(false)), Plan::Compliant);
        let Plan::Change(change) = plan(&state(true)) else { panic!("no change") };
        assert_eq!((change.to.clone(), change.risk), (state(false), Risk::Access));
        let change = Change { from: state(true), to: change.to };
        assert!(matches!(
            RequireAttachmentApproval::undo(&change, &state(false)),
            Undo::To { to, .. } if to == state(true)
        ));
        assert_eq!(RequireAttachmentApproval::undo(&change, &state(true)), Undo::Nothing);
    }
}
