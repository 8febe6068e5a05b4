//! The alarms, and whether they reach anybody.

use aws_sdk_cloudwatch::types::{MetricAlarm, StateValue};
use aws_sdk_sns::types::Subscription;
use redress_remediators::{Error, ErrorKind};

use super::{APPLY_AGAIN, Line, Place};

const ALARM: &str = "alarm";

/// The alarms of every deployment (`terraform/alarms.tf`).
const ALARMS: [&str; 11] = [
    "async-dead",
    "cap-reached",
    "dispatcher-errors",
    "dispatcher-throttles",
    "events-dead",
    "findings-dead",
    "outcomes-denied",
    "outcomes-disagrees",
    "outcomes-failed",
    "refixed",
    "waiting",
];

pub(super) async fn look(place: &Place<'_>) -> Vec<Line> {
    let (mut lines, topic) = tokio::join!(alarms(place), topic(place));
    lines.push(topic);
    lines
}

async fn alarms(place: &Place<'_>) -> Vec<Line> {
    let client = aws_sdk_cloudwatch::Client::new(place.aws);
    let prefix = place.named("");
    let (mut found, mut token) = (Vec::new(), None);
    loop {
        let asked = client.describe_alarms().alarm_name_prefix(&prefix).set_next_token(token.take());
        match asked.send().await {
            Ok(page) => {
                found.extend(page.metric_alarms.unwrap_or_default());
                token = page.next_token.filter(|token| !token.is_empty());
            }
            Err(error) => {
                let error = Error::from(error);
                return vec![Line::unseen(ALARM, place.named("*"), "cloudwatch:DescribeAlarms", &error)];
            }
        }
        if token.is_none() {
            break;
        }
    }
    judged(place, &found)
}

fn judged(place: &Place<'_>, found: &[MetricAlarm]) -> Vec<Line> {
    let topic = place.arn("sns", &place.named("alarms"));
    let mut lines = Vec::new();
    // Deployment `redress-two` begins like `redress`; its alarms go to its own topic.
    let own: Vec<&MetricAlarm> = found
        .iter()
        .filter(|alarm| {
            let known = ALARMS.iter().any(|name| alarm.alarm_name() == Some(place.named(name).as_str()));
            known || alarm.alarm_actions().contains(&topic)
        })
        .collect();
    for name in ALARMS.map(|name| place.named(name)) {
        if !own.iter().any(|alarm| alarm.alarm_name() == Some(name.as_str())) {
            lines.push(Line::wrong(ALARM, name, "there is none", APPLY_AGAIN));
        }
    }
    for alarm in &own {
        let name = alarm.alarm_name().unwrap_or_default();
        if alarm.state_value() == Some(&StateValue::Alarm) {
            let why = alarm.state_reason().unwrap_or_default();
            let mend = "docs/operate.md#alarms says what it means and what to do";
            lines.push(Line::wrong(ALARM, name, format!("it is raised: {why}"), mend));
        }
        if alarm.actions_enabled() != Some(true) || !alarm.alarm_actions().contains(&topic) {
            let what = "it tells nobody: its actions are off, or don't go to the topic";
            lines.push(Line::wrong(ALARM, name, what, APPLY_AGAIN));
        }
    }
    if lines.is_empty() {
        lines.push(Line::ok(ALARM, place.named("*"), format!("{} alarms, none raised", own.len())));
    }
    lines
}

async fn topic(place: &Place<'_>) -> Line {
    const CHECK: &str = "alarm_topic";
    let name = place.named("alarms");
    let client = aws_sdk_sns::Client::new(place.aws);
    let (mut found, mut token) = (Vec::new(), None);
    loop {
        let asked = client.list_subscriptions_by_topic().topic_arn(place.arn("sns", &name));
        match asked.set_next_token(token.take()).send().await {
            Ok(page) => {
                found.extend(page.subscriptions.unwrap_or_default());
                token = page.next_token.filter(|token| !token.is_empty());
            }
            Err(error) => {
                let error = Error::from(error);
                return match error.kind {
                    ErrorKind::NotFound => Line::wrong(CHECK, name, "there is no such topic", APPLY_AGAIN),
                    _ => Line::unseen(CHECK, name, "sns:ListSubscriptionsByTopic", &error),
                };
            }
        }
        if token.is_none() {
            return heard(CHECK, &name, &found);
        }
    }
}

