//! `redress doctor`: whether a deployment is as it should be, and how to mend what is not.
//!
//! What a person's credentials can see is looked at from here; what only the function can do, it is asked to try
//! (see [`redress_router::doctor`]). Nothing is written.

mod events;
mod function;
mod queues;
mod tables;
mod watch;

use std::io::Write as _;

use anstyle::AnsiColor;
use aws_config::SdkConfig;
use redress_remediators::{Error, ErrorKind};
use redress_router::{aws::partition_of, doctor::KILL_SWITCH};
use serde::Serialize;
use serde_json::json;

use crate::{
    Surroundings,
    args::{Format, Global},
    context::{Reach, paint, rules},
    exit::{Exit, Result},
    output::{Paint, json, text},
};

/// The deployment that is looked at where none is named: `name` of `terraform/variables.tf` is by default the same.
const DEFAULT: &str = "redress";

/// What is said where the deployment is not as Terraform makes it.
const APPLY_AGAIN: &str = "apply the deployment again (docs/deploy.md)";

/// What a look has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Finding {
    /// As it should be.
    Ok,
    /// It works, and is not as it is recommended.
    Warning,
    /// It does not work as it should.
    Wrong,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Line {
    check: String,
    subject: String,
    outcome: Finding,
    what: String,
    mend: Option<String>,
    #[serde(skip)]
    exit: Exit,
}

impl Line {
    fn ok(check: &str, subject: impl Into<String>, what: impl Into<String>) -> Self {
        let (check, subject, what) = (check.to_owned(), subject.into(), what.into());
        Self { check, subject, outcome: Finding::Ok, what, mend: None, exit: Exit::Done }
    }

    fn warning(
        check: &str,
        subject: impl Into<String>,
        what: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        let mend = Some(mend.into());
        Self { outcome: Finding::Warning, mend, ..Self::ok(check, subject, what) }
    }

    fn wrong(
        check: &str,
        subject: impl Into<String>,
        what: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        let mend = Some(mend.into());
        Self { outcome: Finding::Wrong, mend, exit: Exit::Failed, ..Self::ok(check, subject, what) }
    }

    /// What AWS did not let be looked at.
    fn unseen(check: &str, subject: impl Into<String>, action: &str, error: &Error) -> Self {
        if error.kind == ErrorKind::Denied {
            let mend = format!("let the caller use {action}, or call with credentials that may");
            return Self { exit: Exit::Denied, ..Self::wrong(check, subject, error.to_string(), mend) };
        }
        Self::wrong(check, subject, error.to_string(), "try again; AWS did not answer as it should")
    }

    fn told(told: redress_router::doctor::Check) -> Self {
        let redress_router::doctor::Check { check, subject, ok, what, mend } = told;
        let (outcome, exit) = match (ok, check.as_str()) {
            (true, _) => (Finding::Ok, Exit::Done),
            // Somebody has said so: the deployment itself is sound.
            (false, KILL_SWITCH) => (Finding::Wrong, Exit::Refused),
            (false, _) => (Finding::Wrong, Exit::Failed),
        };
        Self { check, subject, outcome, what, mend: mend.filter(|_| !ok), exit }
    }
}

/// Where the deployment is.
struct Place<'a> {
    name: &'a str,
    partition: &'static str,
    account: &'a str,
    region: &'a str,
    aws: &'a SdkConfig,
}

impl Place<'_> {
    fn named(&self, what: &str) -> String {
        format!("{}-{what}", self.name)
    }

    fn arn(&self, service: &str, resource: &str) -> String {
        let Self { partition, region, account, .. } = self;
        format!("arn:{partition}:{service}:{region}:{account}:{resource}")
    }
}

