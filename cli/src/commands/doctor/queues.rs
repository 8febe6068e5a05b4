//! The queue of events, and those of what could not be handled.

use std::collections::HashMap;

use aws_sdk_sqs::{Client, types::QueueAttributeName};
use redress_remediators::{Error, ErrorKind};
use serde_json::Value;

use super::{APPLY_AGAIN, Line, Place};

type Attributes = HashMap<QueueAttributeName, String>;

/// `timeout` is the function's; `stream` is whether it looks after users.
pub(super) async fn look(place: &Place<'_>, timeout: Option<i32>, stream: bool) -> Vec<Line> {
    let client = Client::new(place.aws);
    let queue = place.named("findings");
    let mut lines = match attributes(&client, &queue, "queue").await {
        Ok(found) => findings(place, &queue, &found, timeout),
        Err(line) => vec![*line],
    };
    for (end, wanted) in [("findings", true), ("events", true), ("async", true), ("stream", stream)] {
        if wanted {
            let name = place.named(&format!("{end}-dead"));
            lines.push(match attributes(&client, &name, "dead_letters").await {
                Ok(found) => dead(&name, &found),
                Err(line) => *line,
            });
        }
    }
    lines
}

async fn attributes(client: &Client, name: &str, check: &str) -> Result<Attributes, Box<Line>> {
    let unseen = |action: &str, error: &Error| {
        // SQS answers with 400, and with its old code or its new one.
        let code = error.code.as_deref().unwrap_or_default();
        let absent = error.kind == ErrorKind::NotFound
            || code.contains("QueueDoesNotExist")
            || code.contains("NonExistentQueue");
        Box::new(if absent {
            Line::wrong(check, name, "there is no such queue", APPLY_AGAIN)
        } else {
            Line::unseen(check, name, action, error)
        })
    };
    let url = client.get_queue_url().queue_name(name).send().await;
    let url = url.map_err(|error| unseen("sqs:GetQueueUrl", &Error::from(error)))?.queue_url;
    let asked =
        client.get_queue_attributes().set_queue_url(url).attribute_names(QueueAttributeName::All).send();
    let found = asked.await.map_err(|error| unseen("sqs:GetQueueAttributes", &Error::from(error)))?;
    Ok(found.attributes.unwrap_or_default())
}

fn number(attributes: &Attributes, name: &QueueAttributeName) -> u64 {
    attributes.get(name).and_then(|text| text.parse().ok()).unwrap_or_default()
}

fn findings(place: &Place<'_>, name: &str, attributes: &Attributes, timeout: Option<i32>) -> Vec<Line> {
    const CHECK: &str = "queue";
    let mut faults = Vec::new();
    let dead = place.arn("sqs", &place.named("findings-dead"));
    let redrive: Value = attributes
        .get(&QueueAttributeName::RedrivePolicy)
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default();
    if redrive["deadLetterTargetArn"] != dead.as_str() {
        let what = format!("its dead letters don't go to {dead}: what can't be handled comes back for ever");
        faults.push(Line::wrong(CHECK, name, what, APPLY_AGAIN));
    }
    let visibility = number(attributes, &QueueAttributeName::VisibilityTimeout);
    let least = timeout.map_or(0, |timeout| u64::from(timeout.unsigned_abs()) * 6);
    if visibility < least {
        let what = format!(
            "its visibility timeout of {visibility} s is less than six times the function's: {least} s"
        );
        faults.push(Line::wrong(CHECK, name, what, APPLY_AGAIN));
    }
    if faults.is_empty() {
        let waiting = number(attributes, &QueueAttributeName::ApproximateNumberOfMessages);
        let taken = number(attributes, &QueueAttributeName::ApproximateNumberOfMessagesNotVisible);
        faults.push(Line::ok(CHECK, name, format!("{waiting} waiting, {taken} being handled or paused")));
    }
    faults
}

fn dead(name: &str, attributes: &Attributes) -> Line {
    const CHECK: &str = "dead_letters";
    match number(attributes, &QueueAttributeName::ApproximateNumberOfMessages) {
        0 => Line::ok(CHECK, name, "empty"),
        count => Line::wrong(
            CHECK,
            name,
            format!("{count} in it"),
            "look at them, then put them back or delete them (docs/operate.md#dead-letters)",
        ),
    }
}

#[cfg(test)]
mod tests {
    use aws_config::SdkConfig;

    use super::*;
    use crate::commands::doctor::Finding;

    const DEAD: &str = "arn:aws:sqs:eu-west-1:123456789012:redress-findings-dead";

    fn found(visibility: u32, dead: &str, timeout: i32) -> Vec<Line> {
        let aws = SdkConfig::builder().build();
        let place = Place {
            name: "redress",
            partition: "aws",
            account: "123456789012",
            region: "eu-west-1",
            aws: &aws,
        };
        let attributes = HashMap::from([
            (QueueAttributeName::VisibilityTimeout, visibility.to_string()),
            (QueueAttributeName::ApproximateNumberOfMessages, "3".to_owned()),
            (
                QueueAttributeName::RedrivePolicy,
                serde_json::json!({ "deadLetterTargetArn": dead }).to_string(),
            ),
        ]);
        findings(&place, "redress-findings", &attributes, Some(timeout))
    }

    #[test]
    fn events_are_hidden_for_six_times_the_functions_time_and_die_in_the_right_place() {
        let fine = found(720, DEAD, 120);
        assert!(fine.iter().all(|line| line.outcome == Finding::Ok && line.what.starts_with("3 waiting")));
        let what = |lines: Vec<Line>| lines.into_iter().map(|line| line.what).collect::<Vec<_>>().join("\n");
        assert!(what(found(719, DEAD, 120)).contains("719 s is less than six times the function's: 720 s"));
        assert!(what(found(720, "arn:aws:sqs:eu-west-1:123456789012:other", 120)).contains("dead letters"));
        assert_eq!(found(1, "", 120).len(), 2);
    }
}
