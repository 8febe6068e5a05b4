//! Turns on server-side encryption for a queue.

use aws_sdk_sqs::types::QueueAttributeName;

use super::queue::Queue;
use crate::{prelude::*, remediator::Proposal};

pub(crate) struct EncryptAtRest;

/// What a rule may set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Params {
    /// The KMS key to encrypt with (an ARN, an id, or an alias such as `alias/queues`), in place of keys that SQS manages.
    key: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Encryption {
    /// Whether SQS encrypts with keys of its own.
    managed: bool,
    /// The KMS key, as the queue names it.
    key: Option<String>,
}

impl Remediator for EncryptAtRest {
    const SPEC: Spec = Spec {
        name: "sqs.encrypt_at_rest",
        version: 1,
        controls: &["SQS.1"],
        risk: Risk::Access,
        what: "Turns on encryption at rest with keys that SQS manages, at no charge, or with the KMS key that the \
               rule names. Messages that are in the queue already stay as they are.",
        who_notices: "Clients that speak plain HTTP to the queue or don't sign their requests: AWS takes only signed \
                      requests over HTTPS for an encrypted queue. With a KMS key, whoever sends or receives needs \
                      leave to use it too, AWS services such as SNS, S3 and EventBridge included, and each use of it \
                      is on the bill.",
        way_back: "Turns encryption off again. Messages that were encrypted meanwhile stay encrypted, and stay \
                   readable as long as the key exists.",
        reads: &[Action::new("sqs:GetQueueAttributes", On::Resource)],
        writes: &[Action::new("sqs:SetQueueAttributes", On::Resource)],
        undo: &[],
        implied: &[],
    };
    type Resource = Queue;
    type Params = Params;
    type State = Encryption;

    async fn observe(aws: &Aws, at: &Queue) -> Result<Encryption> {
        let request = aws.sqs().get_queue_attributes().queue_url(at.url(aws).await?);
        let found = request
            .attribute_names(QueueAttributeName::SqsManagedSseEnabled)
            .attribute_names(QueueAttributeName::KmsMasterKeyId)
            .send()
            .await?;
        let found = found.attributes.unwrap_or_default();
        Ok(Encryption {
            managed: found.get(&QueueAttributeName::SqsManagedSseEnabled).is_some_and(|on| on == "true"),
            key: found.get(&QueueAttributeName::KmsMasterKeyId).filter(|key| !key.is_empty()).cloned(),
        })
    }

    fn plan(now: &Encryption, ask: &Ask<'_, Params>) -> Plan<Encryption> {
        if now.managed || now.key.is_some() {
            return Plan::Compliant;
        }
        // https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-server-side-encryption.html
        let mut notes = vec![
            "requests over plain HTTP, and requests that are not signed, are refused from now on".to_owned(),
        ];
        let key = ask.params.key.clone().filter(|key| !key.is_empty());
        if let Some(key) = &key {
            // https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-key-management.html
            notes.push(format!(
                "whoever sends or receives, AWS services included, needs leave to use the key `{}`",
                key.escape_debug()
            ));
        }
        let to = Encryption { managed: key.is_none(), key };
        Plan::Change(Proposal { to, risk: Risk::Access, notes })
    }

    async fn apply(aws: &Aws, at: &Queue, change: &Change<Encryption>) -> Result<()> {
        let Change { from, to } = change;
        let mut request = aws.sqs().set_queue_attributes().queue_url(at.url(aws).await?);
        if from.key != to.key {
            let key = to.key.clone().unwrap_or_default();
            request = request.attributes(QueueAttributeName::KmsMasterKeyId, key);
        }
        // Named also where a key goes, lest SQS puts its own in the key's place.
        if from.managed != to.managed || to.key.is_none() {
            request = request.attributes(QueueAttributeName::SqsManagedSseEnabled, to.managed.to_string());
        }
        request.send().await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::remediator::test::ask;

    fn state(managed: bool, key: Option<&str>) -> Encryption {
        Encryption { managed, key: key.map(str::to_owned) }
    }

    #[test]
    fn either_kind_of_key_will_do() {
        let plan = |now: &Encryption| EncryptAtRest::plan(now, &ask("SQS.1", &Params::default()));
        assert_eq!(plan(&state(true, None)), Plan::Compliant);
        assert_eq!(plan(&state(false, Some("alias/aws/sqs"))), Plan::Compliant);
        let Plan::Change(change) = plan(&state(false, None)) else { panic!() };
        assert_eq!(change.to, state(true, None));
        assert!(change.notes[0].contains("plain HTTP"), "{:?}", change.notes);
    }

    #[test]
    fn a_key_is_used_where_the_rule_names_one() {
        let params = Params { key: Some("alias/queues".to_owned()) };
        let Plan::Change(change) = EncryptAtRest::plan(&state(false, None), &ask("SQS.1", &params)) else {
            panic!()
        };
        assert_eq!(change.to, state(false, Some("alias/queues")));
        assert!(change.notes[1].contains("`alias/queues`"), "{:?}", change.notes);
        // Which kind of key a queue has is not the rule's business.
        assert_eq!(EncryptAtRest::plan(&state(true, None), &ask("SQS.1", &params)), Plan::Compliant);
    }

    #[test]
    fn records_of_its_state_stay_readable() {
        let stored = r#"{"managed":false,"key":"alias/queues"}"#;
        let state = state(false, Some("alias/queues"));
        assert_eq!(serde_json::to_string(&state).unwrap(), stored);
        assert_eq!(serde_json::from_str::<Encryption>(stored).unwrap(), state);
    }
}
