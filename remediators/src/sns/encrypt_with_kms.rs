//! Encrypts a topic with a KMS key.

use super::topic::Topic;
use crate::{prelude::*, remediator::Proposal};

pub(crate) struct EncryptWithKms;

/// The key that AWS manages for SNS in each account; its policy can't be changed.
const MANAGED: &str = "alias/aws/sns";

/// What a rule may set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Params {
    /// The KMS key to encrypt with: an ARN, an id, or an alias such as `alias/topics`. Topics are refused without one.
    key: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Encryption {
    /// The KMS key, as the topic names it.
    key: Option<String>,
}

impl Remediator for EncryptWithKms {
    const SPEC: Spec = Spec {
        name: "sns.encrypt_with_kms",
        version: 1,
        controls: &["SNS.1"],
        risk: Risk::Access,
        what: "Encrypts the topic's messages at rest with the KMS key that the rule names. Without a key in the rule \
               it is refused: the key that AWS manages for SNS, `alias/aws/sns`, lets no AWS service publish, so a \
               rule must say `key: alias/aws/sns` in so many words.",
        who_notices: "Whoever publishes without leave to use the key, by the key's policy or their own: CloudWatch \
                      alarms, EventBridge rules, S3 events and other accounts fail to publish, most of them without \
                      a word. Each use of the key is on the bill.",
        way_back: "Turns encryption off again. Messages that could not be published meanwhile are lost.",
        reads: &[],
        writes: &[Action::new("sns:SetTopicAttributes", On::Resource)],
        undo: &[],
        implied: &[],
    };
    type Resource = Topic;
    type Params = Params;
    type State = Encryption;

    async fn observe(aws: &Aws, at: &Topic) -> Result<Encryption> {
        let mut found = at.attributes(aws).await?;
        Ok(Encryption { key: found.remove("KmsMasterKeyId").filter(|key| !key.is_empty()) })
    }

    fn plan(now: &Encryption, ask: &Ask<'_, Params>) -> Plan<Encryption> {
        if now.key.is_some() {
            return Plan::Compliant;
        }
        // https://docs.aws.amazon.com/sns/latest/dg/sns-key-management.html
        let Some(key) = ask.params.key.clone().filter(|key| !key.is_empty()) else {
            return Plan::Refuse(format!(
                "the rule names no KMS key, and under `{MANAGED}` AWS services such as CloudWatch and EventBridge \
                 could publish no more; the rule can say `key`, also `key: {MANAGED}` for topics to which no AWS \
                 service publishes"
            ));
        };
        let note = if key == MANAGED {
            format!(
                "AWS services such as CloudWatch and EventBridge, and other accounts, can't publish under `{MANAGED}`"
            )
        } else {
            format!(
                "whoever publishes, AWS services included, needs leave to use the key `{}` by its policy",
                key.escape_debug()
            )
        };
        Plan::Change(Proposal { to: Encryption { key: Some(key) }, risk: Risk::Access, notes: vec![note] })
    }

    async fn apply(aws: &Aws, _: &Topic, change: &Change<Encryption>) -> Result<()> {
        Topic::set(aws, "KmsMasterKeyId", change.to.key.clone().unwrap_or_default()).await
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic, reason = "a test fails by panicking")]
    use super::*;
    use crate::remediator::test::ask;

    fn plan(now: Option<&str>, key: Option<&str>) -> Plan<Encryption> {
        let own = |key: Option<&str>| key.map(str::to_owned);
        EncryptWithKms::plan(&Encryption { key: own(now) }, &ask("SNS.1", &Params { key: own(key) }))
    }

    #[test]
    fn nothing_is_encrypted_without_a_key_of_the_rule() {
        assert!(matches!(plan(None, None), Plan::Refuse(why) if why.contains("`key: alias/aws/sns`")));
        assert!(matches!(plan(None, Some("")), Plan::Refuse(_)));
        for key in [None, Some("alias/topics")] {
            assert_eq!(plan(Some("alias/own"), key), Plan::Compliant);
        }
    }

    #[test]
    fn what_the_key_means_for_publishers_is_said() {
        for (key, said) in [("alias/aws/sns", "can't publish"), ("alias/topics", "by its policy")] {
            let Plan::Change(change) = plan(None, Some(key)) else { panic!("{key}") };
            assert_eq!((change.to.key.as_deref(), change.risk), (Some(key), Risk::Access));
            assert!(change.notes[0].contains(said) && change.notes[0].contains(key), "{:?}", change.notes);
        }
    }
}