pub(crate) async fn run(global: &Global, around: &mut Surroundings) -> Result<Exit> {
    let paint = paint(global, around);
    let local = if global.rules.is_some() { Some(rules(global)?) } else { None };
    let reach = Reach::new(global, around).await?;
    let caller = reach.caller().await?;
    let place = Place {
        name: global.deployment.as_deref().unwrap_or(DEFAULT),
        partition: partition_of(&reach.region),
        account: &caller.account,
        region: &reach.region,
        aws: &reach.aws,
    };
    if global.format == Format::Text {
        let (out, region) = (&mut around.out, &reach.region);
        writeln!(
            out,
            "Caller      {}, account {}, Region {region}",
            text::whole(&caller.arn),
            caller.account
        )?;
        writeln!(out, "Deployment  {}", text::whole(place.name))?;
        writeln!(out, "{}", paint.dim(&"─".repeat(72)))?;
        out.flush()?;
    }
    let function = Box::pin(function::look(&place)).await;
    let (hash, timeout) = (function.rules_hash.as_deref(), function.timeout);
    let (tables, queues, mapping, events, actions, watch) = tokio::join!(
        Box::pin(tables::look(&place)),
        Box::pin(queues::look(&place, timeout, function.activity)),
        Box::pin(function::mapping(&place, timeout.is_some())),
        Box::pin(events::look(&place, hash)),
        Box::pin(events::actions(&place, local.as_ref().map(|(rules, _)| rules))),
        Box::pin(watch::look(&place)),
    );
    let mut lines = function.lines;
    if let Some((rules, source)) = &local {
        lines.push(same_rules(source, &rules.hash, hash));
    }
    lines.extend([tables, queues, mapping, events, actions, watch].into_iter().flatten());
    let count = |finding| lines.iter().filter(|line| line.outcome == finding).count();
    let (ok, warning, wrong) = (count(Finding::Ok), count(Finding::Warning), count(Finding::Wrong));
    match global.format {
        Format::Json => json::print(
            &mut around.out,
            &json!({
                "schema": "redress.doctor/1",
                "version": env!("CARGO_PKG_VERSION"),
                "deployment": place.name,
                "caller": { "account": caller.account, "arn": caller.arn },
                "region": reach.region,
                "function": function.report.as_ref().map(|report| json!({
                    "version": report.version,
                    "rules_hash": report.rules_hash,
                    "ceiling": report.ceiling,
                })),
                "checks": lines,
                "summary": { "ok": ok, "warning": warning, "wrong": wrong },
            }),
        )?,
        Format::Text => {
            for line in &lines {
                print(around, paint, line)?;
            }
            let warnings = if warning == 1 { "warning" } else { "warnings" };
            let summary = format!("Doctor: {ok} ok, {warning} {warnings}, {wrong} wrong.");
            writeln!(around.out, "{}", paint.bold(&summary))?;
        }
    }
    Ok(lines.iter().fold(Exit::Done, |exit, line| exit.and(line.exit)))
}

/// Whether the rules at hand are the deployed ones.
fn same_rules(source: &str, local: &str, deployed: Option<&str>) -> Line {
    match deployed {
        Some(deployed) if deployed == local => {
            Line::ok("rules", source, format!("the deployed rules (hash {local})"))
        }
        Some(deployed) => Line::wrong(
            "rules",
            source,
            format!("these rules have the hash {local}, and the deployed ones {deployed}"),
            "apply the deployment with these rules, or look at the ones that it was made of",
        ),
        None => Line::wrong(
            "rules",
            source,
            "they can't be compared: the hash of the deployed rules is not known",
            "mend the function first",
        ),
    }
}

fn print(around: &mut Surroundings, paint: Paint, line: &Line) -> Result<()> {
    let (word, colour) = match line.outcome {
        Finding::Ok => ("ok      ", AnsiColor::Green),
        Finding::Warning => ("warning ", AnsiColor::Yellow),
        Finding::Wrong => ("WRONG   ", AnsiColor::Red),
    };
    let word = paint.in_colour(colour, word);
    let check = line.check.replace('_', " ");
    writeln!(
        around.out,
        "{word}{}: {}: {}",
        text::whole(&check),
        text::whole(&line.subject),
        text::whole(&line.what)
    )?;
    if let Some(mend) = &line.mend {
        writeln!(around.out, "        to mend it: {}", text::whole(mend))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use redress_router::doctor::Check;

    use super::*;

    fn told(check: &str, ok: bool) -> Line {
        let (subject, what) = ("subject".to_owned(), "what".to_owned());
        Line::told(Check { check: check.to_owned(), subject, ok, what, mend: Some("mend".to_owned()) })
    }

    #[test]
    fn a_stop_is_a_refusal_and_everything_else_a_failure() {
        assert_eq!(told(KILL_SWITCH, false).exit, Exit::Refused);
        assert_eq!(told("role", false).exit, Exit::Failed);
        let fine = told("role", true);
        assert_eq!((fine.exit, fine.mend), (Exit::Done, None));
    }

    #[test]
    fn a_look_that_is_denied_names_the_action() {
        let line = Line::unseen("queue", "q", "sqs:GetQueueUrl", &Error::new(ErrorKind::Denied, "no"));
        assert_eq!((line.exit, line.outcome), (Exit::Denied, Finding::Wrong));
        assert!(line.mend.is_some_and(|mend| mend.contains("sqs:GetQueueUrl")));
        let line = Line::unseen("queue", "q", "sqs:GetQueueUrl", &Error::new(ErrorKind::Transient, "away"));
        assert_eq!(line.exit, Exit::Failed);
    }

    #[test]
    fn rules_at_hand_are_compared_with_the_deployed_ones() {
        assert_eq!(same_rules("r", "a", Some("a")).outcome, Finding::Ok);
        let other = same_rules("r", "a", Some("b"));
        assert!(other.outcome == Finding::Wrong && other.what.contains('a') && other.what.contains('b'));
        assert_eq!(same_rules("r", "a", None).outcome, Finding::Wrong);
    }
}
