//! Makes a bucket tell `EventBridge` what happens to its objects.

use roxmltree::{Document, Node};

use super::bucket::Bucket;
use crate::{
    body::{Answer, Body},
    prelude::*,
    raw,
    remediator::Proposal,
};

const ELEMENT: &str = "EventBridgeConfiguration";
const PARAMETER: &str = "eventTypes";

pub(crate) struct NotifyEventBridge;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Notifications {
    /// The elements of the configuration, byte for byte as S3 returned them, in its order.
    elements: Vec<String>,
}

impl PartialEq for Notifications {
    /// S3 may return them and their parts in another order.
    fn eq(&self, other: &Self) -> bool {
        let forms = |state: &Self| {
            let mut forms: Vec<String> = state.elements.iter().map(|one| form(one)).collect();
            forms.sort_unstable();
            forms
        };
        forms(self) == forms(other)
    }
}

fn form(element: &str) -> String {
    fn nothing(_: Node<'_, '_>) -> bool {
        false
    }
    raw::normal(element, nothing).unwrap_or_else(|| element.to_owned())
}

fn is_bridge(element: &str) -> bool {
    Document::parse(element).is_ok_and(|tree| tree.root_element().tag_name().name() == ELEMENT)
}

/// The event types that an element sends to its queue, topic or function.
fn events(element: &str) -> Vec<String> {
    let Ok(tree) = Document::parse(element) else { return Vec::new() };
    let is_event = |node: &Node<'_, '_>| node.tag_name().name() == "Event";
    let texts = tree.root_element().children().filter(is_event).filter_map(|node| node.text());
    texts.map(|text| text.trim().to_owned()).collect()
}

/// Whether `pattern`, which may end in `*`, stands for `event` as well:
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-how-to-event-types-and-destinations.html>.
fn covers(pattern: &str, event: &str) -> bool {
    pattern == event || pattern.strip_suffix('*').is_some_and(|start| event.starts_with(start))
}

impl Remediator for NotifyEventBridge {
    const SPEC: Spec = Spec {
        name: "s3.notify_event_bridge",
        version: 1,
        controls: &["S3.11"],
        risk: Risk::Cost,
        what: "Adds EventBridge to the bucket's notifications: S3 sends the events of the bucket to the account's \
               default bus, where rules can use them. Every other notification of the bucket is sent back byte for \
               byte, and S3 is told not to send test messages to them.",
        who_notices: "The bill: EventBridge charges for these events. Rules on the default bus that match all events \
                      of S3 begin to fire for this bucket as well.",
        way_back: "Removes EventBridge from the notifications; all others stay as they are then.",
        reads: &[Action::new("s3:GetBucketNotification", On::Resource)
            .called(&["GetBucketNotificationConfiguration"])],
        writes: &[Action::new("s3:PutBucketNotification", On::Resource)
            .called(&["PutBucketNotificationConfiguration"])],
        undo: &[],
        implied: &[],
    };
    type Resource = Bucket;
    type Params = NoParams;
    type State = Notifications;

    async fn observe(aws: &Aws, at: &Bucket) -> Result<Notifications> {
        let answer = Answer::default();
        let request = aws
            .s3()
            .get_bucket_notification_configuration()
            .bucket(&at.name)
            .expected_bucket_owner(&at.owner);
        request.customize().interceptor(answer.clone()).send().await?;
        Ok(Notifications { elements: raw::elements(&answer.text()?, "NotificationConfiguration")? })
    }

    fn plan(now: &Notifications, ask: &Ask<'_, NoParams>) -> Plan<Notifications> {
        let mut wanted = Vec::new();
        for (name, values) in ask.control_params.into_iter().flatten() {
            let values = values.iter().flat_map(|value| value.split(',')).map(str::trim);
            let values: Vec<&str> = values.filter(|value| !value.is_empty()).collect();
            if name == PARAMETER {
                wanted = values;
            } else if !values.is_empty() {
                return Plan::Refuse(format!("the control has an unknown parameter `{}`", excerpt(name)));
            }
        }
        let sent: Vec<String> = now.elements.iter().flat_map(|element| events(element)).collect();
        let is_sent = |event: &&str| sent.iter().any(|pattern| covers(pattern, event));
        if let Some(missing) = wanted.iter().find(|event| !is_sent(event)) {
            // AWS Config compares the types that notifications name, and EventBridge names none:
            // https://docs.aws.amazon.com/config/latest/developerguide/s3-event-notifications-enabled.html
            return Plan::Refuse(format!(
                "the control demands a notification of `{}`, and only a queue, topic or function can be told of \
                 single types: add one",
                excerpt(missing)
            ));
        }
        if !now.elements.is_empty() {
            return Plan::Compliant;
        }
        let mut to = now.clone();
        to.elements.push(format!("<{ELEMENT}></{ELEMENT}>"));
        let notes =
            vec!["rules on the default bus that match all events of S3 fire for this bucket too".to_owned()];
        Plan::Change(Proposal { to, risk: Risk::Cost, notes })
    }

    async fn apply(aws: &Aws, at: &Bucket, change: &Change<Notifications>) -> Result<()> {
        let document = format!(
            "<NotificationConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{}\
             </NotificationConfiguration>",
            change.to.elements.concat()
        );
        aws.s3()
            .put_bucket_notification_configuration()
            .bucket(&at.name)
            .expected_bucket_owner(&at.owner)
            // What was there is none of ours to prove, and a test message would surprise its readers:
            // https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketNotificationConfiguration.html
            .skip_destination_validation(true)
            .customize()
            .interceptor(Body(document))
            .send()
            .await?;
        Ok(())
    }

