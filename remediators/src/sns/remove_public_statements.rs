//! Removes the statements of a topic's policy that let everybody in.

use serde_json::json;

use super::topic::Topic;
use crate::{
    document::Policy,
    prelude::*,
    public_statements::{self, Params},
    remediator::Proposal,
};

pub(crate) struct RemovePublicStatements;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Access {
    /// The topic's ARN. Read, never altered.
    topic: String,
    /// The topic's policy.
    policy: Option<Policy>,
}

/// What AWS gives to each new topic: <https://docs.aws.amazon.com/sns/latest/dg/sns-access-policy-use-cases.html>.
fn default_policy(topic: &str) -> Policy {
    let account = topic.split(':').nth(4).unwrap_or_default();
    let statement = json!({
        "Sid": "__default_statement_ID",
        "Effect": "Allow",
        "Principal": { "AWS": "*" },
        "Action": [
            "SNS:GetTopicAttributes",
            "SNS:SetTopicAttributes",
            "SNS:AddPermission",
            "SNS:RemovePermission",
            "SNS:DeleteTopic",
            "SNS:Subscribe",
            "SNS:ListSubscriptionsByTopic",
            "SNS:Publish",
        ],
        "Resource": topic,
        "Condition": { "StringEquals": { "AWS:SourceOwner": account } },
    });
    let policy = json!({ "Version": "2008-10-17", "Id": "__default_policy_ID", "Statement": [statement] });
    Policy::read(policy.to_string())
}

impl Remediator for RemovePublicStatements {
    const SPEC: Spec = Spec {
        name: "sns.remove_public_statements",
        version: 1,
        controls: &["SNS.4"],
        risk: Risk::Access,
        what: "Removes those statements from the topic's policy that let everybody in: that allow the principal `*` \
               without a condition. The rest of the policy is sent back byte for byte; where nothing is left, the \
               topic gets the policy that AWS gives to new topics, which lets in its own account, since a topic can't \
               be without one. A statement whose condition does not fix who it is is refused unless the rule says \
               `remove_conditional`; one that names others besides everybody is refused.",
        who_notices: "Whoever publishes or subscribes by such a statement alone: callers of other accounts, AWS \
                      services that publish to the topic, and callers who don't sign. Subscriptions that exist stay. \
                      Roles and users of the topic's own account keep what their own policies allow.",
        way_back: "Puts the same statements back, into the policy as it is then, and takes away what was put in their \
                   place. Refused where somebody has made another statement of the same name since.",
        reads: &[],
        writes: &[Action::new("sns:SetTopicAttributes", On::Resource)],
        undo: &[],
        implied: &[],
    };
    type Resource = Topic;
    type Params = Params;
    type State = Access;

    async fn observe(aws: &Aws, at: &Topic) -> Result<Access> {
        let policy = at.attributes(aws).await?.remove("Policy");
        let policy = policy.filter(|policy| !policy.is_empty()).map(Policy::read);
        Ok(Access { topic: Topic::arn(aws), policy })
    }

    fn plan(now: &Access, ask: &Ask<'_, Params>) -> Plan<Access> {
        let default = || {
            let note = "no other statement is left: the topic gets the policy of a new topic, which lets in its own \
                        account";
            (Some(default_policy(&now.topic)), note)
        };
        match public_statements::plan("topic", now.policy.as_ref(), *ask.params, default) {
            Plan::Change(Proposal { to, risk, notes }) => {
                Plan::Change(Proposal { to: Access { policy: to, ..now.clone() }, risk, notes })
            }
            Plan::Refuse(why) => Plan::Refuse(why),
            _ => Plan::Compliant,
        }
    }

    async fn apply(aws: &Aws, _: &Topic, change: &Change<Access>) -> Result<()> {
        let Some(policy) = &change.to.policy else {
            return Err(Error::new(ErrorKind::Invalid, "a topic can't be without a policy"));
        };
        Topic::set(aws, "Policy", policy.text()).await
    }

    fn undo(change: &Change<Access>, now: &Access) -> Undo<Access> {
        let Change { from, to } = change;
        match public_statements::undo(from.policy.as_ref(), to.policy.as_ref(), now.policy.as_ref()) {
            Undo::Nothing => Undo::Nothing,
            Undo::To { to, notes } => Undo::To { to: Access { policy: to, ..now.clone() }, notes },
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
    fn a_topic_is_left_with_the_policy_of_a_new_one() {
        let text = r#"{"Statement": {"Effect": "Allow", "Principal": "*", "Action": "sns:Publish"} }"#;
        let topic = "arn:aws-cn:sns:cn-north-1:123456789012:news";
        let now = Access { topic: topic.to_owned(), policy: Some(Policy::read(text.to_owned())) };
        let plan = |now: &Access| RemovePublicStatements::plan(now, &ask("SNS.4", &Params::default()));
        let Plan::Change(change) = plan(&now) else { panic!() };
        let left = change.to.policy.as_ref().unwrap().text();
        assert!(left.contains(&format!("\"Resource\":\"{topic}\"")), "{left}");
        assert!(left.contains("\"AWS:SourceOwner\":\"123456789012\""), "{left}");
        assert_eq!(plan(&change.to), Plan::Compliant);
        let change = Change { from: now, to: change.to };
        let Undo::To { to, .. } = RemovePublicStatements::undo(&change, &change.to) else { panic!() };
        assert_eq!(to.policy.unwrap().text(), text);
    }
}
