//! Turns on server access logging for a bucket.

use roxmltree::{Document, Node};

use super::bucket::Bucket;
use crate::{
    body::{Answer, Body},
    prelude::*,
    raw,
    remediator::Proposal,
};

const ELEMENT: &str = "LoggingEnabled";

pub(crate) struct LogAccess;

/// What a rule may set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Params {
    /// The bucket that the logs are delivered to, in the same account and Region; `{account}` and `{region}` stand
    /// for the logged bucket's. Needed: without it nothing is turned on.
    target_bucket: Option<String>,
    /// What the names of the logs begin with; `{account}`, `{region}` and `{bucket}` stand for the logged bucket's.
    target_prefix: String,
}

impl Default for Params {
    fn default() -> Self {
        Self { target_bucket: None, target_prefix: "{bucket}/".to_owned() }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Logging {
    /// The elements of the configuration, byte for byte as S3 returned them; none where logging is off.
    elements: Vec<String>,
    /// The bucket's name, account and Region. Read, never altered.
    #[serde(default)]
    place: [String; 3],
}

impl PartialEq for Logging {
    fn eq(&self, other: &Self) -> bool {
        let forms = |state: &Self| state.elements.iter().map(|one| form(one)).collect::<Vec<_>>();
        self.place == other.place && forms(self) == forms(other)
    }
}

fn form(element: &str) -> String {
    fn nothing(_: Node<'_, '_>) -> bool {
        false
    }
    raw::normal(element, nothing).unwrap_or_else(|| element.to_owned())
}

fn is_logging(element: &str) -> bool {
    Document::parse(element).is_ok_and(|tree| tree.root_element().tag_name().name() == ELEMENT)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

impl Logging {
    fn fill(&self, template: &str) -> String {
        let [bucket, account, region] = &self.place;
        template.replace("{account}", account).replace("{region}", region).replace("{bucket}", bucket)
    }
}

impl Remediator for LogAccess {
    const SPEC: Spec = Spec {
        name: "s3.log_access",
        version: 1,
        controls: &["S3.9"],
        risk: Risk::Cost,
        what: "Turns on server access logging: S3 writes who asked for what to the bucket and prefix that the rule \
               names. That bucket must be in the same account and Region, let `logging.s3.amazonaws.com` write \
               (`s3:PutObject`) by its policy, be encrypted with S3's own keys, and have no default retention; \
               nothing about it is changed. The log bucket itself is refused: it would log its own logs.",
        who_notices: "The bill: logs are stored until a lifecycle rule deletes them. Delivery begins within hours, \
                      and not at all where the target does not let it in, which S3 tells nobody.",
        way_back: "Turns logging off; logs that were delivered stay. Refused where somebody has changed the logging \
                   since.",
        reads: &[Action::new("s3:GetBucketLogging", On::Resource)],
        writes: &[Action::new("s3:PutBucketLogging", On::Resource)],
        undo: &[],
        implied: &[],
    };
    type Resource = Bucket;
    type Params = Params;
    type State = Logging;

    async fn observe(aws: &Aws, at: &Bucket) -> Result<Logging> {
        let answer = Answer::default();
        let request = aws.s3().get_bucket_logging().bucket(&at.name).expected_bucket_owner(&at.owner);
        request.customize().interceptor(answer.clone()).send().await?;
        Ok(Logging {
            elements: raw::elements(&answer.text()?, "BucketLoggingStatus")?,
            place: [at.name.clone(), at.owner.clone(), aws.key().region.clone()],
        })
    }

    fn plan(now: &Logging, ask: &Ask<'_, Params>) -> Plan<Logging> {
        if now.elements.iter().any(|element| is_logging(element)) {
            return Plan::Compliant;
        }
        let Some(target) = ask.params.target_bucket.as_deref() else {
            return Plan::Refuse(
                "the rule must say where logs go: `target_bucket`, a bucket of the same account and Region that \
                 `logging.s3.amazonaws.com` may write to"
                    .to_owned(),
            );
        };
        let target = now.fill(target);
        let [bucket, ..] = &now.place;
        let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._".contains(&byte);
        if !(3..=63).contains(&target.len()) || !target.bytes().all(legal) {
            return Plan::Refuse(format!(
                "`target_bucket` is `{}`, which is no bucket name",
                excerpt(&target)
            ));
        }
        if target == *bucket {
            return Plan::Refuse(
                "it is the log bucket itself, which would log its own logs: suppress the finding, as AWS advises"
                    .to_owned(),
            );
        }
        let prefix = now.fill(&ask.params.target_prefix);
        if prefix.len() > 512 || prefix.chars().any(char::is_control) {
            return Plan::Refuse(format!(
                "`target_prefix` is `{}`, which S3 would not take",
                excerpt(&prefix)
            ));
        }
        let mut to = now.clone();
        to.elements.push(format!(
            "<{ELEMENT}><TargetBucket>{target}</TargetBucket><TargetPrefix>{}</TargetPrefix></{ELEMENT}>",
            escape(&prefix)
        ));
        let notes = vec![format!(
            "`{target}` must let `logging.s3.amazonaws.com` write there: S3 drops logs that it can't deliver"
        )];
        Plan::Change(Proposal { to, risk: Risk::Cost, notes })
    }

    async fn apply(aws: &Aws, at: &Bucket, change: &Change<Logging>) -> Result<()> {
        let document = format!(
            "<BucketLoggingStatus xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{}</BucketLoggingStatus>",
            change.to.elements.concat()
        );
        let request = aws.s3().put_bucket_logging().bucket(&at.name).expected_bucket_owner(&at.owner);
        request.customize().interceptor(Body(document)).send().await?;
        Ok(())
    }

    fn undo(change: &Change<Logging>, now: &Logging) -> Undo<Logging> {
        fn logging(state: &Logging) -> Option<&String> {
            state.elements.iter().find(|element| is_logging(element))
        }
        let Some(made) = logging(&change.to).filter(|_| logging(&change.from).is_none()) else {
            return Undo::Nothing;
        };
        let Some(found) = logging(now) else { return Undo::Nothing };
        if form(made) != form(found) {
            return Undo::Refuse("somebody has changed the logging since".to_owned());
        }
        let mut to = now.clone();
        to.elements.retain(|element| !is_logging(element));
        Undo::To { to, notes: vec!["logs that were delivered meanwhile stay".to_owned()] }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::remediator::test::ask;

    fn state(elements: &[&str]) -> Logging {
        Logging {
            elements: elements.iter().map(|one| (*one).to_owned()).collect(),
            place: ["data", "123456789012", "eu-west-1"].map(str::to_owned),
        }
    }

    fn plan(now: &Logging, params: &str) -> Plan<Logging> {
        LogAccess::plan(now, &ask("S3.9", &serde_json::from_str(params).unwrap()))
    }

    #[test]
    fn logs_go_where_the_rule_says() {
        for (params, target, prefix) in [
            (r#"{"target_bucket":"logs"}"#, "logs", "data/"),
            (
                r#"{"target_bucket":"logs-{account}-{region}","target_prefix":"s3/{bucket}/<&"}"#,
                "logs-123456789012-eu-west-1",
                "s3/data/&lt;&amp;",
            ),
        ] {
            let Plan::Change(change) = plan(&state(&[]), params) else { panic!("{params}") };
            let expected = format!(
                "<LoggingEnabled><TargetBucket>{target}</TargetBucket><TargetPrefix>{prefix}</TargetPrefix>\
                 </LoggingEnabled>"
            );
            assert_eq!(change.to.elements, [expected]);
            assert_eq!(plan(&change.to, params), Plan::Compliant);
            assert_eq!(plan(&change.to, "{}"), Plan::Compliant);
        }
        for (params, why) in [
            ("{}", "`target_bucket`"),
            (r#"{"target_bucket":"data"}"#, "the log bucket itself"),
            (r#"{"target_bucket":"{bucket}"}"#, "the log bucket itself"),
            (r#"{"target_bucket":"a/<b>"}"#, "no bucket name"),
            (r#"{"target_bucket":"logs","target_prefix":"a\nb"}"#, "`target_prefix`"),
        ] {
            assert!(
                matches!(plan(&state(&[]), params), Plan::Refuse(said) if said.contains(why)),
                "{params}"
            );
        }
    }

    #[test]
    fn undo_turns_off_what_was_turned_on_alone() {
        let Plan::Change(change) = plan(&state(&[]), r#"{"target_bucket":"logs"}"#) else {
            panic!("no change")
        };
        let change = Change { from: state(&[]), to: change.to };
        let Undo::To { to, .. } = LogAccess::undo(&change, &change.to) else { panic!("no way back") };
        assert_eq!(to, change.from);
        assert_eq!(LogAccess::undo(&change, &state(&[])), Undo::Nothing);
        let other = state(&["<LoggingEnabled><TargetBucket>other</TargetBucket></LoggingEnabled>"]);
        assert!(matches!(LogAccess::undo(&change, &other), Undo::Refuse(_)));
    }
}