    fn undo(change: &Change<Notifications>, now: &Notifications) -> Undo<Notifications> {
        fn bridge(state: &Notifications) -> Option<&String> {
            state.elements.iter().find(|element| is_bridge(element))
        }
        let Some(made) = bridge(&change.to).filter(|_| bridge(&change.from).is_none()) else {
            return Undo::Nothing;
        };
        let Some(found) = bridge(now) else { return Undo::Nothing };
        if form(made) != form(found) {
            return Undo::Refuse("somebody has changed the delivery to EventBridge since".to_owned());
        }
        let mut to = now.clone();
        to.elements.retain(|element| !is_bridge(element));
        Undo::To { to, notes: vec!["rules on the default bus no longer see the bucket's events".to_owned()] }
    }

    fn wants_control_params(_: &str, _: &NoParams) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::collections::BTreeMap;

    use super::*;
    use crate::{Access, raw::test::Wire, remediator::test::ask};

    const QUEUE: &str = "<QueueConfiguration><Id>a</Id><Queue>arn:aws:sqs:eu-west-1:123456789012:q</Queue>\
                         <Event>s3:ObjectCreated:*</Event><Event>s3:ObjectRemoved:Delete</Event>\
                         </QueueConfiguration>";

    fn state(elements: &[&str]) -> Notifications {
        Notifications { elements: elements.iter().map(|one| (*one).to_owned()).collect() }
    }

    fn plan(now: &Notifications, types: &[&str]) -> Plan<Notifications> {
        let types = types.iter().map(|one| (*one).to_owned()).collect();
        let wanted = BTreeMap::from([(PARAMETER.to_owned(), types)]);
        NotifyEventBridge::plan(now, &Ask { control_params: Some(&wanted), ..ask("S3.11", &NoParams {}) })
    }

    #[test]
    fn any_notification_passes_unless_types_are_demanded() {
        assert_eq!(plan(&state(&[QUEUE]), &[]), Plan::Compliant);
        assert_eq!(plan(&state(&["<EventBridgeConfiguration/>"]), &[]), Plan::Compliant);
        assert_eq!(
            plan(&state(&[QUEUE]), &["s3:ObjectCreated:Put,s3:ObjectRemoved:Delete"]),
            Plan::Compliant
        );
        for types in [&["s3:ObjectRemoved:*"][..], &["s3:ObjectCreated:Put", "s3:ObjectTagging:Put"][..]] {
            assert!(matches!(plan(&state(&[QUEUE]), types), Plan::Refuse(why) if why.contains("demands")));
        }
        let other = BTreeMap::from([("destinationArn".to_owned(), vec!["x".to_owned()])]);
        let asked = Ask { control_params: Some(&other), ..ask("S3.11", &NoParams {}) };
        assert!(matches!(NotifyEventBridge::plan(&state(&[]), &asked), Plan::Refuse(_)));
    }

    #[test]
    fn undo_takes_out_the_bridge_alone() {
        let Plan::Change(change) = plan(&state(&[]), &[]) else { panic!("no change") };
        assert_eq!(change.to, state(&["<EventBridgeConfiguration/>"]));
        let change = Change { from: state(&[]), to: change.to };
        let now = state(&[QUEUE, "<EventBridgeConfiguration xmlns=\"urn:a\"/>"]);
        let Undo::To { to, .. } = NotifyEventBridge::undo(&change, &now) else { panic!("no way back") };
        assert_eq!(to.elements, [QUEUE]);
        assert_eq!(NotifyEventBridge::undo(&change, &state(&[QUEUE])), Undo::Nothing);
        let other = state(&["<EventBridgeConfiguration><Bus>b</Bus></EventBridgeConfiguration>"]);
        assert!(matches!(NotifyEventBridge::undo(&change, &other), Undo::Refuse(_)));
    }

    /// What the SDK's types do not know goes back as it came.
    #[tokio::test]
    async fn what_stands_beside_is_sent_back_byte_for_byte() {
        let theirs = "<NewConfiguration> <Q a=\"1\">&amp;é</Q></NewConfiguration>";
        let wire = Wire::default();
        let document = format!("<NotificationConfiguration>\n {QUEUE}{theirs}</NotificationConfiguration>");
        wire.answer("GET /?notification", (200, Vec::new(), document));
        wire.answer("PUT /?notification", (200, Vec::new(), String::new()));
        let aws = wire.aws(&NotifyEventBridge, Access::Apply);
        let bucket = <Bucket as crate::Resource>::from_key(aws.key()).unwrap();
        let from = NotifyEventBridge::observe(&aws, &bucket).await.unwrap();
        assert_eq!(from.elements, [QUEUE, theirs]);
        let mut to = from.clone();
        to.elements.push("<EventBridgeConfiguration></EventBridgeConfiguration>".to_owned());
        NotifyEventBridge::apply(&aws, &bucket, &Change { from, to }).await.unwrap();
        let sent = wire.sent().pop().unwrap();
        assert!(sent.body.contains(&format!(">{QUEUE}{theirs}<EventBridgeConfiguration>")), "{}", sent.body);
        assert_eq!(sent.header("x-amz-skip-destination-validation"), Some("true"));
        assert_eq!(sent.header("x-amz-expected-bucket-owner"), Some("123456789012"));
    }
}
