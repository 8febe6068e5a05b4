//! Removes the statements of a queue's policy that let everybody in.

use aws_sdk_sqs::types::QueueAttributeName;

use super::queue::Queue;
use crate::{
    document::Policy,
    prelude::*,
    public_statements::{self, Params},
    remediator::Proposal,
};

pub(crate) struct RemovePublicStatements;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Access {
    /// The queue's policy; `None` where it has none.
    policy: Option<Policy>,
}

impl Remediator for RemovePublicStatements {
    const SPEC: Spec = Spec {
        name: "sqs.remove_public_statements",
        version: 1,
        controls: &["SQS.3"],
        risk: Risk::Access,
        what: "Removes those statements from the queue's policy that let everybody in: that allow the principal `*` \
               without a condition. The rest of the policy is sent back byte for byte; where nothing is left, the \
               whole policy goes. A statement whose condition does not fix who it is is refused unless the rule says \
               `remove_conditional`; one that names others besides everybody is refused.",
        who_notices: "Whoever sends or receives by such a statement alone: callers of other accounts, AWS services \
                      that deliver to the queue, and callers who don't sign. Roles and users of the queue's own \
                      account keep what their own policies allow.",
        way_back: "Puts the same statements back, into the policy as it is then. Refused where somebody has made \
                   another statement of the same name since.",
        reads: &[Action::new("sqs:GetQueueAttributes", On::Resource)],
        writes: &[Action::new("sqs:SetQueueAttributes", On::Resource)],
        undo: &[],
        implied: &[],
    };
    type Resource = Queue;
    type Params = Params;
    type State = Access;

    async fn observe(aws: &Aws, at: &Queue) -> Result<Access> {
        let request = aws.sqs().get_queue_attributes().queue_url(at.url(aws).await?);
        let found = request.attribute_names(QueueAttributeName::Policy).send().await?;
        let policy = found.attributes.and_then(|mut found| found.remove(&QueueAttributeName::Policy));
        Ok(Access { policy: policy.filter(|policy| !policy.is_empty()).map(Policy::read) })
    }

    fn plan(now: &Access, ask: &Ask<'_, Params>) -> Plan<Access> {
        let nothing = || (None, "no other statement is left: the whole policy goes");
        match public_statements::plan("queue", now.policy.as_ref(), *ask.params, nothing) {
            Plan::Change(Proposal { to, risk, notes }) => {
                Plan::Change(Proposal { to: Access { policy: to }, risk, notes })
            }
            Plan::Refuse(why) => Plan::Refuse(why),
            _ => Plan::Compliant,
        }
    }

    async fn apply(aws: &Aws, at: &Queue, change: &Change<Access>) -> Result<()> {
        let request = aws.sqs().set_queue_attributes().queue_url(at.url(aws).await?);
        // An empty policy is none:
        // https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SetQueueAttributes.html
        let policy = change.to.policy.as_ref().map(Policy::text).unwrap_or_default();
        request.attributes(QueueAttributeName::Policy, policy).send().await?;
        Ok(())
    }

    fn undo(change: &Change<Access>, now: &Access) -> Undo<Access> {
        let policy = |state: &Access| state.policy.clone();
        let (from, to, now) = (policy(&change.from), policy(&change.to), policy(now));
        match public_statements::undo(from.as_ref(), to.as_ref(), now.as_ref()) {
            Undo::Nothing => Undo::Nothing,
            Undo::To { to, notes } => Undo::To { to: Access { policy: to }, notes },
            Undo::Refuse(why) => Undo::Refuse(why),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::remediator::test::ask;

    #[test]
    fn a_policy_of_nothing_else_goes_and_comes_back() {
        let text = r#"{"Statement": {"Effect": "Allow", "Principal": "*", "Action": "sqs:SendMessage"} }"#;
        let now = Access { policy: Some(Policy::read(text.to_owned())) };
        let plan = |now: &Access| RemovePublicStatements::plan(now, &ask("SQS.3", &Params::default()));
        let Plan::Change(change) = plan(&now) else { panic!() };
        assert_eq!(change.to, Access { policy: None });
        assert_eq!(change.notes.len(), 2);
        assert_eq!(plan(&change.to), Plan::Compliant);
        let change = Change { from: now, to: change.to };
        let Undo::To { to, .. } = RemovePublicStatements::undo(&change, &change.to) else { panic!() };
        assert_eq!(to.policy.unwrap().text(), text);
    }
}
