//! What brings findings: `EventBridge` rules, and custom actions in Security Hub.

use aws_sdk_eventbridge::{
    Client,
    types::{Rule, RuleState},
};
use redress_remediators::Error;
use redress_router::rules::{OWN_ACTIONS, RuleSet};

use super::{APPLY_AGAIN, Line, Place};

const CHECK: &str = "event_rule";

/// What is made of no rules, so that its description has no hash.
const WITHOUT_HASH: [&str; 2] = ["recover", "outcomes"];

/// `hash` is that of the function's rules.
pub(super) async fn look(place: &Place<'_>, hash: Option<&str>) -> Vec<Line> {
    let prefix = place.named("");
    let subject = place.named("*");
    let client = Client::new(place.aws);
    let (mut rules, mut token) = (Vec::new(), None);
    loop {
        let asked = client.list_rules().name_prefix(&prefix).set_next_token(token.take());
        match asked.send().await {
            Ok(page) => {
                rules.extend(page.rules.unwrap_or_default());
                token = page.next_token;
            }
            Err(error) => {
                return vec![Line::unseen(CHECK, subject, "events:ListRules", &Error::from(error))];
            }
        }
        if token.is_none() {
            break;
        }
    }
    let mut seen = Seen { lines: Vec::new(), of_rules: 0, recovers: false };
    for rule in &rules {
        let name = rule.name().unwrap_or_default();
        match targets(&client, name).await {
            Ok(targets) => seen.rule(place, rule, &targets, hash),
            Err(error) => {
                seen.lines.push(Line::unseen(CHECK, name, "events:ListTargetsByRule", &error));
            }
        }
    }
    if seen.of_rules == 0 && seen.lines.is_empty() {
        let what = "there is none for findings: nothing reaches the function";
        seen.lines.push(Line::wrong(CHECK, subject.clone(), what, APPLY_AGAIN));
    }
    let recover = place.named("recover");
    if !seen.recovers && !seen.lines.iter().any(|line| line.subject == recover) {
        let what = "there is none: runs that were cut off wait for the next event of their resource";
        seen.lines.push(Line::wrong(CHECK, recover, what, APPLY_AGAIN));
    }
    if seen.lines.is_empty() {
        let made = hash.map_or(String::new(), |hash| format!(", of the function's rules ({hash})"));
        let what = format!("{} for findings and actions{made}, and the hourly one: enabled", seen.of_rules);
        seen.lines.push(Line::ok(CHECK, subject, what));
    }
    seen.lines
}

async fn targets(client: &Client, rule: &str) -> Result<Vec<String>, Error> {
    let found = client.list_targets_by_rule().rule(rule).send().await.map_err(Error::from)?;
    Ok(found.targets.unwrap_or_default().into_iter().map(|target| target.arn).collect())
}

/// What has been seen of the rules so far.
struct Seen {
    /// What is wrong.
    lines: Vec<Line>,
    /// Those made of rules that are as they should be.
    of_rules: usize,
    /// Whether the hourly one is.
    recovers: bool,
}

impl Seen {
    fn rule(&mut self, place: &Place<'_>, rule: &Rule, targets: &[String], hash: Option<&str>) {
        let name = rule.name().unwrap_or_default();
        let of = name.strip_prefix(&place.named("")).unwrap_or_default();
        let own = ["findings", "dispatcher", "outcomes"].map(|what| format!(":{}", place.named(what)));
        let ours = |target: &String| own.iter().any(|end| target.ends_with(end));
        // Deployment `redress-two` begins like `redress`; its rules lead to its own queue.
        if !targets.is_empty() && !targets.iter().any(ours) {
            let prefix = place.named("");
            let end = |target: &String| target.rsplit(':').next().unwrap_or_default().to_owned();
            if targets.iter().any(|target| end(target).starts_with(&prefix)) {
                return;
            }
        }
        let before = self.lines.len();
        let mut wrong = |what: String, mend: &str| self.lines.push(Line::wrong(CHECK, name, what, mend));
        if rule.state() == Some(&RuleState::Disabled) {
            let mend = format!("aws events enable-rule --name {name}");
            wrong("it is disabled: its events don't come".to_owned(), &mend);
        }
        if !targets.iter().any(ours) {
            wrong("it has no target of this deployment: its events go nowhere".to_owned(), APPLY_AGAIN);
        }
        let without_hash = WITHOUT_HASH.contains(&of);
        if !without_hash {
            match (hash_of(rule.description().unwrap_or_default()), hash) {
                (Some(made_of), Some(hash)) if made_of != hash => wrong(
                    format!("it was made of rules with the hash {made_of}, and the function has {hash}"),
                    APPLY_AGAIN,
                ),
                (None, _) => {
                    wrong("its description does not say of which rules it was made".to_owned(), APPLY_AGAIN);
                }
                _ => {}
            }
        }
        if self.lines.len() == before {
            self.of_rules += usize::from(!without_hash);
            self.recovers |= of == "recover";
        }
    }
}