/// Whether anybody hears of alarms. An address that has not confirmed has, in place of an ARN, the word
/// [`PendingConfirmation`](https://docs.aws.amazon.com/sns/latest/api/API_Subscribe.html).
fn heard(check: &str, name: &str, found: &[Subscription]) -> Line {
    let (confirmed, pending): (Vec<&Subscription>, Vec<&Subscription>) = found
        .iter()
        .filter(|one| one.subscription_arn() != Some("Deleted"))
        .partition(|one| one.subscription_arn().is_some_and(|arn| arn.starts_with("arn:")));
    let waiting: Vec<&str> = pending.iter().filter_map(|one| one.endpoint()).collect();
    let waiting = waiting.join(", ");
    let mend = "open the message that SNS has sent there and confirm, or apply again to have it sent anew";
    match (confirmed.len(), pending.len()) {
        (0, 0) => Line::wrong(
            check,
            name,
            "nobody is subscribed: alarms reach nobody",
            "set notify.alarms (alarm_emails in the examples), or subscribe to the topic",
        ),
        (0, _) => Line::wrong(check, name, format!("nobody has confirmed: {waiting} not yet"), mend),
        (count, 0) => Line::ok(check, name, format!("{count} confirmed")),
        (count, _) => Line::warning(check, name, format!("{count} confirmed, and not yet: {waiting}"), mend),
    }
}

#[cfg(test)]
mod tests {
    use aws_config::SdkConfig;

    use super::*;
    use crate::commands::doctor::Finding;

    fn all() -> Vec<MetricAlarm> {
        let alarm = |name: &str| {
            MetricAlarm::builder()
                .alarm_name(format!("redress-{name}"))
                .actions_enabled(true)
                .alarm_actions("arn:aws:sns:eu-west-1:123456789012:redress-alarms")
                .state_value(StateValue::Ok)
                .build()
        };
        ALARMS.into_iter().map(alarm).collect()
    }

    fn what(found: &[MetricAlarm]) -> Vec<String> {
        let aws = SdkConfig::builder().build();
        let place = Place {
            name: "redress",
            partition: "aws",
            account: "123456789012",
            region: "eu-west-1",
            aws: &aws,
        };
        judged(&place, found).into_iter().map(|line| format!("{}: {}", line.subject, line.what)).collect()
    }

    #[test]
    fn every_alarm_is_there_is_not_raised_and_tells_the_topic() {
        let mut alarms = all();
        alarms.push(MetricAlarm::builder().alarm_name("redress-two-waiting").build());
        assert_eq!(what(&alarms), ["redress-*: 11 alarms, none raised"]);
        let mut alarms = all();
        for alarm in &mut alarms {
            match alarm.alarm_name() {
                Some("redress-waiting") => alarm.state_value = Some(StateValue::Alarm),
                Some("redress-refixed") => alarm.actions_enabled = Some(false),
                _ => {}
            }
        }
        alarms.retain(|alarm| alarm.alarm_name() != Some("redress-cap-reached"));
        assert_eq!(
            what(&alarms),
            [
                "redress-cap-reached: there is none",
                "redress-refixed: it tells nobody: its actions are off, or don't go to the topic",
                "redress-waiting: it is raised: ",
            ]
        );
    }

    #[test]
    fn a_subscription_counts_when_it_is_confirmed() {
        let one =
            |arn: &str| Subscription::builder().subscription_arn(arn).endpoint("you@example.com").build();
        let outcome = |found: &[Subscription]| heard("alarm_topic", "redress-alarms", found).outcome;
        let (confirmed, pending, deleted) = (
            one("arn:aws:sns:eu-west-1:123456789012:redress-alarms:1"),
            one("PendingConfirmation"),
            one("Deleted"),
        );
        assert_eq!(outcome(&[]), Finding::Wrong);
        assert_eq!(outcome(&[deleted]), Finding::Wrong);
        assert_eq!(outcome(std::slice::from_ref(&pending)), Finding::Wrong);
        assert_eq!(outcome(std::slice::from_ref(&confirmed)), Finding::Ok);
        let line = heard("alarm_topic", "redress-alarms", &[confirmed, pending]);
        assert!(line.outcome == Finding::Warning && line.what.contains("you@example.com"));
    }
}