/// `[rules HASH]` at the end of a description.
fn hash_of(description: &str) -> Option<&str> {
    let (_, end) = description.rsplit_once("[rules ")?;
    end.strip_suffix(']').filter(|hash| hash.len() == 16)
}

/// The custom actions: redress's own, and those of rules that are at hand.
pub(super) async fn actions(place: &Place<'_>, rules: Option<&RuleSet>) -> Vec<Line> {
    const CHECK: &str = "custom_action";
    let hub = aws_sdk_securityhub::Client::new(place.aws);
    let (mut found, mut token) = (Vec::new(), None);
    loop {
        match hub.describe_action_targets().set_next_token(token.take()).send().await {
            Ok(page) => {
                found.extend(page.action_targets.unwrap_or_default());
                token = page.next_token.filter(|token| !token.is_empty());
            }
            Err(error) => {
                let error = Error::from(error);
                return vec![Line::unseen(
                    CHECK,
                    "Security Hub",
                    "securityhub:DescribeActionTargets",
                    &error,
                )];
            }
        }
        if token.is_none() {
            break;
        }
    }
    let of_rules = rules.into_iter().flat_map(|rules| rules.rules.iter());
    let of_rules = of_rules.filter_map(|rule| rule.source.action.as_deref());
    let wanted: Vec<&str> = OWN_ACTIONS.into_iter().chain(of_rules).collect();
    let there = |id: &str| {
        let arn = place.arn("securityhub", &format!("action/custom/{id}"));
        found.iter().any(|target| target.action_target_arn() == Some(arn.as_str()))
    };
    let missing: Vec<Line> = wanted
        .iter()
        .filter(|id| !there(id))
        .map(|id| Line::wrong(CHECK, *id, "Security Hub does not have it", APPLY_AGAIN))
        .collect();
    if missing.is_empty() {
        return vec![Line::ok(CHECK, wanted.join(", "), "in Security Hub's Actions menu")];
    }
    missing
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use aws_config::SdkConfig;

    use super::*;

    const HASH: &str = "0123456789abcdef";
    const QUEUE: &str = "arn:aws:sqs:eu-west-1:123456789012:redress-findings";

    fn seen(name: &str, state: RuleState, description: &str, targets: &[&str]) -> Seen {
        let aws = SdkConfig::builder().build();
        let place = Place {
            name: "redress",
            partition: "aws",
            account: "123456789012",
            region: "eu-west-1",
            aws: &aws,
        };
        let rule = Rule::builder().name(name).state(state).description(description).build();
        let targets: Vec<String> = targets.iter().map(|&target| target.to_owned()).collect();
        let mut seen = Seen { lines: Vec::new(), of_rules: 0, recovers: false };
        seen.rule(&place, &rule, &targets, Some(HASH));
        seen
    }

    #[test]
    fn a_rule_is_enabled_has_a_target_and_the_functions_hash() {
        let described = format!("Findings [rules {HASH}]");
        let fine = seen("redress-x-0", RuleState::Enabled, &described, &[QUEUE]);
        assert_eq!((fine.lines.len(), fine.of_rules, fine.recovers), (0, 1, false));
        let what = |seen: Seen| {
            assert_eq!((seen.lines.len(), seen.of_rules), (1, 0));
            seen.lines.first().unwrap().what.clone()
        };
        let enabled = RuleState::Enabled;
        assert!(what(seen("redress-x-0", RuleState::Disabled, &described, &[QUEUE])).contains("disabled"));
        assert!(what(seen("redress-x-0", enabled.clone(), &described, &[])).contains("no target"));
        let elsewhere = "arn:aws:sqs:eu-west-1:123456789012:mine";
        assert!(what(seen("redress-x-0", enabled.clone(), &described, &[elsewhere])).contains("no target"));
        let other = "Findings [rules fedcba9876543210]";
        assert!(what(seen("redress-x-0", enabled.clone(), other, &[QUEUE])).contains("fedcba9876543210"));
        assert!(what(seen("redress-x-0", enabled, "Findings", &[QUEUE])).contains("which rules"));
    }

    #[test]
    fn the_schedule_has_no_hash_and_another_deployment_is_passed_over() {
        let function = "arn:aws:lambda:eu-west-1:123456789012:function:redress-dispatcher";
        let hourly = seen("redress-recover", RuleState::Enabled, "", &[function]);
        assert_eq!((hourly.lines.len(), hourly.of_rules, hourly.recovers), (0, 0, true));
        let other = "arn:aws:sqs:eu-west-1:123456789012:redress-two-findings";
        let other = seen("redress-two-x", RuleState::Disabled, "x", &[other]);
        assert_eq!((other.lines.len(), other.of_rules), (0, 0));
    }
}
